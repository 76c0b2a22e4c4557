//! Callers of the server API: who they are by their keys, and what each may do.

mod caller;
mod keys;
mod usage;

pub(crate) use caller::{Caller, Denied, Scope};
pub(crate) use keys::{Callers, Refused, Tokens};
pub(crate) use usage::Usages;
