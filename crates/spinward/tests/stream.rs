//! A client over a byte stream that is not a socket: a task on a shard moves its bytes, and nothing else differs.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails here")]

mod common;

use common::{Client, connect, subscribe};
use spinward::answer::Answer;
use spinward::engine::broker::HistoryOptions;
use spinward::hooks::{
    ConnectEvent, ConnectReply, Decision, Handshake, Hooks, SubscribeEvent, SubscribeOptions,
};
use spinward::identity::Credentials;
use spinward::wire::Protocol;
use spinward::wire::code::{DisconnectCode, ErrorCode};
use spinward::wire::message::{Command, SubscribeRequest};
use spinward::{ClientFilter, Config, Node, ServerSubscribe};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const HISTORY: HistoryOptions =
    HistoryOptions { size: 100, ttl: Duration::from_secs(60), meta_ttl: Duration::ZERO };

/// Lets everybody in as `ann`, some of them slowly.
#[derive(Default)]
struct Open {
    slow: bool,
    panics: bool,
    disconnected: Arc<AtomicUsize>,
}

impl Hooks for Open {
    fn connect(&self, _: ConnectEvent) -> Decision<ConnectReply> {
        let credentials = Credentials { user: "ann".to_owned(), ..Credentials::default() };
        let connected = Ok(ConnectReply { credentials, ..ConnectReply::default() });
        if self.slow {
            return Answer::later(async move {
                tokio::time::sleep(Duration::from_millis(50)).await;
                connected
            });
        }
        Answer::Now(connected)
    }

    fn subscribe(&self, _: &spinward::Client, request: SubscribeEvent) -> Decision<SubscribeOptions> {
        assert!(!(self.panics && request.channel == "boom"), "a hook with a fault");
        let options = SubscribeOptions { recovery: true, history: HISTORY, ..SubscribeOptions::default() };
        Answer::Now(Ok(options))
    }

    fn disconnected(&self, _: &spinward::Client, _: &DisconnectCode) {
        self.disconnected.fetch_add(1, Ordering::Relaxed);
    }
}

fn node(hooks: Open) -> Node {
    Node::builder(hooks).config(Config { shards: 1, ..Config::default() }).build().unwrap()
}

fn handshake() -> Handshake {
    Handshake::default()
}

fn join(node: &Node, protocol: Protocol) -> Client<tokio::io::DuplexStream> {
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    node.serve_stream(theirs, protocol, handshake());
    Client::new(ours, protocol)
}

fn options() -> spinward::engine::broker::PublishOptions {
    spinward::engine::broker::PublishOptions {
        history: HISTORY,
        ..spinward::engine::broker::PublishOptions::default()
    }
}

#[tokio::test]
async fn a_stream_is_served_as_a_socket_is() {
    for protocol in [Protocol::Json, Protocol::Protobuf] {
        let node = node(Open::default());
        let mut client = join(&node, protocol);
        client.send(&[connect(1), subscribe(2, "news")]).await;
        assert!(client.reply(1).await.connect.is_some());
        let subscribed = client.reply(2).await.subscribe.expect("subscribed");
        assert!(subscribed.recoverable && subscribed.positioned);
        for n in 1..=200_u64 {
            node.publish("news", format!("{{\"n\":{n}}}").into(), options()).await.unwrap();
        }
        for n in 1..=200_u64 {
            let publication = client.push().await.publication.expect("a publication");
            assert_eq!(publication.offset, n, "in order, each once");
        }
        assert_eq!(node.info().counters.task_accepted, 1);
        node.disconnect("ann", &ClientFilter::default(), DisconnectCode::FORCE_DISCONNECT);
        assert!(client.next().await.is_none());
        assert_eq!(client.closed, Some(Some(3503)));
        node.shutdown(Duration::from_secs(2)).await;
    }
}

/// A subscription that the server makes again goes on where the old one was, whatever is on its way.
#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_made_again_misses_nothing() {
    const LAST: u64 = 3_000;
    let node = node(Open::default());
    let mut client = join(&node, Protocol::Json);
    client.send(&[connect(1), subscribe(2, "news")]).await;
    assert!(client.reply(2).await.subscribe.is_some());
    let publisher = tokio::spawn({
        let node = node.clone();
        async move {
            for n in 1..=LAST {
                node.publish("news", n.to_string().into(), options()).await.unwrap();
                tokio::task::yield_now().await;
            }
        }
    });
    let again = tokio::spawn({
        let node = node.clone();
        async move {
            for _ in 0..50 {
                let options =
                    SubscribeOptions { recovery: true, history: HISTORY, ..SubscribeOptions::default() };
                let made = ServerSubscribe { options, since: None };
                node.subscribe("ann", &ClientFilter::default(), "news", made).await.unwrap();
            }
        }
    });
    let (mut seen, mut told) = (0, 0);
    while seen < LAST || told < 50 {
        let push = client.push().await;
        if let Some(publication) = push.publication {
            assert_eq!(publication.offset, seen + 1, "in order, each once");
            seen = publication.offset;
        } else if let Some(subscribed) = push.subscribe {
            assert_eq!(subscribed.offset, seen, "it begins where the old one stood");
            told += 1;
        }
    }
    publisher.await.unwrap();
    again.await.unwrap();
    assert_eq!(node.info().counters.subscriptions, 1);
    node.shutdown(Duration::from_secs(2)).await;
}

#[tokio::test]
async fn a_login_that_failed_is_followed_by_silence() {
    let config = Config { shards: 1, stale_close_delay: Duration::from_millis(300), ..Config::default() };
    let node = Node::builder(Expired).config(config).build().unwrap();
    let mut client = join(&node, Protocol::Json);
    client.send(&[connect(1), subscribe(2, "news")]).await;
    assert_eq!(client.reply(1).await.error.map(|error| error.code), Some(109));
    client.send(&[connect(3)]).await;
    client.raw(&[0x81, 0x82, 0, 0, 0, 0, b'x', b'x']).await;
    assert!(client.next().await.is_none(), "nothing is answered any more");
    assert_eq!(client.closed, Some(Some(3502)));
}

/// Refuses every login with an error.
struct Expired;

impl Hooks for Expired {
    fn connect(&self, _: ConnectEvent) -> Decision<ConnectReply> {
        Answer::Now(Err(ErrorCode::TOKEN_EXPIRED.into()))
    }
}

#[tokio::test]
async fn commands_behind_one_that_waits_are_answered_in_order() {
    let node = node(Open { slow: true, ..Open::default() });
    let mut client = join(&node, Protocol::Json);
    client.send(&[connect(1), subscribe(2, "a")]).await;
    client.send(&[subscribe(3, "b"), subscribe(4, "a")]).await;
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(client.next().await.expect("a reply").id);
    }
    assert_eq!(ids, [1, 2, 3, 4]);
    assert_eq!(node.info().counters.subscriptions, 2);
}

#[tokio::test]
async fn a_hook_that_panics_costs_its_connection_only() {
    let node = node(Open { panics: true, ..Open::default() });
    let (mut victim, mut witness) = (join(&node, Protocol::Json), join(&node, Protocol::Json));
    witness.send(&[connect(1), subscribe(2, "news")]).await;
    witness.reply(2).await;
    victim.send(&[connect(1), subscribe(2, "boom")]).await;
    victim.reply(1).await;
    assert!(victim.next().await.is_none());
    assert_eq!(victim.closed, Some(Some(3004)));
    node.publish("news", "1".into(), options()).await.unwrap();
    assert!(witness.push().await.publication.is_some());
}

#[tokio::test]
async fn what_was_missed_is_recovered() {
    let node = node(Open::default());
    let mut first = join(&node, Protocol::Json);
    first.send(&[connect(1), subscribe(2, "news")]).await;
    let start = first.reply(2).await.subscribe.expect("subscribed");
    drop(first);
    for n in 1..=3 {
        node.publish("news", n.to_string().into(), options()).await.unwrap();
    }
    let mut second = join(&node, Protocol::Json);
    let request = SubscribeRequest {
        channel: "news".to_owned(),
        recover: true,
        epoch: start.epoch.clone(),
        offset: start.offset,
        ..SubscribeRequest::default()
    };
    second.send(&[connect(1), Command { id: 2, subscribe: Some(request), ..Command::default() }]).await;
    let result = second.reply(2).await.subscribe.expect("subscribed");
    assert!(result.recovered && result.was_recovering);
    let offsets: Vec<u64> = result.publications.iter().map(|publication| publication.offset).collect();
    assert_eq!(offsets, [1, 2, 3]);
}

#[tokio::test]
async fn a_peer_that_goes_away_is_noticed() {
    let disconnected = Arc::new(AtomicUsize::new(0));
    let node = node(Open { disconnected: Arc::clone(&disconnected), ..Open::default() });
    let mut client = join(&node, Protocol::Json);
    client.send(&[connect(1), subscribe(2, "news")]).await;
    client.reply(2).await;
    drop(client);
    for _ in 0..100 {
        if disconnected.load(Ordering::Relaxed) == 1 && node.info().counters.connections == 0 {
            assert_eq!(node.info().counters.subscriptions, 0);
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the connection is still counted");
}

#[tokio::test]
async fn a_subscribe_by_the_server_brings_the_client_up_to_date() {
    for protocol in [Protocol::Json, Protocol::Protobuf] {
        let node = node(Open::default());
        let mut client = join(&node, protocol);
        client.send(&[connect(1)]).await;
        client.reply(1).await;
        let mut top = spinward::Position::default();
        for number in 1..=4 {
            top = node.publish("c", number.to_string().into(), options()).await.unwrap().position;
        }
        for (channel, epoch, missed) in
            [("c", Arc::clone(&top.epoch), vec![3, 4]), ("d", "another".into(), vec![])]
        {
            if channel == "d" {
                top = node.publish("d", "1".into(), options()).await.unwrap().position;
            }
            let subscribe = ServerSubscribe {
                options: SubscribeOptions { recovery: true, history: HISTORY, ..SubscribeOptions::default() },
                since: Some(spinward::Position { offset: 2, epoch }),
            };
            node.subscribe("ann", &ClientFilter::default(), channel, subscribe).await.unwrap();
            node.publish(channel, "9".into(), options()).await.unwrap();
            let push = client.push().await;
            let told = push.subscribe.unwrap();
            assert_eq!((push.channel.as_str(), told.recoverable, &*told.epoch), (channel, true, &*top.epoch));
            // The offset it continues from: the next publication follows in either case.
            assert_eq!(told.offset, if missed.is_empty() { top.offset } else { 2 });
            for expected in missed.into_iter().chain([top.offset + 1]) {
                let publication = client.push().await.publication.unwrap();
                assert_eq!(publication.offset, expected, "{channel} {protocol:?}");
            }
        }
        node.shutdown(Duration::from_secs(10)).await;
    }
}

/// The actions of a task set timers too, and a sleeping shard has to notice them.
#[tokio::test]
async fn who_does_not_take_leave_is_let_go_after_two_seconds() {
    let node = node(Open::default());
    let mut client = join(&node, Protocol::Json);
    client.send(&[connect(1)]).await;
    client.reply(1).await;
    client.raw(&[0xff; 16]).await;
    for _ in 0..100 {
        if node.info().counters.connections == 0 {
            return node.shutdown(Duration::from_secs(10)).await;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("it is still there");
}

/// An unknown delta encoding ends the connection, but for kinds other than streams the application is asked first.
#[tokio::test]
async fn permission_comes_before_the_delta_encoding_of_other_kinds() {
    struct Closed;

    impl Hooks for Closed {
        fn connect(&self, _: ConnectEvent) -> Decision<ConnectReply> {
            Answer::Now(Ok(ConnectReply::default()))
        }
    }

    let node = Node::builder(Closed).config(Config { shards: 1, ..Config::default() }).build().unwrap();
    for (kind, replied) in [(0, false), (1, true), (2, true), (3, true), (4, true)] {
        let mut client = join(&node, Protocol::Json);
        let request = SubscribeRequest {
            channel: "news".to_owned(),
            delta: "zip".to_owned(),
            r#type: kind,
            ..SubscribeRequest::default()
        };
        client.send(&[connect(1), Command { id: 2, subscribe: Some(request), ..Command::default() }]).await;
        assert!(client.reply(1).await.connect.is_some());
        let answer = client.next().await.map(|reply| reply.error.expect("refused").code);
        let expected = replied.then_some(ErrorCode::PERMISSION_DENIED.code);
        assert_eq!(answer, expected, "kind {kind}");
        assert_eq!(client.closed, if replied { None } else { Some(Some(3501)) }, "kind {kind}");
    }
    node.shutdown(Duration::from_secs(10)).await;
}
