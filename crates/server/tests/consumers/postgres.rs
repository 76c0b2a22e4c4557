//! Outbox tables in PostgreSQL.

use crate::node::Node;
use crate::scenario::{Feed, Plan, engine, has, run};
use serde_json::{Value, json};
use spinward_testkit::servers::postgres::{ADMIN, Options, Server, debian};
use spinward_testkit::servers::within;
use std::ops::Range;
use std::time::Duration;
use tokio_postgres::{Client, NoTls};

/// The SQL of the manual: the table, a transaction that uses it, and the trigger for notifications.
fn manual() -> [String; 3] {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/manual/consumers.md");
    let text = std::fs::read_to_string(path).unwrap();
    let blocks = text.split("```sql\n").skip(1).map(|rest| rest.split_once("```").unwrap().0.to_owned());
    blocks.collect::<Vec<_>>().try_into().unwrap()
}

/// Centrifugo's tables may have rows without a method or payload.
const LENIENT: &str = "ALTER TABLE outbox ALTER method DROP NOT NULL, ALTER payload DROP NOT NULL";

const PARTITIONS: u64 = 4;

struct Outbox {
    server: Server,
    client: Client,
}

impl Outbox {
    async fn start() -> Self {
        let server = Server::start(&Options::default());
        let client = connect(&server).await;
        client.batch_execute(&manual()[0]).await.unwrap();
        client.batch_execute(LENIENT).await.unwrap();
        Self { server, client }
    }

    fn consumer(&self, further: &Value) -> Value {
        let mut options = json!({
            "dsn": self.server.dsn(ADMIN, "postgres"),
            "outbox_table_name": "outbox",
            "num_partitions": PARTITIONS,
            "partition_poll_interval": "50ms",
        });
        options.as_object_mut().unwrap().extend(further.as_object().unwrap().clone());
        json!({ "name": "numbered", "enabled": true, "type": "postgresql", "postgresql": options })
    }

    async fn insert(&self, method: Option<&str>, payload: Option<&str>, partition: i32) {
        let insert = "INSERT INTO outbox (method, payload, partition) VALUES ($1, $2::text::jsonb, $3)";
        self.client.execute(insert, &[&method, &payload, &partition]).await.unwrap();
    }

    async fn count(&self) -> i64 {
        self.client.query_one("SELECT count(*) FROM outbox", &[]).await.unwrap().get(0)
    }

    /// Waits until the table is empty.
    async fn empties(&self) {
        for _ in 0..400 {
            if self.count().await == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{} rows are left", self.count().await);
    }
}

async fn connect(server: &Server) -> Client {
    let (client, connection) = tokio_postgres::connect(&server.dsn(ADMIN, "postgres"), NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

impl Feed for Outbox {
    async fn feed(&mut self, numbers: Range<u64>) {
        let insert = "INSERT INTO outbox (method, payload, partition) \
            SELECT m, p::jsonb, part FROM generate_series($1::bigint, $2::bigint) n, LATERAL (VALUES \
                (CASE n / 4 % 4 WHEN 0 THEN 'nope' WHEN 1 THEN 'publish' WHEN 2 THEN 'info' END, \
                 CASE n / 4 % 4 WHEN 1 THEN '{\"channel\":5}' ELSE '[]' END, n % 100 < 4, 0), \
                (CASE n % 2 WHEN 0 THEN 'publish' ELSE '' END, \
                 CASE n % 2 WHEN 0 THEN '{\"channel\":\"rows:' || n % 4 || '\",\"data\":{\"n\":' || n || '}}' \
                 ELSE '{\"method\":\"publish\",\"payload\":{\"channel\":\"rows:' || n % 4 || '\",\"data\":{\"n\":' || n || '}}}' \
                 END, true, 1)) AS v(m, p, wanted, place), LATERAL (SELECT (n % 4)::int) AS q(part) \
            WHERE wanted ORDER BY n, place";
        let mut start = numbers.start;
        while start < numbers.end {
            let end = (start + 100).min(numbers.end);
            let (first, last) = (i64::try_from(start).unwrap(), i64::try_from(end).unwrap() - 1);
            self.client.execute(insert, &[&first, &last]).await.unwrap();
            start = end;
        }
    }

    async fn restart(&mut self) {
        self.server.crash();
        self.server.start_again();
        self.client = connect(&self.server).await;
    }
}

/// Two nodes, which are killed in turns, take over each other's partitions.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_row_is_carried_out_in_order() {
    let (true, Some(engine)) = (has(&debian()), engine()) else { return };
    let mut outbox = Outbox::start().await;
    let plan = Plan { nodes: 2, partitions: PARTITIONS, ..Plan::new(5_000, 2) };
    let consumer = outbox.consumer(&json!({}));
    let nodes = run(plan, &engine, &consumer, &mut outbox).await;
    outbox.empties().await;
    let skipped = |reason| {
        nodes
            .iter()
            .filter_map(|node| node.metric("spinward_consumers_errors_total", Some(reason)))
            .sum::<f64>()
    };
    assert!(skipped("undecodable") > 0.0 && skipped("refused") > 0.0, "poison rows are counted");
}

/// The same with an attempt in place of a wait for the lock, and with notifications.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn notifications_and_try_lock() {
    let (true, Some(engine)) = (has(&debian()), engine()) else { return };
    let mut outbox = Outbox::start().await;
    let [_, transaction, notify] = manual();
    outbox.client.batch_execute(&notify).await.unwrap();
    let consumer = outbox.consumer(&json!({
        "use_try_lock": true,
        "partition_poll_interval": "1m",
        "partition_notification_channel": "outbox",
    }));
    // With polls a minute apart, only notifications can bring this about in time.
    let plan = Plan { rows: 400, kills: 0, nodes: 1, partitions: PARTITIONS, ordered: true, busy: false };
    let nodes = run(plan, &engine, &consumer, &mut outbox).await;
    outbox.insert(Some("publish"), Some(r#"{"channel": "rows:0", "data": {"n": 400}}"#), 0).await;
    assert!(within(Duration::from_secs(10), || nodes[0].numbers("rows:0").unwrap().contains(&400)));
    outbox.client.batch_execute("CREATE TABLE orders (id INT, state TEXT)").await.unwrap();
    outbox.client.batch_execute(&transaction).await.unwrap();
    outbox.empties().await;
    assert!(nodes[0].metric("centrifugo_consumers_messages_processed_total", None) >= Some(402.0));
    assert_eq!(nodes[0].metric("spinward_consumers_up", None), Some(1.0));
    assert_eq!(nodes[0].metric("spinward_consumers_lag_seconds", None), Some(0.0));
}

/// A row without a method does not block its partition, as it does in Centrifugo v6.9.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn poison_rows_do_not_block_their_partition() {
    let (true, Some(engine)) = (has(&debian()), engine()) else { return };
    let outbox = Outbox::start().await;
    let poison: [(Option<&str>, Option<&str>); 10] = [
        (None, None),
        (None, Some("{}")),
        (None, Some("null")),
        (Some(""), Some("[1]")),
        (Some("publish"), None),
        (Some("publish"), Some(r#"{"channel": "unknown:x", "data": {}}"#)),
        (Some("publish"), Some(r#"{"channel": "rows:0"}"#)),
        (Some("batch"), Some("{}")),
        (Some("broadcast"), Some(r#"{"channels": [], "data": {}}"#)),
        // The API answers this one by an internal error: it must not be tried for ever.
        (Some("subscribe"), Some(r#"{"user": "u", "channel": "rows:0", "expire_at": 5}"#)),
    ];
    for (method, payload) in poison {
        outbox.insert(method, payload, 1).await;
    }
    outbox.insert(Some("publish"), Some(r#"{"channel": "rows:1", "data": {"n": 7}}"#), 1).await;
    // As text within JSON, without a method of its own.
    let quoted = r#"{"method": "publish", "payload": "{\"channel\": \"rows:1\", \"data\": {\"n\": 8}}"}"#;
    outbox.insert(None, Some(quoted), 1).await;
    // Out of range: never read.
    outbox.insert(Some("publish"), Some(r#"{"channel": "rows:1", "data": {"n": 9}}"#), 4).await;
    let mut node = Node::new(&engine.url(), &json!([outbox.consumer(&json!({}))]));
    node.start();
    assert!(
        within(Duration::from_secs(20), || node.numbers("rows:1").is_some_and(|numbers| numbers == [7, 8])),
        "{}",
        node.log()
    );
    assert!(within(Duration::from_secs(5), || {
        node.metric("centrifugo_consumers_messages_processed_total", None) == Some(2.0)
    }));
    assert_eq!(node.metric("centrifugo_consumers_errors_total", None), Some(10.0), "{}", node.log());
    for _ in 0..100 {
        if outbox.count().await == 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(outbox.count().await, 1, "the row out of range is left");
    assert!(node.log().contains("not below num_partitions"), "{}", node.log());
    node.terminate();
}

/// A broker that is away holds rows up, and loses none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_wait_for_a_broker() {
    let (true, Some(mut engine)) = (has(&debian()), engine()) else { return };
    let outbox = Outbox::start().await;
    let mut node = Node::new(&engine.url(), &json!([outbox.consumer(&json!({}))]));
    node.start();
    engine.kill();
    for n in 0..3 {
        let payload = json!({ "channel": "rows:0", "data": { "n": n } }).to_string();
        outbox.insert(Some("publish"), Some(&payload), 0).await;
    }
    assert!(
        within(Duration::from_secs(30), || {
            node.metric("spinward_consumers_errors_total", Some("failed")).unwrap_or_default() > 0.0
        }),
        "{}",
        node.log()
    );
    assert_eq!(outbox.count().await, 3);
    engine.start_again();
    outbox.empties().await;
    assert_eq!(node.numbers("rows:0").unwrap_or_default(), [0, 1, 2], "{}", node.log());
}

/// A drained node leaves rows to others, and goes on when the drain is cancelled.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drained_node_takes_no_rows() {
    let (true, Some(engine)) = (has(&debian()), engine()) else { return };
    let outbox = Outbox::start().await;
    let mut node = Node::new(&engine.url(), &json!([outbox.consumer(&json!({}))]));
    node.start();
    node.call("drain", &json!({ "notice": 600 })).unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    outbox.insert(Some("publish"), Some(r#"{"channel": "rows:0", "data": {"n": 1}}"#), 0).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(outbox.count().await, 1, "{}", node.log());
    node.call("drain", &json!({ "cancel": true })).unwrap();
    outbox.empties().await;
}

/// As Centrifugo v6.9, a server does not start with an outbox that cannot be used. The option is named, the password is
/// not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outbox_that_cannot_be_used_is_refused_at_start() {
    let (true, Some(engine)) = (has(&debian()), engine()) else { return };
    let outbox = Outbox::start().await;
    outbox.client.batch_execute("CREATE TABLE bare (id BIGINT, payload JSONB, partition INT)").await.unwrap();
    outbox
        .client
        .batch_execute("CREATE TABLE named (id TEXT, method TEXT, payload JSONB, partition INT)")
        .await
        .unwrap();
    outbox.client.batch_execute("CREATE ROLE reader LOGIN; GRANT SELECT ON outbox TO reader").await.unwrap();
    let dead = format!(
        "postgres://ann:canary@127.0.0.1:{}/db?sslmode=disable",
        spinward_testkit::servers::free_port()
    );
    for (options, named) in [
        (json!({ "dsn": "" }), "consumers[numbered].postgresql.dsn: must be set"),
        (json!({ "outbox_table_name": "" }), "consumers[numbered].postgresql.outbox_table_name: must be set"),
        (
            json!({ "outbox_table_name": "absent" }),
            "consumers[numbered].postgresql: outbox_table_name: there is no table absent",
        ),
        (json!({ "outbox_table_name": "bare" }), "needs a column method"),
        (json!({ "outbox_table_name": "named" }), "needs a column id of type bigint"),
        (json!({ "outbox_table_name": "x; DROP TABLE outbox" }), "is not the name of a table"),
        (json!({ "dsn": outbox.server.dsn("reader", "postgres") }), "needs the right to DELETE"),
        (json!({ "dsn": dead }), "consumers[numbered].postgresql: no connection to PostgreSQL"),
        (json!({ "num_partitions": 1_025 }), "num_partitions must be from 1 to 1024"),
    ] {
        let mut node = Node::new(&engine.url(), &json!([outbox.consumer(&options)]));
        node.launch();
        assert!(node.ends(), "it starts with {options}");
        assert!(node.log().contains(named), "{options}: {}", node.log());
        assert!(!node.log().contains("canary"), "{}", node.log());
    }
}
