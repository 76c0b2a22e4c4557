//! Embeddable real-time messaging: clients connect, subscribe to channels and receive what is published, with
//! history, recovery after a dropped connection, presence, and join and leave events. It speaks Centrifugo's
//! client protocol, so that every official Centrifugo SDK works with it.
//!
//! A [`Node`] holds the connections. The application decides through [`hooks::Hooks`] who may connect,
//! subscribe and publish; [`Node::websocket`] is a tower service to mount in any HTTP server. Publishing and
//! everything else that a backend does is a method of [`Node`].
//!
//! The library reads no configuration files, verifies no tokens, and starts no runtime but its own shards.

#![forbid(unsafe_code)]

pub mod answer;
mod backend;
mod bulkhead;
mod capacity;
mod channel;
pub mod client;
pub mod clock;
pub mod cluster;
pub mod config;
pub mod enforce;
pub mod engine;
mod event;
#[cfg(feature = "__planted-faults")]
#[doc(hidden)]
pub mod fault;
#[cfg(not(feature = "__planted-faults"))]
mod fault;
mod handle;
pub mod hooks;
mod hub;
pub mod id;
pub mod identity;
mod lazy_vec;
mod log_rate;
mod mailbox;
mod metrics;
mod node;
pub mod publication;
mod rates;
mod runtime;
mod session;
mod shard;
#[cfg(feature = "simulation")]
pub mod sim;
mod to_wire;
pub mod transport;

pub use answer::Answer;
pub use client::Client;
pub use cluster::{ClientFilter, ServerSubscribe};
pub use config::Config;
pub use metrics::Snapshot;
pub use node::{
    BuildError, ClusterHandler, Done, Drain, DrainError, Health, Node, NodeBuilder, NodeInfo, ShardHealth,
    ShardState, SubscribeError, WeakNode,
};
pub use publication::{ClientInfo, Position, Publication};
pub use spinward_wire as wire;

/// The code of the read-me file.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadMe;
