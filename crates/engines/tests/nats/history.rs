//! The contract of brokers, by JetStream; and several nodes at once.

use crate::harness::{Brokers, Servers, jetstream, kept, prefix, until};
use async_nats::jetstream::stream::Stream;
use futures_util::StreamExt as _;
use spinward::engine::broker::{Broker, PublishOptions, Receipt};
use spinward_engines::nats::{Config, JetStreamBroker, JetStreamConfig};
use spinward_test::conformance;
use spinward_testkit::servers::nats::installed;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::Instant;

#[tokio::test(flavor = "multi_thread")]
async fn jetstream_conforms() {
    if !installed() {
        return;
    }
    let servers = Servers::one(true);
    let report = conformance::broker(|| Brokers::jetstream(&servers)).await;
    report.assert();
    assert_eq!(report.not_tried(), [""; 0], "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn jetstream_conforms_in_a_cluster() {
    if !installed() {
        return;
    }
    let servers = Servers::three();
    let report = conformance::broker(|| Brokers::replicated(&servers)).await;
    report.assert();
    assert_eq!(report.not_tried(), [""; 0], "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_publish_at_once_share_the_offsets() {
    const EACH: usize = 150;
    const NODES: usize = 3;
    if !installed() {
        return;
    }
    let servers = Servers::one(true);
    let config = servers.lock().config(&prefix(), 0);
    let mut nodes = Vec::new();
    for _ in 0..NODES {
        let node = jetstream(config.clone(), 1).await;
        node.want("c").await;
        nodes.push(node);
    }
    let began = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for (place, node) in nodes.iter().enumerate() {
        let broker = std::sync::Arc::clone(&node.broker);
        tasks.spawn(async move {
            let mut offsets = Vec::new();
            for number in 0..EACH {
                let data = format!("{place}-{number}").into();
                match broker.publish("c", data, kept(1_000)).wait().await.unwrap() {
                    Receipt::Stored(place) => offsets.push(place.offset),
                    other => panic!("{other:?}"),
                }
            }
            offsets
        });
    }
    let mut offsets = BTreeSet::new();
    while let Some(own) = tasks.join_next().await {
        let own = own.unwrap();
        assert!(own.is_sorted(), "offsets of one node rise");
        offsets.extend(own);
    }
    let took = began.elapsed();
    let right: BTreeSet<u64> = (1..=(NODES * EACH) as u64).collect();
    assert_eq!(offsets, right);
    let conflicts: u64 = nodes.iter().map(|node| node.broker.counts().conflicts).sum();
    println!(
        "{} publications of {NODES} nodes to one channel in {took:?}, {conflicts} conflicts",
        NODES * EACH
    );
    for node in &nodes {
        let publications = node.delivered("c", NODES * EACH).await;
        let told: Vec<_> = publications.iter().map(|one| one.offset).collect();
        assert_eq!(told, right.iter().copied().collect::<Vec<_>>());
        let kept = node.history("c").await.unwrap().publications;
        assert!(kept.iter().zip(&publications).all(|(kept, told)| kept.data == told.data));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_known_to_every_node() {
    if !installed() {
        return;
    }
    let servers = Servers::one(true);
    let config = servers.lock().config(&prefix(), 0);
    let (a, b) = (jetstream(config.clone(), 1).await, jetstream(config, 1).await);
    a.want("c").await;
    let keyed = |history: bool| PublishOptions {
        idempotency_key: "k\r\n".to_owned(),
        ..if history { kept(10) } else { PublishOptions::default() }
    };
    let publish = |node: &crate::harness::Node<JetStreamBroker>, history| {
        node.broker.publish("c", "1".into(), keyed(history)).wait()
    };
    let Receipt::Stored(first) = publish(&a, true).await.unwrap() else { panic!() };
    assert_eq!(publish(&b, true).await.unwrap(), Receipt::Suppressed(Some(first)));
    assert_eq!(publish(&a, false).await.unwrap(), Receipt::Sent);
    assert_eq!(publish(&b, false).await.unwrap(), Receipt::Suppressed(None));
    assert_eq!(a.delivered("c", 2).await.len(), 2);
}

/// Messages of a stream, without the probes of nodes.
async fn published(stream: &Stream) -> usize {
    let subjects = stream.info_with_subjects(">").await.unwrap();
    let subjects: Vec<_> = subjects.map(Result::unwrap).collect().await;
    subjects.iter().filter(|(subject, _)| !subject.contains("spinward-probe")).map(|(_, count)| count).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn old_messages_are_removed() {
    if !installed() {
        return;
    }
    let servers = Servers::one(true);
    let config = servers.lock().config(&prefix(), 0);
    let node = jetstream(config.clone(), 1).await;
    let began = Instant::now();
    for number in 0..500 {
        node.broker.publish("c", number.to_string().into(), kept(10)).wait().await.unwrap();
    }
    println!("a publish took {:?} on average", began.elapsed() / 500);
    let client = async_nats::connect(&config.urls[0]).await.unwrap();
    let context = async_nats::jetstream::new(client);
    let stream = context.get_stream(format!("{}_history_0", config.prefix)).await.unwrap();
    let messages = published(&stream).await;
    assert!((10..=60).contains(&messages), "{messages} messages for 10 that are kept");
    let slice = node.history("c").await.unwrap();
    let offsets: Vec<_> = slice.publications.iter().map(|one| one.offset).collect();
    assert_eq!(offsets, (491..=500).collect::<Vec<_>>());
    node.broker.forget("c").wait().await.unwrap();
    let messages = published(&stream).await;
    assert_eq!(messages, 1, "messages after the history was dropped");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_expired_is_removed_from_the_servers() {
    if !installed() {
        return;
    }
    let servers = Servers::one(true);
    let config = servers.lock().config(&prefix(), 0);
    let node = jetstream(config.clone(), 1).await;
    let mut options = kept(10);
    options.history.ttl = Duration::from_secs(1);
    for _ in 0..5 {
        node.broker.publish("c", "x".into(), options.clone()).wait().await.unwrap();
    }
    let client = async_nats::connect(&config.urls[0]).await.unwrap();
    let context = async_nats::jetstream::new(client);
    let stream = context.get_stream(format!("{}_history_0", config.prefix)).await.unwrap();
    assert_eq!(published(&stream).await, 5);
    let end = Instant::now() + Duration::from_secs(10);
    while published(&stream).await > 1 {
        assert!(Instant::now() < end, "expired publications are still there");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let place = node.store("c", "6").await.unwrap();
    assert_eq!(place.offset, 6);
    assert_eq!(node.history("c").await.unwrap().publications.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_history_is_read_in_parts() {
    if !installed() {
        return;
    }
    let servers = Servers::one(true);
    let node = {
        let config = servers.lock().config(&prefix(), 0);
        jetstream(config, 1).await
    };
    for number in 1..=700 {
        node.store("c", &number.to_string()).await.unwrap();
        node.store("other", "x").await.unwrap();
    }
    let began = Instant::now();
    let slice = node.history("c").await.unwrap();
    println!("700 publications read in {:?}", began.elapsed());
    assert_eq!(slice.top.offset, 700);
    let right = slice
        .publications
        .iter()
        .zip(1..)
        .all(|(one, number)| one.offset == number && one.data == number.to_string());
    assert!(right && slice.publications.len() == 700);
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_have_to_agree_on_the_number_of_streams() {
    if !installed() {
        return;
    }
    let servers = Servers::one(true);
    let connection = servers.lock().config(&prefix(), 0);
    jetstream(connection.clone(), 1).await;
    let config = JetStreamConfig { connection, num_streams: 2, ..JetStreamConfig::default() };
    let broker = JetStreamBroker::new(config).unwrap();
    let recorder = conformance::Recorder::new();
    broker.start(recorder.sink()).unwrap();
    let reason = || format!("{:?}", broker.health());
    until("refused", Duration::from_secs(5), || reason().contains("num_streams")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_jetstream_is_named() {
    if !installed() {
        return;
    }
    let servers = Servers::one(false);
    let connection = servers.lock().config(&prefix(), 0);
    let config = JetStreamConfig { connection, ..JetStreamConfig::default() };
    let broker = JetStreamBroker::new(config).unwrap();
    let recorder = conformance::Recorder::new();
    broker.start(recorder.sink()).unwrap();
    let reason = || format!("{:?}", broker.health());
    until("named", Duration::from_secs(8), || reason().contains("is JetStream enabled")).await;
    let published = broker.publish("c", "1".into(), kept(1)).wait().await;
    assert!(published.is_err(), "{published:?}");
}

#[test]
fn settings_are_checked() {
    for (num_streams, replicas) in [(0, 1), (257, 1), (1, 0), (1, 6)] {
        let config = JetStreamConfig { num_streams, replicas, ..JetStreamConfig::default() };
        assert!(JetStreamBroker::new(config).is_err());
    }
    let connection = Config { prefix: "a.b".to_owned(), ..Config::default() };
    assert!(JetStreamBroker::new(JetStreamConfig { connection, ..JetStreamConfig::default() }).is_err());
}
