//! Streams of Redis and Valkey, by a consumer group.
//!
//! An entry is acknowledged after its effect. A node begins with the entries that it had taken before and not
//! acknowledged, and takes over those that another node has left alone for `visibility_timeout`.
//!
//! # Order
//! Entries are carried out in the order of the stream by a node with one worker. Nodes and workers that share a stream
//! share its entries, in no order between them.

mod answer;
mod config;
mod source;

pub use config::{Config, Error};
pub use source::Streams;
