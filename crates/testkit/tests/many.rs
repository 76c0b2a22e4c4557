//! Work on many connections is done in slices, in order, and once for all equal requests.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail")]

use spinward::answer::Answer;
use spinward::clock::{Clock, Now};
use spinward::enforce::{Judge, Verdict};
use spinward::hooks::{ConnectEvent, ConnectReply, Decision, Hooks};
use spinward::id::Entropy;
use spinward::identity::Credentials;
use spinward::sim::{Conn, Parts, SimNode, Tasks};
use spinward::{ClientFilter, Config, ServerSubscribe};
use spinward_wire::code::{DisconnectCode, UnsubscribeCode};
use spinward_wire::message::{Command, ConnectRequest};
use spinward_wire::ws::{Opcode, append_masked_frame};
use spinward_wire::{Protocol, append_command};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

struct OneUser;

impl Hooks for OneUser {
    fn connect(&self, _: ConnectEvent) -> Decision<ConnectReply> {
        let credentials = Credentials { user: "u".into(), ..Credentials::default() };
        Answer::Now(Ok(ConnectReply { credentials, ..ConnectReply::default() }))
    }
}

struct World {
    node: SimNode,
    tasks: Tasks,
    conns: Vec<Conn>,
}

impl World {
    /// A node with this many connections of one user, spread over two shards.
    fn new(connections: usize) -> Self {
        let tasks = Tasks::default();
        let node = SimNode::new(Parts {
            hooks: Arc::new(OneUser),
            config: Config { shards: 2, ..Config::default() },
            clock: Clock::manual(Now { mono: 1_000, wall: 1_700_000_000_000 }),
            entropy: Entropy::seeded(7),
            broker: None,
            presence: None,
            cluster: None,
            tasks: tasks.clone(),
        });
        let mut world = Self { node, tasks, conns: Vec::new() };
        for _ in 0..connections {
            let conn = world.node.connect(Protocol::Json, None, usize::MAX).unwrap();
            let connect = Command { id: 1, connect: Some(ConnectRequest::default()), ..Command::default() };
            let (mut payload, mut frame) = (Vec::new(), Vec::new());
            append_command(Protocol::Json, &connect, &mut payload, true);
            append_masked_frame(Opcode::Text, [1, 2, 3, 4], &payload, &mut frame);
            world.node.write(conn, &frame);
            world.node.read(conn, usize::MAX);
            world.conns.push(conn);
        }
        world.run();
        world
    }

    fn run(&mut self) {
        while (0..2).any(|shard| self.node.has_work(shard)) || self.tasks.poll(0) {
            for shard in 0..2 {
                self.node.take_entries(shard, usize::MAX);
                self.node.flush(shard, usize::MAX);
            }
        }
    }

    /// Each shard takes one entry.
    fn step(&mut self) {
        for shard in 0..2 {
            self.node.take_entries(shard, 1);
        }
    }

    fn flag<T>(&self, done: impl Future<Output = T> + Send + 'static) -> Arc<AtomicBool> {
        let flag = Arc::new(AtomicBool::new(false));
        let set = Arc::clone(&flag);
        self.tasks.spawn(async move {
            done.await;
            set.store(true, Ordering::Relaxed);
        });
        while self.tasks.poll(0) {}
        flag
    }
}

fn counting(asked: &Arc<AtomicUsize>) -> Judge {
    let asked = Arc::clone(asked);
    Judge::new(move |_| {
        asked.fetch_add(1, Ordering::Relaxed);
        Verdict::Keep
    })
}

#[test]
fn a_thousand_calls_for_all_connections_are_two_walks_in_slices() {
    let mut world = World::new(1_500);
    let asked = Arc::new(AtomicUsize::new(0));
    let judge = counting(&asked);
    let first = world.node.node().enforce(None, &judge);
    let first = world.flag(first);
    world.step();
    let begun = asked.load(Ordering::Relaxed);
    assert!((1..=512).contains(&begun), "one slice of each shard: {begun}");
    let others: Vec<_> = (0..1_000).map(|_| world.node.node().enforce(None, &judge)).collect();
    let others: Vec<_> = others.into_iter().map(|done| world.flag(done)).collect();
    assert!(!first.load(Ordering::Relaxed), "it is not done yet");
    world.run();
    assert_eq!(asked.load(Ordering::Relaxed), 2 * 1_500);
    assert!(first.load(Ordering::Relaxed));
    assert!(others.iter().all(|done| done.load(Ordering::Relaxed)), "later readers waited for the second");
    // Another rule is not taken for the same, nor is a walk through the connections of one user.
    let (other, again) = (counting(&asked), world.node.node().enforce(None, &judge));
    drop((again, world.node.node().enforce(None, &other), world.node.node().enforce(Some("u"), &judge)));
    world.run();
    assert_eq!(asked.load(Ordering::Relaxed), 5 * 1_500);
}

#[test]
fn the_connections_of_one_user_are_changed_in_slices_and_in_order() {
    let mut world = World::new(600);
    let subscribers = |world: &World| world.node.node().channels(|_| true).first().map_or(0, |first| first.1);
    let everybody = ClientFilter::default();
    let node = world.node.node().clone();
    let subscribe = {
        let (node, everybody) = (node.clone(), everybody.clone());
        async move { node.subscribe("u", &everybody, "c", ServerSubscribe::default()).await.unwrap() }
    };
    let subscribed = world.flag(subscribe);
    world.step();
    assert_eq!(subscribers(&world), 2 * 64, "one slice of each shard");
    assert!(!subscribed.load(Ordering::Relaxed));
    // While the one is under way: the later of these is what holds in the end, on every connection.
    drop(node.unsubscribe("u", &everybody, Some("c"), UnsubscribeCode::SERVER));
    let again = {
        let (node, everybody) = (node.clone(), everybody.clone());
        async move { node.subscribe("u", &everybody, "c", ServerSubscribe::default()).await.unwrap() }
    };
    let again = world.flag(again);
    world.run();
    assert!(subscribed.load(Ordering::Relaxed) && again.load(Ordering::Relaxed));
    assert_eq!(subscribers(&world), 600);
    let done = world.flag(node.disconnect("u", &everybody, DisconnectCode::FORCE_DISCONNECT));
    world.run();
    assert!(done.load(Ordering::Relaxed));
    assert_eq!(node.info().counters.clients, 0);
}

#[test]
fn a_rule_closes_unsubscribes_and_costs_only_the_connection_it_panics_on() {
    let mut world = World::new(4);
    let node = world.node.node().clone();
    let everybody = ClientFilter::default();
    let subscribe = {
        let node = node.clone();
        async move { node.subscribe("u", &everybody, "c", ServerSubscribe::default()).await.unwrap() }
    };
    drop(world.flag(subscribe));
    world.run();
    let number = AtomicUsize::new(0);
    let judge = Judge::new(move |_| match number.fetch_add(1, Ordering::Relaxed) {
        0 => panic!("on purpose"),
        1 => Verdict::Disconnect(DisconnectCode::FORCE_DISCONNECT),
        2 => Verdict::Unsubscribe(vec!["c".into()], UnsubscribeCode::EXPIRED),
        _ => Verdict::Keep,
    });
    drop(node.enforce(Some("u"), &judge));
    world.run();
    let counters = node.info().counters;
    assert_eq!((counters.clients, counters.subscriptions), (2, 1));
    let of = |code| counters.disconnects.iter().find(|(known, _)| *known == code).unwrap().1;
    assert_eq!((of(3004), of(DisconnectCode::FORCE_DISCONNECT.code)), (1, 1));
}
