//! Queues of Azure Service Bus, by its REST API: peek-lock, complete, unlock, renew-lock.
//!
//! A message is completed after its effect. While it waits for a failure to pass, its lock is renewed. A node that was
//! killed leaves its messages to others once their locks have ended, which the queue sets (1 min by default).
//!
//! # Order
//! One reader that holds one message carries messages out in the order of the queue. After a kill, messages of which a
//! lock had to end come later than those behind them. Sessions, which keep the order over readers and nodes, are not
//! part of the REST API.

mod answer;
mod config;
mod source;
mod token;

pub use config::{Config, Error, Login};
pub use source::Queues;
