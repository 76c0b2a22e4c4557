//! Subscriptions of Google Pub/Sub, by its REST API: pull, acknowledge, modifyAckDeadline.
//!
//! A message is acknowledged after its effect. While it waits for a failure to pass, its deadline is prolonged. A node
//! that was killed leaves its messages to others once the deadline has passed, which the subscription sets (10 s by
//! default).
//!
//! # Order
//! Messages with the same ordering key are carried out one after another, where the subscription has message ordering.
//! Others have no order.

mod answer;
mod config;
mod source;
mod token;

pub use config::{Config, Credentials, Error};
pub use source::Subscriptions;
