//! Brokers: storage of publications, and their transport between nodes.
//!
//! An engine implements [`Broker`] and is given a [`Sink`], by which it delivers. The names it uses for places in a
//! stream are [`Place`]s; clients and the API see [`Position`]s, which the library composes from them.

use crate::answer::Answer;
use crate::engine::EngineHealth;
use crate::publication::{ClientInfo, Position, Publication, Tags};
use bytes::Bytes;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;

pub use crate::engine::sink::{Receive, Scope, Sink};

/// Errors of a broker.
#[derive(Debug, Error)]
#[non_exhaustive]
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

/// Result of a publish, as callers of a node see it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Published {
    /// The place of the publication in the stream, or the top of the stream when it was suppressed.
    /// Offset 0 and an empty epoch without history.
    pub position: Position,
    /// Nothing was stored nor delivered: the key was known or the version not new.
    pub suppressed: bool,
}

/// The slice of a stream to read, as callers of a node ask for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HistoryFilter {
    /// Most publications to return: 0 returns the position only, a negative number means no limit.
    pub limit: i64,
    /// Read from here: forward, the publications after it; in reverse, those before it.
    pub since: Option<Position>,
    /// Newest first.
    pub reverse: bool,
}

impl HistoryFilter {
    /// Selects the latest publications, newest first.
    #[must_use]
    pub const fn latest(limit: u32) -> Self {
        Self { limit: limit as i64, since: None, reverse: true }
    }

    /// Selects the publications after a position, oldest first.
    #[must_use]
    pub const fn after(position: Position, limit: u32) -> Self {
        Self { limit: limit as i64, since: Some(position), reverse: false }
    }

    /// Returns true if it asks for publications before the first possible one: a mistake, which Centrifugo v6.9 answers
    /// with error 107.
    #[must_use]
    pub fn is_backwards_from_nothing(&self) -> bool {
        self.reverse && self.since.as_ref().is_some_and(|since| since.offset == 0)
    }
}

/// A slice of a stream, as callers of a node see it.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// The publications, oldest first unless read in reverse.
    pub publications: Vec<Arc<Publication>>,
    /// The top of the stream at the moment of reading.
    pub top: Position,
}

/// One history of one channel, as its store names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StreamId {
    /// The life of the store: see [`Broker::incarnation`].
    pub incarnation: Arc<str>,
    /// The store's name for this history of the channel. Another one once the stream was dropped and made again.
    pub epoch: Arc<str>,
}

/// A place in a stream, as its store names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The stream.
    pub stream: StreamId,
    /// Offset of the last publication before this place; 0 where there was none yet.
    pub offset: u64,
}

/// Effect of a publish on a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Receipt {
    /// The publication was stored at this place, and is delivered.
    Stored(Place),
    /// It is delivered, and was not stored: the channel keeps no history.
    Sent,
    /// Neither. The idempotency key was known, and this is the place that the first publish with it was given; or the
    /// version was not new, and this is the top of the stream.
    Suppressed(Option<Place>),
}

/// Most publications to return.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// All that are kept.
    All,
    /// At most so many.
    Most(NonZeroUsize),
}

impl Limit {
    /// The number; `usize::MAX` for all.
    #[must_use]
    pub const fn count(self) -> usize {
        match self {
            Self::All => usize::MAX,
            Self::Most(count) => count.get(),
        }
    }
}

/// The slice of a stream to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read {
    /// Its top alone, without publications.
    Top,
    /// Publications from the oldest one that is kept, oldest first.
    Oldest {
        /// Most publications.
        limit: Limit,
    },
    /// The latest publications, newest first.
    Latest {
        /// Most publications.
        limit: Limit,
    },
    /// Those after a place, oldest first. If the place is older than what is kept, from the oldest one that is kept.
    After {
        /// The place.
        since: Since,
        /// Most publications.
        limit: Limit,
    },
    /// Those before a place, newest first.
    Before {
        /// The place.
        since: Since,
        /// Most publications.
        limit: Limit,
    },
}

/// A place to read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Since {
    /// The offset.
    pub offset: u64,
    /// Epoch of the stream that the offset is of. `None` means the present one.
    pub epoch: Option<Arc<str>>,
}

impl From<Position> for Since {
    /// A position with an empty epoch is one of the present epoch.
    fn from(Position { offset, epoch }: Position) -> Self {
        Self { offset, epoch: (!epoch.is_empty()).then_some(epoch) }
    }
}

impl Read {
    /// The place to read from, if it is given.
    #[must_use]
    pub const fn since(&self) -> Option<&Since> {
        match self {
            Self::Top | Self::Oldest { .. } | Self::Latest { .. } => None,
            Self::After { since, .. } | Self::Before { since, .. } => Some(since),
        }
    }

    pub(crate) const fn since_mut(&mut self) -> Option<&mut Since> {
        match self {
            Self::Top | Self::Oldest { .. } | Self::Latest { .. } => None,
            Self::After { since, .. } | Self::Before { since, .. } => Some(since),
        }
    }
}

impl From<HistoryFilter> for Read {
    fn from(filter: HistoryFilter) -> Self {
        let HistoryFilter { limit, since, reverse } = filter;
        let limit = match usize::try_from(limit) {
            Err(_) => Limit::All,
            Ok(limit) => match NonZeroUsize::new(limit) {
                Some(limit) => Limit::Most(limit),
                None => return Self::Top,
            },
        };
        match (since.map(Since::from), reverse) {
            (None, false) => Self::Oldest { limit },
            (None, true) => Self::Latest { limit },
            (Some(since), false) => Self::After { since, limit },
            (Some(since), true) => Self::Before { since, limit },
        }
    }
}

/// A slice of a stream.
#[derive(Clone, Debug)]
pub struct Slice {
    /// The publications, in the order that the read asks for.
    pub publications: Vec<Arc<Publication>>,
    /// The top of the stream at the moment of reading.
    pub top: Place,
}

/// A client joined a channel, or left it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JoinLeave {
    /// It joined.
    Join(Arc<ClientInfo>),
    /// It left.
    Leave(Arc<ClientInfo>),
}

/// Something that a broker delivers to the subscribers of a node.
#[derive(Clone, Debug)]
pub enum Event {
    /// A publication, in the order of its channel.
    Publication(Arc<Publication>),
    /// A client joined or left.
    JoinLeave(JoinLeave),
}

/// A change of a node's interest in a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// The node has subscribers: deliver.
    Wanted,
    /// It has none any more.
    Unwanted,
}

/// The loss of deliveries that a broker may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guarantee {
    /// Deliveries may be lost without anybody noticing. Positions are compared with the store from time to time: see
    /// [`channel_position_check_delay`](crate::Config::channel_position_check_delay).
    AtMostOnce,
    /// Every publication of a stream is delivered, or [`Sink::interrupted`] says that some may not have been. The store
    /// is not asked for comparison.
    Gapless,
}

/// A store of publications, and their transport between nodes, outside of this process.
///
/// The memory engine is not one of these: it is part of the channel directory, which makes reading history and starting
/// a subscription one step.
///
/// # Streams
/// A channel with history has a stream. Its publications have consecutive offsets from 1; the oldest are dropped, the
/// top stays. Three names make a place in it: the *incarnation* of the store, the *epoch* of the stream, the *offset*.
///
/// ```text
/// incarnation "a"                                    │ "b": a replica takes over, 7 and 8 are lost
///                                                    │
/// epoch "e"    1   2   3   4   5   6   7   8         │ epoch "e"   5   6   7'
///              ╎dropped╎   └── kept ───────┘         │             └─ kept ┘
///                                          ▲ top     │                     ▲ top
///                                          │         │                     │
///            clients have ("a.e", 8) ──────┘         │  they are now at ("b.e", 7)
/// ```
///
/// Clients and callers of the API see an epoch that is composed of both names, `a.e` above. A client that returns with
/// offset 8 of `a.e` is told that it was not recovered, although the stream kept its own name; without the incarnation
/// it would be given publication 9 after 8, and never miss 7'. A broker can therefore not forget to change epochs after
/// a fail-over. It has to know one thing: of which life of the store an answer or a delivery is.
///
/// # Contract
/// - Publications of one channel reach every sink in offset order, each from the moment at which interest was confirmed
///   on. Losing and repeating some is allowed ([`Guarantee::AtMostOnce`]) and is noticed; swapping them is not.
/// - An offset is given once in a stream, and a [`Place`] names the incarnation of the connection that it came by.
/// - [`Broker::incarnation`] changes before the first answer or delivery of a new life is given.
/// - A publish with a known idempotency key, or a version that is not new, stores and delivers nothing.
/// - Reads and publishes of one channel are linearizable: a read that begins after a publish was answered sees it.
/// - Joins and leaves are delivered at most once, and never stored.
/// - No method blocks. What has to wait is [`Answer::Later`]; the library polls at most
///   [`max_calls_in_flight`](crate::Config::max_calls_in_flight) of those at once, and drops one that takes longer than
///   [`hook_timeout`](crate::Config::hook_timeout).
///
/// The crate `spinward-test` has a suite that tests a broker against this contract.
pub trait Broker: Send + Sync + 'static {
    /// Name of the engine, for logs.
    fn name(&self) -> &'static str;

    /// Starts delivery into the sink. Called once, before anything else.
    ///
    /// The sink does not keep the node alive. A task that delivers ends once [`Sink::is_closed`], or on
    /// [`Broker::close`].
    ///
    /// # Errors
    /// The broker cannot be used at all, such as for its settings. A store that cannot be reached yet is not an error:
    /// see [`Broker::health`].
    fn start(&self, sink: Sink) -> Result<(), BrokerError>;

    /// The loss that deliveries may have.
    fn guarantee(&self) -> Guarantee {
        Guarantee::AtMostOnce
    }

    /// The present life of the store that serves a channel, as this node knows it. It changes whenever acknowledged
    /// publications may have been lost: by a fail-over, a restart from disk, a flush. A life never returns.
    fn incarnation(&self, channel: &str) -> Arc<str>;

    /// Stores a publication, if the options say so, and sends it to the nodes that are interested.
    fn publish(
        &self,
        channel: &str,
        data: Bytes,
        options: PublishOptions,
    ) -> Answer<Result<Receipt, BrokerError>>;

    /// Tells the nodes that are interested that a client joined or left. At most once, never stored.
    fn announce(&self, channel: &str, change: JoinLeave) -> Answer<Result<(), BrokerError>>;

    /// Reads a slice of a stream. A stream that does not exist yet is made, or shown as if it had been: its top is
    /// offset 0 of an epoch that stays until the stream is dropped.
    ///
    /// A place of another epoch is [`BrokerError::UnrecoverablePosition`].
    fn read(&self, channel: &str, read: Read, history: HistoryOptions) -> Answer<Result<Slice, BrokerError>>;

    /// Drops the stored publications of a channel, and keeps its position.
    fn forget(&self, channel: &str) -> Answer<Result<(), BrokerError>>;

    /// Channels whose publications this node wants from now on, or no longer wants. Each change is answered by
    /// [`Sink::interest`], and a channel has no second one until then. Called by one task, in batches.
    /// A change that is not answered within [`hook_timeout`](crate::Config::hook_timeout) is given up, and another one of
    /// the channel may follow: changes have their effect in the order of the calls, and late answers are told too.
    ///
    /// A confirmed interest is the broker's to keep: after a connection was lost it asks its store again for all of
    /// [`Sink::wanted`], then calls [`Sink::interrupted`].
    fn interest(&self, changes: &[(Arc<str>, Interest)]);

    /// State of the connection to the store. Must not block.
    fn health(&self) -> EngineHealth {
        EngineHealth::Up
    }

    /// Ends every task and connection. Called when the node has shut down; what is asked afterwards may fail.
    fn close(&self) -> Answer<()> {
        Answer::Now(())
    }
}
