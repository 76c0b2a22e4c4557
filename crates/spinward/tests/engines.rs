//! Several engines in one node: the one that serves a channel.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails here")]

mod common;

use common::broker::Counting;
use common::{Client, connect, subscribe};
use spinward::engine::broker::{HistoryFilter, HistoryOptions, PublishOptions};
use spinward::hooks::{
    ConnectEvent, ConnectReply, Decision, Handshake, Hooks, SubscribeEvent, SubscribeOptions,
};
use spinward::identity::Credentials;
use spinward::wire::Protocol;
use spinward::{Answer, BuildError, Config, Node};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

const KEPT: HistoryOptions =
    HistoryOptions { size: 10, ttl: Duration::from_secs(60), meta_ttl: Duration::ZERO };

/// Channels have the engine whose name is before their colon, while that is so. Those that end in "!" are positioned.
struct ByName(Arc<AtomicBool>);

impl Hooks for ByName {
    fn connect(&self, _: ConnectEvent) -> Decision<ConnectReply> {
        let credentials = Credentials { user: "u".to_owned(), ..Credentials::default() };
        Answer::Now(Ok(ConnectReply { credentials, ..ConnectReply::default() }))
    }

    fn subscribe(&self, _: &spinward::Client, request: SubscribeEvent) -> Decision<SubscribeOptions> {
        let positioning = request.channel.ends_with('!');
        Answer::Now(Ok(SubscribeOptions { positioning, ..SubscribeOptions::default() }))
    }

    fn engine(&self, channel: &str) -> Option<&str> {
        let (name, _) = channel.split_once(':')?;
        assert_ne!(name, "panic");
        // One that lives as long as these hooks.
        let known = ["one", "two", "memory", "unknown"].into_iter().find(|known| *known == name);
        known.filter(|_| self.0.load(SeqCst))
    }
}

struct Rig {
    node: Node,
    one: Arc<Counting>,
    two: Arc<Counting>,
    asked: Arc<AtomicBool>,
}

impl Rig {
    fn new(default: Option<Arc<Counting>>) -> Self {
        let broker = || Arc::new(Counting { stores: true, ..Counting::default() });
        let (one, two, asked) = (broker(), broker(), Arc::new(AtomicBool::new(true)));
        let builder = Node::builder(ByName(Arc::clone(&asked)))
            .config(Config { shards: 1, ..Config::default() })
            .named_broker("one", one.clone())
            .named_broker("two", two.clone());
        let builder = match default {
            Some(default) => builder.broker(default),
            None => builder,
        };
        Self { node: builder.build().unwrap(), one, two, asked }
    }

    /// Publishes, and returns how many publications each of the two brokers has then.
    async fn publish(&self, channel: &str) -> (u64, u64) {
        let options = PublishOptions { history: KEPT, ..PublishOptions::default() };
        self.node.publish(channel, "{}".into(), options).await.unwrap();
        (self.one.top.load(SeqCst), self.two.top.load(SeqCst))
    }

    async fn subscribed(&self, channels: &[&str]) -> Client<tokio::io::DuplexStream> {
        let (near, far) = tokio::io::duplex(1 << 16);
        self.node.serve_stream(far, Protocol::Json, Handshake::default());
        let mut client = Client::new(near, Protocol::Json);
        client.send(&[connect(1)]).await;
        client.reply(1).await;
        for (id, channel) in (2..).zip(channels) {
            client.send(&[subscribe(id, channel)]).await;
            assert_eq!(client.reply(id).await.error, None);
        }
        client
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_channel_has_the_engine_that_the_application_names() {
    let rig = Rig::new(None);
    assert_eq!(rig.publish("one:c").await, (1, 0));
    assert_eq!(rig.publish("two:c").await, (1, 1));
    assert_eq!(rig.publish("c").await, (1, 1), "the memory broker is the default");
    assert_eq!(rig.publish("memory:c").await, (1, 1));

    let _client = rig.subscribed(&["one:c", "two:c", "c", "memory:c"]).await;
    assert_eq!(rig.one.sink().wanted(), [Arc::from("one:c")]);
    assert_eq!(rig.two.sink().wanted(), [Arc::from("two:c")]);

    let filter = HistoryFilter { limit: -1, since: None, reverse: false };
    let read = rig.node.history("c", filter.clone(), KEPT).await.unwrap();
    assert_eq!((read.publications.len(), rig.one.reads.load(SeqCst)), (1, 0));
    rig.node.history("one:c", filter, KEPT).await.unwrap();
    assert_eq!((rig.one.reads.load(SeqCst), rig.two.reads.load(SeqCst)), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_in_use_keeps_its_engine() {
    let rig = Rig::new(None);
    let client = rig.subscribed(&["one:c"]).await;
    rig.asked.store(false, SeqCst);
    assert_eq!(rig.publish("one:c").await, (1, 0), "its subscriber would miss it in another one");
    drop(client);
    let mut published = 1;
    tokio::time::timeout(Duration::from_secs(10), async {
        while rig.publish("one:c").await.0 > published {
            published += 1;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .expect("once nobody uses it, it has the engine that is named now");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_memory_broker_has_a_name_beside_another_default() {
    let default = Arc::new(Counting { stores: true, ..Counting::default() });
    let rig = Rig::new(Some(default.clone()));
    assert_eq!(rig.publish("c").await, (0, 0));
    assert_eq!(default.top.load(SeqCst), 1);
    assert_eq!(rig.publish("memory:c").await, (0, 0));
    assert_eq!(default.top.load(SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_without_an_engine_means_the_default() {
    let rig = Rig::new(None);
    for channel in ["unknown:c", "panic:c"] {
        assert_eq!(rig.publish(channel).await, (0, 0), "{channel}");
        let filter = HistoryFilter { limit: -1, since: None, reverse: false };
        assert_eq!(rig.node.history(channel, filter, KEPT).await.unwrap().publications.len(), 1, "{channel}");
    }
    assert_eq!(rig.node.info().counters.hook_panics, 1, "the second call finds the record");
}

#[tokio::test]
async fn names_of_engines_are_taken_once() {
    let build = |name: &str| {
        let broker = || Arc::new(Counting::default());
        let builder = Node::builder(ByName(Arc::default()));
        builder.named_broker("one", broker()).named_broker(name, broker()).build().err()
    };
    for name in ["one", "memory"] {
        assert!(matches!(build(name), Some(BuildError::EngineName(taken)) if *taken == *name), "{name}");
    }
}

/// A shard reads for subscribers of several connections, so none of them pays for a panic with its connection.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_for_a_read_that_panicked() {
    let rig = Rig::new(None);
    rig.one.panics.store(true, SeqCst);
    let mut client = rig.subscribed(&[]).await;
    client.send(&[subscribe(2, "one:c!")]).await;
    assert_eq!(client.reply(2).await.error.map(|error| error.code), Some(100));
    rig.one.panics.store(false, SeqCst);
    client.send(&[subscribe(3, "one:c!")]).await;
    assert_eq!(client.reply(3).await.error, None, "the connection and the channel go on");
}
