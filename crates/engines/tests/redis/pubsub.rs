//! Deliveries when connections break, servers stop, and subscribers are many or slow.

use super::harness::{Node, Store, config, installed, kept, within};
use spinward::engine::EngineHealth;
use spinward::engine::broker::{Broker as _, Interest};
use spinward_engines::redis::Config;
use spinward_testkit::servers::redis::{Cluster, Options, Server};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_is_killed_is_made_again() {
    if !installed() {
        return;
    }
    let store = Store::Servers(vec![Server::start(Options::default())]);
    let node = Node::start(Config { client_name: "n".to_owned(), ..store.config() });
    node.want(&["a", "b{x}", "c"]).await;
    for round in 1..=5 {
        assert_eq!(store.cut_deliveries("n"), 1);
        // Nobody hears this one.
        let _ = node.publish("a", "1").await.unwrap();
        within(Duration::from_secs(5), "interruption", || node.broker.counts().gaps >= round).await;
        node.settle().await;
        assert!(node.recorder.was_interrupted("b{x}"));
        let place = node.publish("b{x}", "2").await.unwrap();
        within(Duration::from_secs(5), "delivery", || node.offsets("b{x}").last() == Some(&place.offset))
            .await;
    }
    assert_eq!(node.broker.counts().reconnects, 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stops_for_a_while_costs_no_subscription() {
    if !installed() {
        return;
    }
    let server = Server::start(Options::default());
    let node = Node::start(config(&[server.url()]));
    node.want(&["c"]).await;
    let before = node.publish("c", "1").await.unwrap();
    server.pause();
    let paused = Instant::now();
    let refused = node.publish("c", "2").await;
    assert!(refused.is_err(), "{refused:?} from a server that does not answer");
    assert!(paused.elapsed() < Duration::from_secs(6), "{:?} until the answer", paused.elapsed());
    within(Duration::from_secs(5), "bad health", || node.broker.health() != EngineHealth::Up).await;
    tokio::time::sleep(Duration::from_secs(5).saturating_sub(paused.elapsed())).await;
    server.resume();
    let told = within(Duration::from_secs(5), "interruption", || node.recorder.was_interrupted("c")).await;
    println!("told {told:?} after the server went on");
    node.settle().await;
    let after = node.publish("c", "3").await.unwrap();
    within(Duration::from_secs(5), "delivery", || node.offsets("c").last() == Some(&after.offset)).await;
    assert_eq!(after.stream, before.stream, "a pause is no new life");
    assert!(node.recorder.replaced().is_empty());
}

async fn many(config: Config) {
    const COUNT: usize = 10_000;
    let node = Node::start(config);
    let channels: Vec<Arc<str>> = (0..COUNT).map(|number| format!("channel{number}").into()).collect();
    channels.iter().for_each(|channel| node.recorder.set_wanted(channel, true));
    node.settle().await;
    let started = Instant::now();
    for batch in channels.chunks(512) {
        let changes: Vec<_> = batch.iter().map(|channel| (Arc::clone(channel), Interest::Wanted)).collect();
        node.broker.interest(&changes);
    }
    let answered = |channel: &Arc<str>| node.recorder.answers(channel) == [(Interest::Wanted, true)];
    within(Duration::from_secs(20), "answer", || answered(&channels[COUNT - 1])).await;
    for channel in &channels {
        within(Duration::from_secs(20), "answer", || answered(channel)).await;
    }
    println!("{COUNT} channels in {:?}", started.elapsed());
    for channel in channels.iter().step_by(97) {
        node.publish(channel, "1").await.unwrap();
    }
    node.settle().await;
    for channel in channels.iter().step_by(97) {
        assert_eq!(node.offsets(channel), [1], "{channel}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_channels_are_subscribed_at_once() {
    if installed() {
        let server = Server::start(Options::default());
        many(config(&[server.url()])).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_channels_of_a_cluster_are_subscribed_at_once() {
    if installed() {
        let store = Store::Cluster(Cluster::start(&Options::default(), false));
        many(store.config()).await;
    }
}

/// The channel whose subscribers are behind waits alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_than_may_wait_is_dropped_and_told() {
    if !installed() {
        return;
    }
    let server = Server::start(Options::default());
    let node = Node::start(config(&[server.url()]));
    // A channel that is wanted when the first connection is made counts as one that was lost.
    node.settle().await;
    node.want(&["c"]).await;
    node.recorder.set_full(true);
    let large = "x".repeat(1 << 20);
    for _ in 0..20 {
        node.broker.publish("c", large.clone().into(), kept()).wait().await.unwrap();
    }
    within(Duration::from_secs(10), "drop", || node.broker.counts().dropped > 0).await;
    assert!(node.offsets("c").is_empty());
    assert!(!node.recorder.was_interrupted("c"), "told before there is room");
    node.recorder.set_full(false);
    within(Duration::from_secs(5), "interruption", || node.recorder.was_interrupted("c")).await;
    let place = node.publish("c", "1").await.unwrap();
    within(Duration::from_secs(5), "delivery", || node.offsets("c").last() == Some(&place.offset)).await;
}

/// Slots move with their channels, which are delivered by their new node.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_that_moves_takes_its_channels_along() {
    if !installed() {
        return;
    }
    let cluster = Cluster::start(&Options::default(), false);
    let store = Store::Cluster(cluster);
    let config = store.config();
    let Store::Cluster(cluster) = &store else { unreachable!() };
    let node = Node::start(config.clone());
    node.want(&["c", "d"]).await;
    let before = node.publish("c", "1").await.unwrap();
    let key = cluster.servers.iter().find_map(|server| {
        let mut client = server.client();
        let keys = client.call(&["KEYS", &format!("{}.m.*.c", config.prefix)]).unwrap();
        keys.list().first().map(spinward_testkit::servers::redis::Reply::text)
    });
    let slot = cluster.slot(&key.unwrap());
    let to = (cluster.owner(slot) + 1) % 3;
    cluster.begin(slot, to);
    // Keys on their way: the former owner sends calls on.
    let during = node.publish("c", "2").await;
    println!("while it moves: {during:?}");
    cluster.finish(slot, to);
    within(Duration::from_secs(5), "interruption", || node.recorder.was_interrupted("c")).await;
    node.settle().await;
    let after = node.publish("c", "3").await.unwrap();
    assert_eq!(after.stream.epoch, before.stream.epoch, "the stream is the same");
    assert!(after.offset > before.offset);
    assert_ne!(after.stream.incarnation, before.stream.incarnation, "another server cannot vouch for it");
    assert_eq!(node.broker.incarnation("c"), after.stream.incarnation);
    assert!(node.recorder.replaced().contains(&after.stream.incarnation.to_string()));
    within(Duration::from_secs(5), "delivery", || node.offsets("c").last() == Some(&after.offset)).await;
}

/// Anyone with access to the server can publish into its channels.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forged_messages_are_counted_and_dropped() {
    if !installed() {
        return;
    }
    let server = Server::start(Options::default());
    let node = Node::start(config(&[server.url()]));
    node.want(&["c"]).await;
    let name = server.call(&["PUBSUB", "CHANNELS"]).list()[0].text();
    let forged =
        ["", "x", "s", "u", "uq", "sa:b:0:p", "sa:b:1:", "sa:b:x:p", "s::1:p", "sa:b:1:p\u{1}", "sa:b:1:j"];
    for message in forged {
        assert_eq!(server.call(&["PUBLISH", &name, message]).number(), 1, "{message:?} reached nobody");
    }
    let place = node.publish("c", "1").await.unwrap();
    within(Duration::from_secs(5), "delivery", || !node.offsets("c").is_empty()).await;
    assert_eq!(node.offsets("c"), [place.offset]);
    assert_eq!(node.broker.counts().malformed, forged.len() as u64);
    assert_eq!(node.broker.incarnation("c"), place.stream.incarnation);
}
