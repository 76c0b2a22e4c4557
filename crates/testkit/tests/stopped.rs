//! An engine that stops for a while: what was asked of it is given up, and answered late.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail")]

use spinward::Config;
use spinward::answer::Answer;
use spinward::clock::{Clock, Now};
use spinward::engine::broker::{HistoryOptions, PublishOptions};
use spinward::hooks::{Decision, Hooks, SubscribeEvent, SubscribeOptions};
use spinward::id::Entropy;
use spinward::identity::Credentials;
use spinward::sim::{Conn, Parts, SimNode, Tasks};
use spinward_testkit::broker::{Misdeeds, SimBroker};
use spinward_testkit::log::{Event, Log, to_text};
use spinward_testkit::payload::{self, Message};
use spinward_testkit::peer::Peer;
use spinward_testkit::random::Random;
use spinward_wire::Protocol;
use std::time::Duration;

const HISTORY: HistoryOptions =
    HistoryOptions { size: 50, ttl: Duration::from_secs(600), meta_ttl: Duration::from_secs(6000) };
const CHANNELS: [&str; 3] = ["a", "b", "c"];
const SHARDS: usize = 2;
/// Time after which the node gives up.
const TIMEOUT: Duration = Duration::from_secs(10);

struct Open;

impl Hooks for Open {
    fn subscribe(&self, _: &spinward::Client, _: SubscribeEvent) -> Decision<SubscribeOptions> {
        Answer::Now(Ok(SubscribeOptions { recovery: true, history: HISTORY, ..SubscribeOptions::default() }))
    }
}

struct World {
    random: Random,
    log: Log,
    clock: Clock,
    node: SimNode,
    broker: SimBroker,
    tasks: Tasks,
    peers: Vec<(Peer, Conn)>,
    published: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        let (tasks, clock) = (Tasks::default(), Clock::manual(Now { mono: 1_000, wall: 1_700_000_000_000 }));
        let (random, log) = (Random::new(seed), Log::new(clock.clone()));
        let misdeeds = Misdeeds { tarry: 500, lose: 20, refuse: 20, ..Misdeeds::default() };
        let broker = SimBroker::new(Random::new(seed ^ 0xb0), log.clone(), misdeeds, tasks.clone());
        let mut node = SimNode::new(Parts {
            hooks: std::sync::Arc::new(Open),
            config: Config {
                shards: SHARDS,
                hook_timeout: TIMEOUT,
                ping_interval: Duration::ZERO,
                ..Config::default()
            },
            clock: clock.clone(),
            entropy: Entropy::seeded(seed),
            broker: Some(broker.link(0)),
            presence: None,
            cluster: None,
            tasks: tasks.clone(),
        });
        let mut peers = Vec::new();
        for number in 1..=4 {
            let mut peer = Peer::new(number, Protocol::Json, log.clone());
            CHANNELS.iter().for_each(|channel| peer.want(channel, false, false));
            peer.open();
            peers.push((peer, connect(&mut node)));
        }
        Self { random, log, clock, node, broker, tasks, peers, published: 0 }
    }

    fn publish(&mut self, channel: &'static str) {
        self.published += 1;
        let message = Message { p: 1, s: self.published, n: 0 };
        let node = self.node.node().clone();
        self.tasks.spawn(async move {
            let options = PublishOptions { history: HISTORY, ..PublishOptions::default() };
            // It may be refused.
            let _ = node.publish(channel, payload::write(channel, message, 0), options).await;
        });
    }

    /// Everything that can move without the clock moves, in an order that the seed draws.
    fn settle(&mut self) {
        loop {
            let mut moved = self.broker.step();
            let ready = self.tasks.ready();
            moved |= ready > 0 && self.tasks.poll(self.random.below(ready));
            for shard in 0..SHARDS {
                moved |= self.node.take_entries(shard, 3) > 0;
                moved |= self.node.flush(shard, usize::MAX) > 0;
            }
            for (peer, conn) in &mut self.peers {
                let out = peer.take_output();
                moved |= !out.is_empty();
                self.node.write(*conn, &out);
                moved |= self.node.read(*conn, usize::MAX) > 0;
                match self.node.receive(*conn, usize::MAX) {
                    Some(mut bytes) => {
                        moved |= !bytes.is_empty();
                        peer.input(&mut bytes);
                    }
                    None => peer.close(None),
                }
                if !peer.is_open() {
                    self.node.drop_conn(*conn);
                    *conn = connect(&mut self.node);
                    peer.open();
                    moved = true;
                }
            }
            if !moved {
                return;
            }
        }
    }

    fn pass(&mut self, time: Duration) {
        self.clock.advance(time.as_millis() as u64);
        self.node.expire();
        (0..SHARDS).for_each(|shard| self.node.tick(shard));
        // Those who were refused, or told that they lost something, ask again.
        self.peers.iter_mut().for_each(|(peer, _)| peer.subscribe_wanted());
        self.settle();
    }

    fn act(&mut self) {
        let who = self.random.below(self.peers.len());
        let channel = *self.random.one_of(&CHANNELS);
        match self.random.below(12) {
            0 => self.broker.stop(),
            1 | 2 => self.broker.go_on(),
            3 => self.broker.interrupt(0),
            4 => {
                // As SDKs do once a request has taken too long.
                self.peers[who].0.close(None);
            }
            5 | 6 => self.peers[who].0.leave(channel),
            7 | 8 => self.peers[who].0.want(channel, false, false),
            9 | 10 => self.publish(channel),
            _ => self.pass(Duration::from_secs(self.random.between(1, 6) as u64)),
        }
        // A subscription that has ended is asked for again at once.
        for _ in 0..2 {
            self.settle();
            self.peers.iter_mut().for_each(|(peer, _)| peer.subscribe_wanted());
        }
    }

    fn text(&self) -> String {
        to_text(&self.log.lines())
    }
}

fn connect(node: &mut SimNode) -> Conn {
    node.connect(Protocol::Json, Some(Credentials::default()), usize::MAX).expect("the node is up")
}

fn run(seed: u64) -> usize {
    let mut world = World::new(seed);
    world.settle();
    for _ in 0..120 {
        world.act();
    }
    world.broker.go_on();
    world.broker.set_misdeeds(Misdeeds::default());
    CHANNELS.iter().for_each(|channel| {
        world.peers.iter_mut().for_each(|(peer, _)| peer.want(channel, false, false));
    });
    for _ in 0..60 {
        world.pass(Duration::from_secs(1));
    }
    CHANNELS.iter().for_each(|channel| world.publish(channel));
    world.settle();
    let interest = world.broker.interest(0);
    for channel in CHANNELS {
        assert!(interest.contains(channel), "seed {seed}: {channel} dropped out\n{}", world.text());
        let places: Vec<_> = world.peers.iter().map(|(peer, _)| peer.position(channel)).collect();
        let same = places.iter().all(|place| place.is_some() && *place == places[0]);
        assert!(same, "seed {seed}: {channel} at {places:?}\n{}", world.text());
    }
    for (peer, _) in &world.peers {
        assert!(peer.is_settled(), "seed {seed}\n{}", world.text());
    }
    let lines = world.log.lines();
    let already = |event: &Event| matches!(event, Event::Refused { code: 105, .. } | Event::Broken { .. });
    assert!(!lines.iter().any(|line| already(&line.event)), "seed {seed}\n{}", world.text());
    let ended = |event: &Event| matches!(event, Event::Unsubscribed { code: 2500, .. });
    lines.iter().filter(|line| ended(&line.event)).count()
}

#[test]
fn after_a_stop_everybody_is_subscribed_and_no_channel_has_dropped_out() {
    let seeds = std::env::var("SPINWARD_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(200);
    let ended: usize = (0..seeds).map(run).sum();
    assert!(ended > seeds as usize / 4, "{ended} subscriptions lost something");
}
