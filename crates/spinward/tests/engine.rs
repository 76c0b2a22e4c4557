//! A remote broker says that something happened to its store or to its connection.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails here")]

mod common;

use common::broker::Counting;
use common::{Client, connect, subscribe};
use spinward::answer::Answer;
use spinward::engine::broker::{BrokerError, Event, Interest, PublishOptions, Scope};
use spinward::hooks::{
    ConnectEvent, ConnectReply, Decision, Handshake, Hooks, SubscribeEvent, SubscribeOptions,
};
use spinward::identity::Credentials;
use spinward::wire::Protocol;
use spinward::wire::message::{Command, SubscribeRequest};
use spinward::{Config, Node, Publication};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

/// Channels that begin with "p" are positioned.
struct App;

impl Hooks for App {
    fn connect(&self, _: ConnectEvent) -> Decision<ConnectReply> {
        let credentials = Credentials { user: "ann".to_owned(), ..Credentials::default() };
        Answer::Now(Ok(ConnectReply { credentials, ..ConnectReply::default() }))
    }

    fn subscribe(&self, _: &spinward::Client, request: SubscribeEvent) -> Decision<SubscribeOptions> {
        let recovery = request.channel.starts_with('p');
        Answer::Now(Ok(SubscribeOptions { recovery, ..SubscribeOptions::default() }))
    }
}

/// Positions are compared only where the broker asks for it.
fn node(broker: &Arc<Counting>) -> Node {
    node_with(broker, |_| ())
}

fn node_with(broker: &Arc<Counting>, change: impl FnOnce(&mut Config)) -> Node {
    let mut config = Config { shards: 2, channel_position_check_delay: Duration::ZERO, ..Config::default() };
    change(&mut config);
    Node::builder(App).config(config).broker(broker.clone()).build().unwrap()
}

fn open(node: &Node) -> Client<tokio::io::DuplexStream> {
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    node.serve_stream(theirs, Protocol::Json, Handshake::default());
    Client::new(ours, Protocol::Json)
}

async fn subscribed(node: &Node, channel: &str) -> (Client<tokio::io::DuplexStream>, String) {
    let mut client = open(node);
    client.send(&[connect(1), subscribe(2, channel)]).await;
    let epoch = client.reply(2).await.subscribe.expect("subscribed").epoch;
    (client, epoch)
}

async fn is_told_of_a_loss(client: &mut Client<tokio::io::DuplexStream>) -> bool {
    client.push().await.unsubscribe.is_some_and(|unsubscribe| unsubscribe.code == 2500)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interruption_is_compared_at_once() {
    let broker = Arc::new(Counting { stores: true, ..Counting::default() });
    let node = node(&broker);
    let (mut lost, _) = subscribed(&node, "p1").await;
    let (mut plain, _) = subscribed(&node, "n1").await;
    node.publish("p1", "1".into(), PublishOptions::default()).await.unwrap();
    let began = tokio::time::Instant::now();
    broker.sink().interrupted(Scope::Channels(&["p1", "n1", "elsewhere"]));
    assert!(is_told_of_a_loss(&mut lost).await);
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    let publication = Publication { data: "2".into(), ..Publication::default() };
    broker.sink().deliver("n1", None, Event::Publication(Arc::new(publication)));
    assert!(plain.push().await.publication.is_some(), "one without a position stays");
    let counters = node.info().counters;
    assert_eq!((counters.interruptions, counters.gaps), (1, 1));
}

#[test]
fn nothing_is_tried_for_ever_on_a_runtime_that_has_ended() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let broker = Arc::new(Counting { stores: true, ..Counting::default() });
    let (node, client) = runtime.block_on(async {
        let node = node(&broker);
        let client = subscribed(&node, "p1").await;
        (node, client)
    });
    runtime.shutdown_background();
    let (ended, end) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        broker.sink().interrupted(Scope::All);
        ended.send(()).unwrap();
    });
    end.recv_timeout(Duration::from_secs(10)).expect("the interruption is over");
    drop((node, client));
}

/// Milliseconds since 1970.
fn wall() -> i64 {
    std::time::UNIX_EPOCH.elapsed().unwrap().as_millis() as i64
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_publication_is_compared_at_once_where_there_is_a_limit() {
    for (limit, age, compared) in [(5_000, 60_000, true), (5_000, 10, false), (0, 60_000, false)] {
        let broker = Arc::new(Counting { stores: true, ..Counting::default() });
        let node =
            node_with(&broker, |config| config.channel_position_max_time_lag = Duration::from_millis(limit));
        let (mut client, _) = subscribed(&node, "p1").await;
        // The second one is still on its way.
        for data in ["1", "2"] {
            node.publish("p1", data.into(), PublishOptions::default()).await.unwrap();
        }
        let before = broker.reads.load(SeqCst);
        let publication =
            Publication { data: "1".into(), offset: 1, time: wall() - age, ..Publication::default() };
        broker.sink().deliver("p1", Some(&broker.stream()), Event::Publication(Arc::new(publication)));
        assert!(client.push().await.publication.is_some());
        if compared {
            assert!(is_told_of_a_loss(&mut client).await);
        } else {
            tokio::time::sleep(Duration::from_millis(1_300)).await;
            assert_eq!(broker.reads.load(SeqCst), before, "limit {limit}, age {age}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_that_was_entering_is_compared_after_an_interruption() {
    // Alone, and beside one that is in already.
    for company in [false, true] {
        let broker = Arc::new(Counting { stores: true, ..Counting::default() });
        let node = node(&broker);
        let other = if company { Some(subscribed(&node, "p1").await.0) } else { None };
        let gate = Arc::new(tokio::sync::Notify::new());
        *broker.gate.lock() = Some(Arc::clone(&gate));
        let before = broker.reads.load(SeqCst);
        let mut entering = open(&node);
        entering.send(&[connect(1), subscribe(2, "p1")]).await;
        while broker.reads.load(SeqCst) == before {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // It is stored after the read, and its delivery is lost.
        node.publish("p1", "1".into(), PublishOptions::default()).await.unwrap();
        broker.sink().interrupted(Scope::All);
        // The comparison is over before the read is.
        tokio::time::sleep(Duration::from_millis(1_300)).await;
        gate.notify_one();
        assert!(entering.reply(2).await.subscribe.is_some());
        assert!(is_told_of_a_loss(&mut entering).await, "beside another: {company}");
        if let Some(mut other) = other {
            assert!(is_told_of_a_loss(&mut other).await);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_told_of_an_interruption_without_loss() {
    let broker = Arc::new(Counting { stores: true, ..Counting::default() });
    let node = node(&broker);
    let (mut client, _) = subscribed(&node, "p1").await;
    let before = broker.reads.load(SeqCst);
    for _ in 0..100 {
        broker.sink().interrupted(Scope::All);
    }
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let reads = broker.reads.load(SeqCst) - before;
    assert!((1..=100).contains(&reads), "{reads}");
    let publication = Publication { data: "1".into(), offset: 1, ..Publication::default() };
    broker.sink().deliver("p1", Some(&broker.stream()), Event::Publication(Arc::new(publication)));
    assert!(client.push().await.publication.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_was_replaced_ends_every_position() {
    let broker = Arc::new(Counting { stores: true, ..Counting::default() });
    broker.top.store(8, SeqCst);
    let node = node(&broker);
    let (mut client, epoch) = subscribed(&node, "p1").await;
    // The replica keeps the stream's own name, and lacks the last publication.
    broker.life.fetch_add(1, SeqCst);
    broker.top.store(7, SeqCst);
    broker.sink().replaced(Scope::All, &broker.stream().incarnation);
    assert!(is_told_of_a_loss(&mut client).await);
    let recover = SubscribeRequest {
        channel: "p1".to_owned(),
        recover: true,
        offset: 8,
        epoch: epoch.clone(),
        ..SubscribeRequest::default()
    };
    client.send(&[Command { id: 3, subscribe: Some(recover.clone()), ..Command::default() }]).await;
    let again = client.reply(3).await.subscribe.expect("subscribed");
    assert!(again.was_recovering && !again.recovered, "a position of the former life");
    assert_eq!(again.offset, 7);
    assert_ne!(again.epoch, epoch);

    let (mut other, _) = subscribed(&node, "n1").await;
    let recover = SubscribeRequest { offset: 7, epoch: again.epoch, ..recover };
    other.send(&[Command { id: 3, subscribe: Some(recover), ..Command::default() }]).await;
    assert!(other.reply(3).await.subscribe.expect("subscribed").recovered, "a position of the present life");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_subscribes_again_after_a_read_without_an_answer_is_let_in() {
    let broker = Arc::new(Counting { stores: true, ..Counting::default() });
    let config = Config { shards: 2, hook_timeout: Duration::from_millis(300), ..Config::default() };
    let node = Node::builder(App).config(config).broker(broker.clone()).build().unwrap();
    let (mut client, epoch) = subscribed(&node, "p1").await;
    node.publish("p1", "1".into(), PublishOptions::default()).await.unwrap();
    broker.sink().interrupted(Scope::All);
    assert!(is_told_of_a_loss(&mut client).await);
    // It comes back at once, and the engine does not answer. What it answers later is of no use to anybody.
    let gate = Arc::new(tokio::sync::Notify::new());
    *broker.gate.lock() = Some(Arc::clone(&gate));
    let again = |id| {
        let subscribe = SubscribeRequest {
            channel: "p1".to_owned(),
            recover: true,
            epoch: epoch.clone(),
            ..SubscribeRequest::default()
        };
        Command { id, subscribe: Some(subscribe), ..Command::default() }
    };
    client.send(&[again(3), again(4)]).await;
    let refused = client.reply(3).await.error.expect("no answer in time");
    assert!(refused.code == 100 && refused.temporary, "{refused:?}");
    gate.notify_one();
    let reply = client.reply(4).await;
    assert_eq!(reply.subscribe.map(|subscribed| subscribed.offset), Some(1), "{:?}", reply.error);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_that_panics_fails_for_those_who_wait_for_it_alone() {
    let broker = Arc::new(Counting { stores: true, ..Counting::default() });
    let node = node(&broker);
    broker.panics.store(true, SeqCst);
    let mut client = open(&node);
    client.send(&[connect(1), subscribe(2, "p1")]).await;
    assert_eq!(client.reply(2).await.error.map(|error| error.code), Some(100));
    broker.panics.store(false, SeqCst);
    client.send(&[subscribe(3, "p1")]).await;
    assert!(client.reply(3).await.subscribe.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn interest_that_was_refused_or_lost_is_asked_for_again() {
    let broker = Arc::new(Counting::default());
    let node = node(&broker);
    broker.refusals.store(1, SeqCst);
    let mut client = open(&node);
    client.send(&[connect(1), subscribe(2, "n1")]).await;
    assert_eq!(client.reply(2).await.error.map(|error| error.code), Some(100));
    client.send(&[subscribe(3, "n1")]).await;
    assert!(client.reply(3).await.subscribe.is_some());
    let asked = broker.batches.lock().len();
    broker.sink().interest("n1", Interest::Wanted, Err(BrokerError::Failed("lost".into())));
    for _ in 0..100 {
        if broker.batches.lock().len() > asked {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(broker.batches.lock().len(), asked + 1);
    assert_eq!(broker.sink().wanted(), ["n1".into()]);
}

#[tokio::test]
async fn interest_is_asked_for_in_batches() {
    let broker = Arc::new(Counting::default());
    let node = node(&broker);
    let mut client = open(&node);
    let channels: Vec<_> = (0..100).map(|number| subscribe(number + 2, &format!("n{number}"))).collect();
    client.send(&[connect(1)]).await;
    client.reply(1).await;
    for pipelined in channels.chunks(50) {
        client.send(pipelined).await;
    }
    client.reply(101).await;
    let batches = broker.batches.lock().clone();
    assert_eq!(batches.iter().sum::<usize>(), 100);
    drop(client);
    // A connection that ends gives back all of its channels at once.
    let mut given_back = Vec::new();
    for _ in 0..500 {
        given_back = broker.batches.lock()[batches.len()..].to_vec();
        if given_back.iter().sum::<usize>() == 100 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(given_back.iter().sum::<usize>(), 100);
    assert!(given_back.len() < 50, "{given_back:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publication_of_a_pattern_says_its_channel() {
    let broker = Arc::new(Counting::default());
    let node = node(&broker);
    let (mut client, _) = subscribed(&node, "news.*").await;
    let publication =
        Publication { data: "1".into(), channel: Some("news.sports".into()), ..Publication::default() };
    broker.sink().deliver("news.*", None, Event::Publication(Arc::new(publication)));
    let push = client.push().await;
    assert_eq!(push.channel, "news.*");
    assert_eq!(push.publication.expect("a publication").channel, "news.sports");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_is_closed_with_its_node() {
    let broker = Arc::new(Counting::default());
    let node = node(&broker);
    assert!(node.health().is_ready());
    broker.fails.store(true, SeqCst);
    assert!(!node.health().is_ready(), "{:?}", node.health());
    node.shutdown(Duration::from_secs(5)).await;
    assert!(broker.closed.load(SeqCst));
}
