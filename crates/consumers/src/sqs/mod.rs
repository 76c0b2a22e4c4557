//! Queues of AWS SQS, by its JSON protocol over HTTP.
//!
//! A message is deleted after its effect. While it waits for a failure to pass, its visibility timeout is prolonged, so
//! that it is not delivered to others and its receives do not add up to a redrive to the dead-letter queue. A node that
//! was killed leaves its messages to others after `visibility_timeout`.
//!
//! # Order
//! Messages of one group of a FIFO queue are carried out one after another, over all nodes: SQS delivers none behind
//! one that is not deleted. Standard queues have no order.

mod answer;
mod client;
mod config;
mod source;

pub use config::{Config, Error};
pub use source::Queues;
