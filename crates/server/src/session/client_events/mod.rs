//! Client events: the back end is told of connections and subscriptions that begin and end on this node. See
//! `docs/adr/0047-client-events.md`.
//!
//! The library's hooks put events into a [`queue`]; one task sends them.

mod queue;

pub(crate) use queue::Counts;
pub use queue::{ClientEvent, Kind, Limits, Login};

use super::channel_events::Told;
use super::reporting::{self, sleep};
use super::{ActiveConfig, Shared};
use parking_lot::Mutex;
use queue::Queue;
use spinward::clock::Clock;
use spinward::id::Entropy;
use spinward::wire::code::{DisconnectCode, UnsubscribeCode};
use spinward::{Client, Node, WeakNode};
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::{Notify, watch};

/// Events of a node's clients, for one request.
#[derive(Clone, Debug)]
pub struct ClientReport {
    /// The name of the node.
    pub node: Arc<str>,
    /// The id of the node, which is new with each start.
    pub node_id: Arc<str>,
    /// Events, in their order.
    pub events: Vec<ClientEvent>,
}

/// Client events that a configuration asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Kinds of events.
    pub kinds: Vec<Kind>,
    /// Limits of the queue.
    pub limits: Limits,
}

/// Client events of this node.
#[derive(Clone)]
pub struct ClientEvents(Arc<Inner>);

struct Inner {
    active: Shared<ActiveConfig>,
    clock: Clock,
    entropy: Entropy,
    /// The kinds that are wanted, one bit each: all that a hook looks at where nothing is.
    kinds: AtomicU8,
    queue: Mutex<Queue>,
    node: OnceLock<WeakNode>,
    /// There may be something to send.
    work: Notify,
    /// A request has ended.
    progress: Notify,
    told: reporting::Told,
}

impl ClientEvents {
    /// Events of clients, by the active configuration.
    pub(crate) fn new(active: Shared<ActiveConfig>, clock: Clock) -> Self {
        let events = Self(Arc::new(Inner {
            active,
            clock,
            entropy: Entropy::system(),
            kinds: AtomicU8::new(0),
            queue: Mutex::new(Queue::new(Limits { max_waiting: 0, max_events: 0 })),
            node: OnceLock::new(),
            work: Notify::new(),
            progress: Notify::new(),
            told: reporting::Told::default(),
        }));
        events.reloaded();
        events
    }

    /// Names the node whose clients these are.
    pub(super) fn attach(&self, node: &Node) {
        let _ = self.0.node.set(node.downgrade());
    }

    /// Takes up an exchanged configuration.
    pub(crate) fn reloaded(&self) {
        let active = self.0.active.get();
        let mut queue = self.0.queue.lock();
        let kinds = match &active.settings.client_events {
            Some(wanted) => {
                queue.set_limits(wanted.limits);
                wanted.kinds.iter().fold(0, |bits, kind| bits | kind.bit())
            }
            None => {
                queue.clear();
                0
            }
        };
        self.0.kinds.store(kinds, Relaxed);
    }

    /// Counts since the start.
    pub(crate) fn counts(&self) -> Counts {
        self.0.queue.lock().counts()
    }

    fn wants(&self, kind: Kind) -> bool {
        self.0.kinds.load(Relaxed) & kind.bit() != 0
    }

    pub(super) fn connected(&self, client: &Client) {
        if self.wants(Kind::Connected) {
            let identity = client.identity();
            let login = Login {
                transport: identity.transport,
                protocol: identity.protocol,
                application: identity.application.clone(),
                labels: identity.labels.clone(),
            };
            self.push(ClientEvent { login: Some(Box::new(login)), ..self.event(Kind::Connected, client) });
        }
    }

    pub(super) fn disconnected(&self, client: &Client, code: &DisconnectCode) {
        if self.wants(Kind::Disconnected) {
            let end = Some((code.code, code.reason.as_ref().into()));
            self.push(ClientEvent { end, ..self.event(Kind::Disconnected, client) });
        }
    }

    pub(super) fn subscribed(&self, client: &Client, channel: &str) {
        if self.wants(Kind::Subscribed) {
            let channel = Some(channel.into());
            self.push(ClientEvent { channel, ..self.event(Kind::Subscribed, client) });
        }
    }

    pub(super) fn unsubscribed(&self, client: &Client, channel: &str, code: &UnsubscribeCode) {
        if self.wants(Kind::Unsubscribed) {
            let (channel, end) = (Some(channel.into()), Some((code.code, code.reason.as_ref().into())));
            self.push(ClientEvent { channel, end, ..self.event(Kind::Unsubscribed, client) });
        }
    }

    fn event(&self, kind: Kind, client: &Client) -> ClientEvent {
        let identity = client.identity();
        ClientEvent {
            seq: 0,
            time_ms: self.0.clock.now().wall,
            kind,
            client: identity.id,
            user: Arc::clone(&identity.user),
            channel: None,
            end: None,
            login: None,
        }
    }

    fn push(&self, event: ClientEvent) {
        self.0.queue.lock().push(event);
        self.0.work.notify_one();
    }

    /// Sends events until the server has stopped.
    pub(crate) async fn run(self, mut ended: watch::Receiver<bool>) {
        let inner = &self.0;
        loop {
            let now = inner.clock.now().mono;
            let (request, next) = {
                let mut queue = inner.queue.lock();
                (queue.take(now), queue.next())
            };
            if let Some(dropped) = inner.told.due(self.counts().dropped, now) {
                tracing::warn!(
                    dropped,
                    "client events were dropped: client.events.max_waiting events wait for the events proxy"
                );
            }
            if let Some(events) = request {
                let told = tokio::select! {
                    _ = ended.wait_for(|ended| *ended) => return,
                    told = self.request(events) => told,
                };
                let (now, random) = (inner.clock.now().mono, inner.entropy.number());
                inner.queue.lock().finished(told != Told::Failed, now, random);
                inner.progress.notify_one();
                continue;
            }
            let wait = next.map_or(Duration::MAX, |next| Duration::from_millis(next.saturating_sub(now)));
            tokio::select! {
                _ = ended.wait_for(|ended| *ended) => return,
                () = inner.work.notified() => {}
                () = sleep(wait) => {}
            }
        }
    }

    async fn request(&self, events: Vec<ClientEvent>) -> Told {
        let node = self.0.node.get().and_then(WeakNode::upgrade);
        let (node, node_id) =
            node.map_or_else(Default::default, |node| (node.name().into(), node.id().to_string().into()));
        let report = ClientReport { node, node_id, events };
        let told = self.0.active.get().proxies.client_events(&report);
        told.wait().await
    }

    /// Sends what is left, at most for this time.
    pub(crate) async fn finish(&self, time: Duration) {
        self.0.queue.lock().hurry();
        self.0.work.notify_one();
        let sent = async {
            while self.0.queue.lock().is_busy() {
                self.0.progress.notified().await;
            }
        };
        if tokio::time::timeout(time, sent).await.is_err() {
            let lost = self.counts().waiting;
            tracing::warn!(lost, "stopped before all client events were taken by the events proxy");
        }
    }
}
