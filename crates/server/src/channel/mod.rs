//! Channels: the grammar of their names, the namespaces that names resolve to, and the options of each.
//!
//! Everything here is an immutable value made from the configuration. A reload makes a new [`Registry`].

pub mod name;
pub mod options;
pub mod pattern;
pub mod regex;
pub mod registry;

pub use name::{ChannelName, NameFault, Syntax, Users};
pub use options::{Options, PublicationFormat, RecoveryMode};
pub use registry::{BuildError, ChannelConfig, Namespace, NamespaceConfig, Registry, Resolved};
pub use spinward::wire::{DeltaType, SubscriptionType};
