//! Presence and controller on real servers: Redis and Valkey, alone, under Sentinel, as a cluster and as shards.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod backend;
mod controller;
mod controller_faults;
#[path = "../redis/harness.rs"]
#[allow(dead_code, reason = "shared with the broker's tests")]
mod harness;
mod layout;
mod mixed;
mod presence;
mod presence_faults;
