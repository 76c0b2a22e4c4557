//! Brokers: storage of publications, and their transport between nodes.

use crate::answer::Answer;
use crate::publication::{ClientInfo, Position, Publication, Tags};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;

/// Errors of a broker.
#[derive(Debug, Error)]
pub enum BrokerError {
    /// The asked position is not of this epoch, or history does not reach back to it.
    #[error("position is not recoverable")]
    UnrecoverablePosition,
    /// This broker does not do that.
    #[error("the broker does not support this")]
    NotSupported,
    /// The node is shut down, or about to be: publish through another one.
    #[error("the node has been shut down")]
    Stopped,
    /// Too many publishers wait already for subscribers to be served: publish again later.
    #[error("too many publications wait to be delivered: publish again later")]
    Overloaded,
    /// The broker could not be reached, or failed.
    #[error("broker failed: {0}")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Limits on a channel's history. Nothing is kept unless both size and ttl are set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HistoryOptions {
    /// Most publications kept; 0 keeps none.
    pub size: usize,
    /// Time that publications are kept after the last one; zero keeps none.
    pub ttl: Duration,
    /// Time that offset and epoch outlive the last use of the stream; zero means the node's default.
    pub meta_ttl: Duration,
}

impl HistoryOptions {
    /// Returns true if anything is kept at all.
    #[must_use]
    pub const fn enabled(&self) -> bool {
        self.size > 0 && !self.ttl.is_zero()
    }
}

/// Options for a publish.
#[derive(Clone, Debug, Default)]
pub struct PublishOptions {
    /// History limits of the channel. Disabled: the publication has no offset and is delivered at most once.
    pub history: HistoryOptions,
    /// The publisher, for publications of clients.
    pub info: Option<Arc<ClientInfo>>,
    /// Labels.
    pub tags: Option<Arc<Tags>>,
    /// A second publish with the same non-empty key in the same channel within [`IDEMPOTENCY_TTL`] does
    /// nothing and answers what the first one did.
    pub idempotency_key: String,
    /// A publish whose version is not above the last one of the channel's stream is dropped silently; 0 means no
    /// version. Needs history.
    pub version: u64,
    /// Versions compare only within one version epoch; a different one starts over.
    pub version_epoch: String,
    /// Subscribers that agreed on it may be sent a patch against the previous payload.
    pub delta: bool,
}

/// Time that an idempotency key is remembered.
pub const IDEMPOTENCY_TTL: Duration = Duration::from_secs(300);

/// Result of a publish.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Published {
    /// The place of the publication in the stream, or the top of the stream when it was suppressed.
    /// Offset 0 and an empty epoch without history.
    pub position: Position,
    /// Nothing was stored nor delivered: the key was known or the version not new.
    pub suppressed: bool,
}

/// The slice of a stream to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryFilter {
    /// Most publications to return: 0 returns the position only, a negative number means no limit.
    pub limit: i64,
    /// Read from here: forward, the publications after it; in reverse, those before it.
    pub since: Option<Position>,
    /// Newest first.
    pub reverse: bool,
}

impl HistoryFilter {
    /// Returns true if it asks for publications before the first possible one: a mistake, which Centrifugo v6.9 answers
    /// with error 107.
    #[must_use]
    pub fn is_backwards_from_nothing(&self) -> bool {
        self.reverse && self.since.as_ref().is_some_and(|since| since.offset == 0)
    }
}

/// A slice of a stream.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// The publications, oldest first unless read in reverse.
    pub publications: Vec<Arc<Publication>>,
    /// The top of the stream at the moment of reading.
    pub top: Position,
}

/// An event that a remote broker delivers to this node.
#[derive(Clone, Debug)]
pub enum BrokerEvent {
    /// A publication, in the order of its channel.
    Publication(Arc<Publication>),
    /// A client joined.
    Join(Arc<ClientInfo>),
    /// A client left.
    Leave(Arc<ClientInfo>),
}

/// Takes events of a remote broker and delivers them to the subscribers of this node.
///
/// Called by the broker's one reader per partition, so that order within a channel is kept. Never blocks; a
/// full inbox is reported by [`BrokerSink::has_room`], upon which the reader pauses.
pub trait BrokerSink: Send + Sync + 'static {
    /// Delivers one event. `epoch` is the stream's, empty without history.
    fn deliver(&self, channel: &str, epoch: &str, event: BrokerEvent);
    /// Returns true if the shards can take more.
    fn has_room(&self) -> bool;
}

/// A store and a bus for publications that lives outside of this process.
///
/// The memory broker is not one of these: it is part of the channel directory, which makes reading history
/// and starting a subscription one step.
///
/// # Contract
/// - Publications of one channel reach every node's sink in offset order. Losing some is allowed, and is
///   noticed; swapping them is not.
/// - An epoch belongs to one history. It is bound to [`Broker::incarnation`], so that a fail-over to a replica
///   that lacks acknowledged publications gives another epoch.
/// - After `subscribe` has answered `Ok`, every later publication reaches the sink, loss aside.
pub trait Broker: Send + Sync + 'static {
    /// Starts delivery into the sink. Called once, before anything else.
    fn attach(&self, sink: Arc<dyn BrokerSink>);
    /// Names the present life of the store: it changes whenever acknowledged publications may have been lost
    /// (fail-over, restart from disk, flush).
    fn incarnation(&self) -> Arc<str>;
    /// Stores (if the options say so) and sends a publication to the nodes that hold interest.
    fn publish(
        &self,
        channel: &str,
        data: Bytes,
        options: PublishOptions,
    ) -> Answer<Result<Published, BrokerError>>;
    /// Tells the nodes that hold interest that a client joined or left. At most once, never stored.
    fn publish_join_leave(
        &self,
        channel: &str,
        info: Arc<ClientInfo>,
        join: bool,
    ) -> Answer<Result<(), BrokerError>>;
    /// Reads a slice of a stream. Creates its position if there is none yet.
    fn history(
        &self,
        channel: &str,
        filter: HistoryFilter,
        options: HistoryOptions,
    ) -> Answer<Result<History, BrokerError>>;
    /// Drops the stored publications and keeps the position.
    fn remove_history(&self, channel: &str) -> Answer<Result<(), BrokerError>>;
    /// Asks for the channel's publications.
    fn subscribe(&self, channel: &str) -> Answer<Result<(), BrokerError>>;
    /// Asks for them no more.
    fn unsubscribe(&self, channel: &str) -> Answer<Result<(), BrokerError>>;
}
