//! Consumers for [`spinward`]: messages of queues and outbox tables become publications and other calls.
//!
//! ```text
//!  Source ──message──> Worker ──> Decoder ──call──> Target: the server API, or a Node
//!    ▲                    │
//!    └────── forget ──────┘   once the call had its effect, or can never have one
//! ```
//!
//! A [`Source`] hands over messages in the order of their partition, and forgets each after its call had its effect:
//! at least once. A message that can never have an effect is skipped, logged and counted; a failure that passes holds
//! up its partition until it has passed.
//!
//! Each source is a module and a cargo feature of the same name.

mod call;
mod consumer;
mod counters;
mod decode;
mod over_node;
mod target;
mod worker;

#[cfg(feature = "kafka")]
pub mod kafka;
#[cfg(feature = "nats")]
pub mod nats;
#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(feature = "redis")]
pub mod redis;

pub use call::{Call, Method, Publication};
pub use consumer::{Consumer, Running, Source};
pub use counters::Counts;
pub use decode::{DecodeError, Decoder, Message, PublicationNames};
pub use over_node::{Options, OverNode};
pub use target::{Calling, Outcome, Target};
pub use worker::{Attempt, Fate, Stopped, Worker};
