//! The engines on NATS with real servers.
#![cfg(feature = "nats")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails here")]

mod control;
mod core;
mod faults;
mod harness;
mod history;
mod history_faults;
mod login;
mod members;
mod patterns;
mod storm;
mod volume;
