//! The suites of contracts.

use crate::harness::{Postgres, connect};
use crate::on_both;
use spinward::engine::EngineHealth;
use spinward::engine::broker::Broker as BrokerTrait;
use spinward::engine::controller::Controller as ControllerTrait;
use spinward::engine::presence::Presence as PresenceTrait;
use spinward_engines::postgres::{
    Broker, Config, Connection, Controller, ControllerConfig, Outbox, Presence, PresenceConfig,
};
use spinward_test::conformance::{self, BrokerHarness, ControllerHarness, PresenceHarness};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::sleep;

on_both!(brokers, brokers_with_notifications, presence, controllers, controllers_with_notifications);

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// A prefix that nobody uses.
fn prefix() -> String {
    format!("h{}", NUMBER.fetch_add(1, Relaxed))
}

/// Ends the connections whose application has this name.
async fn terminate(dsn: &str, application: &str) {
    let text = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name LIKE $1";
    let ended: i64 = connect(dsn).await.query_one(text, &[&application]).await.unwrap().get(0);
    assert!(ended > 0, "no connection of {application}");
}

struct Brokers {
    dsn: String,
    prefix: String,
    notify: bool,
    nodes: Mutex<Vec<Arc<Broker>>>,
}

impl Brokers {
    fn new(dsn: &str, notify: bool) -> Self {
        Self { dsn: dsn.to_owned(), prefix: prefix(), notify, nodes: Mutex::default() }
    }
}

impl BrokerHarness for Brokers {
    fn connect(&self) -> Option<Arc<dyn BrokerTrait>> {
        let mut nodes = self.nodes.lock().unwrap();
        let dsn = format!("{} application_name={}-{}", self.dsn, self.prefix, nodes.len());
        let connection = Connection {
            dsn,
            pool_size: 2,
            table_prefix: self.prefix.clone(),
            use_notify: self.notify,
            ..Connection::default()
        };
        // Polling alone would be too slow for the suite where notifications are to do it.
        let poll = Duration::from_millis(if self.notify { 1_000 } else { 20 });
        let outbox = Outbox { poll_interval: poll, batch_size: 7 };
        let broker = Broker::new(Config { connection, outbox, num_shards: 3, ..Config::default() });
        let broker = Arc::new(broker.unwrap());
        nodes.push(Arc::clone(&broker));
        Some(broker)
    }

    async fn settle(&self) {
        sleep(Duration::from_millis(50)).await;
        let nodes = self.nodes.lock().unwrap().clone();
        for _ in 0..500 {
            if nodes.iter().all(|node| node.health() == EngineHealth::Up) {
                break;
            }
            sleep(Duration::from_millis(10)).await;
        }
        sleep(Duration::from_millis(250)).await;
    }

    async fn pass(&self, time: Duration) -> bool {
        sleep(time).await;
        true
    }

    /// The tables are dropped, and made again by the nodes.
    async fn fail_over(&self) -> bool {
        let client = connect(&self.dsn).await;
        let text = "SELECT format('DROP TABLE IF EXISTS %I CASCADE', tablename) FROM pg_tables \
                    WHERE tablename LIKE $1 || '\\_%' AND schemaname = 'public'";
        let tables = client.query(text, &[&self.prefix]).await.unwrap();
        let drops: Vec<String> = tables.iter().map(|row| row.get(0)).collect();
        let sequence = format!("DROP SEQUENCE {}_stream_id", self.prefix);
        client.batch_execute(&format!("BEGIN; {}; {sequence}; COMMIT", drops.join("; "))).await.unwrap();
        sleep(Duration::from_secs(2)).await;
        true
    }

    async fn interrupt(&self, node: usize) -> bool {
        terminate(&self.dsn, &format!("{}-{node}", self.prefix)).await;
        sleep(Duration::from_millis(100)).await;
        true
    }
}

async fn brokers(server: Postgres) {
    let report = conformance::broker(|| Brokers::new(&server.admin(), false)).await;
    println!("{report}");
    report.assert();
    assert!(report.not_tried().is_empty(), "{report}");
}

async fn brokers_with_notifications(server: Postgres) {
    let report = conformance::broker(|| Brokers::new(&server.admin(), true)).await;
    report.assert();
    assert!(report.not_tried().is_empty(), "{report}");
}

struct Store {
    store: Arc<Presence>,
}

const LIFE: Duration = Duration::from_secs(3);

impl PresenceHarness for Store {
    fn store(&self) -> Arc<dyn PresenceTrait> {
        Arc::clone(&self.store) as _
    }

    async fn pass(&self, time: Duration) -> bool {
        sleep(time).await;
        true
    }

    fn time_to_live(&self) -> Option<Duration> {
        Some(LIFE)
    }
}

async fn presence(server: Postgres) {
    let report = conformance::presence(|| {
        let connection =
            Connection { dsn: server.admin(), pool_size: 2, table_prefix: prefix(), ..Connection::default() };
        let config = PresenceConfig { connection, ttl: LIFE, cleanup_interval: Duration::from_secs(1) };
        Store { store: Arc::new(Presence::new(config).unwrap()) }
    })
    .await;
    report.assert();
    assert!(report.not_tried().is_empty(), "{report}");
}

struct Controllers {
    dsn: String,
    prefix: String,
    notify: bool,
    nodes: Mutex<Vec<Arc<Controller>>>,
}

impl ControllerHarness for Controllers {
    fn controller(&self) -> Arc<dyn ControllerTrait> {
        let connection = Connection {
            dsn: format!("{} application_name={}", self.dsn, self.prefix),
            pool_size: 2,
            table_prefix: self.prefix.clone(),
            use_notify: self.notify,
            ..Connection::default()
        };
        let poll_interval = Duration::from_millis(if self.notify { 5_000 } else { 20 });
        let config =
            ControllerConfig { connection, poll_interval, batch_size: 50, ..ControllerConfig::default() };
        let controller = Arc::new(Controller::new(config).unwrap());
        self.nodes.lock().unwrap().push(Arc::clone(&controller));
        controller
    }

    async fn settle(&self) {
        let nodes = self.nodes.lock().unwrap().clone();
        sleep(Duration::from_millis(100)).await;
        for _ in 0..500 {
            if nodes.iter().all(|node| node.health() == EngineHealth::Up) {
                break;
            }
            sleep(Duration::from_millis(10)).await;
        }
        sleep(Duration::from_millis(300)).await;
    }

    async fn interrupt(&self) -> bool {
        terminate(&self.dsn, &self.prefix).await;
        sleep(Duration::from_millis(200)).await;
        true
    }
}

async fn controllers_by(server: &Postgres, notify: bool) {
    let harness = || Controllers { dsn: server.admin(), prefix: prefix(), notify, nodes: Mutex::default() };
    let report = conformance::controller(harness).await;
    report.assert();
    assert!(report.not_tried().is_empty(), "{report}");
}

async fn controllers(server: Postgres) {
    controllers_by(&server, false).await;
}

async fn controllers_with_notifications(server: Postgres) {
    controllers_by(&server, true).await;
}
