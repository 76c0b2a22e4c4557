//! Clients that take nothing of what waits for them: `write_timeout` and `response_write_timeout`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails here")]

mod common;

use common::{Client, connect, subscribe};
use http_body_util::BodyExt;
use spinward::answer::Answer;
use spinward::engine::broker::PublishOptions;
use spinward::hooks::{
    ConnectEvent, ConnectReply, Decision, Handshake, Hooks, SubscribeEvent, SubscribeOptions,
};
use spinward::identity::Transport;
use spinward::wire::code::DisconnectCode;
use spinward::wire::{Direction, Form, Protocol};
use spinward::{Config, Node};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Lets everybody in, subscribes them to `all`, and keeps the codes of those who leave.
#[derive(Clone, Default)]
struct Open(Arc<Mutex<Vec<u32>>>);

impl Hooks for Open {
    fn connect(&self, _: ConnectEvent) -> Decision<ConnectReply> {
        let subscriptions = vec![("all".to_owned(), SubscribeOptions::default())];
        Answer::Now(Ok(ConnectReply { subscriptions, ..ConnectReply::default() }))
    }

    fn subscribe(&self, _: &spinward::Client, _: SubscribeEvent) -> Decision<SubscribeOptions> {
        Answer::Now(Ok(SubscribeOptions::default()))
    }

    fn disconnected(&self, _: &spinward::Client, code: &DisconnectCode) {
        self.0.lock().unwrap().push(code.code);
    }
}

async fn until(what: &str, mut reached: impl FnMut() -> bool) {
    for _ in 0..200 {
        if reached() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("{what}");
}

#[tokio::test]
async fn a_client_that_takes_nothing_for_too_long_is_closed_and_one_that_is_slow_is_not() {
    let hooks = Open::default();
    let config = Config { shards: 1, write_timeout: Duration::from_secs(1), ..Config::default() };
    let node = Node::builder(hooks.clone()).config(config).build().unwrap();
    let mut clients = Vec::new();
    for _ in 0..2 {
        let (near, far) = tokio::io::duplex(4 << 10);
        node.serve_stream(far, Form::websocket(Protocol::Json), Handshake::default());
        let mut client = Client::new(near, Protocol::Json);
        client.send(&[connect(1), subscribe(2, "news")]).await;
        client.reply(2).await;
        clients.push(client);
    }
    let (stalled, mut slow) = (clients.pop().unwrap(), clients.pop().unwrap());
    let data = format!("\"{}\"", "x".repeat(1_000));
    for _ in 0..40 {
        node.publish("news", data.clone().into(), PublishOptions::default()).await.unwrap();
    }
    // A little at a time, and longer than the limit in all.
    for _ in 0..40 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        slow.push().await;
    }
    until("the stalled one is gone", || *hooks.0.lock().unwrap() == [3009]).await;
    node.publish("news", data.into(), PublishOptions::default()).await.unwrap();
    slow.push().await;
    assert_eq!(*hooks.0.lock().unwrap(), [3009]);
    drop(stalled);
}

#[tokio::test]
async fn a_response_that_nobody_reads_is_cut_off_and_one_that_is_read_slowly_is_not() {
    let hooks = Open::default();
    let limit = Duration::from_secs(1);
    let config = Config { shards: 1, response_write_timeout: limit, ..Config::default() };
    let node = Node::builder(hooks.clone()).config(config).build().unwrap();
    let mut bodies = Vec::new();
    for _ in 0..2 {
        let form = Form::event_stream(Direction::Unidirectional);
        let mut body = node.open(Transport::UniSse, form, Handshake::default()).unwrap().body("{}".into());
        body.frame().await.unwrap().unwrap();
        bodies.push(body);
    }
    let (mut stalled, mut slow) = (bodies.pop().unwrap(), bodies.pop().unwrap());
    let data = format!("\"{}\"", "x".repeat(4_000));
    for _ in 0..40 {
        node.publish("all", data.clone().into(), PublishOptions::default()).await.unwrap();
    }
    // It has taken some within each second, and not yet so much that the shard is asked for more.
    for _ in 0..10 {
        tokio::time::sleep(limit / 5).await;
        slow.frame().await.unwrap().unwrap();
    }
    until("the stalled one is gone", || *hooks.0.lock().unwrap() == [3009]).await;
    let mut left = 30;
    while left > 0 {
        slow.frame().await.unwrap().unwrap();
        left -= 1;
    }
    assert_eq!(*hooks.0.lock().unwrap(), [3009]);
    // What the reader had not taken by then is gone, and it learns that.
    assert!(stalled.frame().await.unwrap().is_err());
}
