//! Engines on NATS.
//!
//! [`Broker`] is core NATS: delivery without history. [`JetStreamBroker`] keeps history in JetStream, [`Presence`] keeps
//! members there, and [`Controller`] carries messages between nodes. Each has one connection of its own.
//!
//! What they promise, and what NATS does not, is in ADR 35 of the repository.

mod api;
mod broker;
mod config;
mod controller;
mod counters;
mod credentials;
mod error;
mod feed;
mod interests;
mod jetstream;
mod keys;
mod life;
mod link;
mod presence;
mod session;
mod subject;

pub use broker::Broker;
pub use config::{Config, ConfigError, RawMode};
pub use controller::Controller;
pub use counters::Counts;
pub use credentials::CredentialsError;
pub use error::NatsError;
pub use jetstream::{JetStreamBroker, JetStreamConfig};
pub use presence::{Presence, PresenceConfig};
pub use session::{Connection, Connector};
