//! Storms of clients that come back to a channel of a remote broker: few reads serve all of them.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail")]

use parking_lot::Mutex;
use spinward::Config;
use spinward::answer::Answer;
use spinward::clock::{Clock, Now};
use spinward::engine::broker::{HistoryOptions, PublishOptions};
use spinward::hooks::{Decision, Hooks, SubscribeEvent, SubscribeOptions};
use spinward::id::Entropy;
use spinward::identity::Credentials;
use spinward::publication::Position;
use spinward::sim::{Conn, Parts, SimNode, Tasks};
use spinward_testkit::broker::{Misdeeds, SimBroker};
use spinward_testkit::log::Log;
use spinward_testkit::random::Random;
use spinward_wire::Protocol;
use spinward_wire::ws::{Opcode, append_masked_frame};
use std::sync::Arc;
use std::time::Duration;

const HISTORY: HistoryOptions =
    HistoryOptions { size: 200, ttl: Duration::from_secs(60), meta_ttl: Duration::from_secs(600) };
const SHARDS: usize = 2;

struct Open;

impl Hooks for Open {
    fn subscribe(&self, _: &spinward::Client, _: SubscribeEvent) -> Decision<SubscribeOptions> {
        Answer::Now(Ok(SubscribeOptions { recovery: true, history: HISTORY, ..SubscribeOptions::default() }))
    }
}

struct World {
    clock: Clock,
    node: SimNode,
    broker: SimBroker,
    tasks: Tasks,
}

impl World {
    /// A broker whose answers take their time.
    fn new() -> Self {
        let (tasks, clock) = (Tasks::default(), Clock::manual(Now { mono: 1_000, wall: 1_700_000_000_000 }));
        let misdeeds = Misdeeds { tarry: 1_000, ..Misdeeds::default() };
        let broker = SimBroker::new(Random::new(1), Log::new(clock.clone()), misdeeds, tasks.clone());
        let node = SimNode::new(Parts {
            hooks: Arc::new(Open),
            config: Config { shards: SHARDS, ping_interval: Duration::ZERO, ..Config::default() },
            clock: clock.clone(),
            entropy: Entropy::seeded(1),
            broker: Some(broker.link(0)),
            presence: None,
            cluster: None,
            tasks: tasks.clone(),
        });
        Self { clock, node, broker, tasks }
    }

    fn reads(&self) -> u64 {
        self.broker.reads("news")
    }

    fn publish(&mut self, number: usize) -> Position {
        let (node, place) = (self.node.node().clone(), Arc::new(Mutex::new(None)));
        let found = Arc::clone(&place);
        self.tasks.spawn(async move {
            let options = PublishOptions { history: HISTORY, ..PublishOptions::default() };
            let published = node.publish("news", format!("\"number {number}\"").into(), options).await;
            *found.lock() = Some(published.expect("the broker stores it").position);
        });
        let mut last = self.tasks.ready() - 1;
        while place.lock().is_none() {
            assert!(self.tasks.poll(last), "the publisher goes on");
            last = self.tasks.ready().saturating_sub(1);
        }
        place.lock().take().unwrap()
    }

    fn subscribe(&mut self, since: Option<&Position>) -> Conn {
        let conn = self.node.connect(Protocol::Json, Some(Credentials::default()), usize::MAX).expect("room");
        let since = since.map_or_else(String::new, |since| {
            format!(",\"recover\":true,\"offset\":{},\"epoch\":\"{}\"", since.offset, since.epoch)
        });
        let message = format!(
            "{{\"id\":1,\"connect\":{{}}}}\n{{\"id\":2,\"subscribe\":{{\"channel\":\"news\"{since}}}}}"
        );
        let mut frame = Vec::new();
        append_masked_frame(Opcode::Text, [1, 2, 3, 4], message.as_bytes(), &mut frame);
        self.node.write(conn, &frame);
        self.node.read(conn, usize::MAX);
        conn
    }

    /// Everything that can move moves.
    fn settle(&mut self) {
        loop {
            let mut moved = self.tasks.poll(0) | self.broker.step();
            for shard in 0..SHARDS {
                moved |= self.node.take_entries(shard, usize::MAX) > 0;
                moved |= self.node.flush(shard, usize::MAX) > 0;
            }
            if !moved {
                return;
            }
        }
    }

    fn received(&mut self, conn: Conn) -> String {
        let bytes = self.node.receive(conn, usize::MAX).expect("it is open");
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// Ten thousand clients come back at a hundred different places, half of them while the first reads are under way.
/// Returns the reads that this takes.
fn storm(occupied: bool) -> u64 {
    let mut world = World::new();
    let mut places: Vec<Position> = (1..=100).map(|number| world.publish(number)).collect();
    world.settle();
    if occupied {
        world.subscribe(None);
        world.settle();
    }
    let before = world.broker.reads("news");
    let first: Vec<_> = (0..5_000).map(|at| (at % 100, world.subscribe(Some(&places[at % 100])))).collect();
    // The requests are on their way, and nothing is answered.
    world.tasks.poll(0);
    places.push(world.publish(101));
    let last: Vec<_> = (0..5_000).map(|at| (at % 100, world.subscribe(Some(&places[at % 100])))).collect();
    world.settle();
    let reads = world.broker.reads("news") - before;
    for (at, conn) in first.into_iter().chain(last) {
        let text = world.received(conn);
        assert!(text.contains("\"recovered\":true"), "{text}");
        let numbers = text.split("\"number ").skip(1).filter_map(|rest| rest.split_once('"')?.0.parse().ok());
        assert_eq!(numbers.collect::<Vec<usize>>(), (at + 2..=101).collect::<Vec<_>>(), "from {at}");
    }
    reads
}

#[test]
fn two_reads_serve_ten_thousand_who_come_back_to_an_empty_channel() {
    let reads = storm(false);
    assert!((1..=2).contains(&reads), "{reads}");
}

#[test]
fn two_reads_serve_ten_thousand_who_come_back_to_an_occupied_channel() {
    let reads = storm(true);
    assert!((1..=2).contains(&reads), "{reads}");
}

/// Returns the numbers that a subscriber was given when it recovered.
fn recovered(text: &str) -> Vec<usize> {
    assert!(text.contains("\"recovered\":true"), "{text}");
    let numbers = text.split("\"number ").skip(1);
    numbers.filter_map(|rest| rest.split_once('"')?.0.parse().ok()).collect()
}

/// A storm takes longer than a read: those who come later find what the first ones read, and what was published since.
#[test]
fn two_reads_serve_those_who_come_back_one_after_the_other() {
    let mut world = World::new();
    let places: Vec<Position> = (1..=100).map(|number| world.publish(number)).collect();
    world.settle();
    let mut newest = 100;
    for group in 0..100 {
        let conns: Vec<_> = (80..90).map(|at| (at, world.subscribe(Some(&places[at])))).collect();
        world.settle();
        for (at, conn) in conns {
            let text = world.received(conn);
            assert_eq!(recovered(&text), (at + 2..=newest).collect::<Vec<_>>(), "from {at}");
        }
        if group % 10 == 0 {
            newest += 1;
            world.publish(newest);
            world.settle();
        }
    }
    let reads = world.reads();
    assert!((1..=2).contains(&reads), "{reads}");
    assert!(world.node.node().info().counters.reads_saved >= 900);

    // After a while the stream is read again.
    world.clock.advance(5_000);
    let conn = world.subscribe(Some(&places[80]));
    world.settle();
    assert_eq!(recovered(&world.received(conn)).len(), newest - 81);
    assert_eq!(world.reads(), reads + 1);
}

/// A removal ends the slice that serves recoveries.
#[test]
fn removed_publications_are_not_given_to_those_who_come_back() {
    let mut world = World::new();
    let places: Vec<Position> = (1..=10).map(|number| world.publish(number)).collect();
    world.settle();
    let conns: Vec<_> = (0..5).map(|_| world.subscribe(Some(&places[4]))).collect();
    world.settle();
    for conn in conns {
        assert_eq!(recovered(&world.received(conn)), [6, 7, 8, 9, 10]);
    }
    let node = world.node.node().clone();
    world.tasks.spawn(async move { node.remove_history("news").await.expect("the broker removes it") });
    world.settle();
    let conn = world.subscribe(Some(&places[4]));
    world.settle();
    let text = world.received(conn);
    assert!(!text.contains("\"recovered\":true") && !text.contains("number"), "{text}");
}
