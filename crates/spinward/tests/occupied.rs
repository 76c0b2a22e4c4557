//! The application is notified of a channel's first subscriber and of its last.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails here")]

mod common;

use common::{Client, connect, subscribe};
use spinward::answer::Answer;
use spinward::hooks::{
    ConnectEvent, ConnectReply, Decision, Handshake, Hooks, SubscribeEvent, SubscribeOptions,
};
use spinward::identity::Credentials;
use spinward::wire::Protocol;
use spinward::wire::code::UnsubscribeCode;
use spinward::wire::message::{Command, UnsubscribeRequest};
use spinward::{ClientFilter, Config, Node};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Records the events of channels.
#[derive(Clone, Default)]
struct Listening(Arc<Mutex<Vec<(String, bool)>>>);

impl Hooks for Listening {
    fn connect(&self, _: ConnectEvent) -> Decision<ConnectReply> {
        let credentials = Credentials { user: "ann".to_owned(), ..Credentials::default() };
        Answer::Now(Ok(ConnectReply { credentials, ..ConnectReply::default() }))
    }

    fn subscribe(&self, _: &spinward::Client, _: SubscribeEvent) -> Decision<SubscribeOptions> {
        Answer::Now(Ok(SubscribeOptions::default()))
    }

    fn channel_occupied(&self, channel: &str) {
        self.0.lock().unwrap().push((channel.to_owned(), true));
    }

    fn channel_vacated(&self, channel: &str) {
        self.0.lock().unwrap().push((channel.to_owned(), false));
    }
}

impl Listening {
    /// Waits until there are as many events; the end of a connection is noticed some time after it.
    async fn heard(&self, count: usize) -> Vec<(String, bool)> {
        for _ in 0..500 {
            let heard = self.0.lock().unwrap().clone();
            if heard.len() >= count {
                return heard;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{:?}, where {count} were due", self.0.lock().unwrap());
    }
}

fn node(hooks: &Listening, shards: usize) -> Node {
    Node::builder(hooks.clone()).config(Config { shards, ..Config::default() }).build().unwrap()
}

async fn join(node: &Node) -> Client<tokio::io::DuplexStream> {
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    let handshake = Handshake::default();
    node.serve_stream(theirs, Protocol::Json, handshake);
    let mut client = Client::new(ours, Protocol::Json);
    client.send(&[connect(1)]).await;
    client.reply(1).await;
    client
}

fn leave(id: u32, channel: &str) -> Command {
    let unsubscribe = Some(UnsubscribeRequest { channel: channel.to_owned() });
    Command { id, unsubscribe, ..Command::default() }
}

#[tokio::test]
async fn the_first_and_the_last_are_told_of_and_nobody_between() {
    let hooks = Listening::default();
    let node = node(&hooks, 2);
    let (mut one, mut other) = (join(&node).await, join(&node).await);
    for client in [&mut one, &mut other] {
        client.send(&[subscribe(2, "a")]).await;
        client.reply(2).await;
    }
    assert_eq!(hooks.heard(1).await, [("a".to_owned(), true)]);
    one.send(&[leave(3, "a")]).await;
    one.reply(3).await;
    one.send(&[subscribe(4, "a"), leave(5, "a")]).await;
    one.reply(5).await;
    assert_eq!(hooks.heard(1).await.len(), 1, "the other is still there");
    other.send(&[leave(3, "a")]).await;
    other.reply(3).await;
    assert_eq!(hooks.heard(2).await[1], ("a".to_owned(), false));

    // However it ends: a connection that is gone, the server's word, the server's own subscription.
    one.send(&[subscribe(6, "a")]).await;
    one.reply(6).await;
    drop(one);
    assert_eq!(hooks.heard(4).await[2..], [("a".to_owned(), true), ("a".to_owned(), false)]);
    let everybody = ClientFilter::default();
    // Made again it is still one.
    for _ in 0..2 {
        node.subscribe("ann", &everybody, "b", spinward::ServerSubscribe::default()).await.unwrap();
    }
    assert_eq!(hooks.heard(5).await[4], ("b".to_owned(), true));
    node.unsubscribe("ann", &everybody, Some("b"), UnsubscribeCode::SERVER);
    assert_eq!(hooks.heard(6).await[5], ("b".to_owned(), false));
    node.shutdown(Duration::from_secs(10)).await;
    assert_eq!(hooks.heard(6).await.len(), 6);
}

/// Clients of many shards come and go at once: at the end every channel is vacated as often as it was occupied.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_occupied_is_vacated() {
    const CHANNELS: [&str; 3] = ["a", "b", "c"];
    let hooks = Listening::default();
    let node = node(&hooks, 3);
    let clients: Vec<_> = (0..8)
        .map(|number: usize| {
            let node = node.clone();
            tokio::spawn(async move {
                let mut client = join(&node).await;
                for round in 0..40 {
                    let channel = CHANNELS[(number + round) % CHANNELS.len()];
                    let id = 2 * round as u32 + 2;
                    client.send(&[subscribe(id, channel), leave(id + 1, channel)]).await;
                    client.reply(id + 1).await;
                }
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
    node.shutdown(Duration::from_secs(10)).await;
    let heard = hooks.0.lock().unwrap().clone();
    for channel in CHANNELS {
        let count = |occupied| heard.iter().filter(|one| **one == (channel.to_owned(), occupied)).count();
        assert!(count(true) > 0, "{channel}");
        assert_eq!(count(true), count(false), "{channel}");
    }
}
