//! Several nodes on a bus within this process.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails here")]

mod common;

use bytes::Bytes;
use common::{Client, connect, subscribe};
use parking_lot::Mutex;
use spinward::answer::Answer;
use spinward::cluster::{self, Applied, Body, Declined, Envelope, LabelFilter, LocalBus, Request};
use spinward::engine::controller::{ControlError, ControlSink, Controller, MAX_MESSAGE, To};
use spinward::hooks::{
    ConnectEvent, ConnectReply, Decision, Handshake, Hooks, SubscribeEvent, SubscribeOptions,
};
use spinward::id::NodeId;
use spinward::identity::Credentials;
use spinward::wire::Protocol;
use spinward::wire::code::{DisconnectCode, UnsubscribeCode};
use spinward::wire::message::FilterNode;
use spinward::{ClientFilter, ClusterHandler, Config, Node, ServerSubscribe, SubscribeError};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::DuplexStream;

const SECOND: Duration = Duration::from_secs(1);

/// Header with the label of a client.
const PLAN: &str = "x-plan";

struct Open;

impl Hooks for Open {
    fn connect(&self, event: ConnectEvent) -> Decision<ConnectReply> {
        let credentials = event.handshake.credentials.clone().unwrap_or_default();
        let plan = event.handshake.headers.get(PLAN).and_then(|plan| plan.to_str().ok());
        let labels = plan.map(|plan| ("plan".to_owned(), plan.to_owned())).into_iter().collect();
        Answer::allow(ConnectReply { credentials, labels, ..ConnectReply::default() })
    }

    fn subscribe(&self, _: &spinward::Client, _: SubscribeEvent) -> Decision<SubscribeOptions> {
        Answer::Now(Ok(SubscribeOptions::default()))
    }
}

/// Writes down what it is told, and answers surveys with the name of its node.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<String>>>);

impl ClusterHandler for Told {
    fn notified(&self, node: &Node, op: &str, data: Bytes) -> Answer<Result<(), Declined>> {
        let text = format!("{} {op} {}", node.name(), String::from_utf8_lossy(&data));
        self.0.lock().push(text);
        Answer::Now(Ok(()))
    }

    fn asked(&self, node: &Node, op: &str, data: Bytes) -> Answer<Result<Bytes, Declined>> {
        match op {
            "name" => Answer::Now(Ok(node.name().to_owned().into())),
            "long" => Answer::Now(Ok(vec![0; MAX_MESSAGE].into())),
            "never" if data != node.name() => Answer::later(std::future::pending()),
            "never" => Answer::Now(Ok(data)),
            "panic" => panic!("on purpose"),
            _ => Answer::Now(Err(Declined::Unsupported)),
        }
    }
}

fn quick() -> cluster::Config {
    let mut config = cluster::Config::default();
    config.heartbeat_interval = Duration::from_millis(100);
    config.node_timeout = Duration::from_millis(600);
    config
}

fn node(name: &str, controller: Arc<dyn Controller>, told: &Told) -> Node {
    let config = Config { shards: 2, ..Config::default() };
    let builder = Node::builder(Open).config(config).name(name).controller(controller);
    builder.cluster(quick()).handler(told.clone()).build().unwrap()
}

/// Nodes that know each other.
async fn nodes<const N: usize>(bus: &LocalBus, told: &Told) -> [Node; N] {
    let nodes: [Node; N] = std::array::from_fn(|at| node(["a", "b", "c"][at], bus.controller(), told));
    for node in &nodes {
        until(|| node.nodes().len() == N).await;
    }
    nodes
}

async fn until(reached: impl Fn() -> bool) {
    for _ in 0..500 {
        if reached() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it did not come to this in five seconds");
}

/// A client of a node with the label `plan`.
async fn labelled(node: &Node, user: &str, plan: &str) -> Client<DuplexStream> {
    let (far, near) = tokio::io::duplex(1 << 16);
    let credentials = Some(Credentials { user: user.to_owned(), ..Credentials::default() });
    let mut handshake = Handshake { credentials, ..Handshake::default() };
    handshake.headers.insert(PLAN, plan.parse().unwrap());
    node.serve_stream(near, Protocol::Json, handshake);
    let mut client = Client::new(far, Protocol::Json);
    client.send(&[connect(1)]).await;
    assert_eq!(client.reply(1).await.error, None);
    client
}

/// A client of a node, logged in as `ann`, in channel `c`.
async fn join(node: &Node) -> Client<DuplexStream> {
    let (far, near) = tokio::io::duplex(1 << 16);
    let credentials = Some(Credentials { user: "ann".to_owned(), ..Credentials::default() });
    node.serve_stream(near, Protocol::Json, Handshake { credentials, ..Handshake::default() });
    let mut client = Client::new(far, Protocol::Json);
    client.send(&[connect(1), subscribe(2, "c")]).await;
    assert_eq!(client.reply(2).await.error, None);
    client
}

async fn end(nodes: impl IntoIterator<Item = Node>) {
    for node in nodes {
        node.shutdown(10 * SECOND).await;
    }
}

#[tokio::test]
async fn labels_select_the_connections_of_all_users_on_every_node() {
    let [a, b] = nodes(&LocalBus::new(), &Told::default()).await;
    let (mut free_here, mut paid_here) = (labelled(&a, "u1", "free").await, labelled(&a, "u2", "paid").await);
    let (mut free_there, mut paid_there) =
        (labelled(&b, "u3", "free").await, labelled(&b, "u4", "paid").await);
    let node =
        FilterNode { key: "plan".into(), cmp: "eq".into(), val: "free".into(), ..FilterNode::default() };
    let labels = Some(LabelFilter::new(node).unwrap());
    let free = ClientFilter { labels, all_users: true, ..ClientFilter::default() };

    let applied = a.subscribe("", &free, "c", ServerSubscribe::default()).await;
    assert_eq!(applied, Ok(Applied::default()));
    assert_eq!(b.info().counters.subscriptions, 1);
    let applied = a.disconnect("", &free, DisconnectCode::FORCE_DISCONNECT).await;
    assert_eq!(applied, Applied::default());
    for client in [&mut free_here, &mut free_there] {
        while client.next().await.is_some() {}
    }
    assert_eq!((a.info().counters.clients, b.info().counters.clients), (1, 1));
    // Labels outlive a refresh, and connections without such a label are not meant.
    let all = ClientFilter { all_users: true, ..ClientFilter::default() };
    assert_eq!(b.refresh("", &all, false, 4_102_444_800, Some("{}".into())).await, Applied::default());
    assert_eq!(a.disconnect("", &free, DisconnectCode::FORCE_DISCONNECT).await, Applied::default());
    assert_eq!((a.info().counters.clients, b.info().counters.clients), (1, 1));
    assert_eq!(b.disconnect("", &all, DisconnectCode::FORCE_DISCONNECT).await, Applied::default());
    for client in [&mut paid_here, &mut paid_there] {
        while client.next().await.is_some() {}
    }
    end([a, b]).await;
}

#[tokio::test]
async fn operations_reach_the_connections_of_every_node() {
    let [a, b] = nodes(&LocalBus::new(), &Told::default()).await;
    let (mut here, mut there) = (join(&a).await, join(&b).await);
    let all = ClientFilter::default();

    let applied = a.unsubscribe("ann", &all, Some("c"), UnsubscribeCode::SERVER).await;
    assert!(applied.is_complete());
    assert_eq!(b.info().counters.subscriptions, 0, "applied there when the future is ready");
    for client in [&mut here, &mut there] {
        assert_eq!(client.push().await.unsubscribe.unwrap().code, 2000);
    }

    assert!(b.subscribe("ann", &all, "d", ServerSubscribe::default()).await.unwrap().is_complete());
    assert_eq!((a.channels(|_| true).len(), b.channels(|_| true).len()), (1, 1));
    for client in [&mut here, &mut there] {
        assert_eq!(client.push().await.channel, "d");
    }

    assert!(a.refresh("ann", &all, false, 4_102_444_800, None).await.is_complete());
    for client in [&mut here, &mut there] {
        assert!(client.push().await.refresh.unwrap().expires);
    }

    assert!(a.disconnect("ann", &all, DisconnectCode::FORCE_DISCONNECT).await.is_complete());
    assert_eq!((a.info().counters.clients, b.info().counters.clients), (0, 0));
    for client in [&mut here, &mut there] {
        assert!(client.next().await.is_none());
        assert_eq!(client.closed, Some(Some(3503)));
    }
    end([a, b]).await;
}

#[tokio::test]
async fn a_subscription_that_would_end_in_the_past_is_refused_from_afar() {
    let [a, b] = nodes(&LocalBus::new(), &Told::default()).await;
    let _there = join(&b).await;
    let options = SubscribeOptions { expire_at: 1, ..SubscribeOptions::default() };
    let past = ServerSubscribe { options, since: None };
    let refused = a.subscribe("ann", &ClientFilter::default(), "d", past).await;
    assert_eq!(refused, Err(SubscribeError::Expired));
    end([a, b]).await;
}

#[tokio::test]
async fn messages_and_surveys_go_to_handlers() {
    let told = Told::default();
    let [a, b, c] = nodes(&LocalBus::new(), &told).await;
    assert!(a.notify(To::All, "hello", "1".into()).await.is_complete());
    assert!(a.notify(To::Node(b.id()), "hello", "2".into()).await.is_complete());
    assert!(a.notify(To::Node(a.id()), "hello", "3".into()).await.is_complete());
    let mut heard = told.0.lock().clone();
    heard.sort();
    assert_eq!(heard, ["a hello 3", "b hello 1", "b hello 2", "c hello 1"]);

    let survey = a.survey("name", Bytes::new(), SECOND).await;
    assert!(!survey.is_partial());
    assert_eq!(survey.answers[0], (a.id(), "a".into()));
    let mut names: Vec<_> = survey.answers.iter().map(|(_, name)| name.clone()).collect();
    names.sort();
    assert_eq!(names, ["a", "b", "c"]);

    let survey = a.survey("never", "b".into(), Duration::from_millis(200)).await;
    assert_eq!((survey.answers, survey.declined), (vec![(b.id(), "b".into())], vec![]));
    assert_eq!(survey.missing, [a.id(), c.id()]);

    for (op, why) in
        [("what", Declined::Unsupported), ("long", Declined::TooLong), ("panic", Declined::Failed)]
    {
        let survey = b.survey(op, Bytes::new(), SECOND).await;
        let others: Vec<_> = survey.declined.iter().filter(|(node, _)| *node != b.id()).collect();
        assert!(others.len() == 2 && others.iter().all(|(_, declined)| *declined == why), "{op}");
        assert!(survey.is_partial() && survey.missing.is_empty(), "{op}");
    }
    end([a, b, c]).await;
}

#[tokio::test]
async fn a_node_that_ends_is_known_to_have_ended() {
    let bus = LocalBus::new();
    let [a, b, c] = nodes(&bus, &Told::default()).await;
    let gone = b.id();
    b.shutdown(10 * SECOND).await;
    assert!(a.nodes().iter().all(|node| node.id != gone), "it says goodbye");
    assert!(a.disconnect("ann", &ClientFilter::default(), DisconnectCode::STALE).await.is_complete());
    // One that is dropped without a word is missed after a while.
    drop(c);
    until(|| a.nodes().len() == 1).await;
    let alone = a.notify(To::Node(gone), "hello", Bytes::new());
    assert_eq!(alone.await.missing, [gone], "one that is not there does not confirm");
    end([a]).await;
}

#[tokio::test]
async fn a_node_without_a_controller_is_alone() {
    let told = Told::default();
    let node = Node::builder(Open).name("a").version("7").handler(told.clone()).build().unwrap();
    let list = node.nodes();
    assert_eq!((list.len(), list[0].id, &*list[0].name, &*list[0].version), (1, node.id(), "a", "7"));
    assert_eq!(node.control_counters(), None);
    assert_eq!(node.health().controller, None);
    assert_eq!(node.notify(To::All, "hello", Bytes::new()).await, Applied::default());
    let survey = node.survey("name", Bytes::new(), SECOND).await;
    assert_eq!(survey.answers, [(node.id(), "a".into())]);
    end([node]).await;
}

/// Keeps what is sent, for tests that are the back end themselves.
#[derive(Default)]
struct Kept {
    sink: Mutex<Option<ControlSink>>,
    sent: Mutex<Vec<Bytes>>,
    fails: Mutex<bool>,
    closed: Mutex<bool>,
}

impl Controller for Kept {
    fn name(&self) -> &'static str {
        "kept"
    }

    fn start(&self, _: NodeId, sink: ControlSink) -> Result<(), ControlError> {
        *self.sink.lock() = Some(sink);
        Ok(())
    }

    fn send(&self, _: To, message: Bytes) -> Answer<Result<(), ControlError>> {
        self.sent.lock().push(message);
        if *self.fails.lock() {
            return Answer::later(async { Err(ControlError::Full) });
        }
        Answer::Now(Ok(()))
    }

    fn close(&self) -> Answer<()> {
        *self.closed.lock() = true;
        Answer::Now(())
    }
}

impl Kept {
    fn receive(&self, from: u8, number: u64, body: Body) -> bool {
        let envelope = Envelope { from: NodeId::from_bytes([from; 16]), to: None, number, body };
        self.bytes(envelope.encode())
    }

    fn bytes(&self, bytes: Bytes) -> bool {
        let sink = self.sink.lock().clone().unwrap();
        sink.receive(bytes)
    }
}

#[tokio::test]
async fn what_is_not_done_is_counted() {
    let (kept, told) = (Arc::new(Kept::default()), Told::default());
    let node = node("a", kept.clone(), &told);
    until(|| !kept.sent.lock().is_empty()).await;
    let hello = || Body::Request {
        id: 0,
        request: Request::Operation(cluster::Operation::Application { op: "hello".into(), data: "1".into() }),
    };
    kept.bytes(Bytes::from_static(b"garbage"));
    kept.receive(1, 5, hello());
    kept.receive(1, 5, hello());
    kept.receive(1, 4, hello());
    kept.receive(1, 6, Body::Request { id: 3, request: Request::Unknown });
    // Its own messages, and those for other nodes, are ignored.
    kept.bytes(Envelope { from: node.id(), to: None, number: 99, body: hello() }.encode());
    let other = Some(NodeId::from_bytes([9; 16]));
    kept.bytes(Envelope { from: NodeId::from_bytes([1; 16]), to: other, number: 7, body: hello() }.encode());
    assert_eq!(*told.0.lock(), ["a hello 1", "a hello 1"], "each once");
    let counters = node.control_counters().unwrap();
    assert_eq!((counters.received, counters.repeated), (4, 1));
    assert_eq!((counters.malformed, counters.unknown), (1, 1));
    let declined = |bytes: &Bytes| {
        let response = cluster::Response::Declined(Declined::Unsupported);
        Envelope::decode(bytes.clone()).unwrap().body == Body::Response { id: 3, response }
    };
    until(|| kept.sent.lock().iter().any(declined)).await;

    // A survey that is asked again and again, and never answered, is dropped once too many are under way.
    for number in 0..cluster::MAX_WORKING as u64 + 10 {
        let request = Request::Survey { op: "never".into(), data: Bytes::new() };
        kept.receive(2, number + 1, Body::Request { id: 1, request });
    }
    assert_eq!(node.control_counters().unwrap().dropped, 10);
    let sink = kept.sink.lock().clone().unwrap();
    let ready = tokio::time::timeout(Duration::from_millis(50), sink.ready()).await;
    assert!(ready.is_err(), "a reader that waits loses nothing");
    end([node]).await;
}

#[tokio::test]
async fn a_controller_that_fails_is_told_of_and_not_waited_for() {
    let kept = Arc::new(Kept::default());
    let node = node("a", kept.clone(), &Told::default());
    assert!(kept.receive(1, 1, Body::Heartbeat(cluster::Heartbeat::default())));
    assert_eq!(node.nodes().len(), 2);
    *kept.fails.lock() = true;
    let began = tokio::time::Instant::now();
    let applied = node.disconnect("ann", &ClientFilter::default(), DisconnectCode::STALE).await;
    assert_eq!(applied.missing, [NodeId::from_bytes([1; 16])]);
    let long = node.notify(To::All, "long", vec![0; MAX_MESSAGE + 1].into()).await;
    assert_eq!(long.missing.len(), 1);
    assert!(began.elapsed() < quick().wait, "nobody answers what was not sent");
    assert!(node.control_counters().unwrap().send_failed >= 2);
    *kept.fails.lock() = false;
    let applied = node.disconnect("ann", &ClientFilter::default(), DisconnectCode::STALE).await;
    assert_eq!(applied.missing.len(), 1, "it was lost in the meantime, or does not answer");
    end([node]).await;
}

#[tokio::test]
async fn a_node_is_freed_though_its_controller_holds_a_sink() {
    let kept = Arc::new(Kept::default());
    let node = node("a", kept.clone(), &Told::default());
    let weak = node.downgrade();
    assert!(weak.upgrade().is_some());
    node.shutdown(10 * SECOND).await;
    assert!(*kept.closed.lock());
    let last = kept.sent.lock().last().cloned().unwrap();
    assert_eq!(Envelope::decode(last).unwrap().body, Body::Goodbye);
    drop(node);
    until(|| weak.upgrade().is_none()).await;
    until(|| !kept.receive(1, 1, Body::Goodbye)).await;
    // The loop that keeps time ends too, and with it the last reference to the controller.
    until(|| Arc::strong_count(&kept) == 1).await;
}

#[tokio::test]
async fn an_interrupted_node_asks_the_others_for_a_sign_of_life() {
    let kept = Arc::new(Kept::default());
    let node = node("a", kept.clone(), &Told::default());
    let asks = || {
        let sent = kept.sent.lock();
        let asks = sent.iter().filter(|bytes| {
            let body = Envelope::decode(Bytes::clone(bytes)).unwrap().body;
            matches!(body, Body::Heartbeat(heartbeat) if heartbeat.asks)
        });
        asks.count()
    };
    until(|| asks() == 1).await;
    let sink = kept.sink.lock().clone().unwrap();
    assert!(sink.interrupted());
    until(|| asks() == 2).await;
    end([node]).await;
}
