//! Whole nodes under simulation: who does what next is drawn from the seed, and everything that happens is in
//! the log.

mod cluster;
mod rules;
mod storm;

use crate::broker::{Misdeeds, SimBroker};
use crate::bus::{SimBus, Trouble};
use crate::log::{Event, Fault, Line, Log, Operation, Seen};
use crate::old::{Knows, Old};
use crate::payload::{self, Message};
use crate::peer::{Carrier, Peer};
use crate::pipeline::{Kind, Pipeline};
use crate::random::Random;
use cluster::{Waiting, neighbours};
use parking_lot::Mutex;
use rules::{Rules, Tarrying, config, is_served, options};
use spinward::clock::{Clock, Now};
use spinward::engine::broker::{HistoryFilter, PublishOptions};
use spinward::engine::presence::{MemoryPresence, Presence};
use spinward::id::Entropy;
use spinward::identity::Credentials;
use spinward::sim::{Conn, Parts, SimNode, Tasks};
use spinward::{ClientFilter, Node};
use spinward_wire::Protocol;
use spinward_wire::code::{DisconnectCode, UnsubscribeCode};
use std::sync::Arc;
use std::time::Duration;

/// Parameters of a run.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Everything is drawn from this.
    pub seed: u64,
    /// Things that happen before the faults stop.
    pub steps: usize,
    /// Nodes that share a simulated broker; 0 is one node with the memory broker.
    pub remote_nodes: usize,
    /// Shards of each node.
    pub shards: usize,
    /// Clients.
    pub clients: usize,
    /// Channels with history; there are one without, and one that the server subscribes some clients to, besides.
    pub channels: usize,
    /// Clients that flood the nodes and hardly read.
    pub hostile: usize,
    /// Publishers.
    pub publishers: usize,
    /// Publications kept by channel.
    pub history: usize,
    /// Most publications of a recovery.
    pub limit: usize,
    /// Subscriptions with presence, kept by a store that takes its time.
    pub presence: bool,
    /// Misbehaviour of the remote broker.
    pub misdeeds: Misdeeds,
    /// The trouble of the bus between the nodes, if there is one.
    pub bus: Option<Trouble>,
    /// Nodes that are cut off or connected again, crash or end and are started again, of 1,000 steps.
    pub collapse: usize,
    /// Hooks that answer later, of 1,000.
    pub tarry: usize,
    /// Sockets cut, subscriptions and connections ended by the server, slow readers, of 1,000 steps.
    pub nuisance: usize,
    /// Times that a node loses all sockets at once, of 1,000 steps.
    pub storms: usize,
    /// History dropped, positions lost, fail-overs, of 1,000 steps.
    pub havoc: usize,
    /// Positions may be lost by time: the clock jumps.
    pub jumps: bool,
    /// Bytes of publications that an inbox takes.
    pub inbox: usize,
    /// Clients with an SDK of 2018 to 2022, of 1,000. `None`: the protocol of that time is not spoken.
    pub old: Option<usize>,
    /// Nothing is published once the faults have stopped: what was lost last must be found out all the same.
    pub quiet: bool,
}

impl Scenario {
    /// Draws a scenario.
    #[must_use]
    pub fn from_seed(seed: u64) -> Self {
        let random = Random::new(seed ^ 0x5eed);
        let remote = random.permille(600);
        let calm = random.permille(200);
        let rate = |most: usize| if calm { 0 } else { random.below(most + 1) };
        Self {
            seed,
            steps: random.between(800, 3_000),
            remote_nodes: if remote { random.between(1, 3) } else { 0 },
            shards: random.between(1, 3),
            clients: random.between(2, 6),
            channels: random.between(1, 2),
            publishers: random.between(1, 3),
            history: *random.one_of(&[3, 10, 40, 1000]),
            limit: *random.one_of(&[0, 2, 8, 500]),
            presence: random.permille(300),
            misdeeds: Misdeeds {
                lose: rate(30),
                repeat: rate(30),
                refuse: rate(60),
                tarry: random.below(1001),
                ..Misdeeds::default()
            },
            tarry: random.below(600),
            nuisance: rate(60),
            storms: 0,
            havoc: if random.permille(500) { rate(10) } else { 0 },
            jumps: random.permille(300),
            inbox: *random.one_of(&[1_500, 1 << 20]),
            quiet: random.permille(500),
            hostile: random.below(3),
            bus: None,
            collapse: 0,
            old: None,
        }
    }
}

/// Runs a scenario to its end.
#[must_use]
pub fn run(scenario: &Scenario) -> Vec<Line> {
    run_counting(scenario).0
}

/// Does the same. Returns the number of reads too that nodes did not ask the broker for.
#[must_use]
pub fn run_counting(scenario: &Scenario) -> (Vec<Line>, u64) {
    let mut world = World::new(scenario.clone());
    for _ in 0..scenario.steps {
        world.step();
    }
    world.end();
    let saved = world.nodes.iter().map(|node| node.node().info().counters.reads_saved).sum();
    (world.log.lines(), saved)
}

struct World {
    scenario: Scenario,
    random: Random,
    clock: Clock,
    tasks: Tasks,
    log: Log,
    broker: Option<SimBroker>,
    nodes: Vec<SimNode>,
    clients: Vec<Simulated>,
    hostile: Vec<Hostile>,
    publishers: Vec<Publisher>,
    channels: Vec<String>,
    presence: Arc<dyn Presence>,
    entropy: Entropy,
    bus: Option<SimBus>,
    /// Nodes started so far.
    started: usize,
    /// The number by which the broker knows each node.
    numbers: Vec<usize>,
    /// Operations issued so far.
    operations: u64,
    waiting: Vec<Waiting>,
}

/// A client and where it is connected.
struct Simulated {
    peer: Peer,
    at: Option<(usize, Conn)>,
}

/// A client that floods a node, and where.
struct Hostile {
    client: Pipeline,
    at: Option<(usize, Conn)>,
}

struct Publisher {
    p: u32,
    /// The last number by channel.
    sent: Vec<u64>,
    busy: Arc<Mutex<bool>>,
}

/// Channels that hostile clients name in their commands: one with other members, and one of their own.
const HOSTILE_CHANNELS: [&str; 2] = ["h0", "x"];
/// Forms of positions that SDKs of 2018 to 2022 know, and whether those say their name.
const SDKS: [(Knows, bool); 4] =
    [(Knows::Seq, false), (Knows::Both, false), (Knows::Both, true), (Knows::Offset, true)];
const META_TTL: Duration = Duration::from_secs(40);
const POSITION_CHECK: Duration = Duration::from_secs(5);

impl World {
    fn new(scenario: Scenario) -> Self {
        let random = Random::new(scenario.seed);
        let clock = Clock::manual(Now { mono: 1_000, wall: 1_700_000_000_000 });
        let entropy = Entropy::seeded(scenario.seed ^ 0xe47);
        let (tasks, log) = (Tasks::default(), Log::new(clock.clone()));
        let broker = (scenario.remote_nodes > 0)
            .then(|| SimBroker::new(random.clone(), log.clone(), scenario.misdeeds, tasks.clone()));
        let channels: Vec<String> =
            (0..scenario.channels).map(|n| format!("h{n}")).chain(["s".to_owned(), "n".to_owned()]).collect();
        for ch in &channels {
            let history = if ch == "n" { 0 } else { scenario.history };
            log.add(Event::Channel {
                ch: ch.clone(),
                history,
                limit: scenario.limit,
                lossless: broker.is_none(),
            });
        }
        let presence: Arc<dyn Presence> = Arc::new(Tarrying {
            store: MemoryPresence::new(entropy.number()).into(),
            random: random.clone(),
        });
        let clients = (0..scenario.clients)
            .map(|number| {
                let protocol = *random.one_of(&[Protocol::Json, Protocol::Protobuf]);
                let c = number as u32 + 1;
                let mut peer = match scenario.old {
                    Some(permille) if random.permille(permille) => {
                        let (knows, named) = *random.one_of(&SDKS);
                        Peer::of_old(c, protocol, log.clone(), Old { knows, named })
                    }
                    // One of four uses a stream and requests.
                    _ if number % 4 == 3 => Peer::new(c, protocol, log.clone()).over(Carrier::Requests),
                    _ => Peer::new(c, protocol, log.clone()),
                };
                for (place, channel) in channels.iter().enumerate() {
                    if channel == "s" {
                        if is_served(number as u32 + 1) {
                            peer.expect(channel);
                        }
                    } else if random.permille(800) || place == number % channels.len() {
                        peer.want(channel, random.permille(300), random.permille(100));
                    }
                }
                Simulated { peer, at: None }
            })
            .collect();
        let hostile = (0..scenario.hostile)
            .map(|_| Hostile {
                client: Pipeline::new(Protocol::Json, Kind::Hostile, HOSTILE_CHANNELS),
                at: None,
            })
            .collect();
        let publishers = (1..=scenario.publishers as u32)
            .map(|p| Publisher { p, sent: vec![0; channels.len()], busy: Arc::default() })
            .collect();
        let bus = scenario.bus.map(|trouble| SimBus::new(random.clone(), log.clone(), trouble));
        let nodes = scenario.remote_nodes.max(1);
        let mut world = Self {
            scenario,
            random,
            clock,
            tasks,
            log,
            broker,
            nodes: Vec::new(),
            clients,
            hostile,
            publishers,
            channels,
            presence,
            entropy,
            bus,
            started: nodes,
            numbers: (0..nodes).collect(),
            operations: 0,
            waiting: Vec::new(),
        };
        world.nodes = (0..nodes).map(|node| world.start(node, node)).collect();
        world
    }

    /// Starts a node. The broker knows it by a number of its own, so that nothing of an earlier node is left there.
    fn start(&self, node: usize, number: usize) -> SimNode {
        SimNode::new(Parts {
            hooks: Arc::new(Rules { scenario: self.scenario.clone(), random: self.random.clone() }),
            config: config(&self.scenario),
            clock: self.clock.clone(),
            entropy: self.entropy.clone(),
            broker: self.broker.as_ref().map(|broker| broker.link(number)),
            presence: Some(Arc::clone(&self.presence)),
            cluster: self.bus.as_ref().map(|bus| neighbours(bus, node)),
            tasks: self.tasks.clone(),
        })
    }

    fn step(&mut self) {
        let random = self.random.clone();
        match random.below(100) {
            0..25 => {
                let node = random.below(self.nodes.len());
                let shard = random.below(self.nodes[node].shards());
                self.nodes[node].take_entries(shard, random.between(1, 6));
                self.nodes[node].flush(shard, random.between(1, 4));
            }
            25..42 => {
                self.tasks.poll(random.below(self.tasks.ready()));
            }
            42..54 => {
                if let Some(broker) = &self.broker {
                    broker.step();
                }
                if let Some(bus) = &self.bus {
                    for _ in 0..random.between(1, 4) {
                        bus.step();
                    }
                }
            }
            54..70 => {
                let client = random.below(self.clients.len());
                self.receive(client, random.between(1, 300));
            }
            70..82 => {
                let client = random.below(self.clients.len());
                // Who is away stays away for a while.
                if self.clients[client].at.is_some() || random.permille(250) {
                    self.send(client, random.between(1, 120));
                }
            }
            82..92 => {
                let (publisher, channel) =
                    (random.below(self.publishers.len()), random.below(self.channels.len()));
                self.publish(publisher, channel);
            }
            92..95 => self.wait(random.between(1, 200) as u64),
            _ => {
                let client = random.below(self.clients.len());
                let channel = random.one_of(&self.channels).clone();
                match random.below(8) {
                    0 => self.clients[client].peer.leave(&channel),
                    1 if channel != "s" => self.clients[client].peer.want(&channel, false, false),
                    _ => self.clients[client].peer.subscribe_wanted(),
                }
            }
        }
        for at in 0..self.hostile.len() {
            if random.permille(40) {
                self.flood(at);
            }
        }
        if random.permille(self.scenario.nuisance) {
            self.annoy();
        }
        if self.scenario.storms > 0 && random.permille(self.scenario.storms) {
            self.storm(random.below(self.nodes.len()));
        }
        if random.permille(self.scenario.havoc) {
            self.destroy();
        }
        if random.permille(self.scenario.collapse) {
            self.collapse();
        }
        self.look();
    }

    /// A hostile client sends what it likes, and takes little of what it gets.
    fn flood(&mut self, at: usize) {
        let random = &self.random;
        let Hostile { client, at } = &mut self.hostile[at];
        let Some((node, conn)) = *at else {
            let node = random.below(self.nodes.len());
            let credentials = Credentials { user: "hostile".to_owned(), ..Credentials::default() };
            let room = *random.one_of(&[0, 500, 20_000]);
            if let Some(conn) = self.nodes[node].connect(Protocol::Json, Some(credentials), room) {
                *client = Pipeline::new(Protocol::Json, Kind::Hostile, HOSTILE_CHANNELS);
                *at = Some((node, conn));
            }
            return;
        };
        client.say(random);
        let node = &mut self.nodes[node];
        let bytes: Vec<u8> = client.out.drain(..random.between(0, client.out.len())).collect();
        node.write(conn, &bytes);
        node.read(conn, 4_096);
        let gone = random.permille(10)
            || random.permille(200)
                && node
                    .receive(conn, random.between(1, 10_000))
                    .is_none_or(|bytes| client.take(bytes).is_err());
        if gone {
            node.drop_conn(conn);
            *at = None;
        }
    }

    /// Time passes.
    fn wait(&mut self, millis: u64) {
        self.clock.advance(millis);
        for node in &mut self.nodes {
            for shard in 0..node.shards() {
                node.tick(shard);
            }
            node.expire();
            node.tick_cluster();
        }
        self.look();
    }

    /// A client takes what it was sent.
    fn receive(&mut self, client: usize, max: usize) -> usize {
        let Simulated { peer, at } = &mut self.clients[client];
        let Some((node, conn)) = *at else { return 0 };
        let Some(mut bytes) = self.nodes[node].receive(conn, max) else {
            peer.close(None);
            self.hang_up(client);
            return 1;
        };
        if !peer.input(&mut bytes) {
            self.hang_up(client);
        }
        bytes.len()
    }

    /// A client connects, or writes what it has to write, and its node reads some of it.
    fn send(&mut self, client: usize, max: usize) -> usize {
        let random = &self.random;
        let Simulated { peer, at } = &mut self.clients[client];
        let Some((node, conn)) = *at else {
            let node = random.below(self.nodes.len());
            let credentials = Credentials { user: format!("u{}", peer.c), ..Credentials::default() };
            let room = if random.permille(200) { random.between(100, 600) } else { 1 << 20 };
            let target = &mut self.nodes[node];
            let opened = match peer.carrier() {
                Carrier::WebSocket => {
                    target.connect(peer.protocol(), Some(credentials), room).map(|conn| (conn, Vec::new()))
                }
                // The request holds what the client says first.
                Carrier::Requests => {
                    peer.open();
                    let mut messages = peer.take_messages();
                    let first = messages.remove(0);
                    let conn = target.connect_emulated(peer.protocol(), Some(credentials), room, first);
                    if conn.is_none() {
                        peer.close(None);
                    }
                    conn.map(|conn| (conn, messages))
                }
            };
            if let Some((conn, rest)) = opened {
                if self.bus.is_some() {
                    self.log.add(Event::Opened { c: peer.c, node });
                }
                if peer.carrier() == Carrier::WebSocket {
                    peer.open();
                }
                rest.into_iter().for_each(|message| target.request(conn, message));
                *at = Some((node, conn));
            }
            return 1;
        };
        if peer.carrier() == Carrier::Requests {
            let messages = peer.take_messages();
            let count = messages.len();
            messages.into_iter().for_each(|message| self.nodes[node].request(conn, message));
            return count;
        }
        let bytes = peer.take_output();
        self.nodes[node].write(conn, &bytes);
        self.nodes[node].read(conn, max) + bytes.len()
    }

    fn hang_up(&mut self, client: usize) {
        if let Some((node, conn)) = self.clients[client].at.take() {
            self.nodes[node].drop_conn(conn);
        }
    }

    fn publish(&mut self, publisher: usize, channel: usize) {
        let Publisher { p, sent, busy } = &mut self.publishers[publisher];
        if std::mem::replace(&mut *busy.lock(), true) {
            return;
        }
        sent[channel] += 1;
        let (p, s, n) = (*p, sent[channel], self.random.below(1 << 30) as u32);
        let ch = self.channels[channel].clone();
        let data = payload::write(&ch, Message { p, s, n }, self.random.below(200));
        let history = options(&self.scenario, &ch);
        let node: Node = self.random.one_of(&self.nodes).node().clone();
        let (log, busy) = (self.log.clone(), Arc::clone(busy));
        let options =
            PublishOptions { history, delta: self.random.permille(500), ..PublishOptions::default() };
        self.tasks.spawn(async move {
            log.add(Event::Invoke { p, ch: ch.clone(), s, n });
            let event = match node.publish(&ch, data, options).await {
                Ok(done) => {
                    let (epoch, offset) = (done.position.epoch.as_ref().to_owned(), done.position.offset);
                    Event::Ok { p, ch, s, epoch, offset }
                }
                Err(_) => Event::Unknown { p, ch, s },
            };
            log.add(event);
            *busy.lock() = false;
        });
    }

    /// Something that must not cost anybody a publication.
    fn annoy(&mut self) {
        let client = self.random.below(self.clients.len());
        let c = self.clients[client].peer.c;
        let Some((node, conn)) = self.clients[client].at else { return };
        let user = format!("u{c}");
        match self.random.below(4) {
            0 => {
                self.log.fault(Fault::Kill { c });
                self.clients[client].peer.close(None);
                self.hang_up(client);
            }
            1 => {
                self.log.fault(Fault::Slow { c });
                self.nodes[node].set_room(conn, self.random.between(0, 300));
            }
            2 | 3 if self.bus.is_some() => {
                let at = self.random.below(self.nodes.len());
                let what = match self.random.below(4) {
                    0 => Operation::Disconnect { c },
                    1 => Operation::Revoke { c },
                    2 => Operation::Survey,
                    _ => Operation::Unsubscribe { c, ch: self.random.one_of(&self.channels).clone() },
                };
                self.issue(at, what);
            }
            2 => {
                let ch = self.random.one_of(&self.channels).clone();
                let code = self.random.one_of(&[UnsubscribeCode::SERVER, UnsubscribeCode::EXPIRED]).clone();
                self.nodes[node].node().unsubscribe(&user, &ClientFilter::default(), Some(&ch), code);
                self.log.fault(Fault::Unsubscribe { c, ch });
            }
            _ => {
                self.nodes[node].node().disconnect(
                    &user,
                    &ClientFilter::default(),
                    DisconnectCode::FORCE_RECONNECT,
                );
                self.log.fault(Fault::Disconnect { c });
            }
        }
    }

    /// Something that may cost publications, and must be told then.
    fn destroy(&mut self) {
        match (&self.broker, self.random.below(2)) {
            (_, 0) => {
                let ch = self.random.one_of(&self.channels).clone();
                let (node, log) = (self.nodes[0].node().clone(), self.log.clone());
                self.log.fault(Fault::Trimming { ch: ch.clone() });
                self.tasks.spawn(async move {
                    // Refused or not, it may have had its effect.
                    let _ = node.remove_history(&ch).await;
                    log.fault(Fault::Trim { ch });
                });
            }
            (Some(broker), _) if self.random.permille(300) => {
                broker.interrupt(self.random.below(self.nodes.len()));
            }
            (Some(broker), _) => broker.fail_over(),
            (None, _) if self.scenario.jumps => {
                for ch in &self.channels {
                    self.log.fault(Fault::Reset { ch: ch.clone() });
                }
                self.wait(META_TTL.as_millis() as u64 + 1_000);
            }
            (None, _) => {}
        }
    }

    /// The faults stop: everybody comes back, one more publication goes to each channel or a good while passes,
    /// and the streams are read.
    fn end(&mut self) {
        if let Some(broker) = &self.broker {
            broker.set_misdeeds(Misdeeds { tarry: 300, ..Misdeeds::default() });
        }
        for client in 0..self.clients.len() {
            if let Some((node, conn)) = self.clients[client].at {
                self.nodes[node].set_room(conn, usize::MAX);
            }
        }
        for Hostile { at, .. } in &mut self.hostile {
            if let Some((node, conn)) = at.take() {
                self.nodes[node].drop_conn(conn);
            }
        }
        self.settle();
        self.end_cluster();
        self.log.add(Event::Calm);
        if self.scenario.quiet {
            for _ in 0..3 * POSITION_CHECK.as_secs() {
                self.wait(1_000);
                self.settle();
            }
        } else {
            for channel in 0..self.channels.len() {
                self.publish(0, channel);
                self.settle();
            }
        }
        for node in 0..self.nodes.len() {
            for channel in self.channels.clone().into_iter().filter(|channel| channel != "n") {
                let (api, log) = (self.nodes[node].node().clone(), self.log.clone());
                let history = options(&self.scenario, &channel);
                self.tasks.spawn(async move {
                    let filter = HistoryFilter { limit: -1, since: None, reverse: false };
                    if let Ok(read) = api.history(&channel, filter, history).await {
                        let pubs = read
                            .publications
                            .iter()
                            .map(|one| Seen::new(&channel, one.offset, &one.data))
                            .collect();
                        let epoch = read.top.epoch.as_ref().to_owned();
                        log.add(Event::Final { node, ch: channel, epoch, offset: read.top.offset, pubs });
                    }
                });
                self.settle();
            }
        }
    }

    /// Everything goes on until nothing moves any more. Gives up after a while: the checker sees what is stuck.
    fn settle(&mut self) {
        for _ in 0..400 {
            let mut moved = 0;
            self.wait(3);
            while self.tasks.ready() > 0 && moved < 2_000 {
                moved += usize::from(self.tasks.poll(self.random.below(self.tasks.ready())));
            }
            if let Some(broker) = &self.broker {
                while broker.step() {
                    moved += 1;
                }
            }
            if let Some(bus) = &self.bus {
                while bus.step() {
                    moved += 1;
                }
            }
            self.look();
            for node in &mut self.nodes {
                for shard in 0..node.shards() {
                    moved += node.take_entries(shard, usize::MAX);
                    moved += node.flush(shard, 1 << 20);
                }
            }
            for client in 0..self.clients.len() {
                if self.clients[client].peer.misses_server_side() {
                    self.clients[client].peer.close(None);
                    self.hang_up(client);
                }
                let back: Vec<String> =
                    self.channels.iter().filter(|ch| self.clients[client].peer.knows(ch)).cloned().collect();
                for channel in back {
                    self.clients[client].peer.want(&channel, false, false);
                }
                moved += self.receive(client, usize::MAX);
                moved += self.send(client, usize::MAX);
            }
            if moved == 0 && self.clients.iter().all(|client| client.peer.is_settled()) {
                return;
            }
        }
    }
}
