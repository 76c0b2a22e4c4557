//! The engines on Redis and Valkey with real servers.
#![cfg(feature = "redis")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails here")]

mod chaos;
mod conformance;
mod faults;
mod harness;
mod pubsub;
mod speed;
