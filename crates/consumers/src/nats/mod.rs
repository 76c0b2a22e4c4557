//! Subjects of NATS JetStream, by a durable pull consumer.
//!
//! A message is acknowledged after its effect. One that can never have an effect is terminated, which JetStream tells by
//! an advisory. While a message waits for a failure to pass, JetStream is told that the work goes on, for it and for
//! those behind it.
//!
//! # Order
//! Messages are carried out in the order of the stream. Those that a killed node had taken are delivered again only
//! after `ack_wait`: so a node that begins holds what is new until everything that was delivered before is acknowledged.
//! Nodes that share a consumer share its messages, in no order between nodes, unless `max_ack_pending` is 1.

mod config;
mod queue;
mod source;

pub use config::{Config, DeliverPolicy, Error};
pub use source::JetStream;
