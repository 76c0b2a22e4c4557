//! A remote broker that keeps publications and delivers none: losses are reported, though nothing arrives.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails here")]

mod common;

use common::broker::Counting;
use common::{Client, connect, subscribe};
use spinward::answer::Answer;
use spinward::engine::broker::PublishOptions;
use spinward::hooks::{
    ConnectEvent, ConnectReply, Decision, Handshake, Hooks, SubscribeEvent, SubscribeOptions,
};
use spinward::identity::Credentials;
use spinward::wire::Protocol;
use spinward::{Config, Node};
use std::sync::Arc;
use std::time::Duration;

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
    let broker = Arc::new(Counting { stores: true, ..Counting::default() });
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
