//! JetStream servers that die, lose their disks, or stand still.

use crate::harness::{SOON, Servers, jetstream, prefix, until};
use spinward::engine::EngineHealth;
use spinward::engine::broker::{Broker, BrokerError, Limit, Read, Since};
use spinward_engines::nats::{Config, NatsError};
use spinward_testkit::servers::nats::{Nats, Options, installed};
use std::path::Path;
use std::time::Duration;
use tokio::time::{Instant, sleep};

fn server() -> (Nats, Config) {
    let server = Nats::start(&Options { jetstream: true, ..Options::default() });
    let config = Config { urls: vec![server.url()], prefix: prefix(), ..Config::default() };
    (server, config)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_has_what_was_acknowledged() {
    if !installed() {
        return;
    }
    let (mut server, config) = server();
    let node = jetstream(config, 1).await;
    node.want("c").await;
    for number in 1..=50 {
        node.store("c", &number.to_string()).await.unwrap();
    }
    let life = node.broker.incarnation("c");
    server.kill();
    until("down", SOON, || node.broker.health() != EngineHealth::Up).await;
    assert!(node.store("c", "down").await.is_err());
    server.restart();
    until("interrupted", SOON, || node.recorder.was_interrupted("c")).await;
    node.up().await;
    let slice = node.history("c").await.unwrap();
    assert_eq!((slice.publications.len(), slice.top.offset), (50, 50));
    assert_eq!(slice.top.stream.incarnation, life, "nothing was lost");
    assert_eq!(node.recorder.replaced(), [""; 0]);
    assert_eq!(node.store("c", "51").await.unwrap().offset, 51);
    node.delivered("c", 51).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_its_disk_begins_a_new_life() {
    if !installed() {
        return;
    }
    let (mut server, config) = server();
    let node = jetstream(config, 1).await;
    node.want("c").await;
    let before = node.store("c", "1").await.unwrap();
    server.kill();
    server.wipe();
    server.restart();
    until("replaced", SOON, || !node.recorder.replaced().is_empty()).await;
    node.up().await;
    let after = node.store("c", "2").await.unwrap();
    assert_eq!(after.offset, 1);
    assert_ne!(after.stream.incarnation, before.stream.incarnation);
    assert_eq!(*node.recorder.replaced()[0], *after.stream.incarnation);
    // The epoch alone is another one, too.
    let since = Since { offset: 1, epoch: Some(before.stream.epoch) };
    let read =
        node.broker.read("c", Read::After { since, limit: Limit::All }, crate::harness::kept(9).history);
    assert!(matches!(read.wait().await, Err(BrokerError::UnrecoverablePosition)));
    node.delivered("c", 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_an_older_disk_begins_a_new_life() {
    if !installed() {
        return;
    }
    let (mut server, config) = server();
    let node = jetstream(config, 1).await;
    node.want("c").await;
    for number in 1..=5 {
        node.store("c", &number.to_string()).await.unwrap();
    }
    server.terminate();
    let copy = spinward_testkit::servers::Folder::new("nats-copy");
    copied(&server.store(), copy.path());
    server.restart();
    node.up().await;
    until("served", SOON, || node.broker.counts().reconnects == 1).await;
    let last = loop {
        match node.store("c", "6").await {
            Ok(place) => break place,
            Err(_) => sleep(Duration::from_millis(50)).await,
        }
    };
    server.terminate();
    server.wipe();
    copied(copy.path(), &server.store());
    server.restart();
    until("replaced", SOON, || !node.recorder.replaced().is_empty()).await;
    node.up().await;
    let next = node.store("c", "another 6").await.unwrap();
    assert_ne!(
        next.stream.incarnation, last.stream.incarnation,
        "two publications with one offset in one epoch"
    );
}

fn copied(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copied(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_stream_is_made_again_while_connected() {
    if !installed() {
        return;
    }
    let (_server, config) = server();
    let node = jetstream(config.clone(), 1).await;
    node.want("c").await;
    let before = node.store("c", "1").await.unwrap();
    let client = async_nats::connect(&config.urls[0]).await.unwrap();
    let context = async_nats::jetstream::new(client);
    context.delete_stream(format!("{}_history_0", config.prefix)).await.unwrap();
    // The very next publish finds out.
    let after = node.store("c", "2").await.unwrap();
    assert_eq!(after.offset, 1);
    assert_ne!(after.stream.incarnation, before.stream.incarnation);
    assert_eq!(node.broker.incarnation("c"), after.stream.incarnation);
    assert_eq!(node.recorder.replaced().len(), 1);
    node.delivered("c", 2).await;
    context.delete_stream(format!("{}_history_0", config.prefix)).await.unwrap();
    // Without a publish it is noticed by the check.
    until("replaced", Duration::from_secs(5), || node.recorder.replaced().len() == 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stands_still_loses_nothing_silently() {
    if !installed() {
        return;
    }
    let (server, config) = server();
    let (a, b) = (jetstream(config.clone(), 1).await, jetstream(config, 1).await);
    a.want("c").await;
    b.store("c", "1").await.unwrap();
    a.delivered("c", 1).await;
    let began = Instant::now();
    server.pause();
    // The signal takes a moment to reach every thread.
    sleep(Duration::from_millis(50)).await;
    assert!(b.store("c", "while").await.is_err());
    until("down", SOON, || a.broker.health() != EngineHealth::Up).await;
    assert!(began.elapsed() < Duration::from_secs(5));
    sleep(Duration::from_secs(5).saturating_sub(began.elapsed())).await;
    server.resume();
    until("interrupted", SOON, || a.recorder.was_interrupted("c")).await;
    b.up().await;
    let place = b.store("c", "after").await.unwrap();
    until("delivered", SOON, || a.payloads("c").last().is_some_and(|last| last == "after")).await;
    let kept = a.history("c").await.unwrap().publications;
    assert_eq!(kept.len() as u64, place.offset, "offsets without a gap");
    let told: Vec<_> = a.publications("c").iter().map(|one| one.offset).collect();
    assert!(told.is_sorted() && *told.last().unwrap() == place.offset, "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_does_not_answer_is_no_lost_connection() {
    if !installed() {
        return;
    }
    let (_server, config) = server();
    let node = jetstream(config.clone(), 1).await;
    node.store("c", "1").await.unwrap();
    // As after a failed write: publishes are not answered, everything else is.
    set_no_ack(&config, true).await;
    let error = node.store("c", "2").await.unwrap_err();
    let BrokerError::Failed(cause) = error else { panic!("{error}") };
    assert!(matches!(cause.downcast_ref(), Some(NatsError::NoAnswer)), "{cause}");
    assert!(node.history("c").await.is_ok());
    assert_eq!(node.broker.counts().reconnects, 0, "the connection is not to blame");
    set_no_ack(&config, false).await;
    // Whether the second one was stored was not known. Offsets go on after it.
    assert_eq!(node.store("c", "3").await.unwrap().offset, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_takes_nothing_is_noticed_without_a_publish() {
    if !installed() {
        return;
    }
    let (_server, config) = server();
    let node = jetstream(config.clone(), 1).await;
    // The server answers pings, and questions about the stream.
    set_no_ack(&config, true).await;
    until("down", SOON, || node.broker.health() != EngineHealth::Up).await;
    let EngineHealth::Down { reason } = node.broker.health() else { panic!("up again") };
    assert!(reason.contains(&format!("{}_history_0", config.prefix)), "{reason}");
    assert_eq!(node.broker.counts().reconnects, 0, "the connection is not to blame");
    set_no_ack(&config, false).await;
    node.up().await;
    assert_eq!(node.store("c", "1").await.unwrap().offset, 1, "probes are in no channel");
}

/// Tells JetStream to leave publishes without an answer, or not to.
async fn set_no_ack(config: &Config, no_ack: bool) {
    let client = async_nats::connect(&config.urls[0]).await.unwrap();
    let stream = format!("{}_history_0", config.prefix);
    let ask = async |method: &str, body: String| -> serde_json::Value {
        let answer = client.request(format!("$JS.API.STREAM.{method}.{stream}"), body.into()).await.unwrap();
        serde_json::from_slice(&answer.payload).unwrap()
    };
    let mut info = ask("INFO", String::new()).await;
    info["config"]["no_ack"] = no_ack.into();
    let updated = ask("UPDATE", info["config"].to_string()).await;
    assert!(updated.get("error").is_none(), "{updated}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_death_of_a_leader_loses_nothing_that_was_acknowledged() {
    const COUNT: usize = 400;
    if !installed() {
        return;
    }
    let servers = Servers::three();
    let name = prefix();
    let configs: Vec<_> = (0..3).map(|place| servers.lock().config(&name, place)).collect();
    let subscriber = jetstream(configs[0].clone(), 3).await;
    let publisher = jetstream(configs[1].clone(), 3).await;
    subscriber.want("c").await;
    let leader = leader(&configs[0], &format!("{name}_history_0")).await;
    let mut acknowledged = Vec::new();
    let mut longest = Duration::ZERO;
    let mut last = Instant::now();
    for number in 0..COUNT {
        if number == COUNT / 2
            && let Servers::Three(cluster) = &mut *servers.lock()
        {
            cluster.servers[leader].kill();
        }
        // Each is tried once, so that an unknown outcome cannot hide a loss.
        let data = number.to_string();
        match publisher.store("c", &data).await {
            Ok(place) => {
                acknowledged.push((place, data));
                longest = longest.max(last.elapsed());
                last = Instant::now();
            }
            Err(_) => sleep(Duration::from_millis(50)).await,
        }
    }
    println!("{} of {COUNT} acknowledged, none for {longest:?} at most", acknowledged.len());
    assert!(acknowledged.len() > COUNT / 2, "publishes go on after the leader's death");
    subscriber.up().await;
    let slice = subscriber.history("c").await.unwrap();
    for (place, data) in &acknowledged {
        assert_eq!(place.stream, slice.top.stream, "one history");
        let kept = slice.publications.iter().find(|one| one.offset == place.offset);
        assert_eq!(kept.map(|one| one.data.to_vec()), Some(data.clone().into_bytes()), "{place:?}");
    }
    let consecutive = slice.publications.iter().zip(1..).all(|(one, offset)| one.offset == offset);
    assert!(consecutive);
}

/// Number of the server that leads a stream.
async fn leader(config: &Config, stream: &str) -> usize {
    let client = async_nats::connect(config.urls.clone()).await.unwrap();
    let stream = async_nats::jetstream::new(client).get_stream(stream).await.unwrap();
    let cluster = stream.cached_info().cluster.clone().unwrap();
    cluster.leader.unwrap().trim_start_matches('n').parse().unwrap()
}
