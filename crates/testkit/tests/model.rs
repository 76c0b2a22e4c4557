//! One channel of the memory broker, through whole production nodes, against a model that is small enough to
//! be seen to be right.
//!
//! 1,000 cases, or `PROPTEST_CASES`.

#![allow(clippy::expect_used, reason = "a test may fail")]

use proptest::prelude::*;
use spinward::Config;
use spinward::answer::Answer;
use spinward::clock::{Clock, Now};
use spinward::engine::broker::{HistoryOptions, PublishOptions};
use spinward::hooks::{Decision, Hooks, SubscribeEvent, SubscribeOptions};
use spinward::id::Entropy;
use spinward::identity::Credentials;
use spinward::sim::{Conn, Parts, SimNode, Tasks};
use spinward_testkit::log::{Event, Log, Seen};
use spinward_testkit::payload::{self, Message};
use spinward_testkit::peer::Peer;
use spinward_wire::Protocol;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

const CLIENTS: usize = 3;
const TTL: u64 = 5_000;
const META_TTL: u64 = 12_000;

#[derive(Clone, Debug)]
enum Step {
    Publish,
    /// The shard takes what is in its inbox.
    Drain,
    Subscribe(usize),
    /// The same, but from another place: so far back (or ahead), and perhaps in an epoch that never was.
    SubscribeFrom(usize, i64, bool),
    Unsubscribe(usize),
    Cut(usize),
    Trim,
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => Just(Step::Publish),
        4 => Just(Step::Drain),
        4 => (0..CLIENTS).prop_map(Step::Subscribe),
        2 => (0..CLIENTS, -8_i64..3, prop::bool::weighted(0.2)).prop_map(|(c, by, alien)| Step::SubscribeFrom(c, by, alien)),
        2 => (0..CLIENTS).prop_map(Step::Unsubscribe),
        1 => (0..CLIENTS).prop_map(Step::Cut),
        1 => Just(Step::Trim),
        1 => prop_oneof![1_u64..3_000, Just(TTL), Just(META_TTL)].prop_map(Step::Wait),
    ]
}

/// Expected view of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Sight {
    Subscribed { recovered: bool, generation: u64, offset: u64, missed: Vec<u64> },
    Publication(u64),
    Lost,
}

/// The channel as it should be. An epoch is a number here, and a publication is its offset.
#[derive(Default)]
struct Model {
    size: usize,
    limit: usize,
    now: u64,
    generation: u64,
    top: u64,
    kept: VecDeque<u64>,
    kept_until: u64,
    known_until: u64,
    /// Published and not yet taken by the shard: generation and offset.
    inbox: Vec<(u64, u64)>,
    /// By client: the generation it is subscribed in, and how much of the inbox was before it.
    on: [Option<(u64, usize)>; CLIENTS],
    sights: [Vec<Sight>; CLIENTS],
}

impl Model {
    fn look(&mut self) {
        // In use, a position is kept. One without publications costs nothing and is good for ever.
        if self.top > 0 && self.known_until <= self.now && self.on.iter().all(Option::is_none) {
            self.generation += 1;
            self.top = 0;
            self.kept.clear();
        }
        if self.kept_until <= self.now {
            self.kept.clear();
        }
        self.known_until = self.now + META_TTL;
    }

    fn publish(&mut self) {
        self.look();
        self.kept_until = self.now + TTL;
        self.top += 1;
        self.kept.push_back(self.top);
        while self.kept.len() > self.size {
            self.kept.pop_front();
        }
        if self.on.iter().any(Option::is_some) {
            self.inbox.push((self.generation, self.top));
        }
    }

    fn drain(&mut self) {
        for (at, (generation, offset)) in std::mem::take(&mut self.inbox).into_iter().enumerate() {
            for client in 0..CLIENTS {
                match self.on[client] {
                    Some((_, before)) if at < before => {}
                    Some((own, _)) if own == generation => {
                        self.sights[client].push(Sight::Publication(offset))
                    }
                    Some(_) => {
                        self.on[client] = None;
                        self.sights[client].push(Sight::Lost);
                    }
                    None => {}
                }
            }
        }
        for (_, before) in self.on.iter_mut().flatten() {
            *before = 0;
        }
    }

    fn leave(&mut self, client: usize) {
        if self.on[client].take().is_some() && self.on.iter().all(Option::is_none) {
            self.known_until = self.now + META_TTL;
        }
    }

    /// `since` is a generation, none for one that never was, and an offset.
    fn subscribe(&mut self, client: usize, since: Option<(Option<u64>, u64)>) {
        self.look();
        let missed = since.and_then(|(generation, offset)| {
            let missed: Vec<u64> = (offset + 1..=self.top).collect();
            let few = self.limit == 0 || missed.len() <= self.limit;
            let whole = missed.first().is_none_or(|first| self.kept.contains(first));
            (generation == Some(self.generation) && offset <= self.top && few && whole)
                .then_some((offset, missed))
        });
        let recovered = missed.is_some();
        let (offset, missed) = missed.unwrap_or((self.top, Vec::new()));
        self.on[client] = Some((self.generation, self.inbox.len()));
        self.sights[client].push(Sight::Subscribed {
            recovered,
            generation: self.generation,
            offset,
            missed,
        });
    }
}

struct Rules(HistoryOptions);

impl Hooks for Rules {
    fn subscribe(&self, _: &spinward::Client, _: SubscribeEvent) -> Decision<SubscribeOptions> {
        Answer::Now(Ok(SubscribeOptions {
            recovery: true,
            history: self.0,
            delta: true,
            ..SubscribeOptions::default()
        }))
    }
}

/// The real thing.
struct Real {
    history: HistoryOptions,
    clock: Clock,
    tasks: Tasks,
    log: Log,
    seen: usize,
    node: SimNode,
    clients: Vec<(Peer, Option<Conn>)>,
    published: u64,
    /// Epochs by generation.
    epochs: Vec<(u64, String)>,
    sights: [Vec<Sight>; CLIENTS],
    /// Publication at each place, by generation and offset.
    places: Vec<(u64, u64, u64)>,
    generations: [u64; CLIENTS],
}

impl Real {
    fn new(size: usize, limit: usize, seed: u64) -> Self {
        let history = HistoryOptions {
            size,
            ttl: Duration::from_millis(TTL),
            meta_ttl: Duration::from_millis(META_TTL),
        };
        let clock = Clock::manual(Now { mono: 1_000, wall: 1_700_000_000_000 });
        let (tasks, log) = (Tasks::default(), Log::new(clock.clone()));
        let config = Config {
            shards: 1,
            recovery_max_publication_limit: limit,
            ping_interval: Duration::ZERO,
            ..Config::default()
        };
        let node = SimNode::new(Parts {
            hooks: Arc::new(Rules(history)),
            config,
            clock: clock.clone(),
            entropy: Entropy::seeded(seed),
            broker: None,
            presence: None,
            cluster: None,
            tasks: tasks.clone(),
        });
        let clients = (0..CLIENTS)
            .map(|c| {
                let protocol = if c == 0 { Protocol::Protobuf } else { Protocol::Json };
                (Peer::new(c as u32, protocol, log.clone()), None)
            })
            .collect();
        Self {
            history,
            clock,
            tasks,
            log,
            seen: 0,
            node,
            clients,
            published: 0,
            epochs: Vec::new(),
            sights: Default::default(),
            places: Vec::new(),
            generations: [0; CLIENTS],
        }
    }

    fn publish(&mut self, model: &Model) {
        self.published += 1;
        let s = self.published;
        self.places.push((model.generation, model.top, s));
        let (node, history) = (self.node.node().clone(), self.history);
        let data = payload::write("c", Message { p: 1, s, n: 0 }, 30);
        self.tasks.spawn(async move {
            let options = PublishOptions { history, delta: s.is_multiple_of(2), ..PublishOptions::default() };
            node.publish("c", data, options).await.expect("the memory broker takes it");
        });
        while self.tasks.poll(0) {}
    }

    fn trim(&mut self) {
        let node = self.node.node().clone();
        self.tasks.spawn(async move { node.remove_history("c").await.expect("the memory broker does") });
        while self.tasks.poll(0) {}
    }

    fn connect(&mut self, client: usize) {
        if self.clients[client].1.is_none() {
            let protocol = self.clients[client].0.protocol();
            let conn = self.node.connect(protocol, Some(Credentials::default()), usize::MAX).expect("room");
            self.clients[client].0.open();
            self.clients[client].1 = Some(conn);
            self.pump();
        }
    }

    fn cut(&mut self, client: usize) {
        if let Some(conn) = self.clients[client].1.take() {
            self.clients[client].0.close(None);
            self.node.drop_conn(conn);
        }
    }

    /// All bytes move; the inbox stays as it is.
    fn pump(&mut self) {
        for _ in 0..4 {
            for (peer, conn) in &mut self.clients {
                let Some(conn) = *conn else { continue };
                self.node.write(conn, &peer.take_output());
                self.node.read(conn, usize::MAX);
                self.node.flush(0, usize::MAX);
                let mut bytes = self.node.receive(conn, usize::MAX).expect("the connection stands");
                assert!(peer.input(&mut bytes), "the connection stands");
            }
        }
    }

    /// Takes down what the clients saw since.
    fn look(&mut self, model: &Model) -> Result<(), TestCaseError> {
        let lines = self.log.lines();
        for line in lines.iter().skip(self.seen) {
            match &line.event {
                Event::Subscribed { c, recovered, epoch, offset, pubs, .. } => {
                    let generation = model.generation;
                    match self.epochs.iter().find(|(_, known)| known == epoch) {
                        Some((known, _)) => {
                            prop_assert_eq!(*known, generation, "an epoch of another history")
                        }
                        None => {
                            prop_assert!(
                                !self.epochs.iter().any(|(known, _)| *known == generation),
                                "two epochs"
                            );
                            self.epochs.push((generation, epoch.clone()));
                        }
                    }
                    for seen in pubs {
                        self.same(generation, seen)?;
                    }
                    self.generations[*c as usize] = generation;
                    let missed = pubs.iter().map(|seen| seen.offset).collect();
                    let sight =
                        Sight::Subscribed { recovered: *recovered, generation, offset: *offset, missed };
                    self.sights[*c as usize].push(sight);
                }
                Event::Pub { c, seen, .. } => {
                    self.same(self.generations[*c as usize], seen)?;
                    self.sights[*c as usize].push(Sight::Publication(seen.offset));
                }
                Event::Unsubscribed { c, code: 2500, .. } => self.sights[*c as usize].push(Sight::Lost),
                Event::Broken { what, .. } => return Err(TestCaseError::fail(what.clone())),
                _ => {}
            }
        }
        self.seen = lines.len();
        Ok(())
    }

    fn same(&self, generation: u64, seen: &Seen) -> Result<(), TestCaseError> {
        let found = self.places.contains(&(generation, seen.offset, seen.s));
        prop_assert!(found && seen.p == 1, "{:?} does not stand there", seen);
        Ok(())
    }
}

fn play(size: usize, limit: usize, seed: u64, steps: Vec<Step>) -> Result<(), TestCaseError> {
    let mut model = Model { size, limit, now: 1_000, ..Model::default() };
    let mut real = Real::new(size, limit, seed);
    for step in steps.into_iter().chain([Step::Drain]) {
        match step {
            Step::Publish => {
                model.publish();
                real.publish(&model);
            }
            Step::Drain => {
                model.drain();
                real.node.take_entries(0, usize::MAX);
                real.pump();
            }
            Step::Subscribe(client) | Step::SubscribeFrom(client, ..) if model.on[client].is_none() => {
                real.connect(client);
                if let Step::SubscribeFrom(_, by, alien) = step
                    && let Some((epoch, offset)) = real.clients[client].0.position("c")
                {
                    let epoch = if alien { "alien".to_owned() } else { epoch.to_owned() };
                    let offset = offset.saturating_add_signed(by);
                    real.clients[client].0.set_position("c", Some((epoch, offset)));
                }
                let since = real.clients[client].0.position("c").map(|(epoch, offset)| {
                    (real.epochs.iter().find(|(_, known)| known == epoch).map(|(number, _)| *number), offset)
                });
                model.subscribe(client, since);
                real.clients[client].0.want("c", client == 2, false);
                real.pump();
            }
            Step::Subscribe(_) | Step::SubscribeFrom(..) => {}
            Step::Unsubscribe(client) => {
                model.leave(client);
                real.clients[client].0.leave("c");
                real.pump();
            }
            Step::Cut(client) => {
                model.leave(client);
                real.clients[client].0.leave("c");
                real.cut(client);
            }
            Step::Trim => {
                model.kept.clear();
                real.trim();
            }
            Step::Wait(millis) => {
                model.now += millis;
                real.clock.advance(millis);
                real.node.tick(0);
                real.node.expire();
            }
        }
        if model.on.iter().all(Option::is_none) {
            // Nobody is there to take it.
            model.inbox.clear();
            real.node.take_entries(0, usize::MAX);
        }
        real.look(&model)?;
        for client in 0..CLIENTS {
            if model.sights[client].last() == Some(&Sight::Lost) && model.on[client].is_none() {
                real.clients[client].0.leave("c");
            }
        }
        prop_assert_eq!(&real.sights, &model.sights);
    }
    Ok(())
}

fn config() -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(1_000);
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_channel_does_what_the_model_does(
        size in 1_usize..6,
        limit in 0_usize..5,
        seed in any::<u64>(),
        steps in prop::collection::vec(step(), 1..60),
    ) {
        play(size, limit, seed, steps)?;
    }
}
