//! Redis and Valkey: standalone, with Sentinel, as a cluster, and several of them as shards.
//!
//! ```text
//!  Broker ──> Pool ──> Shard (by consistent hashing) ──> Server: the primary, found by an address or by Sentinels
//!                                                   └──> Cluster ──> Server of each node
//! ```
//!
//! `pool.rs` makes calls, `server.rs` keeps one connection, `lives.rs` knows the incarnation of what answers.
//! Servers from Redis 6.2 on are supported; Redis Cluster from 7.0 on, for sharded Pub/Sub.

mod address;
mod broker;
mod centrifugo;
mod client;
mod cluster;
mod config;
mod connection;
mod controller;
mod counters;
mod error;
mod jump;
mod keys;
mod lives;
mod net;
mod pool;
mod presence;
mod pubsub;
mod script;
mod sentinel;
mod server;
mod slots;
mod watcher;

pub use address::AddressError;
pub use broker::Broker;
pub use client::Client;
pub use config::{Config, ConfigError, Layout, Tls};
pub use controller::Controller;
pub use counters::Counts;
pub use error::Error;
pub use presence::{PresenceConfig, PresenceSetupError, PresenceStore};
