//! A remote broker that keeps publications and delivers none: losses are reported, though nothing arrives.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails here")]

mod common;

use common::{Client, connect, subscribe};
use spinward::answer::Answer;
use spinward::engine::broker::{
    Broker, BrokerError, BrokerSink, History, HistoryFilter, HistoryOptions, PublishOptions, Published,
};
use spinward::hooks::{
    ConnectEvent, ConnectReply, Decision, Handshake, Hooks, SubscribeEvent, SubscribeOptions,
};
use spinward::identity::Credentials;
use spinward::wire::Protocol;
use spinward::{ClientInfo, Config, Node, Position};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Its one stream has only a top.
#[derive(Default)]
struct Silent(AtomicU64);

impl Silent {
    fn top(&self) -> Position {
        Position { offset: self.0.load(Ordering::Relaxed), epoch: "e".into() }
    }
}

impl Broker for Silent {
    fn attach(&self, _: Arc<dyn BrokerSink>) {}

    fn incarnation(&self) -> Arc<str> {
        "one".into()
    }

    fn publish(&self, _: &str, _: bytes::Bytes, _: PublishOptions) -> Answer<Result<Published, BrokerError>> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Answer::Now(Ok(Published { position: self.top(), suppressed: false }))
    }

    fn publish_join_leave(&self, _: &str, _: Arc<ClientInfo>, _: bool) -> Answer<Result<(), BrokerError>> {
        Answer::Now(Ok(()))
    }

    fn history(&self, _: &str, _: HistoryFilter, _: HistoryOptions) -> Answer<Result<History, BrokerError>> {
        Answer::Now(Ok(History { publications: Vec::new(), top: self.top() }))
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

struct Positioned;

impl Hooks for Positioned {
    fn connect(&self, _: ConnectEvent) -> Decision<ConnectReply> {
        let credentials = Credentials { user: "ann".to_owned(), ..Credentials::default() };
        Answer::Now(Ok(ConnectReply { credentials, ..ConnectReply::default() }))
    }

    fn subscribe(&self, _: &spinward::Client, _: SubscribeEvent) -> Decision<SubscribeOptions> {
        Answer::Now(Ok(SubscribeOptions { positioning: true, ..SubscribeOptions::default() }))
    }
}

#[tokio::test]
async fn a_loss_in_a_silent_channel_is_told() {
    let config =
        Config { shards: 1, channel_position_check_delay: Duration::from_millis(200), ..Config::default() };
    let broker = Arc::new(Silent::default());
    let node = Node::builder(Positioned).config(config).broker(broker.clone()).build().unwrap();
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    let handshake = Handshake::default();
    node.serve_stream(theirs, Protocol::Json, handshake);
    let mut client = Client::new(ours, Protocol::Json);
    client.send(&[connect(1), subscribe(2, "quiet")]).await;
    assert!(client.reply(2).await.subscribe.expect("subscribed").positioned);

    // Nothing is lost, and nothing is reported, for a few comparisons.
    tokio::time::sleep(Duration::from_millis(1_600)).await;
    assert_eq!(node.info().counters.subscriptions, 1);

    node.publish("quiet", "1".into(), PublishOptions::default()).await.unwrap();
    let push = client.push().await;
    assert_eq!(push.channel, "quiet");
    assert_eq!(push.unsubscribe.expect("the loss is told").code, 2500);
}
