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
#[cfg(any(
    test,
    feature = "nats",
    feature = "pubsub",
    feature = "redis",
    feature = "servicebus",
    feature = "sqs"
))]
mod end;
mod over_node;
mod target;
mod worker;

#[cfg(any(feature = "pubsub", feature = "servicebus", feature = "sqs"))]
mod http;
#[cfg(any(test, feature = "pubsub", feature = "servicebus", feature = "sqs"))]
mod lease;
#[cfg(any(feature = "pubsub", feature = "servicebus"))]
mod token;

#[cfg(feature = "kafka")]
pub mod kafka;
#[cfg(feature = "nats")]
pub mod nats;
#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(feature = "pubsub")]
pub mod pubsub;
#[cfg(feature = "redis")]
pub mod redis;
#[cfg(feature = "servicebus")]
pub mod servicebus;
#[cfg(feature = "sqs")]
pub mod sqs;

pub use call::{Call, Method, Publication};
pub use consumer::{Consumer, Running, Source};
pub use counters::Counts;
pub use decode::{DecodeError, Decoder, Message, PublicationNames};
#[cfg(any(feature = "pubsub", feature = "servicebus", feature = "sqs"))]
pub use http::HttpError;
pub use over_node::{Options, OverNode};
pub use target::{Calling, Outcome, Target};
pub use worker::{Attempt, Fate, Stopped, Worker};
