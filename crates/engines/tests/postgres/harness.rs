//! Servers, brokers and recorders of tests.

use bytes::Bytes;
use spinward::Publication;
use spinward::engine::EngineHealth;
use spinward::engine::broker::{
    Broker as _, BrokerError, HistoryOptions, Interest, Limit, Place, PublishOptions, Read, Receipt, Slice,
};
use spinward_engines::postgres::{Broker, Config, Connection, Outbox};
use spinward_test::conformance::Recorder;
use spinward_testkit::servers::installed;
use spinward_testkit::servers::postgres::{ADMIN, Options, Server, debian, newest};
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use tokio_postgres::{Client, NoTls};

/// A server, and a database in it.
pub(crate) struct Postgres(pub(crate) Server);

impl Deref for Postgres {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.0
    }
}

impl DerefMut for Postgres {
    fn deref_mut(&mut self) -> &mut Server {
        &mut self.0
    }
}

impl Postgres {
    /// The server of Debian, if it is installed.
    pub(crate) fn debian() -> Option<Self> {
        installed(&[&debian()]).then(|| Self(Server::start(&Options::default())))
    }

    /// The newest server, if it is installed.
    pub(crate) fn newest() -> Option<Self> {
        let options = Options { program: Some(newest()), ..Options::default() };
        installed(&[&newest()]).then(|| Self(Server::start(&options)))
    }

    /// Connection string of the administrator.
    pub(crate) fn admin(&self) -> String {
        self.dsn(ADMIN, "postgres")
    }

    /// A connection of an application.
    pub(crate) async fn client(&self) -> Client {
        connect(&self.admin()).await
    }

    /// Settings of a broker that looks often.
    pub(crate) fn config(&self) -> Config {
        Config {
            connection: Connection { dsn: self.admin(), pool_size: 4, ..Connection::default() },
            outbox: Outbox { poll_interval: Duration::from_millis(20), ..Outbox::default() },
            ..Config::default()
        }
    }

    /// A node that is connected.
    pub(crate) async fn node(&self) -> Node {
        let node = Node::start(self.config());
        node.up().await;
        node
    }
}

pub(crate) async fn connect(dsn: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(dsn, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// A broker, and what it delivers.
pub(crate) struct Node {
    pub(crate) broker: Broker,
    pub(crate) recorder: Arc<Recorder>,
}

/// Time that anything may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until something holds.
pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "never: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}

pub(crate) fn kept() -> PublishOptions {
    let (ttl, meta_ttl) = (Duration::from_secs(300), Duration::from_secs(3600));
    PublishOptions { history: HistoryOptions { size: 10_000, ttl, meta_ttl }, ..PublishOptions::default() }
}

impl Node {
    pub(crate) fn start(config: Config) -> Self {
        let (broker, recorder) = (Broker::new(config).unwrap(), Recorder::new());
        broker.start(recorder.sink()).unwrap();
        Self { broker, recorder }
    }

    pub(crate) async fn up(&self) {
        let start = Instant::now();
        while let EngineHealth::Down { reason } = self.broker.health() {
            assert!(start.elapsed() < PATIENCE, "{reason}");
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until delivery of a channel is confirmed.
    pub(crate) async fn want(&self, channel: &str) {
        let before = self.recorder.answers(channel).len();
        self.recorder.set_wanted(channel, true);
        self.broker.interest(&[(channel.into(), Interest::Wanted)]);
        eventually("interest is confirmed", || self.recorder.answers(channel).len() > before).await;
        assert_eq!(self.recorder.answers(channel).last(), Some(&(Interest::Wanted, true)));
    }

    pub(crate) async fn publish(&self, channel: &str, data: &str) -> Result<Receipt, BrokerError> {
        self.broker.publish(channel, Bytes::copy_from_slice(data.as_bytes()), kept()).wait().await
    }

    pub(crate) async fn store(&self, channel: &str, data: &str) -> Place {
        match self.publish(channel, data).await.unwrap() {
            Receipt::Stored(place) => place,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn read(&self, channel: &str, read: Read) -> Result<Slice, BrokerError> {
        self.broker.read(channel, read, kept().history).wait().await
    }

    /// Everything that is kept.
    pub(crate) async fn history(&self, channel: &str) -> Slice {
        self.read(channel, Read::Oldest { limit: Limit::All }).await.unwrap()
    }

    pub(crate) fn delivered(&self, channel: &str) -> Vec<Arc<Publication>> {
        self.recorder.publications(channel).into_iter().map(|(_, one)| one).collect()
    }

    pub(crate) fn offsets(&self, channel: &str) -> Vec<u64> {
        self.delivered(channel).iter().map(|one| one.offset).collect()
    }

    /// Waits until the offsets 1 to `last` were delivered, each once and in order.
    pub(crate) async fn complete(&self, channel: &str, last: u64) {
        eventually(&format!("{last} in {channel}"), || self.offsets(channel).len() as u64 >= last).await;
        assert_eq!(self.offsets(channel), (1..=last).collect::<Vec<_>>());
    }
}
