//! A channel that is flooded costs those who flood it: its members and everybody else are served.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail")]

use parking_lot::Mutex;
use spinward::answer::Answer;
use spinward::clock::{Clock, Now};
use spinward::engine::broker::PublishOptions;
use spinward::fault::{Fault, plant};
use spinward::hooks::{
    ConnectEvent, ConnectReply, Decision, Hooks, PublishEvent, PublishReply, SubscribeEvent, SubscribeOptions,
};
use spinward::id::Entropy;
use spinward::sim::{Conn, Parts, SimNode, Tasks};
use spinward::{Client, Config};
use spinward_testkit::random::Random;
use spinward_wire::message::{Command, ConnectRequest, SubscribeRequest, UnsubscribeRequest};
use spinward_wire::ws::{Opcode, append_masked_frame};
use spinward_wire::{Protocol, append_command};
use std::sync::Arc;

struct Open;

impl Hooks for Open {
    fn connect(&self, _: ConnectEvent) -> Decision<ConnectReply> {
        Answer::Now(Ok(ConnectReply::default()))
    }

    fn subscribe(&self, _: &Client, request: SubscribeEvent) -> Decision<SubscribeOptions> {
        let told = request.channel == "told";
        Answer::Now(Ok(SubscribeOptions {
            join_leave: told,
            push_join_leave: told,
            ..SubscribeOptions::default()
        }))
    }

    fn publish(&self, _: &Client, request: PublishEvent) -> Decision<PublishReply> {
        Answer::Now(Ok(PublishReply::new(request.data)))
    }
}

const MEMBERS: usize = 600;
const SHARDS: usize = 2;
/// Callers that flood a channel, and what each of them publishes.
const CALLERS: usize = 100;
const EACH: usize = 5;

struct World {
    node: SimNode,
    tasks: Tasks,
    random: Random,
    members: Vec<Conn>,
    witness: Option<Conn>,
    /// Text that members read.
    read: Vec<String>,
}

/// Effects of a flood.
#[derive(Debug, Default)]
struct Measures {
    /// Most rounds that the witness waited for one of its publications.
    waited: usize,
    /// Connections that were closed.
    lost: usize,
    /// Most entries in the inbox of a shard.
    entries: usize,
    /// Publications of the flood that were delivered to the first member.
    delivered: Vec<usize>,
}

impl World {
    fn new(channel: &str, seed: u64) -> Self {
        let tasks = Tasks::default();
        let node = SimNode::new(Parts {
            hooks: Arc::new(Open),
            config: Config { shards: SHARDS, queue_max_size: 256 << 10, ..Config::default() },
            clock: Clock::manual(Now { mono: 1_000, wall: 1_700_000_000_000 }),
            entropy: Entropy::seeded(seed),
            broker: None,
            presence: None,
            cluster: None,
            tasks: tasks.clone(),
        });
        let mut world = Self {
            witness: None,
            node,
            tasks,
            random: Random::new(seed),
            members: Vec::new(),
            read: vec![String::new(); MEMBERS],
        };
        for _ in 0..MEMBERS {
            let conn = world.connect(channel);
            world.members.push(conn);
        }
        world.witness = Some(world.connect("small"));
        world
    }

    fn connect(&mut self, channel: &str) -> Conn {
        let conn = self.node.connect(Protocol::Json, None, usize::MAX).unwrap();
        let connect = Some(ConnectRequest::default());
        self.send(conn, &Command { id: 1, connect, ..Command::default() });
        self.send(conn, &subscribe(2, channel));
        for _ in 0..1_000 {
            if !self.round(usize::MAX, usize::MAX) {
                break;
            }
        }
        self.node.receive(conn, usize::MAX);
        conn
    }

    fn send(&mut self, conn: Conn, command: &Command) {
        let (mut payload, mut frame) = (Vec::new(), Vec::new());
        append_command(Protocol::Json, command, &mut payload, true);
        append_masked_frame(Opcode::Text, [1, 2, 3, 4], &payload, &mut frame);
        self.node.write(conn, &frame);
        self.node.read(conn, usize::MAX);
    }

    /// One turn of each shard, and everything that waits for one goes on. Says whether there was anything to do.
    fn round(&mut self, entries: usize, sends: usize) -> bool {
        let mut busy = false;
        for shard in 0..SHARDS {
            busy |= self.node.has_work(shard);
            self.node.take_entries(shard, entries);
            self.node.flush(shard, sends);
        }
        while self.tasks.poll(self.random.below(self.tasks.ready().max(1))) {
            busy = true;
        }
        busy
    }

    fn publish(&self, channel: &'static str, data: String) -> Arc<Mutex<bool>> {
        let (node, done) = (self.node.node().clone(), Arc::new(Mutex::new(false)));
        let set = Arc::clone(&done);
        self.tasks.spawn(async move {
            node.publish(channel, data.into(), PublishOptions::default()).await.unwrap();
            *set.lock() = true;
        });
        done
    }

    fn lost(&self) -> usize {
        self.node.node().info().counters.disconnects.iter().map(|(_, count)| *count as usize).sum()
    }
}

fn subscribe(id: u32, channel: &str) -> Command {
    let subscribe = SubscribeRequest { channel: channel.to_owned(), ..SubscribeRequest::default() };
    Command { id, subscribe: Some(subscribe), ..Command::default() }
}

/// Floods a channel from several callers at once, each one publication after another, while a witness reads a
/// channel of its own.
fn flood(seed: u64, fault: Option<Fault>) -> Measures {
    let mut world = World::new("large", seed);
    plant(fault, 0);
    let (callers, each) = (CALLERS, EACH);
    for caller in 0..callers {
        let node = world.node.node().clone();
        world.tasks.spawn(async move {
            for n in 0..each {
                let data = format!("\"#{caller}.{n}#{}\"", "x".repeat(100));
                node.publish("large", data.into(), PublishOptions::default()).await.unwrap();
            }
        });
    }
    let mut measures = Measures::default();
    let mut asked: Option<usize> = None;
    let mut number = 0;
    for round in 0..100_000 {
        let busy = world.round(64, 128);
        for shard in 0..SHARDS {
            measures.entries = measures.entries.max(world.node.entries(shard));
        }
        for member in 0..MEMBERS {
            if let Some(bytes) = world.node.receive(world.members[member], usize::MAX)
                && member == 0
            {
                world.read[0].push_str(&String::from_utf8_lossy(&bytes));
            }
        }
        let seen = world.node.receive(world.witness.unwrap(), usize::MAX).unwrap_or_default();
        if String::from_utf8_lossy(&seen).contains(&format!("w{number}\"")) {
            measures.waited = measures.waited.max(round - asked.take().unwrap());
        }
        if asked.is_none() {
            if !busy && round > 10 {
                break;
            }
            number += 1;
            asked = Some(round);
            world.publish("small", format!("\"w{number}\""));
        }
    }
    plant(None, 0);
    measures.lost = world.lost();
    for caller in 0..callers {
        let prefix = format!("#{caller}.");
        let mut parts = world.read[0].split(&prefix).skip(1);
        let numbers: Vec<usize> =
            parts.by_ref().map(|part| part.split('#').next().unwrap().parse().unwrap()).collect();
        assert!(numbers.is_sorted(), "the order of caller {caller}: {numbers:?}");
        measures.delivered.push(numbers.len());
    }
    measures
}

#[test]
fn a_flood_costs_neither_members_nor_others() {
    for seed in 0..2 {
        let measures = flood(seed, None);
        assert_eq!(measures.lost, 0, "{measures:?}");
        assert_eq!(measures.delivered, vec![EACH; CALLERS], "{measures:?}");
        assert!(measures.entries <= 40, "{measures:?}");
        assert!(measures.waited <= 8, "{measures:?}");
    }
}

#[test]
fn the_test_of_floods_finds_what_is_broken() {
    let measures = flood(1, Some(Fault::Unbounded));
    assert!(measures.lost > 0 || measures.entries > 40, "{measures:?}");
}

#[test]
fn a_member_that_comes_and_goes_waits_for_the_others() {
    let mut world = World::new("told", 3);
    let restless = world.connect("small");
    let mut commands = 0;
    for id in (10..2_010).step_by(2) {
        world.send(restless, &subscribe(id, "told"));
        let unsubscribe = Some(UnsubscribeRequest { channel: "told".to_owned() });
        world.send(restless, &Command { id: id + 1, unsubscribe, ..Command::default() });
        commands += 2;
    }
    for member in &world.members {
        world.node.receive(*member, usize::MAX);
    }
    let mut most = 0;
    let mut joined = String::new();
    for _ in 0..100_000 {
        world.node.read(restless, 4_096);
        let busy = world.round(64, 128);
        for shard in 0..SHARDS {
            most = most.max(world.node.entries(shard));
        }
        for member in 0..MEMBERS {
            let bytes = world.node.receive(world.members[member], usize::MAX).expect("nobody is lost");
            if member == 0 {
                joined.push_str(&String::from_utf8_lossy(&bytes));
            }
        }
        world.node.receive(restless, usize::MAX);
        if !busy && world.node.unread(restless) == 0 {
            break;
        }
    }
    assert_eq!(world.lost(), 0);
    assert!(most <= 80, "{most} entries");
    assert_eq!(
        joined.matches("\"join\"").count() + joined.matches("\"leave\"").count(),
        commands,
        "all are told"
    );
    let order: Vec<bool> = joined
        .match_indices("\"join\"")
        .map(|(at, _)| (at, true))
        .chain(joined.match_indices("\"leave\"").map(|(at, _)| (at, false)))
        .collect::<std::collections::BTreeMap<_, _>>()
        .into_values()
        .collect();
    assert!(order.chunks(2).all(|pair| pair == [true, false]), "in order");
}
