//! A node as a broker sees it, which writes down what it is told.

use spinward::Publication;
use spinward::answer::BoxFuture;
use spinward::engine::broker::{BrokerError, Event, Interest, JoinLeave, Receive, Scope, Sink, StreamId};
use std::collections::BTreeSet;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

/// A target of a broker's sink that writes down what it is told.
#[derive(Default)]
pub struct Recorder(Mutex<Recorded>);

/// One delivery.
#[derive(Clone, Debug)]
pub struct Delivered {
    /// Channel that it was delivered to.
    pub channel: String,
    /// Stream of a stored publication.
    pub stream: Option<StreamId>,
    /// The event.
    pub event: Event,
}

#[derive(Default)]
struct Recorded {
    delivered: Vec<Delivered>,
    answers: Vec<(String, Interest, bool)>,
    interrupted: Vec<Option<Vec<String>>>,
    replaced: Vec<String>,
    wanted: BTreeSet<Arc<str>>,
    full: bool,
    waiting: Vec<Waker>,
}

impl Recorder {
    /// A recorder that has room.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// A sink to start a broker with.
    #[must_use]
    pub fn sink(self: &Arc<Self>) -> Sink {
        Sink::new(self)
    }

    fn lock(&self) -> MutexGuard<'_, Recorded> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything that was delivered to a channel.
    #[must_use]
    pub fn delivered(&self, channel: &str) -> Vec<Delivered> {
        self.lock().delivered.iter().filter(|one| one.channel == channel).cloned().collect()
    }

    /// The publications among them, with their streams.
    #[must_use]
    pub fn publications(&self, channel: &str) -> Vec<(Option<StreamId>, Arc<Publication>)> {
        let publication = |one: Delivered| match one.event {
            Event::Publication(publication) => Some((one.stream, publication)),
            Event::JoinLeave(_) => None,
        };
        self.delivered(channel).into_iter().filter_map(publication).collect()
    }

    /// The joins and leaves among them.
    #[must_use]
    pub fn joins_and_leaves(&self, channel: &str) -> Vec<JoinLeave> {
        let change = |one: Delivered| match one.event {
            Event::JoinLeave(change) => Some(change),
            Event::Publication(_) => None,
        };
        self.delivered(channel).into_iter().filter_map(change).collect()
    }

    /// Answers to requests for interest in a channel.
    #[must_use]
    pub fn answers(&self, channel: &str) -> Vec<(Interest, bool)> {
        let recorded = self.lock();
        let answers = recorded.answers.iter().filter(|(name, ..)| name == channel);
        answers.map(|(_, asked, ok)| (*asked, *ok)).collect()
    }

    /// Returns true if the broker has said that deliveries of a channel may be missing.
    #[must_use]
    pub fn was_interrupted(&self, channel: &str) -> bool {
        self.interruptions(channel) > 0
    }

    /// Number of times that the broker has said so.
    #[must_use]
    pub fn interruptions(&self, channel: &str) -> usize {
        let of = |scope: &&Option<Vec<String>>| {
            scope.as_ref().is_none_or(|channels| channels.iter().any(|name| name == channel))
        };
        self.lock().interrupted.iter().filter(of).count()
    }

    /// Incarnations that the broker has announced.
    #[must_use]
    pub fn replaced(&self) -> Vec<String> {
        self.lock().replaced.clone()
    }

    /// Sets whether a channel is among those that the node wants.
    pub fn set_wanted(&self, channel: &str, wanted: bool) {
        let mut recorded = self.lock();
        if wanted {
            recorded.wanted.insert(channel.into());
        } else {
            recorded.wanted.remove(channel);
        }
    }

    /// Sets whether the node takes no more.
    pub fn set_full(&self, full: bool) {
        let mut recorded = self.lock();
        recorded.full = full;
        if !full {
            recorded.waiting.drain(..).for_each(Waker::wake);
        }
    }
}

/// A recorder by its future, which does not keep it alive.
async fn room(recorder: std::sync::Weak<Recorder>) {
    poll_fn(|cx| {
        let Some(recorder) = recorder.upgrade() else { return Poll::Ready(()) };
        let mut recorded = recorder.lock();
        if !recorded.full {
            return Poll::Ready(());
        }
        recorded.waiting.push(cx.waker().clone());
        Poll::Pending
    })
    .await;
}

impl Receive for Recorder {
    fn deliver(&self, channel: &str, stream: Option<&StreamId>, event: Event) {
        let delivered = Delivered { channel: channel.to_owned(), stream: stream.cloned(), event };
        self.lock().delivered.push(delivered);
    }

    fn interest(&self, channel: &str, asked: Interest, result: Result<(), BrokerError>) {
        self.lock().answers.push((channel.to_owned(), asked, result.is_ok()));
    }

    fn interrupted(&self, scope: Scope<'_>) {
        let scope = match scope {
            Scope::All => None,
            Scope::Channels(channels) => Some(channels.iter().map(|name| (*name).to_owned()).collect()),
        };
        self.lock().interrupted.push(scope);
    }

    fn replaced(&self, _: Scope<'_>, incarnation: &str) {
        self.lock().replaced.push(incarnation.to_owned());
    }

    fn wanted(&self) -> Vec<Arc<str>> {
        self.lock().wanted.iter().cloned().collect()
    }

    fn has_room(&self, _: &str) -> bool {
        !self.lock().full
    }

    fn room(self: Arc<Self>, _: &str) -> BoxFuture<()> {
        Box::pin(room(Arc::downgrade(&self)))
    }
}
