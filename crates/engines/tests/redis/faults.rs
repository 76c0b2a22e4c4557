//! Faults of servers, and what publishers and readers are told.

use super::harness::{HISTORY, Node, Store, config, installed, kept, prefix, within};
use spinward::engine::EngineHealth;
use spinward::engine::broker::{
    Broker as _, BrokerError, HistoryOptions, Interest, Limit, PublishOptions, Read, Receipt, Since,
};
use spinward_engines::redis::{Config, Error};
use spinward_testkit::servers::redis::{Options, Sentinels, Server};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

const ALL: Read = Read::Oldest { limit: Limit::All };

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flushed_store_begins_new_streams() {
    if !installed() {
        return;
    }
    let server = Server::start(Options::default());
    let node = Node::start(config(&[server.url()]));
    node.want(&["c"]).await;
    for number in 1..=5 {
        node.publish("c", &number.to_string()).await.unwrap();
    }
    let before = node.top("c").await.unwrap();
    server.call(&["FLUSHALL"]);
    let since = Since { offset: 3, epoch: Some(Arc::clone(&before.stream.epoch)) };
    let read = node.read("c", Read::After { since, limit: Limit::All }).await;
    assert!(matches!(read, Err(BrokerError::UnrecoverablePosition)), "{read:?}");
    let after = node.publish("c", "new").await.unwrap();
    assert_eq!(after.offset, 1);
    assert_ne!(after.stream.epoch, before.stream.epoch);
}

/// Nothing is published and nobody subscribes: only the server can tell.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flush_is_told_to_idle_channels_within_five_seconds() {
    if !installed() {
        return;
    }
    for flush in ["FLUSHALL", "FLUSHDB"] {
        let server = Server::start(Options::default());
        let node = Node::start(config(&[server.url()]));
        node.want(&["c"]).await;
        node.publish("c", "old").await.unwrap();
        // The first count of flushes, and what follows connecting.
        tokio::time::sleep(Duration::from_millis(2_500)).await;
        let before = node.recorder.interruptions("c");
        server.call(&[flush]);
        within(Duration::from_secs(5), "interruption", || node.recorder.interruptions("c") > before).await;
    }
}

/// An eviction may take a stream or its meta alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_of_a_stream_is_never_taken_for_the_whole() {
    if !installed() {
        return;
    }
    let server = Server::start(Options::default());
    for lists in [false, true] {
        let config = Config { history_use_lists: lists, ..config(&[server.url()]) };
        let key = |kind: &str| {
            let keys = server.call(&["KEYS", &format!("{}.{kind}.*.c", config.prefix)]);
            keys.list()[0].text()
        };
        let node = Node::start(config.clone());
        for number in 1..=5 {
            node.publish("c", &number.to_string()).await.unwrap();
        }
        let before = node.top("c").await.unwrap();
        server.call(&["DEL", &key(if lists { "l" } else { "s" })]);
        let slice = node.read("c", ALL).await.unwrap();
        assert_eq!(
            (slice.publications.len(), slice.top.clone()),
            (0, before.clone()),
            "without publications"
        );
        assert_eq!(node.publish("c", "6").await.unwrap().offset, 6);
        server.call(&["DEL", &key("m")]);
        let slice = node.read("c", ALL).await.unwrap();
        assert_eq!((slice.publications.len(), slice.top.offset), (0, 0), "without meta");
        assert_ne!(slice.top.stream.epoch, before.stream.epoch);
        server.call(&["DEL", &key("m")]);
        assert_eq!(node.publish("c", "1").await.unwrap().offset, 1);
        assert_eq!(node.read("c", ALL).await.unwrap().publications.len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scripts_that_a_server_has_forgotten_are_given_again() {
    if !installed() {
        return;
    }
    let server = Server::start(Options::default());
    let node = Node::start(config(&[server.url()]));
    for number in 1..=3 {
        server.call(&["SCRIPT", "FLUSH"]);
        assert_eq!(node.publish("c", "1").await.unwrap().offset, number);
        assert_eq!(node.top("c").await.unwrap().offset, number);
    }
    assert_eq!(node.broker.counts().scripts_loaded, 6);
}

/// Nothing stays for good: every key has its time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_key_expires() {
    if !installed() {
        return;
    }
    let server = Server::start(Options::default());
    for lists in [false, true] {
        let node = Node::start(Config { history_use_lists: lists, ..config(&[server.url()]) });
        node.top("read").await.unwrap();
        let keyed = PublishOptions { idempotency_key: "k".to_owned(), ..PublishOptions::default() };
        node.broker.publish("sent", "1".into(), keyed.clone()).wait().await.unwrap();
        for version in [1, 2, 1, 0] {
            let keyed = PublishOptions { idempotency_key: format!("k{version}"), version, ..kept() };
            node.broker.publish("kept", "1".into(), keyed).wait().await.unwrap();
        }
    }
    let keys = server.call(&["KEYS", "*"]);
    assert_eq!(keys.list().len(), 2 * (1 + 1 + 2 + 3));
    for key in keys.list() {
        let left = server.call(&["PTTL", &key.text()]).number();
        let right = if key.text().contains(".m.") { 3_590_000..=3_600_000 } else { 290_000..=300_000 };
        assert!(right.contains(&left), "{} expires in {left} ms", key.text());
    }
}

/// Each publish and each read is one command. The server counts them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publish_and_a_read_are_one_round_trip_each() {
    if !installed() {
        return;
    }
    let server = Server::start(Options::default());
    let node = Node::start(config(&[server.url()]));
    node.publish("c", "1").await.unwrap();
    node.top("c").await.unwrap();
    let calls = |name: &str| -> u64 {
        let stats = server.line(&["INFO", "commandstats"], &format!("cmdstat_{name}")).unwrap_or_default();
        let calls = stats.split(',').find_map(|part| part.strip_prefix("calls=")).map(str::to_owned);
        calls.and_then(|calls| calls.parse().ok()).unwrap_or(0)
    };
    let before = (calls("evalsha"), calls("eval"));
    for _ in 0..10 {
        let keyed = PublishOptions { idempotency_key: "k".to_owned(), version: 1, ..kept() };
        node.broker.publish("c", "1".into(), keyed).wait().await.unwrap();
        node.read("c", ALL).await.unwrap();
    }
    assert_eq!((calls("evalsha") - before.0, calls("eval") - before.1), (20, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_server_refuses_and_goes_on_reading() {
    if !installed() {
        return;
    }
    let server = Server::start(Options { max_memory: Some("4mb".to_owned()), ..Options::default() });
    let node = Node::start(config(&[server.url()]));
    node.publish("c", "1").await.unwrap();
    let mut refused = None;
    for _ in 0..200 {
        let options = PublishOptions { history: HistoryOptions { size: 1_000, ..HISTORY }, ..kept() };
        if let Err(error) = node.broker.publish("big", "x".repeat(100_000).into(), options).wait().await {
            refused = Some(error);
            break;
        }
    }
    let Some(BrokerError::Failed(error)) = refused else { panic!("{refused:?} from a full server") };
    assert!(matches!(error.downcast_ref(), Some(Error::Refused { code, .. }) if code == "OOM"), "{error}");
    assert_eq!(node.read("c", ALL).await.unwrap().publications.len(), 1);
    assert_eq!(node.broker.health(), EngineHealth::Up);
    server.call(&["FLUSHALL"]);
    node.publish("c", "2").await.unwrap();
}

/// A server that became a replica refuses writes; it is left for good until it is a primary again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_is_never_written_to() {
    if !installed() {
        return;
    }
    let (server, other) = (Server::start(Options::default()), Server::start(Options::default()));
    let node = Node::start(Config { io_timeout: Duration::from_secs(2), ..config(&[server.url()]) });
    let before = node.publish("c", "1").await.unwrap();
    server.call(&["REPLICAOF", "127.0.0.1", &other.port().to_string()]);
    let started = Instant::now();
    let refused = node.publish("c", "2").await;
    assert!(refused.is_err(), "{refused:?} from a replica");
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    within(Duration::from_secs(3), "bad health", || node.broker.health() != EngineHealth::Up).await;
    server.call(&["REPLICAOF", "NO", "ONE"]);
    within(Duration::from_secs(5), "good health", || node.broker.health() == EngineHealth::Up).await;
    let after = node.publish("c", "3").await.unwrap();
    assert_ne!(after.stream.incarnation, before.stream.incarnation);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_away_costs_a_bounded_time() {
    let port = spinward_testkit::servers::free_port();
    let node = Node::start(Config {
        io_timeout: Duration::from_millis(500),
        ..config(&[format!("redis://:hunter2@127.0.0.1:{port}")])
    });
    let started = Instant::now();
    let error = node.publish("c", "1").await.unwrap_err();
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    let EngineHealth::Down { reason } = node.broker.health() else { panic!("healthy without a server") };
    for text in [error.to_string(), reason] {
        assert!(text.contains(&port.to_string()) && !text.contains("hunter2"), "{text}");
    }
    node.broker.interest(&[("c".into(), Interest::Wanted)]);
    within(Duration::from_secs(3), "refusal", || node.recorder.answers("c") == [(Interest::Wanted, false)])
        .await;
}

/// Something that is no Redis, and a few that are worse.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nonsense_from_a_server_is_an_error() {
    for answer in [
        &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..],
        b"*1000000000\r\n",
        b"$536870913\r\n",
        b"%1\r\n+role\r\n+master\r\n+what\r\n",
        b"\0\0\0\0",
        b"+OK\r\n+OK\r\n+OK\r\n+OK\r\n+OK\r\n",
        b"",
    ] {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                tokio::spawn(async move {
                    let mut buffer = [0; 1024];
                    while matches!(stream.read(&mut buffer).await, Ok(1..)) {
                        if stream.write_all(answer).await.is_err() {
                            break;
                        }
                    }
                });
            }
        });
        let times = Duration::from_millis(500);
        let node = Node::start(Config {
            connect_timeout: times,
            io_timeout: times,
            ..config(&[format!("redis://{address}")])
        });
        let started = Instant::now();
        assert!(node.publish("c", "1").await.is_err(), "{answer:?}");
        assert!(started.elapsed() < Duration::from_secs(2), "{answer:?}: {:?}", started.elapsed());
        assert_ne!(node.broker.health(), EngineHealth::Up, "{answer:?}");
        drop(node);
        server.abort();
    }
}

/// R1: a primary whose replicas are cut off takes publications that its successor does not have.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_that_loses_publications_is_never_a_fork() {
    if !installed() {
        return;
    }
    let sentinels = Sentinels::start(&Options::default(), None);
    let ports = sentinels.ports().into_iter().map(|port| format!("127.0.0.1:{port}")).collect();
    let config = Config {
        sentinel_address: ports,
        sentinel_master_name: sentinels.name().to_owned(),
        prefix: prefix(),
        ..Config::default()
    };
    let node = Node::start(config);
    node.want(&["c"]).await;
    for number in 1..=5 {
        node.publish("c", &format!("kept {number}")).await.unwrap();
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    sentinels.cut_replication();
    let former = sentinels.primary();
    let mut lost = None;
    for number in 6..=8 {
        lost = Some(node.publish("c", &format!("lost {number}")).await.unwrap());
    }
    let lost = lost.unwrap();
    assert_eq!(lost.offset, 8);
    // Stopped, not killed: it comes back and still takes itself for the primary.
    sentinels.servers[former].pause();
    sentinels.wait_for_other(former);
    within(Duration::from_secs(10), "replacement", || !node.recorder.replaced().is_empty()).await;
    node.settle().await;
    let next = node.publish("c", "another 6").await.unwrap();
    assert_eq!(next.offset, 6, "the successor lacks three");
    assert_ne!(next.stream, lost.stream);
    sentinels.servers[former].resume();
    for _ in 0..50 {
        let place = node.publish("c", "on").await.unwrap();
        assert_eq!(place.stream, next.stream, "a deposed primary took a publication");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    node.settle().await;
    // One payload for each place, whatever came by which connection.
    let mut seen = std::collections::HashMap::new();
    for (stream, publication) in node.recorder.publications("c") {
        let data = publication.data.clone();
        let before = seen.entry((stream, publication.offset)).or_insert_with(|| data.clone());
        assert_eq!(*before, data, "two publications of one place");
    }
    sentinels.heal_replication(former);
}

/// Nothing is lost by a graceful failover, and writing goes on with the successor.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_graceful_failover_is_noticed() {
    if !installed() {
        return;
    }
    let store = Store::Sentinels(Sentinels::start(&Options::default(), None));
    let node = Node::start(store.config());
    node.want(&["c"]).await;
    let before = node.publish("c", "1").await.unwrap();
    let Store::Sentinels(sentinels) = &store else { unreachable!() };
    let started = Instant::now();
    sentinels.fail_over();
    within(Duration::from_secs(10), "replacement", || !node.recorder.replaced().is_empty()).await;
    println!("noticed after {:?}", started.elapsed());
    node.settle().await;
    let after = node.publish("c", "2").await.unwrap();
    assert_ne!(after.stream.incarnation, before.stream.incarnation);
    assert_eq!(after.stream.epoch, before.stream.epoch, "the replica has the stream");
    assert!(node.recorder.was_interrupted("c"));
    within(Duration::from_secs(5), "delivery", || node.offsets("c").last() == Some(&after.offset)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publish_waits_for_replicas_if_it_is_to() {
    if !installed() {
        return;
    }
    let sentinels = Sentinels::start(&Options::default(), None);
    let primary = sentinels.primary();
    let config = Config {
        wait_replicas: 2,
        wait_timeout: Duration::from_millis(300),
        ..config(&[sentinels.servers[primary].url()])
    };
    let node = Node::start(config);
    node.want(&["c"]).await;
    for number in 1..=3 {
        assert_eq!(node.publish("c", "1").await.unwrap().offset, number);
    }
    let unstored = node.broker.publish("c", "1".into(), PublishOptions::default()).wait().await.unwrap();
    assert_eq!(unstored, Receipt::Sent);
    sentinels.cut_replication();
    let error = node.publish("c", "1").await.unwrap_err();
    let BrokerError::Failed(error) = error else { panic!("{error}") };
    let reached = error.downcast_ref::<Error>();
    assert!(matches!(reached, Some(Error::NotReplicated { reached: 0, wanted: 2 })), "{error}");
    assert_eq!(node.top("c").await.unwrap().offset, 4, "it is stored nevertheless");
}

/// A closed broker keeps neither connection nor task.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_is_closed_leaves_nothing_behind() {
    if !installed() {
        return;
    }
    let server = Server::start(Options::default());
    let clients =
        || server.call(&["CLIENT", "LIST"]).text().lines().filter(|line| line.contains("name=n ")).count();
    for close in [true, false] {
        let node = Node::start(Config { client_name: "n".to_owned(), ..config(&[server.url()]) });
        node.want(&["c"]).await;
        node.publish("c", "1").await.unwrap();
        assert_eq!(clients(), 2);
        if close {
            node.broker.close().wait().await;
            let error = node.publish("c", "1").await.unwrap_err();
            assert!(error.to_string().contains("closed"), "{error}");
        } else {
            // Without a word: a node that is gone.
            let Node { broker, recorder } = node;
            drop((broker, recorder));
        }
        within(Duration::from_secs(2), "end of the connections", || clients() == 0).await;
    }
}

/// The rights that the manual names.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_needs_no_more_than_the_manual_says() {
    const RIGHTS: &str = "~p.* resetchannels &p.* -@all +info +ping +hello +auth +client|setname +select \
        +eval +evalsha +hmget +hset +hdel +hincrby +get +set +del +unlink +pexpire +xadd +xrange +xrevrange \
        +lpush +ltrim +llen +lrange +publish +subscribe +unsubscribe";
    if !installed() {
        return;
    }
    let manual = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/manual/redis.md");
    let manual = std::fs::read_to_string(manual).unwrap();
    let rights = RIGHTS.split_whitespace().collect::<Vec<_>>().join(" ").replace("p.*", "centrifugo.*");
    assert!(manual.contains(&rights), "the manual does not say: {rights}");
    let server = Server::start(Options::default());
    server.call(
        &[
            &["ACL", "SETUSER", "spinward", "on", ">secret"][..],
            &RIGHTS.split_whitespace().collect::<Vec<_>>(),
        ]
        .concat(),
    );
    for lists in [false, true] {
        let node = Node::start(Config {
            user: "spinward".to_owned(),
            password: "secret".to_owned(),
            prefix: "p".to_owned(),
            client_name: "n".to_owned(),
            history_use_lists: lists,
            ..config(&[server.url()])
        });
        node.want(&["c"]).await;
        let keyed = PublishOptions { idempotency_key: format!("k{lists}"), ..kept() };
        node.broker.publish("c", "1".into(), keyed.clone()).wait().await.unwrap();
        let unstored = PublishOptions {
            history: HistoryOptions::default(),
            idempotency_key: format!("u{lists}"),
            ..keyed
        };
        node.broker.publish("c", "2".into(), unstored).wait().await.unwrap();
        node.broker.publish("c", "3".into(), PublishOptions { version: 5, ..kept() }).wait().await.unwrap();
        node.publish("c", "4").await.unwrap();
        for read in [ALL, Read::Latest { limit: Limit::All }] {
            assert_eq!(node.read("c", read).await.unwrap().publications.len(), 3);
        }
        node.broker.forget("c").wait().await.unwrap();
        within(Duration::from_secs(5), "delivery", || node.offsets("c").len() == 4).await;
        node.broker.interest(&[("c".into(), Interest::Unwanted)]);
        within(Duration::from_secs(5), "answer", || node.recorder.answers("c").len() == 2).await;
    }
}
