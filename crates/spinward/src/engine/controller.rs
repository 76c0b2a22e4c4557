//! Controllers: messages between the nodes of a cluster.

use crate::answer::Answer;
use crate::engine::EngineHealth;
use crate::id::NodeId;
use bytes::Bytes;
use std::fmt;
use std::sync::Weak;
use thiserror::Error;

/// Most bytes of one message. Every controller carries messages up to this size, which is below the default limit
/// of NATS.
pub const MAX_MESSAGE: usize = 1_000_000;

/// A controller could not do what it was asked for.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ControlError {
    /// It was closed, or was not started.
    #[error("the controller is closed")]
    Closed,
    /// It has no room for the message: too many wait to be sent.
    #[error("too many messages wait to be sent to other nodes")]
    Full,
    /// The message has more than [`MAX_MESSAGE`] bytes.
    #[error("a message of {0} bytes is too long for other nodes: the limit is {MAX_MESSAGE}")]
    TooLong(usize),
    /// It did not take the message in time.
    #[error("the controller did not take a message in time")]
    Slow,
    /// The back end could not be reached, or failed.
    #[error("controller failed: {0}")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// The recipients of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// Every other node of the cluster.
    All,
    /// One node.
    Node(NodeId),
}

/// Carries messages between the nodes of a cluster.
///
/// ```text
///  node A                                                       node B
///  Node::disconnect ──> Controller::send(All, bytes)
///                             │
///                             └──── back end ────> reader ──> ControlSink::receive(bytes)
///                                                                        │  applied
///  ControlSink::receive <── reader <──── back end ──── Controller::send(Node(A), bytes)
/// ```
///
/// A controller moves bytes and knows nothing of their meaning. The contract:
///
/// - **Delivery.** Each message reaches each of its recipients *at most once*, as a rule once. A controller does not
///   store messages for nodes that are away for more than a minute: a disconnect that arrives later would meet a
///   connection that it does not mean. The library copes with repetition (it drops what it has seen), loss (waits
///   end at a deadline, and name the nodes that did not answer) and any order.
/// - **Recipients.** A message to [`To::All`] may be delivered to its sender, and one to [`To::Node`] to other nodes;
///   both are ignored there. A controller that can only broadcast is therefore correct, if wasteful.
/// - **Sizes.** Messages have 1 to [`MAX_MESSAGE`] bytes.
/// - **Back-pressure.** A reader awaits [`ControlSink::ready`] between messages. What it hands over without waiting
///   may be dropped, and is counted.
/// - **Bounds.** What waits to be sent is bounded; [`ControlError::Full`] is the answer where it is full.
/// - **Threads.** `send` may be called from any thread, and does not block. Its future is polled on the runtime of the
///   node, and dropped after [`Config::wait`](crate::cluster::Config::wait).
/// - **Ends.** The controller does not keep the node alive: the sink is a weak reference. After
///   [`Controller::close`] nothing is delivered.
pub trait Controller: Send + Sync + 'static {
    /// Short name for logs, such as `nats`.
    fn name(&self) -> &'static str;

    /// Starts delivery to a node. Called once, before anything is sent. Connecting goes on in the background: a node
    /// starts even if the back end is down, and is alone until it comes up.
    ///
    /// # Errors
    /// The settings do not make a controller. The node is not built then.
    fn start(&self, node: NodeId, sink: ControlSink) -> Result<(), ControlError>;

    /// Sends a message. The answer is ready once the back end has taken it, which says nothing of its recipients.
    fn send(&self, to: To, message: Bytes) -> Answer<Result<(), ControlError>>;

    /// State of the connection to the back end. Must not block.
    fn health(&self) -> EngineHealth {
        EngineHealth::Up
    }

    /// Stops delivery. Called once, after the last `send` was answered.
    fn close(&self) -> Answer<()> {
        Answer::Now(())
    }
}

/// The receiving side of a node.
pub trait Receiver: Send + Sync + 'static {
    /// See [`ControlSink::receive`].
    fn receive(&self, message: Bytes);
    /// See [`ControlSink::interrupted`].
    fn interrupted(&self);
    /// See [`ControlSink::ready`].
    fn ready(&self) -> Answer<()>;
}

/// The way from a controller into its node. Cheap to clone. It does not keep the node alive.
#[derive(Clone)]
pub struct ControlSink(Weak<dyn Receiver>);

impl ControlSink {
    /// A sink that hands messages to `receiver`, for tests of controllers. Nodes make their own.
    #[must_use]
    pub fn new(receiver: Weak<dyn Receiver>) -> Self {
        Self(receiver)
    }

    /// Hands over a message of another node. Does not block. Bytes that are not a message are dropped and counted.
    /// Returns false once the node is gone.
    pub fn receive(&self, message: Bytes) -> bool {
        self.0.upgrade().map(|node| node.receive(message)).is_some()
    }

    /// Says that messages may have been lost: the connection to the back end was interrupted and is up again. The node
    /// announces itself and asks the others to do the same. Returns false once the node is gone.
    pub fn interrupted(&self) -> bool {
        self.0.upgrade().map(|node| node.interrupted()).is_some()
    }

    /// Waits until the node can take one more message. Returns false once the node is gone.
    pub async fn ready(&self) -> bool {
        let Some(ready) = self.0.upgrade().map(|node| node.ready()) else { return false };
        ready.wait().await;
        true
    }
}

impl fmt::Debug for ControlSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ControlSink")
    }
}
