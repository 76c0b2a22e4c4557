//! What a remote broker and a presence store are asked, and how often.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails here")]
mod common;
use common::{Client, connect, subscribe};
use spinward::answer::Answer;
use spinward::engine::broker::*;
use spinward::engine::presence::{Member, Members, PresenceError, PresenceStats, PresenceStore};
use spinward::hooks::{
    ConnectEvent, ConnectReply, Decision, Handshake, Hooks, SubscribeEvent, SubscribeOptions,
};
use spinward::id::ClientId;
use spinward::identity::Credentials;
use spinward::wire::Protocol;
use spinward::{ClientInfo, Config, Node, Position};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

#[derive(Default)]
struct Counting {
    history: AtomicUsize,
}

impl Broker for Counting {
    fn attach(&self, _: Arc<dyn BrokerSink>) {}
    fn incarnation(&self) -> Arc<str> {
        "one".into()
    }
    fn publish(&self, _: &str, _: bytes::Bytes, _: PublishOptions) -> Answer<Result<Published, BrokerError>> {
        Answer::Now(Ok(Published::default()))
    }
    fn publish_join_leave(&self, _: &str, _: Arc<ClientInfo>, _: bool) -> Answer<Result<(), BrokerError>> {
        Answer::Now(Ok(()))
    }
    fn history(&self, _: &str, _: HistoryFilter, _: HistoryOptions) -> Answer<Result<History, BrokerError>> {
        self.history.fetch_add(1, SeqCst);
        Answer::Now(Ok(History { publications: Vec::new(), top: Position { offset: 0, epoch: "e".into() } }))
    }
    fn remove_history(&self, _: &str) -> Answer<Result<(), BrokerError>> {
        Answer::Now(Ok(()))
    }
    fn subscribe(&self, _: &str) -> Answer<Result<(), BrokerError>> {
        Answer::Now(Ok(()))
    }
    fn unsubscribe(&self, _: &str) -> Answer<Result<(), BrokerError>> {
        Answer::Now(Ok(()))
    }
}

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
    let handshake = Handshake::default();
    node.serve_stream(theirs, Protocol::Json, handshake);
    Client::new(ours, Protocol::Json)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_subscribe_reads_no_history() {
    let broker = Arc::new(Counting::default());
    let node = Node::builder(App(SubscribeOptions::default()))
        .config(Config { shards: 1, ..Config::default() })
        .broker(broker.clone())
        .build()
        .unwrap();
    let mut client = open(&node);
    client.send(&[connect(1), subscribe(2, "plain")]).await;
    assert!(client.reply(2).await.subscribe.is_some());
    assert_eq!(broker.history.load(SeqCst), 0, "history reads for a channel without history or positioning");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_is_compared_once_per_node() {
    let broker = Arc::new(Counting::default());
    let node = Node::builder(App(SubscribeOptions { positioning: true, ..SubscribeOptions::default() }))
        .config(Config {
            shards: 8,
            channel_position_check_delay: Duration::from_millis(500),
            ..Config::default()
        })
        .broker(broker.clone())
        .build()
        .unwrap();
    let mut clients = Vec::new();
    for _ in 0..64 {
        let mut client = open(&node);
        client.send(&[connect(1), subscribe(2, "same")]).await;
        client.reply(2).await;
        clients.push(client);
    }
    tokio::time::sleep(Duration::from_millis(700)).await;
    let before = broker.history.load(SeqCst);
    tokio::time::sleep(Duration::from_millis(1_000)).await;
    let asked = broker.history.load(SeqCst) - before;
    assert!(asked <= 3, "{asked} comparisons of one channel in two periods of one node with 8 shards");
}

#[derive(Default)]
struct Ttl(AtomicUsize);
impl PresenceStore for Ttl {
    fn add(&self, _: &str, _: ClientId, _: Arc<ClientInfo>) -> Answer<Result<(), PresenceError>> {
        self.0.fetch_add(1, SeqCst);
        Answer::Now(Ok(()))
    }
    fn remove(&self, _: &str, _: ClientId) -> Answer<Result<(), PresenceError>> {
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
        .config(Config { shards: 1, ..Config::default() })
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
async fn one_shard_compares_twice_in_two_periods() {
    let broker = Arc::new(Counting::default());
    let node = Node::builder(App(SubscribeOptions { positioning: true, ..SubscribeOptions::default() }))
        .config(Config {
            shards: 1,
            channel_position_check_delay: Duration::from_millis(500),
            ..Config::default()
        })
        .broker(broker.clone())
        .build()
        .unwrap();
    let mut client = open(&node);
    client.send(&[connect(1), subscribe(2, "same")]).await;
    client.reply(2).await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    let before = broker.history.load(SeqCst);
    tokio::time::sleep(Duration::from_millis(1_000)).await;
    let asked = broker.history.load(SeqCst) - before;
    assert!((1..=3).contains(&asked), "{asked} comparisons in two periods");
}
