//! Cost of one peer to a shard, whatever it sends and however it reads: output that waits, input that waits, work in
//! one turn. No reply is lost.
//!
//! `SPINWARD_SEEDS=5000` runs so many seeds in place of 80; `SPINWARD_SEED=7` runs one.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail")]

use spinward::Config;
use spinward::answer::Answer;
use spinward::clock::{Clock, Now};
use spinward::engine::broker::{HistoryOptions, PublishOptions};
use spinward::fault::{self, Fault};
use spinward::hooks::{
    ConnectEvent, ConnectReply, Decision, HistoryEvent, Hooks, PresenceEvent, PublishEvent, PublishReply,
    SubscribeEvent, SubscribeOptions,
};
use spinward::id::Entropy;
use spinward::sim::{Conn, Parts, SimNode, TURN, Tasks, give_way};
use spinward_testkit::pipeline::{Kind, Pipeline};
use spinward_testkit::random::Random;
use spinward_wire::Protocol;
use std::sync::Arc;
use std::time::Duration;

/// Bytes of one client message.
const MESSAGE: usize = 16 << 10;
/// Bytes that the server reads at a time.
const READ: usize = 8 << 10;
/// Publications in the history of a channel, and bytes of each.
const HISTORY: usize = 40;
const PAYLOAD: usize = 1_500;
/// Members of the channel whose presence is asked for.
const MEMBERS: usize = 40;
/// More than any message of the server can take here: a whole history, or replies that share a frame.
const LARGEST: usize = HISTORY * (PAYLOAD + 200) + (32 << 10) + (2 << 10);

const KEPT: HistoryOptions =
    HistoryOptions { size: HISTORY, ttl: Duration::from_secs(3600), meta_ttl: Duration::from_secs(3600) };

/// Everybody may do everything, now or later.
struct Open(Random, usize);

impl Open {
    fn answer<T: Send + 'static>(&self, value: T) -> Decision<T> {
        if !self.0.permille(self.1) {
            return Answer::Now(Ok(value));
        }
        let times = self.0.between(1, 3) as u32;
        Answer::later(async move {
            give_way(times).await;
            Ok(value)
        })
    }
}

impl Hooks for Open {
    fn connect(&self, _: ConnectEvent) -> Decision<ConnectReply> {
        self.answer(ConnectReply::default())
    }

    fn subscribe(&self, _: &spinward::Client, request: SubscribeEvent) -> Decision<SubscribeOptions> {
        self.answer(SubscribeOptions {
            presence: request.channel == "members",
            recovery: request.channel != "members",
            history: KEPT,
            ..SubscribeOptions::default()
        })
    }

    fn publish(&self, _: &spinward::Client, request: PublishEvent) -> Decision<PublishReply> {
        let options = PublishOptions { history: KEPT, ..PublishOptions::default() };
        self.answer(PublishReply { options, ..PublishReply::new(request.data) })
    }

    fn presence(&self, _: &spinward::Client, _: PresenceEvent) -> Decision<()> {
        self.answer(())
    }

    fn history(&self, _: &spinward::Client, _: HistoryEvent) -> Decision<HistoryOptions> {
        self.answer(KEPT)
    }
}

struct Peer {
    conn: Conn,
    client: Pipeline,
}

struct World {
    random: Random,
    node: SimNode,
    tasks: Tasks,
    peers: Vec<Peer>,
    limit: usize,
    published: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        let random = Random::new(seed);
        let tasks = Tasks::default();
        let limit = *random.one_of(&[4 << 10, 64 << 10, 1 << 20]);
        let tarry = *random.one_of(&[0, 0, 200]);
        let mut node = SimNode::new(Parts {
            hooks: Arc::new(Open(random.clone(), tarry)),
            config: Config {
                shards: 1,
                queue_max_size: limit,
                message_size_limit: MESSAGE as u32,
                ping_interval: Duration::ZERO,
                ..Config::default()
            },
            clock: Clock::manual(Now { mono: 1_000, wall: 1_700_000_000_000 }),
            entropy: Entropy::seeded(seed),
            broker: None,
            presence: None,
            cluster: None,
            tasks: tasks.clone(),
        });
        let kinds = (0..MEMBERS).map(|_| Kind::Member).chain([
            Kind::Reader,
            Kind::Reader,
            Kind::Subscriber,
            Kind::Hostile,
            Kind::Hostile,
        ]);
        let mut peers = Vec::new();
        for (number, kind) in kinds.enumerate() {
            let protocol = if number % 2 == 0 { Protocol::Json } else { Protocol::Protobuf };
            let conn = node.connect(protocol, None, usize::MAX).expect("the node is up");
            peers.push(Peer { conn, client: Pipeline::new(protocol, kind, ["news", "members"]) });
        }
        let mut world = Self { random, node, tasks, peers, limit, published: 0 };
        // The history is there, and the members are in, before anything else happens.
        for _ in 0..HISTORY {
            world.publish();
        }
        for peer in &mut world.peers[..MEMBERS] {
            peer.client.enter("members");
        }
        world.settle();
        for at in MEMBERS..world.peers.len() {
            let room = *world.random.one_of(&[0, 300, 5_000, 1 << 20]);
            let conn = world.peers[at].conn;
            world.node.set_room(conn, room);
        }
        world
    }

    fn publish(&mut self) {
        self.published += 1;
        let size = self.random.below(PAYLOAD);
        let data = format!("{{\"n\":{},\"x\":\"{}\"}}", self.published, "x".repeat(size));
        let node = self.node.node().clone();
        self.tasks.spawn(async move {
            let options = PublishOptions { history: KEPT, ..PublishOptions::default() };
            node.publish("news", data.into(), options).await.expect("the memory broker takes it");
        });
        while self.tasks.poll(0) {}
    }

    fn step(&mut self) {
        let random = self.random.clone();
        let at = random.between(MEMBERS, self.peers.len() - 1);
        match random.below(12) {
            0..2 => self.peers[at].client.say(&random),
            2..5 => {
                self.write(at, random.between(1, 4 * READ));
            }
            5..7 => {
                let hostile = self.peers[at].client.kind == Kind::Hostile;
                if !hostile || random.permille(100) {
                    let max = *random.one_of(&[1, 100, 5_000, usize::MAX]);
                    self.take(at, max);
                }
            }
            7 => {
                self.node.work(0);
                self.check_work();
            }
            8 => {
                self.node.flush(0, random.between(1, 20));
            }
            9 => {
                self.node.take_entries(0, random.between(1, 20));
            }
            10 => {
                while self.tasks.ready() > 0 {
                    self.tasks.poll(random.below(self.tasks.ready()));
                }
            }
            _ => {
                if random.permille(300) {
                    self.publish();
                }
            }
        }
        self.check_bytes();
    }

    /// A peer writes so many bytes of what it has to say, and the server reads once.
    fn write(&mut self, at: usize, max: usize) -> usize {
        let Peer { conn, client } = &mut self.peers[at];
        let bytes: Vec<u8> = client.out.drain(..max.min(client.out.len())).collect();
        self.node.write(*conn, &bytes);
        let read = self.node.read(*conn, READ);
        if read > 0 {
            self.check_work();
        }
        bytes.len() + read
    }

    /// A peer takes so many bytes.
    fn take(&mut self, at: usize, max: usize) -> usize {
        let peer = &mut self.peers[at];
        match self.node.receive(peer.conn, max) {
            Some(bytes) => peer.client.take(bytes).unwrap(),
            None => usize::from(peer.client.end()),
        }
    }

    fn check_work(&self) {
        // The last command of a turn may be a large one.
        let most = TURN + LARGEST + 2 * READ + MESSAGE;
        assert!(self.node.spent(0) <= most, "{} of {most} in one turn", self.node.spent(0));
    }

    fn check_bytes(&mut self) {
        for peer in &self.peers {
            let queued = self.node.queued(peer.conn);
            let most = self.limit + LARGEST;
            assert!(queued <= most, "{queued} bytes of {most} wait for {:?}", peer.client.kind);
            let (message, input) = self.node.stashed(peer.conn);
            assert!(
                message <= MESSAGE && input <= READ,
                "{message} and {input} bytes of {:?}",
                peer.client.kind
            );
        }
    }

    /// Everybody reads, until nothing moves any more.
    fn settle(&mut self) {
        let mut idle = 0;
        while idle < 3 {
            let mut moved = 0;
            while self.tasks.ready() > 0 {
                self.tasks.poll(0);
                moved += 1;
            }
            moved += self.node.take_entries(0, usize::MAX);
            for at in 0..self.peers.len() {
                moved += self.write(at, usize::MAX);
            }
            moved += self.node.flush(0, 1000);
            for at in 0..self.peers.len() {
                moved += self.take(at, usize::MAX);
            }
            self.check_bytes();
            idle = if moved == 0 { idle + 1 } else { 0 };
        }
    }

    fn end(&mut self) {
        for at in 0..self.peers.len() {
            self.node.set_room(self.peers[at].conn, usize::MAX);
        }
        self.settle();
        for peer in &self.peers {
            peer.client.judge().unwrap();
        }
    }
}

fn run(seed: u64) {
    let mut world = World::new(seed);
    for _ in 0..600 {
        world.step();
    }
    world.end();
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn whatever_a_peer_does_it_costs_only_itself() {
    if let Some(seed) = number("SPINWARD_SEED") {
        return run(seed);
    }
    for seed in 0..number("SPINWARD_SEEDS").unwrap_or(80) {
        let caught = std::panic::catch_unwind(|| run(seed));
        assert!(caught.is_ok(), "seed {seed}");
    }
}

#[test]
fn planted_faults_are_caught() {
    for fault in Fault::BOUNDS {
        let caught = (0..50).find(|seed| {
            fault::plant(Some(fault), *seed as u32 % 7);
            let caught = std::panic::catch_unwind(|| run(*seed)).is_err();
            fault::plant(None, 0);
            caught
        });
        println!("{fault:?}: caught with seed {caught:?}");
        assert!(caught.is_some(), "{fault:?} was not caught");
    }
}
