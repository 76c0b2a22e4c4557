//! Clients of 2018 to 2022: told by their first command, counted, and refused where the configuration says so.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails here")]

use spinward::answer::Answer;
use spinward::engine::broker::{HistoryOptions, PublishOptions};
use spinward::hooks::{
    ConnectEvent, ConnectReply, Decision, Handshake, Hooks, SubscribeEvent, SubscribeOptions,
};
use spinward::identity::Credentials;
use spinward::wire::code::UnsubscribeCode;
use spinward::wire::{Form, Protocol, Version};
use spinward::{ClientFilter, Config, Node};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream};

/// Lets everybody in everywhere. A token is an error that the login ends with.
struct Open;

const HISTORY: HistoryOptions =
    HistoryOptions { size: 10, ttl: Duration::from_secs(60), meta_ttl: Duration::ZERO };

impl Hooks for Open {
    fn connect(&self, asked: ConnectEvent) -> Decision<ConnectReply> {
        if asked.token == "expired" {
            return Answer::Now(Err(spinward::wire::code::ErrorCode::TOKEN_EXPIRED.into()));
        }
        let user = if asked.speaks == Version::V1 { "old" } else { "today" };
        let credentials = Credentials { user: user.to_owned(), ..Credentials::default() };
        Answer::Now(Ok(ConnectReply { credentials, ..ConnectReply::default() }))
    }

    fn subscribe(&self, client: &spinward::Client, _: SubscribeEvent) -> Decision<SubscribeOptions> {
        let old = client.identity().version == Version::V1;
        assert_eq!(old, client.user() == "old");
        Answer::Now(Ok(SubscribeOptions { recovery: true, history: HISTORY, ..SubscribeOptions::default() }))
    }
}

fn node(config: Config) -> Node {
    Node::builder(Open).config(Config { shards: 1, ..config }).build().unwrap()
}

/// A client that writes and reads lines of JSON.
struct Lines(BufReader<DuplexStream>);

impl Lines {
    fn new(node: &Node) -> Self {
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        node.serve_stream(theirs, Form::delimited(Protocol::Json), Handshake::default());
        Self(BufReader::new(ours))
    }

    async fn say(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
        self.0.write_all(b"\n").await.unwrap();
    }

    /// The next line; empty once the stream has ended.
    async fn line(&mut self) -> String {
        let mut line = String::new();
        let read = self.0.read_line(&mut line);
        tokio::time::timeout(Duration::from_secs(5), read).await.expect("nothing in five seconds").unwrap();
        line.trim_end().to_owned()
    }
}

const BAD_REQUEST: &str = "{\"push\":{\"disconnect\":{\"code\":3501,\"reason\":\"bad request\"}}}";
const OLD_BAD_REQUEST: &str = "{\"result\":{\"type\":7,\"data\":{\"code\":3501,\"reason\":\"bad request\"}}}";

#[tokio::test]
async fn a_connection_keeps_the_version_of_its_first_command() {
    let node = node(Config::default());
    for (first, then) in [
        ("{\"id\":1}", "{\"id\":2,\"subscribe\":{\"channel\":\"c\"}}"),
        ("{\"id\":1,\"params\":{}}", "{}"),
        ("{\"id\":1,\"method\":\"connect\"}", "{\"id\":2}"),
    ] {
        let mut client = Lines::new(&node);
        client.say(first).await;
        let reply = client.line().await;
        assert!(reply.starts_with("{\"id\":1,\"result\":{\"client\":\""), "{reply}");
        client.say("{\"id\":7,\"method\":7}").await;
        assert_eq!(client.line().await, "{\"id\":7}");
        client.say(then).await;
        assert_eq!(client.line().await, OLD_BAD_REQUEST, "{then}");
        assert_eq!(client.line().await, "");
    }
    for then in ["{\"id\":2,\"method\":1,\"params\":{\"channel\":\"c\"}}", "{\"id\":2}"] {
        let mut client = Lines::new(&node);
        client.say("{\"id\":1,\"connect\":{}}").await;
        assert!(client.line().await.starts_with("{\"id\":1,\"connect\":{"));
        client.say(then).await;
        assert_eq!(client.line().await, BAD_REQUEST, "{then}");
    }
}

#[tokio::test]
async fn the_option_refuses_them_as_before() {
    let node = node(Config { legacy: false, ..Config::default() });
    for first in ["{\"id\":1}", "{\"id\":1,\"params\":{}}", "{\"id\":1,\"method\":0}"] {
        let mut client = Lines::new(&node);
        client.say(first).await;
        assert_eq!(client.line().await, BAD_REQUEST, "{first}");
        assert_eq!(client.line().await, "");
    }
    let mut client = Lines::new(&node);
    client.say("{\"id\":1,\"connect\":{}}").await;
    assert!(client.line().await.starts_with("{\"id\":1,\"connect\":{"));
    assert_eq!(node.info().counters.legacy_accepted, 0);
}

#[tokio::test]
async fn they_are_counted() {
    let node = node(Config::default());
    let mut old = Lines::new(&node);
    old.say("{\"id\":1}").await;
    old.line().await;
    let mut today = Lines::new(&node);
    today.say("{\"id\":1,\"connect\":{}}").await;
    today.line().await;
    let counters = node.info().counters;
    assert_eq!((counters.clients, counters.legacy_clients, counters.legacy_accepted), (2, 1, 1));
    drop(old);
    for _ in 0..200 {
        if node.info().counters.legacy_clients == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let counters = node.info().counters;
    assert_eq!((counters.clients, counters.legacy_clients, counters.legacy_accepted), (1, 0, 1));
}

#[tokio::test]
async fn a_login_may_be_tried_again() {
    let node = node(Config::default());
    let mut client = Lines::new(&node);
    client.say("{\"id\":1,\"params\":{\"token\":\"expired\"}}").await;
    assert_eq!(client.line().await, "{\"id\":1,\"error\":{\"code\":109,\"message\":\"token expired\"}}");
    client.say("{\"id\":2,\"params\":{\"token\":\"fresh\"}}").await;
    assert!(client.line().await.starts_with("{\"id\":2,\"result\":{\"client\":\""));
}

#[tokio::test]
async fn a_publication_is_encoded_once_for_all_of_them() {
    let node = node(Config::default());
    let mut clients = Vec::new();
    for _ in 0..3 {
        let mut client = Lines::new(&node);
        client.say("{\"id\":1}").await;
        client.line().await;
        client.say("{\"id\":2,\"method\":1,\"params\":{\"channel\":\"c\"}}").await;
        client.line().await;
        clients.push(client);
    }
    let mut today = Lines::new(&node);
    today.say("{\"id\":1,\"connect\":{}}").await;
    today.line().await;
    today.say("{\"id\":2,\"subscribe\":{\"channel\":\"c\"}}").await;
    today.line().await;
    let options = PublishOptions { history: HISTORY, ..PublishOptions::default() };
    node.publish("c", "{\"a\":1}".into(), options).await.unwrap();
    let push = "{\"result\":{\"channel\":\"c\",\"data\":{\"seq\":1,\"offset\":1,\"data\":{\"a\":1}}}}";
    for client in &mut clients {
        assert_eq!(client.line().await, push);
    }
    assert!(today.line().await.starts_with("{\"push\":{\"channel\":\"c\",\"pub\":{"));
    assert_eq!(node.info().counters.encodings, 2, "one for each version");
}

#[tokio::test]
async fn what_ends_a_subscription_alone_today_ends_the_connection() {
    let node = node(Config::default());
    for (code, end) in [
        (UnsubscribeCode::SERVER, "{\"result\":{\"type\":3,\"channel\":\"c\",\"data\":{}}}"),
        (
            UnsubscribeCode::INSUFFICIENT_STATE,
            "{\"result\":{\"type\":7,\"data\":{\"code\":3010,\"reason\":\"insufficient state\",\"reconnect\":true}}}",
        ),
        (
            UnsubscribeCode::EXPIRED,
            "{\"result\":{\"type\":7,\"data\":{\"code\":3006,\"reason\":\"subscription expired\",\"reconnect\":true}}}",
        ),
    ] {
        let mut client = Lines::new(&node);
        client.say("{\"id\":1}").await;
        client.line().await;
        client.say("{\"id\":2,\"method\":1,\"params\":{\"channel\":\"c\"}}").await;
        client.line().await;
        node.unsubscribe("old", &ClientFilter::default(), Some("c"), code);
        assert_eq!(client.line().await, end);
    }
}
