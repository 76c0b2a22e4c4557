//! Embeddable real-time messaging: clients connect, subscribe to channels and receive what is published, with
//! history, recovery after a dropped connection, presence, and join and leave events. It speaks Centrifugo's
//! client protocol, so that every official Centrifugo SDK works with it.
//!
//! # A server
//!
//! ```no_run
//! use axum::Router;
//! use axum::routing::any_service;
//! use spinward::prelude::*;
//! use std::time::Duration;
//!
//! struct Rules;
//!
//! impl Hooks for Rules {
//!     fn connect(&self, event: ConnectEvent) -> Decision<ConnectReply> {
//!         if event.token != "secret" {
//!             return DisconnectCode::INVALID_TOKEN.into();
//!         }
//!         let credentials = Credentials { user: event.name, ..Credentials::default() };
//!         Answer::allow(ConnectReply { credentials, ..ConnectReply::default() })
//!     }
//!
//!     fn subscribe(&self, client: &Client, event: SubscribeEvent) -> Decision<SubscribeOptions> {
//!         if event.channel == "news" || event.channel == format!("user:{}", client.user()) {
//!             return Answer::allow(SubscribeOptions { presence: true, ..SubscribeOptions::default() });
//!         }
//!         ErrorCode::PERMISSION_DENIED.into()
//!     }
//! }
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let node = Node::builder(Rules).build()?;
//!     let publisher = node.clone();
//!     tokio::spawn(async move {
//!         let mut every = tokio::time::interval(Duration::from_secs(1));
//!         for number in 0.. {
//!             every.tick().await;
//!             let data = format!("{{\"number\":{number}}}");
//!             if publisher.publish("news", data.into(), Default::default()).await.is_err() {
//!                 return; // the node has been shut down
//!             }
//!         }
//!     });
//!     let app = Router::new().route("/connection/websocket", any_service(node.websocket()));
//!     let listener = tokio::net::TcpListener::bind("127.0.0.1:8000").await?;
//!     axum::serve(listener, app).await?;
//!     node.shutdown(Duration::from_secs(10)).await;
//!     Ok(())
//! }
//! ```
//!
//! A browser follows with the npm package `centrifuge`:
//!
//! ```js
//! const client = new Centrifuge("ws://127.0.0.1:8000/connection/websocket", { token: "secret", name: "ann" });
//! client.newSubscription("news").on("publication", ({ data }) => console.log(data.number)).subscribe();
//! client.connect();
//! ```
//!
//! # The crate
//!
//! | to | use |
//! |---|---|
//! | make a node, publish, disconnect, read history and presence | [`Node`], [`NodeBuilder`], [`Config`] |
//! | decide who may connect, subscribe and publish | [`hooks::Hooks`], or [`hooks::AsyncHooks`] with asynchronous functions |
//! | answer a hook | [`Answer::allow`], [`Answer::refuse`], [`Answer::later`], an [`ErrorCode`] or [`DisconnectCode`] |
//! | act on a connection | [`Client`] |
//! | mount the node in an HTTP server | [`Node::websocket`], a tower service; [`Node::serve_stream`] for any byte stream |
//! | serve clients over a transport of your own | [`Node::open`] |
//! | log users in by a middleware of your own | [`identity::Credentials`] |
//! | write a payload | [`json`] for values of serde; any [`Bytes`] |
//! | keep streams and presence elsewhere | [`engine`] |
//! | watch a node | [`Node::health`], [`Node::info`] |
//! | read and write the protocol | [`wire`] |
//!
//! [`prelude`] has what most applications import. Tests of applications and engines are in the crate `spinward-test`.
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
mod event_id;
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
pub mod layer;
mod lazy_vec;
mod log_rate;
mod mailbox;
mod metrics;
mod node;
mod paged_vec;
pub mod prelude;
pub mod publication;
mod rates;
mod runtime;
mod session;
mod session_id;
mod shard;
#[cfg(feature = "simulation")]
pub mod sim;
mod to_wire;
pub mod transport;

pub use answer::Answer;
pub use bytes::Bytes;
pub use client::Client;
pub use cluster::{ClientFilter, ServerSubscribe};
pub use config::Config;
pub use metrics::{Snapshot, TransportCounters};
pub use node::{
    BuildError, ClusterHandler, Done, Drain, DrainError, Health, Node, NodeBuilder, NodeInfo, ShardHealth,
    ShardState, SubscribeError, WeakNode,
};
pub use publication::{ClientInfo, Position, Publication, json};
pub use spinward_wire as wire;
pub use spinward_wire::code::{DisconnectCode, ErrorCode, UnsubscribeCode};

/// The code of the read-me file.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadMe;
