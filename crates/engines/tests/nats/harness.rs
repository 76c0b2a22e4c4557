//! Servers and nodes for the tests.

use parking_lot::Mutex;
use spinward::Publication;
use spinward::engine::EngineHealth;
use spinward::engine::broker::{
    Broker, BrokerError, HistoryOptions, Interest, Limit, Place, PublishOptions, Read, Receipt, Slice,
};
use spinward_engines::nats::{self, Config, JetStreamConfig};
use spinward_test::conformance::{BrokerHarness, Recorder};
use spinward_testkit::servers::nats::{Cluster, Nats, Options};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// One server, or a cluster of three. Tests share it by prefixes.
pub(crate) enum Servers {
    One(Nats),
    Three(Cluster),
}

impl Servers {
    pub(crate) fn one(jetstream: bool) -> Arc<Mutex<Self>> {
        let options = Options { jetstream, ..Options::default() };
        Arc::new(Mutex::new(Self::One(Nats::start(&options))))
    }

    pub(crate) fn three() -> Arc<Mutex<Self>> {
        Arc::new(Mutex::new(Self::Three(Cluster::start())))
    }

    /// Settings with a prefix of their own, that prefer the server at this place.
    pub(crate) fn config(&self, prefix: &str, place: usize) -> Config {
        let urls = match self {
            Self::One(server) => vec![server.url()],
            Self::Three(cluster) => cluster.urls(place),
        };
        Config { urls, prefix: prefix.to_owned(), ..Config::default() }
    }

    /// Kills a server, and starts it again with its files.
    pub(crate) fn restart(&mut self, place: usize) {
        let server = match self {
            Self::One(server) => server,
            Self::Three(cluster) => &mut cluster.servers[place % 3],
        };
        server.kill();
        server.restart();
    }
}

/// A prefix that no other test has.
pub(crate) fn prefix() -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    format!("t{}", NUMBER.fetch_add(1, SeqCst))
}

/// Waits until something holds.
pub(crate) async fn until(what: &str, patience: Duration, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + patience;
    while !holds() {
        assert!(Instant::now() < end, "{what} not within {patience:?}");
        sleep(Duration::from_millis(10)).await;
    }
}

pub(crate) const SOON: Duration = Duration::from_secs(15);

/// A node with a broker.
pub(crate) struct Node<B: Broker> {
    pub(crate) broker: Arc<B>,
    pub(crate) recorder: Arc<Recorder>,
}

pub(crate) async fn core(config: Config) -> Node<nats::Broker> {
    Node::start(nats::Broker::new(config).unwrap()).await
}

impl<B: Broker> Node<B> {
    pub(crate) async fn start(broker: B) -> Self {
        let node = Self { broker: Arc::new(broker), recorder: Recorder::new() };
        node.broker.start(node.recorder.sink()).unwrap();
        node.up().await;
        node
    }

    pub(crate) async fn up(&self) {
        until("healthy", SOON, || self.broker.health() == EngineHealth::Up).await;
    }

    pub(crate) async fn want(&self, channel: &str) {
        self.recorder.set_wanted(channel, true);
        self.broker.interest(&[(channel.into(), Interest::Wanted)]);
        until("interest", SOON, || !self.recorder.answers(channel).is_empty()).await;
        assert_eq!(self.recorder.answers(channel).last(), Some(&(Interest::Wanted, true)), "{channel:?}");
    }

    pub(crate) async fn publish(&self, channel: &str, data: &str) -> Result<Receipt, BrokerError> {
        let answer = self.broker.publish(channel, data.to_owned().into(), PublishOptions::default());
        answer.wait().await
    }

    /// Waits until a channel has as many publications.
    pub(crate) async fn delivered(&self, channel: &str, count: usize) -> Vec<Arc<Publication>> {
        until("delivered", SOON, || self.recorder.publications(channel).len() >= count).await;
        self.publications(channel)
    }

    pub(crate) fn publications(&self, channel: &str) -> Vec<Arc<Publication>> {
        self.recorder.publications(channel).into_iter().map(|(_, one)| one).collect()
    }

    pub(crate) fn payloads(&self, channel: &str) -> Vec<String> {
        let text = |one: Arc<Publication>| String::from_utf8_lossy(&one.data).into_owned();
        self.publications(channel).into_iter().map(text).collect()
    }
}

/// Makes the broker of a node.
pub(crate) type Make = fn(Config) -> Arc<dyn Broker>;

/// Brokers for the conformance suite.
pub(crate) struct Brokers {
    pub(crate) servers: Arc<Mutex<Servers>>,
    pub(crate) prefix: String,
    pub(crate) make: Make,
    pub(crate) history: bool,
    pub(crate) made: Mutex<Vec<Arc<dyn Broker>>>,
    /// Takes the place of a fail-over.
    pub(crate) fail_over: Option<fn(&mut Servers, &str)>,
}

impl Brokers {
    pub(crate) fn core(servers: &Arc<Mutex<Servers>>) -> Self {
        Self {
            servers: Arc::clone(servers),
            prefix: prefix(),
            make: |config| Arc::new(nats::Broker::new(config).unwrap()),
            history: false,
            made: Mutex::default(),
            fail_over: None,
        }
    }

    /// JetStream with one copy.
    pub(crate) fn jetstream(servers: &Arc<Mutex<Servers>>) -> Self {
        let make: Make = |connection| jetstream_broker(connection, 2, 1);
        Self { make, history: true, fail_over: Some(without_disk), ..Self::core(servers) }
    }

    /// JetStream with three copies.
    pub(crate) fn replicated(servers: &Arc<Mutex<Servers>>) -> Self {
        let make: Make = |connection| jetstream_broker(connection, 1, 3);
        Self { make, history: true, fail_over: Some(deleted), ..Self::core(servers) }
    }
}

fn jetstream_broker(connection: Config, num_streams: u16, replicas: u8) -> Arc<dyn Broker> {
    let config = JetStreamConfig { connection, num_streams, replicas, in_memory: false };
    Arc::new(nats::JetStreamBroker::new(config).unwrap())
}

/// Loses the disk of the server.
fn without_disk(servers: &mut Servers, _: &str) {
    if let Servers::One(server) = servers {
        server.kill();
        server.wipe();
        server.restart();
    }
}

/// Deletes the streams.
fn deleted(servers: &mut Servers, prefix: &str) {
    let url = servers.config(prefix, 0).urls[0].clone();
    tokio::runtime::Handle::current().block_on(async {
        let client = async_nats::connect(url).await.unwrap();
        let jetstream = async_nats::jetstream::new(client);
        jetstream.delete_stream(format!("{prefix}_history_0")).await.unwrap();
    });
}

/// A node with JetStream.
pub(crate) async fn jetstream(connection: Config, replicas: u8) -> Node<nats::JetStreamBroker> {
    let config = JetStreamConfig { connection, num_streams: 1, replicas, in_memory: false };
    Node::start(nats::JetStreamBroker::new(config).unwrap()).await
}

/// Options of a publish with history.
pub(crate) fn kept(size: usize) -> PublishOptions {
    let history =
        HistoryOptions { size, ttl: Duration::from_secs(300), meta_ttl: Duration::from_secs(3_600) };
    PublishOptions { history, ..PublishOptions::default() }
}

impl<B: Broker> Node<B> {
    pub(crate) async fn store(&self, channel: &str, data: &str) -> Result<Place, BrokerError> {
        match self.broker.publish(channel, data.to_owned().into(), kept(1_000)).wait().await? {
            Receipt::Stored(place) => Ok(place),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn history(&self, channel: &str) -> Result<Slice, BrokerError> {
        let read = Read::Oldest { limit: Limit::All };
        self.broker.read(channel, read, kept(1_000).history).wait().await
    }
}

/// Waits until all that are not closed are connected, and what is on its way has arrived.
pub(crate) async fn settled(health: impl Fn() -> Vec<EngineHealth>) {
    let closed = |health: &EngineHealth| format!("{health:?}").contains("closed");
    let up = || health().iter().all(|health| *health == EngineHealth::Up || closed(health));
    until("healthy", Duration::from_secs(40), up).await;
    sleep(Duration::from_millis(120)).await;
}

impl BrokerHarness for Brokers {
    fn keeps_history(&self) -> bool {
        self.history
    }

    fn connect(&self) -> Option<Arc<dyn Broker>> {
        let mut made = self.made.lock();
        let broker = (self.make)(self.servers.lock().config(&self.prefix, made.len()));
        made.push(Arc::clone(&broker));
        Some(broker)
    }

    async fn settle(&self) {
        settled(|| self.made.lock().iter().map(|broker| broker.health()).collect()).await;
    }

    async fn pass(&self, time: Duration) -> bool {
        let short = time <= Duration::from_secs(5);
        if short {
            sleep(time).await;
        }
        short
    }

    async fn fail_over(&self) -> bool {
        let Some(fail_over) = self.fail_over else { return false };
        let servers = Arc::clone(&self.servers);
        let prefix = self.prefix.clone();
        tokio::task::spawn_blocking(move || fail_over(&mut servers.lock(), &prefix)).await.unwrap();
        sleep(Duration::from_millis(500)).await;
        true
    }

    async fn interrupt(&self, node: usize) -> bool {
        let servers = Arc::clone(&self.servers);
        tokio::task::spawn_blocking(move || servers.lock().restart(node)).await.unwrap();
        // A broker that has not noticed yet would pass for connected.
        sleep(Duration::from_millis(500)).await;
        true
    }
}
