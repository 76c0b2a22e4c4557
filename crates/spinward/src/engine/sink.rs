//! The way from an engine back into its node.

use crate::answer::BoxFuture;
use crate::engine::broker::{BrokerError, Event, Interest, StreamId};
use std::fmt;
use std::sync::{Arc, Weak};

/// The node as its broker sees it. Clones are the same one; none keeps the node alive.
///
/// Deliveries of one channel come from one task, so that their order is kept. None of this blocks. A task that delivers
/// waits for [`Sink::room`] before each publication, so that its own input backs up while subscribers are behind.
#[derive(Clone)]
pub struct Sink(Weak<dyn Receive>);

/// Channels that something applies to.
#[derive(Clone, Copy, Debug)]
pub enum Scope<'a> {
    /// Every channel.
    All,
    /// These.
    Channels(&'a [&'a str]),
}

impl Scope<'_> {
    /// Returns true if a channel is one of them.
    #[must_use]
    pub fn contains(&self, channel: &str) -> bool {
        match self {
            Self::All => true,
            Self::Channels(channels) => channels.contains(&channel),
        }
    }
}

/// A target of a [`Sink`]: a node, or the recorder of a test.
pub trait Receive: Send + Sync + 'static {
    /// See [`Sink::deliver`].
    fn deliver(&self, channel: &str, stream: Option<&StreamId>, event: Event);
    /// See [`Sink::interest`].
    fn interest(&self, channel: &str, asked: Interest, result: Result<(), BrokerError>);
    /// See [`Sink::interrupted`].
    fn interrupted(&self, scope: Scope<'_>);
    /// See [`Sink::replaced`].
    fn replaced(&self, scope: Scope<'_>, incarnation: &str);
    /// See [`Sink::wanted`].
    fn wanted(&self) -> Vec<Arc<str>>;
    /// See [`Sink::has_room`].
    fn has_room(&self, channel: &str) -> bool;
    /// See [`Sink::room`]. The future does not keep the target alive.
    fn room(self: Arc<Self>, channel: &str) -> BoxFuture<()>;
}

impl Sink {
    /// A sink that does not keep its target alive.
    #[must_use]
    pub fn new<T: Receive>(target: &Arc<T>) -> Self {
        let target: Weak<T> = Arc::downgrade(target);
        Self(target)
    }

    /// Returns true once the node is gone: nothing that is delivered reaches anybody.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.strong_count() == 0
    }

    /// Delivers one event to the subscribers of a channel. `stream` is that of a publication that was stored, whose
    /// offset is in [`Publication::offset`](crate::Publication::offset).
    ///
    /// The channel is the one that interest was asked for. Where that is a pattern, the publication says its own:
    /// [`Publication::channel`](crate::Publication::channel).
    pub fn deliver(&self, channel: &str, stream: Option<&StreamId>, event: Event) {
        if let Some(target) = self.0.upgrade() {
            target.deliver(channel, stream, event);
        }
    }

    /// Answers a change of interest. After `Ok` to [`Interest::Wanted`] every later publication is delivered, loss
    /// aside.
    ///
    /// An error for a channel whose interest was confirmed before says that it has been lost. The library then asks
    /// again, about once a second, while there are subscribers.
    pub fn interest(&self, channel: &str, asked: Interest, result: Result<(), BrokerError>) {
        if let Some(target) = self.0.upgrade() {
            target.interest(channel, asked, result);
        }
    }

    /// Deliveries of these channels may be missing: their positions are compared with the store at once, and
    /// subscribers that lost something are told. To be called once delivery goes on.
    pub fn interrupted(&self, scope: Scope<'_>) {
        if let Some(target) = self.0.upgrade() {
            target.interrupted(scope);
        }
    }

    /// The store of these channels began a new life: every epoch of an earlier one is over, and subscribers that count
    /// on one are told at once.
    pub fn replaced(&self, scope: Scope<'_>, incarnation: &str) {
        if let Some(target) = self.0.upgrade() {
            target.replaced(scope, incarnation);
        }
    }

    /// Channels that this node wants, to ask a store again for after a connection was lost. This is the one table of
    /// them; a broker needs none of its own.
    #[must_use]
    pub fn wanted(&self) -> Vec<Arc<str>> {
        self.0.upgrade().map_or_else(Vec::new, |target| target.wanted())
    }

    /// Returns true if the subscribers of a channel can take more.
    #[must_use]
    pub fn has_room(&self, channel: &str) -> bool {
        self.0.upgrade().is_none_or(|target| target.has_room(channel))
    }

    /// Waits until the subscribers of a channel can take more.
    pub async fn room(&self, channel: &str) {
        let room = self.0.upgrade().map(|target| target.room(channel));
        if let Some(room) = room {
            room.await;
        }
    }
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sink").field("closed", &self.is_closed()).finish()
    }
}
