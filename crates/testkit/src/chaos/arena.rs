//! Everything that takes part in a run.

use super::api;
use super::client::{self, Client};
use super::faults::Fault;
use super::node::Node;
use super::proxy::Proxy;
use super::publisher;
use super::report::Report;
use super::store::{self, Kind, Store};
use super::{Settings, judge};
use crate::checker;
use crate::log::{Event, Fault as Injected, Log, Seen};
use crate::peer::Peer;
use crate::random::Random;
use crate::servers::within;
use serde_json::{Value, json};
use spinward::clock::Clock;
use spinward_wire::Protocol;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;
use tokio::runtime::{Builder, Handle};
use tokio::task::JoinHandle;

/// Publications that a channel keeps.
const HISTORY: usize = 1_000;

/// Most publications of a recovery, the server's default.
const RECOVERY: usize = 300;

/// Time in which all clients must be back after a fault.
const PATIENCE: Duration = Duration::from_secs(40);

/// Time for a call of the API at the end.
const ANSWER: Duration = Duration::from_secs(10);

/// A runtime with a thread of its own, which ends with this value.
pub(super) struct Loop {
    pub(super) handle: Handle,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Loop {
    pub(super) fn start() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let thread = thread::spawn(move || {
            let _ = runtime.block_on(stopped);
        });
        Ok(Self { handle, stop: Some(stop), thread: Some(thread) })
    }

    /// Runs a future on the thread of the runtime, and waits for it.
    pub(super) fn wait<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        let (done, result) = std::sync::mpsc::channel();
        self.handle.spawn(async move {
            let _ = done.send(future.await);
        });
        result.recv().ok()
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Configuration that the nodes of all runs have in common.
pub(super) fn common() -> Value {
    json!({
        "client": {
            "insecure": true, "ping_interval": "5s", "pong_timeout": "3s", "presence_update_interval": "3s",
        },
        "channel": { "without_namespace": {
            "history_size": HISTORY, "history_ttl": "3600s", "force_recovery": true, "presence": true,
        } },
        "shutdown": { "timeout": "10s" },
    })
}

/// A run.
pub(super) struct Arena {
    pub(super) settings: Settings,
    pub(super) random: Random,
    pub(super) log: Log,
    /// Proxies between each node and the servers.
    pub(super) proxies: Vec<Vec<Proxy>>,
    pub(super) nodes: Vec<Node>,
    /// After the nodes, which are dropped first.
    pub(super) store: Store,
    /// Epochs may end while this holds.
    pub(super) destroying: Arc<AtomicBool>,
    pub(super) struck: BTreeMap<Fault, u32>,
    pub(super) wrong: Vec<String>,
    clients: Vec<Client>,
    connections: Arc<client::Shared>,
    publishing: Arc<publisher::Shared>,
    publishers: Vec<JoinHandle<()>>,
    clock: Clock,
    begun: u64,
    run: Loop,
}

impl Arena {
    /// Starts the engine, then nodes, clients and publishers, and waits until all clients are in.
    pub(super) fn start(settings: &Settings) -> io::Result<Self> {
        let run = Loop::start()?;
        let random = Random::new(settings.seed);
        let clock = Clock::system();
        let log = Log::new(clock.clone());
        let store = Store::start(settings.engine, &run.handle)?;
        let mut proxies = Vec::new();
        let mut nodes = Vec::new();
        for number in 0..settings.nodes {
            proxies.push(store.proxies(&run.handle, number)?);
            let mut common = common();
            if !settings.engine.keeps() {
                common["channel"]["without_namespace"] = json!({});
            }
            if settings.engine == Kind::Mixed {
                // Centrifugo learns of a gap from this check alone.
                common["client"]["channel_position_check_delay"] = json!("3s");
            }
            let sections = store.sections(settings.engine, number, store::address(number));
            let mut node = match store::incumbent() {
                Some(binary) if number == 0 && settings.engine == Kind::Mixed => {
                    Node::incumbent(binary, &sections, &common)?
                }
                _ => Node::new(Arc::clone(&settings.launch), &sections, &common)?,
            };
            node.start(number == 0)?;
            nodes.push(node);
        }
        for node in &mut nodes {
            if !node.wait() {
                let text = std::fs::read_to_string(node.log_file()).unwrap_or_default();
                return Err(io::Error::other(format!("a node is not ready:\n{text}")));
            }
        }
        let channels: Vec<String> = (0..settings.channels).map(|number| format!("c{number}")).collect();
        let (history, limit) = if settings.engine.keeps() { (HISTORY, RECOVERY) } else { (0, 0) };
        for ch in &channels {
            log.add(Event::Channel { ch: ch.clone(), history, limit, lossless: false });
        }
        let ports: Vec<u16> = nodes.iter().map(Node::port).collect();
        let connections = Arc::new(client::Shared {
            log: log.clone(),
            ports: ports.clone(),
            random: Random::new(settings.seed ^ 1),
            refused: AtomicU64::new(0),
            first: |c, nodes| c as usize % nodes,
        });
        let publishing = Arc::new(publisher::Shared {
            log: log.clone(),
            ports,
            random: Random::new(settings.seed ^ 2),
            channels: channels.clone(),
            pause: Duration::from_secs_f64(settings.publishers as f64 / settings.rate),
            again: settings.engine.keeps(),
            stop: AtomicBool::new(false),
            give_up: AtomicBool::new(false),
            failed: AtomicU64::new(0),
        });
        let clients = (0..settings.clients).map(|number| {
            let protocol = if number % 2 == 0 { Protocol::Json } else { Protocol::Protobuf };
            let mut peer = Peer::new(number as u32, protocol, log.clone());
            for step in 0..settings.each {
                peer.want(&channels[(number + step * 7) % channels.len()], false, false);
            }
            Client::start(&run.handle, peer, Arc::clone(&connections))
        });
        let clients = clients.collect();
        let mut arena = Self {
            settings: settings.clone(),
            random,
            begun: clock.now().mono,
            log,
            proxies,
            nodes,
            store,
            destroying: Arc::default(),
            struck: BTreeMap::new(),
            wrong: Vec::new(),
            clients,
            connections,
            publishing,
            publishers: Vec::new(),
            clock,
            run,
        };
        arena.watch_destruction();
        arena.settle();
        for p in 1..=settings.publishers as u32 {
            let publisher = publisher::run(p, Arc::clone(&arena.publishing));
            arena.publishers.push(arena.run.handle.spawn(publisher));
        }
        thread::sleep(Duration::from_millis(500));
        arena.begun = arena.clock.now().mono;
        Ok(arena)
    }

    /// While the state of the engine may be lost, says so in the log again and again: nobody knows at which moment.
    fn watch_destruction(&self) {
        let (destroying, log) = (Arc::clone(&self.destroying), self.log.clone());
        self.run.handle.spawn(async move {
            loop {
                if destroying.load(Ordering::Relaxed) {
                    log.fault(Injected::Failover);
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
    }

    /// Time since the start.
    pub(super) fn elapsed(&self) -> Duration {
        Duration::from_millis(self.clock.now().mono - self.begun)
    }

    /// Waits until every node is ready and every client is back in its channels. Returns the time that it took.
    pub(super) fn settle(&mut self) -> Duration {
        let start = self.clock.now().mono;
        let back = |client: &Client| client.with(|peer| peer.is_settled());
        let whole =
            within(PATIENCE, || self.clients.iter().all(back) && self.nodes.iter().all(Node::is_ready));
        if !whole {
            let away = self.clients.iter().filter(|client| !back(client)).count();
            let unready = self.nodes.iter().filter(|node| !node.is_ready()).count();
            self.wrong.push(format!(
                "{:.1} s: {away} clients are not back after {} s, {unready} nodes are not ready",
                self.elapsed().as_secs_f64(),
                PATIENCE.as_secs()
            ));
        }
        Duration::from_millis(self.clock.now().mono - start)
    }

    /// Ends publishing, waits until all is quiet, and judges.
    pub(super) fn finish(mut self) -> io::Result<Report> {
        self.publishing.stop.store(true, Ordering::Relaxed);
        let ended = |arena: &Self| within(PATIENCE, || arena.publishers.iter().all(JoinHandle::is_finished));
        if !ended(&self) {
            self.wrong.push("a publication is not taken after the last fault".to_owned());
            self.publishing.give_up.store(true, Ordering::Relaxed);
            ended(&self);
        }
        self.settle();
        if self.settings.engine.keeps() {
            // The state of a channel in which nothing is published may be lost without anybody missing anything.
            let (p, channels) = (self.settings.publishers as u32 + 1, &self.publishing.channels);
            let last = publisher::one_each(p, &self.log, self.nodes[0].port(), channels);
            self.run.wait(last.publish(1));
            self.wait_until_level();
            self.check_presence();
            self.log.add(Event::Calm);
            self.read_streams();
        } else {
            thread::sleep(Duration::from_secs(2));
            self.log.add(Event::Calm);
        }
        for number in 0..self.nodes.len() {
            if !self.nodes[number].runs() {
                self.wrong.push(format!("node {number} has ended by itself"));
            }
        }
        let lines = self.log.lines();
        let checked = checker::check(&lines);
        let (delays, late) = judge::judge(&lines, self.settings.limit.as_millis() as u64);
        self.wrong.extend(late);
        let report = Report {
            engine: self.settings.engine,
            seed: self.settings.seed,
            took: self.elapsed(),
            struck: std::mem::take(&mut self.struck),
            checked,
            delays,
            failed: self.publishing.failed.load(Ordering::Relaxed),
            refused: self.connections.refused.load(Ordering::Relaxed),
            wrong: std::mem::take(&mut self.wrong),
        };
        report.keep(&self.settings.out, &lines, &self.nodes, &self.store)?;
        Ok(report)
    }

    /// Waits until each client has the last publication of its channels.
    fn wait_until_level(&mut self) {
        let mut behind = Vec::new();
        let level = within(self.settings.limit, || {
            behind.clear();
            for ch in &self.publishing.channels {
                let Some(top) = self.read(0, "history", &json!({ "channel": ch, "limit": 0 })) else {
                    behind.push(format!("history of {ch} cannot be read"));
                    continue;
                };
                let top = (top["epoch"].as_str().unwrap_or_default(), top["offset"].as_u64().unwrap_or(0));
                for client in &self.clients {
                    client.with(|peer| {
                        if peer.is_subscribed(ch) && peer.position(ch) != Some(top) {
                            let at = peer.position(ch);
                            behind
                                .push(format!("client {} in {ch} is at {at:?}, the top is {top:?}", peer.c));
                        }
                    });
                }
            }
            behind.is_empty()
        });
        if !level {
            let count = behind.len();
            let example = behind.first().cloned().unwrap_or_default();
            self.wrong.push(format!("{count} subscriptions are not level in the end, such as: {example}"));
        }
    }

    /// Compares presence, as each node reads it, with the clients that are there.
    fn check_presence(&mut self) {
        let mut wrong = Vec::new();
        // Entries of nodes that were killed expire within the TTL of 10 s; those of others are written each 3 s.
        let until = self.elapsed() + Duration::from_secs(20);
        let mut right = false;
        // All reads take longer than the pauses in between.
        while !right && self.elapsed() < until {
            wrong.clear();
            for ch in &self.publishing.channels {
                let there = self.clients.iter().filter_map(|client| {
                    client.with(|peer| peer.is_subscribed(ch).then(|| peer.client().to_owned()))
                });
                let there: BTreeSet<String> = there.collect();
                for node in 0..self.nodes.len() {
                    let known =
                        self.read(node, "presence", &json!({ "channel": ch })).and_then(|mut result| {
                            let Value::Object(known) = result["presence"].take() else { return None };
                            Some(known.keys().cloned().collect::<BTreeSet<String>>())
                        });
                    let Some(known) = known else {
                        wrong.push(format!("presence of {ch} cannot be read at node {node}"));
                        continue;
                    };
                    if known != there {
                        let (extra, missing) =
                            (known.difference(&there).count(), there.difference(&known).count());
                        wrong.push(format!(
                            "presence of {ch} at node {node}: {extra} clients too many, {missing} missing"
                        ));
                    }
                }
            }
            right = wrong.is_empty();
            thread::sleep(Duration::from_millis(20));
        }
        if !right {
            let count = wrong.len();
            let example = wrong.first().cloned().unwrap_or_default();
            self.wrong.push(format!("presence is wrong in {count} places, such as: {example}"));
        }
    }

    /// Logs every stream as each node reads it.
    fn read_streams(&mut self) {
        for node in 0..self.nodes.len() {
            for ch in self.publishing.channels.clone() {
                let body = json!({ "channel": ch, "limit": -1 });
                let Some(stream) = self.read(node, "history", &body) else {
                    self.wrong.push(format!("history of {ch} cannot be read at node {node}"));
                    continue;
                };
                let seen = |publication: &Value| {
                    let offset = publication["offset"].as_u64().unwrap_or_default();
                    Seen::new(&ch, offset, publication["data"].to_string().as_bytes())
                };
                let pubs = stream["publications"].as_array().map(|all| all.iter().map(seen).collect());
                let epoch = stream["epoch"].as_str().unwrap_or_default().to_owned();
                let offset = stream["offset"].as_u64().unwrap_or_default();
                self.log.add(Event::Final {
                    node,
                    ch: ch.clone(),
                    epoch,
                    offset,
                    pubs: pubs.unwrap_or_default(),
                });
            }
        }
    }

    fn read(&self, node: usize, method: &'static str, body: &Value) -> Option<Value> {
        let (port, body) = (self.nodes[node].port(), body.clone());
        self.run.wait(async move { api::call(port, method, &body, ANSWER).await.ok() }).flatten()
    }
}
