//! The place where calls are carried out.

use crate::call::Call;
use std::borrow::Cow;
use std::future::Future;
use std::pin::Pin;

/// The future of a call.
pub type Calling<'a> = Pin<Box<dyn Future<Output = Outcome> + Send + 'a>>;

/// Carries out calls: a server's API, or a [`Node`](spinward::Node) by [`OverNode`](crate::OverNode).
pub trait Target: Send + Sync + 'static {
    /// Makes a call. It is not cancelled once it has begun, so it must have an end of its own.
    fn call(&self, call: Call) -> Calling<'_>;
}

/// Outcome of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The call had its effect.
    Done,
    /// The call had no effect and never will: its message is skipped. The reason is logged.
    Refused(Cow<'static, str>),
    /// The call failed for a reason that passes: it is tried again. It may have had its effect.
    Failed(Cow<'static, str>),
}
