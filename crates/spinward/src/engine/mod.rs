//! Engines: the traits that a broker and a presence store implement, and the in-memory engine.

pub mod broker;
pub(crate) mod interest;
pub(crate) mod memory;
pub mod presence;
mod remote;
