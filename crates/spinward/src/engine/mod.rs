//! Engines: the traits that a broker, a presence store and a controller implement, and the in-memory engine.
//!
//! [`broker`], [`presence`] and [`controller`] are the traits. What calls a broker outside of the process is `remote.rs`, what it calls
//! is `receive.rs`; `requests.rs` asks it for channels by the states of `interest.rs`, `compare.rs` asks it whether
//! something was lost, and `epoch.rs` names its streams.

pub mod broker;
mod compare;
pub mod controller;
mod epoch;
pub(crate) mod interest;
pub(crate) mod memory;
pub mod presence;
mod receive;
pub(crate) mod remote;
mod requests;
mod sink;

pub(crate) use epoch::is_of;

/// State of an engine's connection to its store.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EngineHealth {
    /// It works.
    Up,
    /// It does not, or not wholly.
    Down {
        /// Reason, for people.
        reason: String,
    },
}
