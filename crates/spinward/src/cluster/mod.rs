//! Several nodes that work as one server.
//!
//! Publications travel between nodes through the broker. Everything else does through a
//! [`Controller`](crate::engine::controller::Controller): heartbeats, by which nodes know each other; operations on
//! the connections of a user, which may be on any node; and surveys, questions that every node answers.
//!
//! ```text
//!  Node::disconnect ─> Operation ─┬─> applied to the connections of this node
//!                                 └─> Envelope ─> Controller ─> ControlSink ─> applied there ─> confirmed
//! ```
//!
//! A node without a controller is alone: it sends no heartbeats, encodes nothing, and its operations end where they
//! begin.
//!
//! # Guarantees
//!
//! - An operation is applied on each node that receives it, once, however often it arrives. Its [`Done`](crate::Done)
//!   is ready when it is applied on this node and confirmed by the others, or after [`Config::wait`]; it names the
//!   nodes that did not confirm.
//! - A survey is answered within its timeout. Nodes that did not answer are named.
//! - A node that ends says so. One that is silent for [`Config::node_timeout`] is taken for lost.
//! - Memory is bounded: [`MAX_NODES`] nodes, [`MAX_OPEN`] requests that wait for others, [`MAX_WORKING`] requests of
//!   others. Beyond that nodes are ignored, requests are not waited for, and requests of others are dropped, all of
//!   which is counted in [`Counters`].

mod codec;
mod filter;
mod local_bus;
mod message;
mod registry;
mod requests;
mod window;

pub use codec::DecodeError;
pub use filter::{ClientFilter, LabelFilter};
pub use local_bus::LocalBus;
pub use message::{Body, Envelope, Heartbeat, Operation, Request, Response, ServerSubscribe};
pub use registry::NodeStatus;

pub(crate) use registry::{Heard, Registry, millis};
pub(crate) use requests::{Ended, Outcome, Requests};

use crate::id::NodeId;
use bytes::Bytes;
use std::time::Duration;
use thiserror::Error;

/// Most other nodes that a node knows, those that have ended lately included.
pub const MAX_NODES: usize = 1024;
/// Most operations and surveys of a node that wait for others at a time.
pub const MAX_OPEN: usize = 4096;
/// Most operations and surveys of others that are under way on a node at a time.
pub const MAX_WORKING: usize = 1024;
/// Most messages that are handed to the controller and not taken yet.
pub const MAX_SENDING: usize = 4096;

/// Timings of a node in a cluster. The defaults are Centrifugo's where it has one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// Time between heartbeats. Each is up to a tenth sooner or later, so that nodes that start together do not
    /// send together.
    pub heartbeat_interval: Duration,
    /// Silence after which a node is taken for lost. At least twice the interval.
    pub node_timeout: Duration,
    /// Most time that an operation waits for the confirmation of other nodes, and for the controller to take a message.
    /// Zero: the confirmation is not waited for.
    pub wait: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            heartbeat_interval: Duration::from_secs(3),
            node_timeout: Duration::from_secs(10),
            wait: Duration::from_secs(2),
        }
    }
}

/// A node received a request and did not do it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum Declined {
    /// It does not know the operation: its version may be older.
    #[error("the node does not know this operation")]
    Unsupported,
    /// It tried, and failed.
    #[error("the node failed to do this")]
    Failed,
    /// Its answer is longer than [`MAX_MESSAGE`](crate::engine::controller::MAX_MESSAGE).
    #[error("the answer of the node is too long")]
    TooLong,
}

/// Result of an operation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Applied {
    /// Nodes that were known and did not confirm. They may have received the operation nevertheless.
    pub missing: Vec<NodeId>,
    /// Nodes that received the operation and did not do it.
    pub declined: Vec<(NodeId, Declined)>,
}

impl Applied {
    /// Returns true if every known node has confirmed.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.missing.is_empty() && self.declined.is_empty()
    }
}

/// Result of a survey.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Survey {
    /// Answers, that of this node first.
    pub answers: Vec<(NodeId, Bytes)>,
    /// Nodes that were known and did not answer in time.
    pub missing: Vec<NodeId>,
    /// Nodes that did not do what was asked.
    pub declined: Vec<(NodeId, Declined)>,
}

impl Survey {
    /// Returns true if the answer of a known node is not there.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        !(self.missing.is_empty() && self.declined.is_empty())
    }
}

/// Messages between nodes, counted since the start of the node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Handed to the controller.
    pub sent: u64,
    /// Not taken by the controller: it failed, was too slow, or had no room.
    pub send_failed: u64,
    /// Received, of other nodes and for this one.
    pub received: u64,
    /// Not messages.
    pub malformed: u64,
    /// Of a version or kind that this node does not know.
    pub unknown: u64,
    /// Received before, or too late to know.
    pub repeated: u64,
    /// Requests dropped because [`MAX_WORKING`] were under way.
    pub dropped: u64,
    /// Messages of nodes beyond [`MAX_NODES`].
    pub ignored: u64,
}
