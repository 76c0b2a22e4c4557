//! Consumers of the server, with the real servers that they read from: every message is carried out, in order, while
//! nodes are killed and the source is restarted.
//!
//! `SPINWARD_ROWS` and `SPINWARD_KILLS` set the numbers of messages and of kills.

#![cfg(all(feature = "nats", feature = "postgres", feature = "redis"))]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests fail with the test")]

#[cfg(feature = "kafka")]
mod kafka;
mod nats;
mod node;
mod postgres;
#[cfg(feature = "pubsub")]
mod pubsub;
mod redis;
mod scenario;
#[cfg(feature = "servicebus")]
mod servicebus;
#[cfg(feature = "sqs")]
mod sqs;
