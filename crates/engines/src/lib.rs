//! Engines for [`spinward`]: brokers, presence stores and controllers on servers that people already run.
//!
//! Each module is a cargo feature of the same name.

#![allow(dead_code, reason = "each feature uses its part of what engines share")]

mod backoff;
mod codec;
#[cfg(feature = "__planted-faults")]
pub mod fault;
#[cfg(not(feature = "__planted-faults"))]
mod fault;
mod probe;

#[cfg(feature = "nats")]
pub mod nats;
#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(feature = "redis")]
pub mod redis;

pub use backoff::Backoff;
pub use probe::{ProbeConfig, Probed};
