//! Cost of codecs and fan-out, in instructions: see `spinward_testkit::counted`.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a bench may fail")]

use bytes::Bytes;
use spinward::Config;
use spinward::answer::Answer;
use spinward::clock::{Clock, Now};
use spinward::engine::broker::{HistoryOptions, PublishOptions};
use spinward::hooks::{Decision, Hooks, SubscribeEvent, SubscribeOptions};
use spinward::id::Entropy;
use spinward::identity::Credentials;
use spinward::sim::{Conn, Parts, SimNode, Tasks};
use spinward_testkit::counted::{self, Case, measured};
use spinward_wire::filter::Filter;
use spinward_wire::message::{
    Command, ConnectRequest, FilterNode, Publication, PublishRequest, Reply, SubscribeRequest,
    SubscribeResult,
};
use spinward_wire::ws::{self, Limits, Opcode, Reader};
use spinward_wire::{Commands, Protocol, append_command, append_publication_push, append_reply, delta};
use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

const CASES: &[Case] = &[
    ("command-json", || command(Protocol::Json)),
    ("command-protobuf", || command(Protocol::Protobuf)),
    ("push-json", || push(Protocol::Json)),
    ("push-protobuf", || push(Protocol::Protobuf)),
    ("reply-json", || reply(Protocol::Json)),
    ("reply-protobuf", || reply(Protocol::Protobuf)),
    ("frame", frame),
    ("delta-create", delta_create),
    ("delta-apply", delta_apply),
    ("filter", filter),
    ("connect-and-subscribe", connect_and_subscribe),
    ("publish", publish),
    ("fan-out-json", || fan_out(Protocol::Json)),
    ("fan-out-protobuf", || fan_out(Protocol::Protobuf)),
];

fn main() {
    counted::main(CASES);
}

/// A subscribe and a publish in one message.
fn command(protocol: Protocol) {
    let mut message = Vec::new();
    let subscribe = SubscribeRequest { channel: "news:front-page".to_owned(), ..SubscribeRequest::default() };
    let publish =
        PublishRequest { channel: "news:front-page".to_owned(), data: payload(7), ..Default::default() };
    append_command(
        protocol,
        &Command { id: 1, subscribe: Some(subscribe), ..Command::default() },
        &mut message,
        true,
    );
    append_command(
        protocol,
        &Command { id: 2, publish: Some(publish), ..Command::default() },
        &mut message,
        false,
    );
    let commands = measured(|| Commands::new(protocol, black_box(&message)).collect::<Result<Vec<_>, _>>());
    assert_eq!(commands.expect("they are well formed").len(), 2);
}

fn push(protocol: Protocol) {
    let publication = Publication { data: payload(7), offset: 7, ..Publication::default() };
    let mut out = Vec::with_capacity(1024);
    measured(|| {
        append_publication_push(protocol, "news:front-page", black_box(&publication), &mut out, true)
    });
    assert!(out.len() > 200);
}

/// The reply to a subscribe that recovers ten publications.
fn reply(protocol: Protocol) {
    let publications = (1..=10)
        .map(|offset| Publication { data: payload(offset), offset, ..Publication::default() })
        .collect();
    let subscribe = SubscribeResult {
        recoverable: true,
        recovered: true,
        was_recovering: true,
        epoch: "abcd".to_owned(),
        offset: 10,
        publications,
        ..SubscribeResult::default()
    };
    let reply = Reply { id: 3, subscribe: Some(subscribe), ..Reply::default() };
    let mut out = Vec::with_capacity(8192);
    measured(|| append_reply(protocol, black_box(&reply), &mut out, true));
    assert!(out.len() > 2000);
}

/// A masked frame of 200 bytes.
fn frame() {
    let mut bytes = masked(&payload(7));
    let mut reader = Reader::new();
    let limits = Limits::default();
    let event = measured(|| reader.read(&limits, black_box(&mut bytes)).1.is_ok_and(|event| event.is_some()));
    assert!(event);
}

fn delta_create() {
    let (old, new) = (document(1), document(2));
    let mut patch = Vec::with_capacity(1024);
    measured(|| delta::create(black_box(&old), black_box(&new), &mut patch));
    assert!(patch.len() < new.len() / 2);
}

fn delta_apply() {
    let (old, new) = (document(1), document(2));
    let mut patch = Vec::new();
    delta::create(&old, &new, &mut patch);
    let made = measured(|| delta::apply(black_box(&old), black_box(&patch), 1 << 20));
    assert_eq!(made.expect("it is the patch"), new);
}

/// `kind = "goal" and (team in ("a", "b", "c") or score > 3)`.
fn filter() {
    let leaf = |key: &str, cmp: &str, val: &str, vals: &[&str]| FilterNode {
        key: key.to_owned(),
        cmp: cmp.to_owned(),
        val: val.to_owned(),
        vals: vals.iter().map(|one| (*one).to_owned()).collect(),
        ..FilterNode::default()
    };
    let tree = |op: &str, nodes| FilterNode { op: op.to_owned(), nodes, ..FilterNode::default() };
    let either = tree("or", vec![leaf("team", "in", "", &["a", "b", "c"]), leaf("score", "gt", "3", &[])]);
    let filter =
        Filter::compile(&tree("and", vec![leaf("kind", "eq", "goal", &[]), either])).expect("it is valid");
    let tags = BTreeMap::from([("kind", "goal"), ("team", "d"), ("score", "4")]);
    let tags = tags.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    assert!(measured(|| filter.matches(black_box(&tags))));
}

/// One client comes beside a thousand others.
fn connect_and_subscribe() {
    let mut room = Room::new(Protocol::Json, 1000);
    let bytes = room.hello();
    let conn = room.node.connect(Protocol::Json, Some(Credentials::default()), usize::MAX).expect("room");
    room.node.write(conn, &bytes);
    measured(|| room.node.read(conn, usize::MAX));
    room.node.flush(0, usize::MAX);
    assert!(room.node.waiting(conn) > 100);
}

/// The publisher's part: store, and hand over to one shard.
fn publish() {
    let mut room = Room::new(Protocol::Json, 1000);
    // The first ones find the allocator in a state that every change elsewhere changes.
    for number in 1..=20 {
        room.start_publish(number);
        while room.tasks.poll(0) {}
        // A publisher waits where too much of the channel is not sent yet.
        assert_eq!(room.node.take_entries(0, 2), 1);
        room.node.flush(0, usize::MAX);
    }
    room.start_publish(21);
    measured(|| while room.tasks.poll(0) {});
    assert_eq!(room.node.take_entries(0, 2), 1);
}

/// The shard's part for 1,000 subscribers: everything but the sends.
fn fan_out(protocol: Protocol) {
    let mut room = Room::new(protocol, 1000);
    room.start_publish(1);
    while room.tasks.poll(0) {}
    assert_eq!(measured(|| room.node.take_entries(0, 2)), 1);
    room.node.flush(0, usize::MAX);
    assert!(room.conns.iter().all(|conn| room.node.waiting(*conn) > 200), "not everybody got it");
}

/// A node with subscribers of one channel with history.
struct Room {
    node: SimNode,
    tasks: Tasks,
    protocol: Protocol,
    conns: Vec<Conn>,
}

const HISTORY: HistoryOptions =
    HistoryOptions { size: 10, ttl: Duration::from_secs(60), meta_ttl: Duration::from_secs(600) };

struct Open;

impl Hooks for Open {
    fn subscribe(&self, _: &spinward::client::Client, _: SubscribeEvent) -> Decision<SubscribeOptions> {
        Answer::Now(Ok(SubscribeOptions { recovery: true, history: HISTORY, ..SubscribeOptions::default() }))
    }
}

impl Room {
    fn new(protocol: Protocol, size: usize) -> Self {
        let tasks = Tasks::default();
        let node = SimNode::new(Parts {
            hooks: Arc::new(Open),
            config: Config { shards: 1, ping_interval: Duration::ZERO, ..Config::default() },
            clock: Clock::manual(Now { mono: 1_000, wall: 1_700_000_000_000 }),
            entropy: Entropy::seeded(1),
            broker: None,
            presence: None,
            cluster: None,
            tasks: tasks.clone(),
        });
        let mut room = Self { node, tasks, protocol, conns: Vec::new() };
        let hello = room.hello();
        for _ in 0..size {
            let conn = room.node.connect(protocol, Some(Credentials::default()), usize::MAX).expect("room");
            room.node.write(conn, &hello);
            room.node.read(conn, usize::MAX);
            room.conns.push(conn);
        }
        while room.node.flush(0, usize::MAX) > 0 {}
        for conn in room.conns.clone() {
            room.node.receive(conn, usize::MAX);
        }
        room
    }

    /// Connect and subscribe, in one frame.
    fn hello(&self) -> Vec<u8> {
        let mut message = Vec::new();
        let connect = Some(ConnectRequest::default());
        let subscribe =
            SubscribeRequest { channel: "news:front-page".to_owned(), ..SubscribeRequest::default() };
        append_command(self.protocol, &Command { id: 1, connect, ..Command::default() }, &mut message, true);
        let subscribe = Some(subscribe);
        append_command(
            self.protocol,
            &Command { id: 2, subscribe, ..Command::default() },
            &mut message,
            false,
        );
        masked(&message)
    }

    fn start_publish(&self, number: u64) {
        let node = self.node.node().clone();
        self.tasks.spawn(async move {
            let options = PublishOptions { history: HISTORY, ..PublishOptions::default() };
            node.publish("news:front-page", payload(number), options)
                .await
                .expect("the memory broker takes it");
        });
    }
}

fn masked(payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    ws::append_masked_frame(Opcode::Text, [1, 2, 3, 4], payload, &mut bytes);
    bytes
}

/// About 200 bytes.
fn payload(number: u64) -> Bytes {
    format!("{{\"number\":{number},\"text\":\"{}\"}}", "lorem ipsum ".repeat(14)).into()
}

/// About a kilobyte, of which little changes.
fn document(number: u64) -> Vec<u8> {
    let line =
        |at: u64| format!("{{\"player\":\"player-{at}\",\"score\":{}}}", if at == 11 { number } else { at });
    format!("[{}]", (0..30).map(line).collect::<Vec<_>>().join(",")).into_bytes()
}
