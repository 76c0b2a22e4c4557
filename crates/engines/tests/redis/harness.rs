//! Brokers on real servers, for the conformance suite and for tests of our own.

use spinward::engine::EngineHealth;
use spinward::engine::broker::{
    self, Broker as _, BrokerError, HistoryOptions, Interest, Place, PublishOptions, Read, Receipt, Slice,
};
use spinward_engines::redis::{Broker, Config};
use spinward_test::conformance::{BrokerHarness, Recorder};
use spinward_testkit::servers::redis::{Cluster, Sentinels, Server};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::time::Instant;

/// Returns true if Redis can be started; says so if not.
pub(crate) fn installed() -> bool {
    spinward_testkit::servers::installed(&[Path::new("redis-server")])
}

/// A prefix that nobody else uses: a shared store is empty for each user of it.
pub(crate) fn prefix() -> String {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    format!("t{}", NUMBER.fetch_add(1, Ordering::Relaxed))
}

/// Settings for these addresses.
pub(crate) fn config(addresses: &[String]) -> Config {
    Config { address: addresses.to_vec(), prefix: prefix(), ..Config::default() }
}

/// The servers under test.
pub(crate) enum Store {
    Servers(Vec<Server>),
    Sentinels(Sentinels),
    Cluster(Cluster),
}

impl Store {
    pub(crate) fn servers(&self) -> &[Server] {
        match self {
            Self::Servers(servers) => servers,
            Self::Sentinels(sentinels) => &sentinels.servers,
            Self::Cluster(cluster) => &cluster.servers,
        }
    }

    /// Settings for its addresses.
    pub(crate) fn config(&self) -> Config {
        let ports = |ports: Vec<u16>| ports.into_iter().map(|port| format!("127.0.0.1:{port}")).collect();
        match self {
            Self::Servers(servers) => config(&servers.iter().map(Server::url).collect::<Vec<_>>()),
            Self::Sentinels(sentinels) => Config {
                sentinel_address: ports(sentinels.ports()),
                sentinel_master_name: sentinels.name().to_owned(),
                ..config(&[])
            },
            Self::Cluster(cluster) => Config { cluster_address: ports(cluster.ports()), ..config(&[]) },
        }
    }

    /// Kills the Pub/Sub connections of a client name.
    pub(crate) fn cut_deliveries(&self, client_name: &str) -> usize {
        let mut killed = 0;
        for server in self.servers() {
            let list = server.call(&["CLIENT", "LIST", "TYPE", "pubsub"]).text();
            for line in list.lines().filter(|line| line.contains(&format!(" name={client_name} "))) {
                let id = line.split_whitespace().find_map(|field| field.strip_prefix("id=")).unwrap();
                server.call(&["CLIENT", "KILL", "ID", id]);
                killed += 1;
            }
        }
        killed
    }
}

/// Servers that harnesses share. The first one starts them.
pub(crate) struct Shared {
    start: fn() -> Store,
    store: Mutex<Option<Store>>,
}

impl Shared {
    pub(crate) fn new(start: fn() -> Store) -> Arc<Self> {
        Arc::new(Self { start, store: Mutex::new(None) })
    }

    /// Servers that run.
    pub(crate) fn of(store: Store) -> Arc<Self> {
        Arc::new(Self {
            start: || panic!("the servers have not been started"),
            store: Mutex::new(Some(store)),
        })
    }

    pub(crate) fn with<T>(&self, what: impl FnOnce(&mut Store) -> T) -> T {
        what(self.lock().get_or_insert_with(self.start))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Store>> {
        self.store.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Brokers of several nodes with one store.
pub(crate) struct Harness {
    shared: Arc<Shared>,
    config: Config,
    nodes: Mutex<Vec<Arc<Broker>>>,
}

impl Harness {
    pub(crate) fn new(shared: &Arc<Shared>, change: impl FnOnce(&Store, &mut Config)) -> Self {
        let config = shared.with(|store| {
            let mut config = store.config();
            change(store, &mut config);
            config
        });
        Self { shared: Arc::clone(shared), config, nodes: Mutex::default() }
    }

    fn name(&self, node: usize) -> String {
        format!("{}-{node}", self.config.prefix)
    }

    fn nodes(&self) -> Vec<Arc<Broker>> {
        self.nodes.lock().unwrap().clone()
    }
}

/// Waits until brokers are up, and nothing has happened for a while.
pub(crate) async fn settle(brokers: &[Arc<Broker>]) {
    const QUIET: Duration = Duration::from_millis(120);
    let started = Instant::now();
    let state = || {
        let counts = |broker: &Arc<Broker>| (broker.counts(), broker.health());
        brokers.iter().map(counts).collect::<Vec<_>>()
    };
    let (mut last, mut since) = (state(), Instant::now());
    while started.elapsed() < Duration::from_secs(20) {
        tokio::time::sleep(Duration::from_millis(10)).await;
        let now = state();
        let up = now.iter().all(|(_, health)| *health == EngineHealth::Up);
        if now != last || !up {
            (last, since) = (now, Instant::now());
        } else if since.elapsed() >= QUIET {
            return;
        }
    }
}

impl BrokerHarness for Harness {
    fn connect(&self) -> Option<Arc<dyn broker::Broker>> {
        let mut nodes = self.nodes.lock().unwrap();
        let config = Config { client_name: self.name(nodes.len()), ..self.config.clone() };
        let broker = Arc::new(Broker::new(config).unwrap());
        nodes.push(Arc::clone(&broker));
        Some(broker)
    }

    async fn settle(&self) {
        settle(&self.nodes()).await;
    }

    async fn pass(&self, time: Duration) -> bool {
        tokio::time::sleep(time).await;
        true
    }

    async fn fail_over(&self) -> bool {
        let lost = async || {
            // Acknowledged, and lost: nobody but the former primary has them.
            for _ in 0..3 {
                publish(&*self.nodes()[0], "c", "lost").await.unwrap();
            }
        };
        let cut = self.shared.with(|store| match store {
            Store::Sentinels(sentinels) => {
                sentinels.cut_replication();
                true
            }
            Store::Servers(_) | Store::Cluster(_) => false,
        });
        if cut {
            lost().await;
        }
        self.shared.with(|store| match store {
            // They keep nothing on disk.
            Store::Servers(servers) => {
                for server in servers {
                    server.kill();
                    server.start_again();
                }
            }
            Store::Sentinels(sentinels) => {
                let former = sentinels.primary();
                sentinels.servers[former].kill();
                sentinels.wait_for_other(former);
                sentinels.servers[former].start_again();
                sentinels.wait_for_replicas();
            }
            Store::Cluster(cluster) => {
                for primary in 0..3 {
                    cluster.servers[primary].kill();
                    cluster.wait_for_primary(primary + 3);
                    cluster.servers[primary].start_again();
                    cluster.wait_until_whole();
                }
            }
        });
        true
    }

    async fn interrupt(&self, node: usize) -> bool {
        assert!(self.shared.with(|store| store.cut_deliveries(&self.name(node))) > 0, "nothing to cut");
        true
    }
}

impl Drop for Harness {
    fn drop(&mut self) {
        for node in self.nodes.lock().unwrap().iter() {
            // It closes at once.
            let _ = node.close();
        }
    }
}

/// One node: a broker that was started, and what it tells.
pub(crate) struct Node {
    pub(crate) broker: Arc<Broker>,
    pub(crate) recorder: Arc<Recorder>,
}

pub(crate) const HISTORY: HistoryOptions =
    HistoryOptions { size: 100, ttl: Duration::from_secs(300), meta_ttl: Duration::from_secs(3600) };

pub(crate) fn kept() -> PublishOptions {
    PublishOptions { history: HISTORY, ..PublishOptions::default() }
}

/// Publishes with history.
pub(crate) async fn publish(
    broker: &impl broker::Broker,
    channel: &str,
    data: &str,
) -> Result<Place, BrokerError> {
    match broker.publish(channel, data.to_owned().into(), kept()).wait().await? {
        Receipt::Stored(place) => Ok(place),
        other => panic!("{other:?} for a publication to store"),
    }
}

impl Node {
    pub(crate) fn start(config: Config) -> Self {
        let broker = Arc::new(Broker::new(config).unwrap());
        let recorder = Recorder::new();
        broker.start(recorder.sink()).unwrap();
        Self { broker, recorder }
    }

    /// Asks for channels, and waits until they are delivered.
    pub(crate) async fn want(&self, channels: &[&str]) {
        let changes: Vec<_> =
            channels.iter().map(|channel| (Arc::from(*channel), Interest::Wanted)).collect();
        channels.iter().for_each(|channel| self.recorder.set_wanted(channel, true));
        self.broker.interest(&changes);
        let answered = || {
            channels.iter().all(|channel| self.recorder.answers(channel).contains(&(Interest::Wanted, true)))
        };
        within(Duration::from_secs(10), "confirmed interest", answered).await;
    }

    pub(crate) async fn publish(&self, channel: &str, data: &str) -> Result<Place, BrokerError> {
        publish(&*self.broker, channel, data).await
    }

    pub(crate) async fn read(&self, channel: &str, read: Read) -> Result<Slice, BrokerError> {
        self.broker.read(channel, read, HISTORY).wait().await
    }

    pub(crate) async fn top(&self, channel: &str) -> Result<Place, BrokerError> {
        self.read(channel, Read::Top).await.map(|slice| slice.top)
    }

    /// Offsets that were delivered.
    pub(crate) fn offsets(&self, channel: &str) -> Vec<u64> {
        self.recorder.publications(channel).iter().map(|(_, one)| one.offset).collect()
    }

    pub(crate) async fn settle(&self) {
        settle(&[Arc::clone(&self.broker)]).await;
    }
}

/// Waits until something holds, and returns the time that it took.
pub(crate) async fn within(time: Duration, what: &str, mut holds: impl FnMut() -> bool) -> Duration {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < time, "no {what} within {time:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    started.elapsed()
}
