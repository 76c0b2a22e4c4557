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
            clock,
            entropy: Entropy::seeded(1),
            broker: Some(broker.link(0)),
            presence: None,
            cluster: None,
            tasks: tasks.clone(),
        });
        Self { node, broker, tasks }
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
