//! Channel events: the back end is told when a channel gets its first subscriber on this node and when the last one has
//! left, by the state proxy. See `docs/adr/0046-channel-events.md`.
//!
//! The library's hooks say that something has changed; the [`ledger`] is then given the state that the node has, since
//! the calls of two shards may come in another order than the changes. One task sends what the ledger hands out.

mod ledger;

pub(crate) use ledger::Counts;
pub use ledger::{ChannelEvent, Limits};

use super::reporting::{self, sleep};
use super::{ActiveConfig, ServerHooks, Shared};
use crate::channel::Registry;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use ledger::{Kinds, Ledger};
use parking_lot::Mutex;
use spinward::clock::Clock;
use spinward::id::Entropy;
use spinward::{Node, WeakNode};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::{Notify, watch};

/// Events of a node's channels, for one request of a state proxy.
#[derive(Clone, Debug)]
pub struct ChannelState {
    /// The name of the node.
    pub node: Arc<str>,
    /// The id of the node, which is new with each start.
    pub node_id: Arc<str>,
    /// Events, in their order.
    pub events: Vec<ChannelEvent>,
}

/// Outcome of a request of a state proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// The back end has confirmed it.
    Confirmed,
    /// It has to be repeated.
    Failed,
    /// The configuration has no such proxy.
    NoProxy,
}

/// Channel events of this node.
#[derive(Clone)]
pub struct ChannelEvents(Arc<Inner>);

struct Inner {
    active: Shared<ActiveConfig>,
    clock: Clock,
    entropy: Entropy,
    ledger: Mutex<Ledger>,
    node: OnceLock<WeakNode>,
    /// There may be something to send.
    work: Notify,
    /// A request has ended.
    progress: Notify,
    stopping: AtomicBool,
    told: reporting::Told,
}

/// The state proxy of a channel, and the events that it wants.
fn wanted<'a>(registry: &'a Registry, channel: &'a str) -> Option<(&'a str, Kinds)> {
    let options = registry.resolve(channel).namespace?.options();
    options.state_proxy_enabled.then(|| {
        let events = &options.state_events;
        let wants = |name| events.is_empty() || events.iter().any(|event| event == name);
        let kinds = Kinds { occupied: wants("occupied"), vacated: wants("vacated") };
        (options.state_proxy_name.as_str(), kinds)
    })
}

/// The state proxy of a channel, and the events that it gets from the first subscriber to the last.
pub(super) fn example<'a>(
    registry: &'a Registry,
    channel: &'a str,
    time_ms: i64,
) -> Option<(&'a str, Vec<ChannelEvent>)> {
    let (proxy, kinds) = wanted(registry, channel)?;
    let wanted = [true, false].into_iter().filter(|occupied| kinds.want(*occupied));
    let events = (1..).zip(wanted);
    let events =
        events.map(|(seq, occupied)| ChannelEvent { channel: channel.into(), occupied, time_ms, seq });
    Some((proxy, events.collect()))
}

impl ServerHooks {
    /// Reports channels that get their first subscriber or lose their last one.
    #[must_use]
    pub(crate) fn with_channel_events(self, events: ChannelEvents) -> Self {
        Self { channel_events: Some(events), ..self }
    }

    pub(super) fn channel_changed(&self, channel: &str) {
        if let Some(events) = &self.channel_events {
            events.changed(channel);
        }
    }
}

impl ChannelEvents {
    /// Events of channels, by the active configuration.
    pub(crate) fn new(active: Shared<ActiveConfig>, clock: Clock) -> Self {
        let limits = active.get().settings.channel_events.unwrap_or_default();
        Self(Arc::new(Inner {
            active,
            clock,
            entropy: Entropy::system(),
            ledger: Mutex::new(Ledger::new(limits)),
            node: OnceLock::new(),
            work: Notify::new(),
            progress: Notify::new(),
            stopping: AtomicBool::new(false),
            told: reporting::Told::default(),
        }))
    }

    /// Names the node whose channels these are. Before that, nothing is reported.
    pub(super) fn attach(&self, node: &Node) {
        let _ = self.0.node.set(node.downgrade());
    }

    /// Something has changed about a channel: its first subscriber has come, or its last one has left.
    fn changed(&self, channel: &str) {
        let active = self.0.active.get();
        // Without a namespace that asks for events this is all there is to do.
        if active.settings.channel_events.is_none() {
            return;
        }
        let Some(wanted) = wanted(&active.rules.registry, channel) else { return };
        let Some(node) = self.0.node.get().and_then(WeakNode::upgrade) else { return };
        let now = self.0.clock.now();
        {
            let mut ledger = self.0.ledger.lock();
            // Read under the lock: the last of several calls sees the last of the changes.
            ledger.set(channel, node.is_occupied(channel), wanted, (now.mono, now.wall));
        }
        self.0.work.notify_one();
    }

    /// Takes up an exchanged configuration: forgets channels that are not reported any longer, and reports those that
    /// are from now on.
    pub(crate) fn reloaded(&self) {
        let active = self.0.active.get();
        let registry = &active.rules.registry;
        let same = |channel: &str, proxy: &str, kinds| wanted(registry, channel) == Some((proxy, kinds));
        if let Some(limits) = active.settings.channel_events
            && !self.0.stopping.load(Relaxed)
        {
            self.0.ledger.lock().set_limits(limits);
        }
        self.0.ledger.lock().retain(same);
        if active.settings.channel_events.is_some()
            && let Some(node) = self.0.node.get().and_then(WeakNode::upgrade)
        {
            let occupied = node.channels(|channel| wanted(registry, channel).is_some());
            occupied.iter().for_each(|(channel, _)| self.changed(channel));
        }
        self.0.work.notify_one();
    }

    /// Counts since the start.
    pub(crate) fn counts(&self) -> Counts {
        self.0.ledger.lock().counts()
    }

    /// Sends events until the server has stopped.
    pub(crate) async fn run(self, mut ended: watch::Receiver<bool>) {
        let inner = &self.0;
        let mut requests = FuturesUnordered::new();
        loop {
            let now = inner.clock.now().mono;
            let (due, next) = {
                let mut ledger = inner.ledger.lock();
                (ledger.take(now), ledger.next())
            };
            requests.extend(due.into_iter().map(|(proxy, events)| self.request(proxy, events)));
            if let Some(dropped) = inner.told.due(self.counts().dropped, now) {
                tracing::warn!(
                    dropped,
                    "channel events were dropped: channel.state.max_waiting events wait for the state proxy"
                );
            }
            let wait = next.map_or(Duration::MAX, |next| Duration::from_millis(next.saturating_sub(now)));
            tokio::select! {
                _ = ended.wait_for(|ended| *ended) => return,
                () = inner.work.notified() => {}
                () = sleep(wait) => {}
                Some((proxy, told)) = requests.next(), if !requests.is_empty() => {
                    let (now, random) = (inner.clock.now().mono, inner.entropy.number());
                    inner.ledger.lock().finished(&proxy, told != Told::Failed, now, random);
                    inner.progress.notify_one();
                }
            }
        }
    }

    fn request(&self, proxy: Arc<str>, events: Vec<ChannelEvent>) -> BoxFuture<'static, (Arc<str>, Told)> {
        let node = self.0.node.get().and_then(WeakNode::upgrade);
        let (node, node_id) =
            node.map_or_else(Default::default, |node| (node.name().into(), node.id().to_string().into()));
        let state = ChannelState { node, node_id, events };
        let told = self.0.active.get().proxies.channel_state(&proxy, &state);
        Box::pin(async move { (proxy, told.wait().await) })
    }

    /// Sends what is left, at most for this time: delays are over, since nobody comes back to a node that is gone.
    pub(crate) async fn finish(&self, time: Duration) {
        self.0.stopping.store(true, Relaxed);
        self.0.ledger.lock().hurry();
        self.0.work.notify_one();
        let sent = async {
            while self.0.ledger.lock().is_busy() {
                self.0.progress.notified().await;
            }
        };
        if tokio::time::timeout(time, sent).await.is_err() {
            let lost = self.counts().waiting;
            tracing::warn!(lost, "stopped before all channel events were taken by the state proxy");
        }
    }
}
