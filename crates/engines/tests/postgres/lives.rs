//! Lives of a store: what changes the incarnation, and what does not.

use crate::harness::{Node, Postgres, connect, eventually};
use crate::on_both;
use spinward::engine::broker::{Broker as _, Read};
use std::time::Duration;
use tokio::time::sleep;

on_both!(a_standby_takes_over, older_files, a_copied_database, a_restart_is_no_new_life);

/// A standby that lacks the last publications takes over: offsets are given again, under another epoch.
async fn a_standby_takes_over(mut server: Postgres) {
    drop(server.node().await);
    let standby = Postgres(server.standby());
    let mut config = server.config();
    let ports = (server.port(), standby.port());
    config.connection.dsn = format!(
        "host=127.0.0.1,127.0.0.1 port={},{} user=admin dbname=postgres sslmode=disable",
        ports.0, ports.1
    );
    let node = Node::start(config);
    node.up().await;
    node.want("c").await;
    for number in 1..=5 {
        node.store("c", &number.to_string()).await;
    }
    let client = standby.client().await;
    let top = "SELECT coalesce(max(top), 0) FROM cf_stream_top";
    while client.query_one(top, &[]).await.unwrap().get::<_, i64>(0) < 5 {
        sleep(Duration::from_millis(20)).await;
    }
    client.batch_execute("ALTER SYSTEM SET primary_conninfo = ''").await.unwrap();
    client.batch_execute("SELECT pg_reload_conf()").await.unwrap();
    let receivers = "SELECT count(*) FROM pg_stat_wal_receiver";
    while client.query_one(receivers, &[]).await.unwrap().get::<_, i64>(0) > 0 {
        sleep(Duration::from_millis(20)).await;
    }
    for number in 6..=9 {
        node.store("c", &number.to_string()).await;
    }
    node.complete("c", 9).await;
    let before = node.read("c", Read::Top).await.unwrap().top;
    server.crash();
    client.query("SELECT pg_promote()", &[]).await.unwrap();
    eventually("replaced", || !node.recorder.replaced().is_empty()).await;
    node.up().await;
    let after = node.read("c", Read::Top).await.unwrap().top;
    assert_eq!((before.offset, after.offset), (9, 5));
    assert_ne!(before.stream.incarnation, after.stream.incarnation);
    assert!(after.stream.incarnation.ends_with("-2"), "the timeline: {:?}", after.stream.incarnation);
    let life = |incarnation: &str| incarnation.split_once('-').map(|(life, _)| life.to_owned());
    assert_ne!(life(&before.stream.incarnation), life(&after.stream.incarnation), "another name as well");
    assert_eq!(node.store("c", "other").await.offset, 6);
    eventually("delivered", || node.delivered("c").last().is_some_and(|one| one.data == "other")).await;
}

/// Yesterday's files are put back while nodes go on: offsets are given again, under another epoch.
async fn older_files(mut server: Postgres) {
    let node = server.node().await;
    node.want("c").await;
    for number in 1..=5 {
        node.store("c", &number.to_string()).await;
    }
    node.complete("c", 5).await;
    server.stop();
    let copy = server.copy();
    server.start_again();
    node.up().await;
    for number in 6..=9 {
        node.store("c", &number.to_string()).await;
    }
    node.complete("c", 9).await;
    let before = node.read("c", Read::Top).await.unwrap().top;
    server.stop();
    server.restore(&copy);
    server.start_again();
    eventually("replaced", || !node.recorder.replaced().is_empty()).await;
    node.up().await;
    let after = node.read("c", Read::Top).await.unwrap().top;
    assert_eq!((before.offset, after.offset), (9, 5));
    assert_ne!(before.stream.incarnation, after.stream.incarnation);
    assert_eq!(node.broker.incarnation("c"), after.stream.incarnation);
    assert_eq!(node.store("c", "other").await.offset, 6);
    eventually("delivered", || node.delivered("c").last().is_some_and(|one| one.data == "other")).await;
    let (stream, _) = node.recorder.publications("c").pop().unwrap();
    assert_eq!(stream, Some(after.stream));
}

/// A database that was copied, as by a dump, is another store.
async fn a_copied_database(server: Postgres) {
    let node = server.node().await;
    let top = node.store("c", "1").await;
    node.broker.close().wait().await;
    let client = server.client().await;
    let mut copied = false;
    for _ in 0..100 {
        copied = client.batch_execute("CREATE DATABASE copy TEMPLATE template0").await.is_ok();
        if copied {
            break;
        }
        sleep(Duration::from_millis(50)).await;
    }
    assert!(copied);
    let dump = server.program("pg_dump");
    let restore = server.program("psql");
    if !dump.is_file() || !restore.is_file() {
        eprintln!("SKIPPED: no pg_dump and psql next to the server");
        return;
    }
    let file = server.data().with_file_name("dump.sql");
    let run = |program: &std::path::Path, arguments: &[&str]| {
        let status = std::process::Command::new(program).args(arguments).status().unwrap();
        assert!(status.success(), "{program:?} {arguments:?}");
    };
    let path = file.display().to_string();
    run(&dump, &["-d", &server.admin(), "-f", &path]);
    // Ids of its transactions are in the future of the copy.
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains("cf_stream_log"));
    run(
        &restore,
        &["-q", "-d", &server.dsn("admin", "copy"), "-v", "ON_ERROR_STOP=1", "-o", "/dev/null", "-f", &path],
    );
    let copy = connect(&server.dsn("admin", "copy")).await;
    copy.batch_execute("UPDATE cf_stream_log SET xid = '4000000000'").await.unwrap();
    let mut config = server.config();
    config.connection.dsn = server.dsn("admin", "copy");
    let other = Node::start(config);
    other.up().await;
    other.want("c").await;
    let slice = other.history("c").await;
    assert_ne!(slice.top.stream.incarnation, top.stream.incarnation);
    assert_eq!(slice.publications.len(), 1, "history is kept");
    assert_eq!(other.store("c", "2").await.offset, 2);
    eventually("delivered", || !other.offsets("c").is_empty()).await;
    sleep(Duration::from_millis(200)).await;
    assert_eq!(other.offsets("c"), [2], "old rows are not delivered");
}

async fn a_restart_is_no_new_life(mut server: Postgres) {
    let node = server.node().await;
    let before = node.store("c", "1").await;
    server.stop();
    server.start_again();
    let other = server.node().await;
    assert_eq!(other.read("c", Read::Top).await.unwrap().top, before);
    let client = server.client().await;
    client.query("SELECT cf_stream_renew()", &[]).await.unwrap();
    eventually("replaced", || !other.recorder.replaced().is_empty()).await;
    assert_ne!(other.read("c", Read::Top).await.unwrap().top.stream.incarnation, before.stream.incarnation);
}
