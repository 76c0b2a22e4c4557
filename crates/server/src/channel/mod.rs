//! Channels: the grammar of their names, the namespaces that names resolve to, and the options of each.
//!
//! Everything here is an immutable value made from the configuration. A reload makes a new [`Registry`].

pub mod name;
mod options;
pub mod pattern;
pub mod registry;

pub use name::{ChannelName, NameFault, Syntax, Users};
pub use registry::{BuildError, Namespace, Registry, Resolved};
