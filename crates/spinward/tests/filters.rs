//! Tags filters: what one connection may hold, and who gets what.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails here")]

mod common;

use common::{Client, connect};
use spinward::answer::Answer;
use spinward::engine::broker::PublishOptions;
use spinward::hooks::{
    ConnectEvent, ConnectReply, Decision, Handshake, Hooks, SubscribeEvent, SubscribeOptions,
};
use spinward::identity::Credentials;
use spinward::wire::Protocol;
use spinward::wire::message::{Command, FilterNode, SubscribeRequest, UnsubscribeRequest};
use spinward::{Config, Node};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

struct Open;

impl Hooks for Open {
    fn connect(&self, _: ConnectEvent) -> Decision<ConnectReply> {
        let credentials = Credentials { user: "ann".to_owned(), ..Credentials::default() };
        Answer::Now(Ok(ConnectReply { credentials, ..ConnectReply::default() }))
    }

    fn subscribe(&self, _: &spinward::Client, _: SubscribeEvent) -> Decision<SubscribeOptions> {
        Answer::Now(Ok(SubscribeOptions { tags_filter: true, ..SubscribeOptions::default() }))
    }
}

fn join(node: &Node) -> Client<tokio::io::DuplexStream> {
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    let handshake = Handshake::default();
    node.serve_stream(theirs, Protocol::Json, handshake);
    Client::new(ours, Protocol::Json)
}

fn subscribe(id: u32, channel: &str, vals: Vec<String>) -> Command {
    let tf = FilterNode { key: "k".to_owned(), cmp: "in".to_owned(), vals, ..FilterNode::default() };
    let request =
        SubscribeRequest { channel: channel.to_owned(), tf: Some(tf), ..SubscribeRequest::default() };
    Command { id, subscribe: Some(request), ..Command::default() }
}

fn unsubscribe(id: u32, channel: &str) -> Command {
    let request = UnsubscribeRequest { channel: channel.to_owned() };
    Command { id, unsubscribe: Some(request), ..Command::default() }
}

fn wide(first: usize) -> Vec<String> {
    (first..first + 2_000).map(|number| format!("{number:06}")).collect()
}

#[tokio::test]
async fn the_filters_of_a_connection_are_bounded_together() {
    let node = Node::builder(Open).config(Config { shards: 1, ..Config::default() }).build().unwrap();
    let mut client = join(&node);
    client.send(&[connect(1)]).await;
    assert!(client.reply(1).await.connect.is_some());
    let mut held = 0;
    for id in 2..40 {
        client.send(&[subscribe(id, &format!("c{id}"), wide(id as usize))]).await;
        let reply = client.reply(id).await;
        match reply.error {
            None => held += 1,
            Some(error) => assert_eq!(error.code, 106),
        }
    }
    // Each holds 20 KB.
    assert_eq!(held, 6);
    // A small one finds room, and a large one again once there is room for it.
    client.send(&[subscribe(50, "small", vec!["a".to_owned()]), unsubscribe(51, "c2")]).await;
    assert!(client.reply(50).await.subscribe.is_some());
    assert!(client.reply(51).await.unsubscribe.is_some());
    client.send(&[subscribe(52, "c2", wide(7)), subscribe(53, "c53", wide(8))]).await;
    assert!(client.reply(52).await.subscribe.is_some());
    assert_eq!(client.reply(53).await.error.map(|error| error.code), Some(106));
    node.shutdown(Duration::from_secs(2)).await;
}

#[tokio::test]
async fn filters_that_come_and_go_leave_those_that_stay_as_they_are() {
    let node = Node::builder(Open).config(Config { shards: 1, ..Config::default() }).build().unwrap();
    let (mut stays, mut goes) = (join(&node), join(&node));
    goes.send(&[connect(1), subscribe(2, "c", vec!["b".to_owned()])]).await;
    assert!(goes.reply(2).await.subscribe.is_some());
    stays.send(&[connect(1), subscribe(2, "c", vec!["a".to_owned()])]).await;
    assert!(stays.reply(2).await.subscribe.is_some());
    let publish = async |tag: &str| {
        let tags = Some(Arc::new(BTreeMap::from([("k".to_owned(), tag.to_owned())])));
        let options = PublishOptions { tags, ..PublishOptions::default() };
        node.publish("c", format!("\"{tag}\"").into(), options).await.unwrap();
    };
    for id in 3..30 {
        goes.send(&[unsubscribe(2 * id, "c"), subscribe(2 * id + 1, "c", vec![format!("b{id}")])]).await;
        assert!(goes.reply(2 * id + 1).await.subscribe.is_some());
        publish("b").await;
        publish(&format!("b{id}")).await;
        publish("a").await;
        let got = stays.push().await.publication.expect("a publication");
        assert_eq!(&got.data[..], b"\"a\"");
        let got = goes.push().await.publication.expect("a publication");
        assert_eq!(got.data, format!("\"b{id}\""));
    }
    node.shutdown(Duration::from_secs(2)).await;
}
