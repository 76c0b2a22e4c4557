//! Deliveries: connections for Pub/Sub alone, one for each server, whose channels are asked for again after each loss.
//!
//! ```text
//!  Subscriptions ──> Feed of a server ──> Link (the connection) ──> Parked (waits for room) ──> Sink
//!        └── of a cluster: one feed for each node, by the map of hash slots
//! ```
//!
//! The node is the one table of what is wanted (`Sink::wanted`). The subscriptions of redis-rs are not used: in a
//! cluster they are lost with the connection.

mod feed;
mod link;
pub(super) mod message;
mod parked;
mod resp;
mod source;

use super::cluster::Cluster;
use super::config::Endpoint;
use super::connection::Task;
use super::keys::Kind;
use super::pool::{Mode, Shard};
use super::slots::{SlotMap, slot};
use feed::{Change, Changes, Feed, add};
use parking_lot::Mutex;
use source::Source;
use spinward::engine::broker::{Interest, Sink};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

pub(super) use feed::Context;

/// Time that the node waits at most for an answer while it is not known who serves a channel.
const PATIENCE: Duration = Duration::from_secs(1);

/// The deliveries of one shard. They end with this value.
pub(super) struct Subscriptions {
    shared: Arc<Shared>,
    _task: Task,
}

struct Shared {
    context: Context,
    /// Place of the shard among all, and their number.
    index: usize,
    count: usize,
    feeds: Mutex<Feeds>,
}

#[derive(Default)]
struct Feeds {
    /// Changes of channels that nobody is known to serve.
    waiting: Changes,
    kind: FeedsKind,
}

#[derive(Default)]
enum FeedsKind {
    /// The shard has not answered yet.
    #[default]
    Unknown,
    One(Feed),
    Nodes {
        cluster: Arc<Cluster>,
        feeds: BTreeMap<Endpoint, Feed>,
    },
    Closed,
}

impl Subscriptions {
    /// Starts to deliver what is asked for.
    pub(super) fn start(context: Context, shard: Arc<Shard>, index: usize, count: usize) -> Self {
        let shared = Arc::new(Shared { context, index, count, feeds: Mutex::default() });
        let task = Task::spawn(Arc::clone(&shared).run(shard));
        Self { shared, _task: task }
    }

    /// Changes of interest of channels of this shard. Each is answered by [`Sink::interest`].
    pub(super) fn change(&self, changes: Vec<(Arc<str>, Interest)>) {
        let changes = changes.into_iter().map(|(channel, asked)| match asked {
            Interest::Wanted => (channel, Change::Want),
            Interest::Unwanted => (channel, Change::Drop),
        });
        self.shared.route(&mut self.shared.feeds.lock(), changes.collect());
    }

    /// Reason why nothing is delivered, or not everything, if that is so.
    pub(super) fn down(&self) -> Option<String> {
        match &self.shared.feeds.lock().kind {
            FeedsKind::Unknown => Some("no deliveries yet".to_owned()),
            FeedsKind::One(feed) => feed.down(),
            FeedsKind::Nodes { feeds, .. } => feeds.values().find_map(Feed::down),
            FeedsKind::Closed => Some("closed".to_owned()),
        }
    }

    /// Ends all deliveries.
    pub(super) fn close(&self) {
        let mut feeds = self.shared.feeds.lock();
        *feeds = Feeds { waiting: Changes::new(), kind: FeedsKind::Closed };
    }
}

impl Shared {
    async fn run(self: Arc<Self>, shard: Arc<Shard>) {
        let mode = loop {
            match timeout(PATIENCE, shard.settled()).await {
                Ok(Some(mode)) => break mode,
                Ok(None) => return,
                Err(_) => self.give_up(&shard.down().unwrap_or_default()),
            }
        };
        drop(shard);
        self.context.keys.settle(matches!(mode, Mode::Cluster(_)));
        let (index, count) = (self.index, self.count);
        match mode {
            Mode::One(server) => {
                let feed = Feed::start(self.context.clone(), Source::One { server, index, count });
                self.set(FeedsKind::One(feed));
            }
            Mode::Cluster(cluster) => {
                let mut maps = cluster.maps();
                self.set(FeedsKind::Nodes { cluster: Arc::clone(&cluster), feeds: BTreeMap::new() });
                let mut before = Arc::<SlotMap>::default();
                drop(cluster);
                loop {
                    let map = Arc::clone(&maps.borrow_and_update());
                    self.rearrange(&before, &map);
                    before = map;
                    match timeout(PATIENCE, maps.changed()).await {
                        Ok(Ok(())) => {}
                        Ok(Err(_)) => return,
                        Err(_) => self.give_up("nobody serves its hash slot"),
                    }
                }
            }
            Mode::Unknown | Mode::Closed => {}
        }
    }

    fn set(&self, kind: FeedsKind) {
        let mut feeds = self.feeds.lock();
        if !matches!(feeds.kind, FeedsKind::Closed) {
            feeds.kind = kind;
            let waiting = std::mem::take(&mut feeds.waiting);
            self.route(&mut feeds, waiting);
        }
    }

    /// Gives changes to the feeds that they are for.
    fn route(&self, feeds: &mut Feeds, changes: Changes) {
        match &mut feeds.kind {
            FeedsKind::Unknown => {
                changes.into_iter().for_each(|(channel, change)| add(&mut feeds.waiting, channel, change));
            }
            FeedsKind::One(feed) => feed.change(changes),
            FeedsKind::Nodes { cluster, feeds: nodes } => {
                let map = cluster.map();
                let mut by_node: BTreeMap<&Endpoint, Vec<(Arc<str>, Change)>> = BTreeMap::new();
                for (channel, change) in changes {
                    match map.owner(self.slot(&channel)) {
                        Some(endpoint) => by_node.entry(endpoint).or_default().push((channel, change)),
                        None => add(&mut feeds.waiting, channel, change),
                    }
                }
                for (endpoint, changes) in by_node {
                    let feed = nodes.entry(endpoint.clone()).or_insert_with(|| {
                        let (cluster, endpoint) = (Arc::clone(cluster), endpoint.clone());
                        let (index, count) = (self.index, self.count);
                        Feed::start(self.context.clone(), Source::Node { cluster, endpoint, index, count })
                    });
                    feed.change(changes);
                }
            }
            FeedsKind::Closed => {}
        }
    }

    fn slot(&self, channel: &str) -> u16 {
        slot(&self.context.keys.of(Kind::Channel, channel))
    }

    /// The map of a cluster has changed: channels of slots with another primary move to its feed.
    fn rearrange(&self, before: &SlotMap, map: &SlotMap) {
        let moved = |slot| before.owner(slot) != map.owner(slot);
        let known = !before.endpoints().is_empty();
        // The node has locks of its own.
        let wanted = if known { self.context.sink.wanted() } else { Vec::new() };
        let mut feeds = self.feeds.lock();
        let mut changes = std::mem::take(&mut feeds.waiting);
        if let FeedsKind::Nodes { feeds: nodes, .. } = &mut feeds.kind {
            for feed in nodes.values() {
                for (channel, change) in feed.take(|channel| moved(self.slot(channel))) {
                    // What one node was to stop is not delivered by another one.
                    if change != Change::Leave {
                        add(&mut changes, channel, change);
                    }
                }
            }
            let mut leaves: BTreeMap<&Endpoint, Vec<(Arc<str>, Change)>> = BTreeMap::new();
            for channel in wanted {
                let slot = self.slot(&channel);
                let mine = super::jump::bucket(&channel, self.count) == self.index;
                if !mine || !moved(slot) {
                    continue;
                }
                if let Some(former) = before.owner(slot) {
                    leaves.entry(former).or_default().push((Arc::clone(&channel), Change::Leave));
                }
                add(&mut changes, channel, Change::Again);
            }
            for (endpoint, leaves) in leaves {
                if let Some(feed) = nodes.get(endpoint) {
                    feed.change(leaves);
                }
            }
            nodes.retain(|endpoint, _| map.endpoints().contains(endpoint));
        }
        self.route(&mut feeds, changes);
    }

    /// Answers what has waited for too long: the node asks again.
    fn give_up(&self, reason: &str) {
        let waiting = std::mem::take(&mut self.feeds.lock().waiting);
        let sink: &Sink = &self.context.sink;
        for (channel, change) in waiting {
            match change {
                Change::Want => {
                    let server = "that serves the channel".to_owned();
                    let error = super::Error::Unavailable { server, reason: reason.to_owned() };
                    sink.interest(&channel, Interest::Wanted, Err(error.into()));
                }
                Change::Drop => sink.interest(&channel, Interest::Unwanted, Ok(())),
                Change::Again | Change::Leave => {}
            }
        }
    }
}
