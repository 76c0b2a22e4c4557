//! Cost of one publication to 1,000 subscribers, in counts: equal work is done once.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail")]

use bytes::Bytes;
use spinward::Config;
use spinward::answer::Answer;
use spinward::clock::{Clock, Now};
use spinward::engine::broker::{HistoryOptions, PublishOptions};
use spinward::hooks::{ConnectEvent, ConnectReply, Decision, Hooks, SubscribeEvent, SubscribeOptions};
use spinward::id::Entropy;
use spinward::sim::{Conn, Parts, SimNode, Tasks};
use spinward_wire::message::{Command, ConnectRequest, FilterNode, Publication, SubscribeRequest};
use spinward_wire::ws::{Event, Limits, Opcode, Reader, append_masked_frame};
use spinward_wire::{Protocol, Replies, append_command, delta};
use std::sync::Arc;
use std::time::Duration;

const SUBSCRIBERS: usize = 1_000;
const PUBLICATIONS: u64 = 20;
const FILTERS: u64 = 10;
const HISTORY: HistoryOptions =
    HistoryOptions { size: 100, ttl: Duration::from_secs(60), meta_ttl: Duration::ZERO };

/// Everybody may everything.
struct Open;

impl Hooks for Open {
    fn connect(&self, _: ConnectEvent) -> Decision<ConnectReply> {
        Answer::Now(Ok(ConnectReply::default()))
    }

    fn subscribe(&self, _: &spinward::Client, _: SubscribeEvent) -> Decision<SubscribeOptions> {
        Answer::Now(Ok(SubscribeOptions {
            recovery: true,
            history: HISTORY,
            delta: true,
            tags_filter: true,
            ..SubscribeOptions::default()
        }))
    }
}

/// Options of the subscriber with this number.
#[derive(Clone, Copy)]
struct Wish {
    protocol: Protocol,
    delta: bool,
    filter: Option<u64>,
}

impl Wish {
    const fn plain(protocol: Protocol) -> Self {
        Self { protocol, delta: false, filter: None }
    }
}

/// A subscriber, and what it was told.
struct Subscriber {
    conn: Conn,
    wish: Wish,
    reader: Reader,
    buffered: Vec<u8>,
    base: Option<Vec<u8>>,
    got: Vec<Vec<u8>>,
}

struct World {
    node: SimNode,
    subscribers: Vec<Subscriber>,
}

impl World {
    fn new(shards: usize, wish: impl Fn(usize) -> Wish) -> Self {
        let node = SimNode::new(Parts {
            hooks: Arc::new(Open),
            config: Config { shards, ..Config::default() },
            clock: Clock::manual(Now { mono: 1_000, wall: 1_700_000_000_000 }),
            entropy: Entropy::seeded(7),
            broker: None,
            presence: None,
            cluster: None,
            tasks: Tasks::default(),
        });
        let mut world = Self { node, subscribers: Vec::new() };
        for number in 0..SUBSCRIBERS {
            world.join(wish(number));
        }
        world.run();
        world
    }

    fn join(&mut self, wish: Wish) {
        let conn = self.node.connect(wish.protocol, None, usize::MAX).expect("the node is up");
        let tf = wish.filter.map(|number| FilterNode {
            key: "n".to_owned(),
            cmp: "eq".to_owned(),
            val: number.to_string(),
            ..FilterNode::default()
        });
        let delta = if wish.delta { "fossil" } else { "" }.to_owned();
        let subscribe =
            SubscribeRequest { channel: "c".to_owned(), delta, tf, ..SubscribeRequest::default() };
        let commands = [
            Command { id: 1, connect: Some(ConnectRequest::default()), ..Command::default() },
            Command { id: 2, subscribe: Some(subscribe), ..Command::default() },
        ];
        for command in commands {
            let mut payload = Vec::new();
            append_command(wish.protocol, &command, &mut payload, true);
            let opcode = if wish.protocol == Protocol::Json { Opcode::Text } else { Opcode::Binary };
            let mut frame = Vec::new();
            append_masked_frame(opcode, [1, 2, 3, 4], &payload, &mut frame);
            self.node.write(conn, &frame);
        }
        while self.node.unread(conn) > 0 {
            self.node.read(conn, usize::MAX);
        }
        let subscriber = Subscriber {
            conn,
            wish,
            reader: Reader::client(),
            buffered: Vec::new(),
            base: None,
            got: Vec::new(),
        };
        self.subscribers.push(subscriber);
    }

    /// Until nothing moves.
    fn run(&mut self) {
        for shard in 0..self.node.shards() {
            while self.node.has_work(shard) {
                self.node.take_entries(shard, usize::MAX);
                self.node.flush(shard, usize::MAX);
            }
        }
        for subscriber in &mut self.subscribers {
            subscriber.take(self.node.receive(subscriber.conn, usize::MAX).expect("it is connected"));
        }
    }

    fn publish(&mut self, number: u64) {
        let options = PublishOptions {
            history: HISTORY,
            tags: Some(Arc::new([("n".to_owned(), (number % FILTERS).to_string())].into())),
            delta: true,
            ..PublishOptions::default()
        };
        let published = self.node.node().publish("c", payload(number), options);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(published).unwrap();
        self.run();
    }
}

fn payload(number: u64) -> Bytes {
    let words = "what does not change from one publication to the next ".repeat(4);
    format!("{{\"text\":\"{words}\",\"number\":{number}}}").into()
}

impl Subscriber {
    fn take(&mut self, bytes: Vec<u8>) {
        self.buffered.extend(bytes);
        let mut bytes = std::mem::take(&mut self.buffered);
        let mut at = 0;
        while at < bytes.len() {
            let limits = Limits::of(1 << 24);
            let (used, event) = self.reader.read(&limits, &mut bytes[at..]);
            at += used;
            match event.expect("the node speaks WebSocket") {
                Some(Event::Text(payload) | Event::Binary(payload)) => {
                    let payload = payload.to_vec();
                    for reply in Replies::new(self.wish.protocol, &payload) {
                        let reply = reply.expect("the node speaks the protocol");
                        assert!(reply.error.is_none(), "{reply:?}");
                        if let Some(publication) = reply.push.and_then(|push| push.publication) {
                            self.publication(&publication);
                        }
                    }
                }
                Some(other) => panic!("{other:?}"),
                None => {}
            }
        }
    }

    fn publication(&mut self, publication: &Publication) {
        let data = if self.wish.delta && self.wish.protocol == Protocol::Json {
            serde_json::from_slice::<String>(&publication.data).expect("a JSON string").into_bytes()
        } else {
            publication.data.to_vec()
        };
        let data = match (&self.base, publication.delta) {
            (Some(base), true) => delta::apply(base, &data, 1 << 20).expect("a patch of the last payload"),
            (_, delta) => {
                assert!(!delta, "a patch without a base");
                assert!(!self.wish.delta || self.base.is_none(), "the second and later ones are patches");
                data
            }
        };
        self.base = Some(data.clone());
        self.got.push(data);
    }
}

/// Counts of a run.
#[derive(Debug, PartialEq, Eq)]
struct Counts {
    deliveries: u64,
    encodings: u64,
    patches: u64,
    filter_evaluations: u64,
    held_back: u64,
}

/// Publishes to 1,000 subscribers, checks that each got what it wants, and tells the counts.
fn counts(shards: usize, wish: impl Fn(usize) -> Wish) -> Counts {
    let mut world = World::new(shards, wish);
    (0..PUBLICATIONS).for_each(|number| world.publish(number));
    for subscriber in &world.subscribers {
        let wanted = |number: &u64| subscriber.wish.filter.is_none_or(|filter| filter == number % FILTERS);
        let expected: Vec<Bytes> = (0..PUBLICATIONS).filter(wanted).map(payload).collect();
        assert_eq!(subscriber.got, expected);
    }
    let counters = world.node.node().info().counters;
    Counts {
        deliveries: counters.deliveries,
        encodings: counters.encodings,
        patches: counters.patches,
        filter_evaluations: counters.filter_evaluations,
        held_back: counters.filtered,
    }
}

/// Nothing filtered: everything goes to everybody.
const fn to_all(encodings: u64, patches: u64) -> Counts {
    let deliveries = SUBSCRIBERS as u64 * PUBLICATIONS;
    Counts { deliveries, encodings, patches, filter_evaluations: 0, held_back: 0 }
}

const SHARDS: [usize; 3] = [1, 2, 5];

#[test]
fn a_publication_is_encoded_once_for_each_protocol() {
    for shards in SHARDS {
        for protocol in [Protocol::Json, Protocol::Protobuf] {
            assert_eq!(
                counts(shards, |_| Wish::plain(protocol)),
                to_all(PUBLICATIONS, 0),
                "{shards} {protocol:?}"
            );
        }
        let both = |number: usize| {
            Wish::plain(if number.is_multiple_of(2) { Protocol::Json } else { Protocol::Protobuf })
        };
        assert_eq!(counts(shards, both), to_all(2 * PUBLICATIONS, 0), "{shards}");
    }
}

#[test]
fn a_patch_is_made_once_for_each_base_and_encoded_once_for_each_protocol() {
    let delta = |protocol| Wish { delta: true, ..Wish::plain(protocol) };
    for shards in SHARDS {
        for protocol in [Protocol::Json, Protocol::Protobuf] {
            let expected = to_all(PUBLICATIONS, PUBLICATIONS - 1);
            assert_eq!(counts(shards, |_| delta(protocol)), expected, "{shards} {protocol:?}");
        }
        let both =
            |number: usize| delta(if number.is_multiple_of(2) { Protocol::Json } else { Protocol::Protobuf });
        assert_eq!(counts(shards, both), to_all(2 * PUBLICATIONS, PUBLICATIONS - 1), "{shards}");
        let all_four = |number: usize| {
            let protocol = if number.is_multiple_of(2) { Protocol::Json } else { Protocol::Protobuf };
            Wish { delta: number % 4 > 1, ..Wish::plain(protocol) }
        };
        // The first one is whole for everybody, and in Protobuf that is the same with and without deltas.
        assert_eq!(counts(shards, all_four), to_all(4 * PUBLICATIONS - 1, PUBLICATIONS - 1), "{shards}");
    }
}

#[test]
fn a_filter_is_asked_once_for_all_who_have_it() {
    for shards in SHARDS {
        for protocol in [Protocol::Json, Protocol::Protobuf] {
            let wish =
                |number: usize| Wish { filter: Some(number as u64 % FILTERS), ..Wish::plain(protocol) };
            let all = SUBSCRIBERS as u64 * PUBLICATIONS;
            let expected = Counts {
                deliveries: all / FILTERS,
                encodings: PUBLICATIONS,
                patches: 0,
                filter_evaluations: PUBLICATIONS * FILTERS * shards as u64,
                held_back: all - all / FILTERS,
            };
            assert_eq!(counts(shards, wish), expected, "{shards} {protocol:?}");
        }
    }
}

#[test]
fn what_nobody_gets_is_not_encoded() {
    let wish = |_| Wish { filter: Some(FILTERS + 1), ..Wish::plain(Protocol::Json) };
    let expected = Counts {
        deliveries: 0,
        encodings: 0,
        patches: 0,
        filter_evaluations: PUBLICATIONS * 2,
        held_back: SUBSCRIBERS as u64 * PUBLICATIONS,
    };
    assert_eq!(counts(2, wish), expected);
}
