//! Engines: the traits that a broker, a presence store and a controller implement, and the in-memory engine.
//!
//! [`broker`], [`presence`] and [`controller`] are the traits, `sink.rs` is a broker's way back. `interest.rs` and
//! `epoch.rs` decide when a broker is asked for a channel, and the names of its streams. Nothing here knows of
//! channels: `backend` runs engines.

pub mod broker;
pub mod controller;
pub(crate) mod epoch;
pub(crate) mod interest;
pub(crate) mod memory;
pub mod presence;
pub(crate) mod sink;

pub(crate) use epoch::is_of;

/// State of an engine's connection to its store.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EngineHealth {
    /// It works.
    Up,
    /// It does not, or only partly.
    Down {
        /// Reason, for people.
        reason: String,
    },
}
