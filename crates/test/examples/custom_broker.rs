//! A broker of one's own, tested by the conformance suite: a store in memory that the nodes of one process share.
//!
//! Run it with `cargo run -p spinward-test --example custom_broker`.

use bytes::Bytes;
use parking_lot::Mutex;
use spinward::answer::Answer;
use spinward::engine::broker::{
    Broker, BrokerError, Event, HistoryOptions, IDEMPOTENCY_TTL, Interest, JoinLeave, Place, PublishOptions,
    Read, Receipt, Scope, Sink, Slice, StreamId,
};
use spinward::publication::Publication;
use spinward_test::conformance::{self, BrokerHarness, Report};
use std::collections::hash_map::RandomState;
use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

/// Deliveries that may wait for one node. Beyond that they are dropped, and the node is told.
const QUEUE: usize = 1_024;

/// A delivery on its way to a node.
type Delivery = (Arc<str>, Option<StreamId>, Event);

/// The store. It lives as long as the process, so its incarnation never changes.
struct Store {
    incarnation: Arc<str>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    streams: HashMap<String, Stream>,
    keys: HashMap<(String, String), (Instant, Receipt)>,
    nodes: Vec<Option<Node>>,
}

struct Stream {
    id: StreamId,
    top: u64,
    kept: VecDeque<Arc<Publication>>,
    expires: Instant,
    version: (u64, String),
}

/// A node that is connected.
struct Node {
    wanted: HashSet<Arc<str>>,
    sink: Sink,
    queue: mpsc::Sender<Delivery>,
}

impl Store {
    fn new() -> Arc<Self> {
        let life = RandomState::new().build_hasher().finish();
        Arc::new(Self { incarnation: format!("{life:x}").into(), state: Mutex::default() })
    }
}

impl State {
    /// The stream of a channel, made if it does not exist, without publications that have expired.
    fn stream(&mut self, channel: &str, incarnation: &Arc<str>) -> &mut Stream {
        let epoch = self.streams.len().to_string();
        let stream = self.streams.entry(channel.to_owned()).or_insert_with(|| Stream {
            id: StreamId { incarnation: Arc::clone(incarnation), epoch: epoch.into() },
            top: 0,
            kept: VecDeque::new(),
            expires: Instant::now(),
            version: (0, String::new()),
        });
        if stream.expires <= Instant::now() {
            stream.kept.clear();
        }
        stream
    }

    /// Queues an event for every node that wants the channel. Called under the lock, so that the order of a channel is
    /// the same everywhere.
    fn send(&self, channel: &str, stream: Option<&StreamId>, event: &Event) {
        for node in self.nodes.iter().flatten() {
            let Some(channel) = node.wanted.get(channel) else { continue };
            if node.queue.try_send((Arc::clone(channel), stream.cloned(), event.clone())).is_err() {
                // Its subscribers compare their positions with the store, and are told if they lost something.
                node.sink.interrupted(Scope::Channels(&[channel]));
            }
        }
    }
}

impl Stream {
    fn top(&self) -> Place {
        Place { stream: self.id.clone(), offset: self.top }
    }
}

/// The store as one node sees it.
struct SharedBroker {
    store: Arc<Store>,
    node: usize,
}

impl Broker for SharedBroker {
    fn name(&self) -> &'static str {
        "shared"
    }

    fn start(&self, sink: Sink) -> Result<(), BrokerError> {
        let (queue, mut waiting) = mpsc::channel::<Delivery>(QUEUE);
        self.store.state.lock().nodes[self.node] =
            Some(Node { wanted: HashSet::new(), sink: sink.clone(), queue });
        // Ends when the node is closed, which drops the sender.
        tokio::spawn(async move {
            while let Some((channel, stream, event)) = waiting.recv().await {
                sink.room(&channel).await;
                sink.deliver(&channel, stream.as_ref(), event);
            }
        });
        Ok(())
    }

    fn incarnation(&self, _channel: &str) -> Arc<str> {
        Arc::clone(&self.store.incarnation)
    }

    fn publish(
        &self,
        channel: &str,
        data: Bytes,
        options: PublishOptions,
    ) -> Answer<Result<Receipt, BrokerError>> {
        let mut state = self.store.state.lock();
        let key = (channel.to_owned(), options.idempotency_key.clone());
        if let Some((at, receipt)) = state.keys.get(&key)
            && at.elapsed() < IDEMPOTENCY_TTL
        {
            let place = if let Receipt::Stored(place) = receipt { Some(place.clone()) } else { None };
            return Answer::Now(Ok(Receipt::Suppressed(place)));
        }
        let PublishOptions { history, info, tags, version, version_epoch, delta, .. } = options;
        let publication = Publication { data, info, tags, version, delta, ..Publication::default() };
        let receipt = if history.enabled() {
            let stream = state.stream(channel, &self.store.incarnation);
            let (last, epoch) = &stream.version;
            if version > 0 && (version_epoch.is_empty() || version_epoch == *epoch) && version <= *last {
                return Answer::Now(Ok(Receipt::Suppressed(Some(stream.top()))));
            }
            stream.version = (version, version_epoch);
            stream.top += 1;
            let publication = Arc::new(Publication { offset: stream.top, ..publication });
            stream.kept.push_back(Arc::clone(&publication));
            let surplus = stream.kept.len().saturating_sub(history.size);
            stream.kept.drain(..surplus);
            stream.expires = Instant::now() + history.ttl;
            let place = stream.top();
            state.send(channel, Some(&place.stream), &Event::Publication(publication));
            Receipt::Stored(place)
        } else {
            state.send(channel, None, &Event::Publication(Arc::new(publication)));
            Receipt::Sent
        };
        if !key.1.is_empty() {
            state.keys.retain(|_, (at, _)| at.elapsed() < IDEMPOTENCY_TTL);
            state.keys.insert(key, (Instant::now(), receipt.clone()));
        }
        Answer::Now(Ok(receipt))
    }

    fn announce(&self, channel: &str, change: JoinLeave) -> Answer<Result<(), BrokerError>> {
        self.store.state.lock().send(channel, None, &Event::JoinLeave(change));
        Answer::Now(Ok(()))
    }

    fn read(
        &self,
        channel: &str,
        read: Read,
        _history: HistoryOptions,
    ) -> Answer<Result<Slice, BrokerError>> {
        let mut state = self.store.state.lock();
        let stream = state.stream(channel, &self.store.incarnation);
        let since = read.since();
        if since.and_then(|since| since.epoch.as_ref()).is_some_and(|epoch| *epoch != stream.id.epoch) {
            return Answer::Now(Err(BrokerError::UnrecoverablePosition));
        }
        let offset = since.map(|since| since.offset);
        let publications = match &read {
            Read::Top => Vec::new(),
            Read::Oldest { limit } | Read::After { limit, .. } => {
                let missed = stream.kept.iter().filter(|one| one.offset > offset.unwrap_or(0));
                missed.take(limit.count()).cloned().collect()
            }
            Read::Latest { limit } | Read::Before { limit, .. } => {
                let older =
                    stream.kept.iter().rev().filter(|one| offset.is_none_or(|offset| one.offset < offset));
                older.take(limit.count()).cloned().collect()
            }
        };
        Answer::Now(Ok(Slice { publications, top: stream.top() }))
    }

    fn forget(&self, channel: &str) -> Answer<Result<(), BrokerError>> {
        self.store.state.lock().stream(channel, &self.store.incarnation).kept.clear();
        Answer::Now(Ok(()))
    }

    fn interest(&self, changes: &[(Arc<str>, Interest)]) {
        let mut state = self.store.state.lock();
        let Some(node) = &mut state.nodes[self.node] else { return };
        for (channel, asked) in changes {
            match asked {
                Interest::Wanted => node.wanted.insert(Arc::clone(channel)),
                Interest::Unwanted => node.wanted.remove(channel),
            };
        }
        let sink = node.sink.clone();
        // The answers may lead to further calls of this broker.
        drop(state);
        changes.iter().for_each(|(channel, asked)| sink.interest(channel, *asked, Ok(())));
    }

    fn close(&self) -> Answer<()> {
        self.store.state.lock().nodes[self.node] = None;
        Answer::Now(())
    }
}

/// Connects nodes to one store, for the suite.
struct Harness(Arc<Store>);

impl BrokerHarness for Harness {
    fn connect(&self) -> Option<Arc<dyn Broker>> {
        let mut state = self.0.state.lock();
        state.nodes.push(None);
        Some(Arc::new(SharedBroker { store: Arc::clone(&self.0), node: state.nodes.len() - 1 }))
    }

    async fn settle(&self) {
        sleep(Duration::from_millis(20)).await;
    }

    async fn pass(&self, time: Duration) -> bool {
        let short = time <= Duration::from_secs(3);
        if short {
            sleep(time).await;
        }
        short
    }

    /// The store is part of the process: it is never replaced, and no connection to it breaks.
    async fn fail_over(&self) -> bool {
        false
    }

    async fn interrupt(&self, _node: usize) -> bool {
        false
    }
}

/// Tries every rule of the contract.
pub(crate) async fn conformance() -> Report {
    conformance::broker(|| Harness(Store::new())).await
}

#[tokio::main]
#[allow(dead_code, reason = "the test of the example calls the suite itself")]
async fn main() {
    let report = conformance().await;
    println!("{report}");
    report.assert();
}
