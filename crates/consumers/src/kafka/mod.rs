//! Topics of Kafka, by a consumer group.
//!
//! The offset of a partition is committed after the effect of the records before it. A group that has committed nothing
//! begins at the start of its topics.
//!
//! # Order
//! Records are carried out in the order of their partition, one after another; partitions go on side by side. A record
//! that waits for a failure to pass holds up its partition alone. When the group moves a partition to another node, the
//! call under way ends first, and what was not begun is left to the other node.
//!
//! # Queues
//! Each partition has a queue of [`Config::partition_queue`] records. While it has no room for a whole poll, its
//! partition is not read.

mod client;
mod config;
mod partition;
mod partitions;
mod source;

pub use config::{Config, Error, Mechanism, Sasl, Tls};
pub use source::Topics;
