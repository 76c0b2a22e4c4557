//! Tables: who makes them, who may not, and what is dropped.

use crate::harness::{Node, Postgres, eventually};
use crate::on_both;
use spinward::engine::EngineHealth;
use spinward::engine::broker::Broker as _;
use spinward_engines::postgres::{Broker, Config, Connection};
use spinward_testkit::servers::installed;
use spinward_testkit::servers::postgres::{Options, Server, debian};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;

on_both!(ten_nodes_start_at_once, rights, partitions, days_without_a_node, shards_are_fixed, newer_tables);

async fn ten_nodes_start_at_once(server: Postgres) {
    let nodes: Vec<_> = (0..10).map(|_| Node::start(server.config())).collect();
    for node in &nodes {
        node.up().await;
        node.want("c").await;
    }
    for (number, node) in nodes.iter().enumerate() {
        assert_eq!(node.store("c", "1").await.offset, number as u64 + 1);
    }
    for node in &nodes {
        node.complete("c", 10).await;
        assert!(node.recorder.replaced().is_empty());
    }
    // One of them makes the tables; the others wait, and find them.
    assert!(!server.log().contains("already exists"), "{}", server.log());
}

fn reason(node: &Node) -> String {
    match node.broker.health() {
        EngineHealth::Down { reason } => reason,
        other => format!("{other:?}"),
    }
}

async fn rights(server: Postgres) {
    let client = server.client().await;
    client.batch_execute("CREATE ROLE app LOGIN; REVOKE CREATE ON SCHEMA public FROM PUBLIC").await.unwrap();
    let mut config = server.config();
    config.connection.dsn = server.dsn("app", "postgres");
    let node = Node::start(config.clone());
    eventually("refused", || reason(&node).contains("grant it CREATE")).await;
    let refused = node.publish("c", "1").await.unwrap_err().to_string();
    assert!(refused.contains("skip_schema_init"), "{refused}");

    config.connection.skip_schema_init = true;
    let skipping = Node::start(config.clone());
    eventually("missing", || reason(&skipping).contains("do not exist")).await;

    // Somebody else makes them.
    let script = config.schema("public").unwrap();
    client.batch_execute(&format!("BEGIN; {script} COMMIT")).await.unwrap();
    client
        .batch_execute(
            "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO app; \
             GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO app",
        )
        .await
        .unwrap();
    skipping.up().await;
    skipping.want("c").await;
    skipping.store("c", "1").await;
    skipping.complete("c", 1).await;
}

async fn partition_names(server: &Postgres) -> Vec<String> {
    let text = "SELECT c.relname::text FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid \
                WHERE i.inhparent = 'cf_stream_log'::regclass ORDER BY 1";
    server.client().await.query(text, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

async fn partitions(server: Postgres) {
    let mut config = server.config();
    config.cleanup_interval = Duration::from_secs(1);
    config.partition_lookahead_days = 4;
    let node = Node::start(config);
    node.up().await;
    node.want("c").await;
    node.store("c", "1").await;
    let mut names = Vec::new();
    for _ in 0..100 {
        names = partition_names(&server).await;
        if names.len() == 6 {
            break;
        }
        sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(names.len(), 6, "today, four days, and the rest: {names:?}");
    // One of a day long ago, with a row that somebody's transaction has locked.
    let mut client = server.client().await;
    client
        .batch_execute(
            "CREATE TABLE cf_stream_log_20200101 (LIKE cf_stream_log INCLUDING ALL); \
             ALTER TABLE cf_stream_log ATTACH PARTITION cf_stream_log_20200101 \
             FOR VALUES FROM ('2020-01-01 00:00:00+00') TO ('2020-01-02 00:00:00+00')",
        )
        .await
        .unwrap();
    let transaction = client.transaction().await.unwrap();
    transaction.query("SELECT cf_stream_publish('long', '1')", &[]).await.unwrap();
    eventually("a cleanup gives up", || node.broker.counts().cleanups_failed > 0).await;
    // Publishers are not held back meanwhile.
    node.store("c", "2").await;
    assert!(partition_names(&server).await.contains(&"cf_stream_log_20200101".to_owned()));
    transaction.commit().await.unwrap();
    for _ in 0..100 {
        if !partition_names(&server).await.contains(&"cf_stream_log_20200101".to_owned()) {
            node.complete("c", 2).await;
            return;
        }
        sleep(Duration::from_millis(100)).await;
    }
    panic!("an old partition is not dropped");
}

/// Applications publish while no node made partitions.
async fn days_without_a_node(server: Postgres) {
    let node = server.node().await;
    node.want("c").await;
    let client = server.client().await;
    let drops: Vec<_> =
        partition_names(&server).await.into_iter().filter(|name| !name.ends_with("rest")).collect();
    client.batch_execute(&format!("DROP TABLE {}", drops.join(", "))).await.unwrap();
    client.query("SELECT cf_stream_publish('c', '1')", &[]).await.unwrap();
    node.complete("c", 1).await;
    let made: i32 = client.query_one("SELECT cf_stream_log_add(2, 200)", &[]).await.unwrap().get(0);
    assert_eq!(made, 2, "not that of today, which has rows in the rest");
    node.store("c", "2").await;
    node.complete("c", 2).await;
    assert_eq!(node.history("c").await.publications.len(), 2);
}

async fn shards_are_fixed(server: Postgres) {
    let node = server.node().await;
    let mut config = server.config();
    config.num_shards = 1;
    let other = Node::start(config);
    other.up().await;
    for number in 0..20 {
        let channel = format!("c{number}");
        other.want(&channel).await;
        node.store(&channel, "1").await;
        other.complete(&channel, 1).await;
    }
}

async fn newer_tables(server: Postgres) {
    let node = server.node().await;
    drop(node);
    let client = server.client().await;
    client.batch_execute("UPDATE cf_spinward SET version = 99").await.unwrap();
    server.node().await;
    client.batch_execute("UPDATE cf_spinward SET compatible = 98").await.unwrap();
    let refused = Node::start(server.config());
    eventually("refused", || reason(&refused).contains("version 99")).await;
}

/// TLS with a certificate that is checked, and a password.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_and_password() {
    if !installed(&[&debian()]) {
        return;
    }
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let tls = (certified.cert.pem(), certified.signing_key.serialize_pem());
    let options = Options { password: Some("it-s".to_owned()), tls: Some(tls), ..Options::default() };
    let server = Server::start(&options);
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certified.cert.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let client = |roots| {
        let builder = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
    };
    let connection = Connection { dsn: server.dsn("admin", "postgres"), ..Connection::default() };
    let config = |tls| Config { connection: Connection { tls, ..connection.clone() }, ..Config::default() };
    let node = Node::start(config(Some(client(roots))));
    node.up().await;
    node.want("c").await;
    node.store("c", "1").await;
    node.complete("c", 1).await;
    // Nobody vouches for the certificate.
    let stranger = Node::start(config(Some(client(rustls::RootCertStore::empty()))));
    eventually("refused", || !reason(&stranger).contains("not connected yet")).await;
    assert!(reason(&stranger).contains("certificate"), "{}", reason(&stranger));
    assert!(Broker::new(config(None)).err().is_some_and(|error| error.to_string().contains("tls")));
    // A wrong password is not shown.
    let mut wrong = config(None);
    wrong.connection.dsn =
        server.dsn("admin", "postgres").replace("it-s", "canary").replace("require", "disable");
    let wrong = Node::start(wrong);
    eventually("refused", || !reason(&wrong).contains("not connected yet")).await;
    assert!(!reason(&wrong).contains("canary"), "{}", reason(&wrong));
}
