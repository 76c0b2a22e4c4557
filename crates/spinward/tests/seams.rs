//! Probes of the seams for engines: how often a broker and a presence store are asked, and who holds whom.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails here")]

mod common;

use common::broker::Counting;
use common::{Client, connect, subscribe};
use spinward::answer::Answer;
use spinward::engine::presence::{Member, Members, Presence, PresenceError, PresenceStats};
use spinward::hooks::{
    ConnectEvent, ConnectReply, Decision, Handshake, Hooks, SubscribeEvent, SubscribeOptions,
};
use spinward::id::ClientId;
use spinward::identity::Credentials;
use spinward::wire::Protocol;
use spinward::{ClientInfo, Config, Node};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

struct App(SubscribeOptions);

impl Hooks for App {
    fn connect(&self, _: ConnectEvent) -> Decision<ConnectReply> {
        let credentials = Credentials { user: "ann".to_owned(), ..Credentials::default() };
        Answer::Now(Ok(ConnectReply { credentials, ..ConnectReply::default() }))
    }

    fn subscribe(&self, _: &spinward::Client, _: SubscribeEvent) -> Decision<SubscribeOptions> {
        Answer::Now(Ok(self.0.clone()))
    }
}

fn open(node: &Node) -> Client<tokio::io::DuplexStream> {
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    node.serve_stream(theirs, Protocol::Json, Handshake::default());
    Client::new(ours, Protocol::Json)
}

fn node(options: SubscribeOptions, config: Config, broker: &Arc<Counting>) -> Node {
    Node::builder(App(options)).config(config).broker(broker.clone()).build().unwrap()
}

fn one_shard() -> Config {
    Config { shards: 1, ..Config::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_subscribe_reads_no_history() {
    let broker = Arc::new(Counting::default());
    let node = node(SubscribeOptions::default(), one_shard(), &broker);
    let mut client = open(&node);
    client.send(&[connect(1), subscribe(2, "plain")]).await;
    assert!(client.reply(2).await.subscribe.is_some());
    assert_eq!(broker.reads.load(SeqCst), 0, "history reads for a channel without history or positioning");
}

#[tokio::test(flavor = "multi_thread")]
async fn incarnation_is_asked_for() {
    let broker = Arc::new(Counting::default());
    let options = SubscribeOptions { positioning: true, recovery: true, ..SubscribeOptions::default() };
    let config = Config { channel_position_check_delay: Duration::from_millis(100), ..one_shard() };
    let node = node(options, config, &broker);
    let mut client = open(&node);
    client.send(&[connect(1), subscribe(2, "c")]).await;
    client.reply(2).await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert!(broker.incarnation_asked.load(SeqCst) > 0, "nobody asks Broker::incarnation");
}

async fn comparisons_in_two_periods(shards: usize, clients: usize) -> usize {
    let broker = Arc::new(Counting::default());
    let options = SubscribeOptions { positioning: true, ..SubscribeOptions::default() };
    let config =
        Config { shards, channel_position_check_delay: Duration::from_millis(500), ..Config::default() };
    let node = node(options, config, &broker);
    let mut open_clients = Vec::new();
    for _ in 0..clients {
        let mut client = open(&node);
        client.send(&[connect(1), subscribe(2, "same")]).await;
        client.reply(2).await;
        open_clients.push(client);
    }
    tokio::time::sleep(Duration::from_millis(700)).await;
    let before = broker.reads.load(SeqCst);
    tokio::time::sleep(Duration::from_millis(1_000)).await;
    broker.reads.load(SeqCst) - before
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_is_compared_once_per_node() {
    let asked = comparisons_in_two_periods(8, 64).await;
    assert!(asked <= 3, "{asked} comparisons of one channel in two periods of one node with 8 shards");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_shard_compares_twice_in_two_periods() {
    let asked = comparisons_in_two_periods(1, 1).await;
    assert!((1..=3).contains(&asked), "{asked} comparisons in two periods");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_shut_down_is_dropped() {
    let broker = Arc::new(Counting::default());
    let node = node(SubscribeOptions::default(), one_shard(), &broker);
    node.shutdown(Duration::from_secs(5)).await;
    drop(node);
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(broker.sink().is_closed());
    let weak = Arc::downgrade(&broker);
    drop(broker);
    assert!(weak.upgrade().is_none(), "the hub and the broker hold each other");
}

#[derive(Default)]
struct Ttl(AtomicUsize);

impl Presence for Ttl {
    fn add(&self, _: &str, _: ClientId, _: Arc<ClientInfo>) -> Answer<Result<(), PresenceError>> {
        self.0.fetch_add(1, SeqCst);
        Answer::Now(Ok(()))
    }

    fn remove(&self, _: &str, _: ClientId, _: &str) -> Answer<Result<(), PresenceError>> {
        Answer::Now(Ok(()))
    }

    fn members(&self, _: &str) -> Answer<Result<Members, PresenceError>> {
        Answer::Now(Ok(Members::default()))
    }

    fn stats(&self, _: &str) -> Answer<Result<PresenceStats, PresenceError>> {
        Answer::Now(Ok(PresenceStats::default()))
    }

    fn refresh_interval(&self) -> Option<Duration> {
        Some(Duration::from_millis(200))
    }

    fn refresh(&self, members: &[Member]) -> Answer<Result<(), PresenceError>> {
        self.0.fetch_add(members.len(), SeqCst);
        Answer::Now(Ok(()))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn presence_is_refreshed_as_the_store_asks() {
    let store = Arc::new(Ttl::default());
    let node = Node::builder(App(SubscribeOptions { presence: true, ..SubscribeOptions::default() }))
        .config(one_shard())
        .presence(store.clone())
        .build()
        .unwrap();
    let mut client = open(&node);
    client.send(&[connect(1), subscribe(2, "c")]).await;
    client.reply(2).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(
        store.0.load(SeqCst) > 5,
        "added {} time(s) in 2 s with a refresh_interval of 200 ms",
        store.0.load(SeqCst)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_waits_for_is_bounded_too() {
    let broker = Arc::new(Counting { stalled: true, ..Counting::default() });
    let options = SubscribeOptions { join_leave: true, ..SubscribeOptions::default() };
    let node = node(options, Config { max_calls_in_flight: 10, ..one_shard() }, &broker);
    let metrics = tokio::runtime::Handle::current().metrics();
    let before = metrics.num_alive_tasks();
    for _ in 0..500 {
        let mut client = open(&node);
        client.send(&[connect(1), subscribe(2, "c")]).await;
        client.reply(2).await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let more = metrics.num_alive_tasks() - before;
    assert!(
        more <= 20,
        "{more} tasks wait on a stalled broker after 500 clients came and went; max_calls_in_flight is 10"
    );
    let dropped = node.info().counters.announcements_dropped;
    assert!(dropped > 900, "{dropped} of 1,000 joins and leaves are counted as dropped");
}
