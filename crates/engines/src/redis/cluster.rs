//! The nodes of a Redis Cluster, and the map of its hash slots.
//!
//! A task keeps the map: it asks the nodes for it every ten seconds, every second while a primary cannot be reached, and
//! at once when a node sends a call elsewhere.

use super::config::{Access, Endpoint};
use super::connection::Task;
use super::counters::Counters;
use super::error::Error;
use super::server::{Locator, Server};
use super::slots::SlotMap;
use parking_lot::Mutex;
use redis::cmd;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tracing::{info, warn};

/// Time between two questions for the map, if all is well, and if not.
const ROUNDS: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(1));

/// Least time between two questions, whatever happens.
const LEAST: Duration = Duration::from_millis(100);

/// A cluster.
pub(crate) struct Cluster {
    shared: Arc<Shared>,
    _task: Task,
}

struct Shared {
    seeds: Vec<Endpoint>,
    access: Access,
    counters: Arc<Counters>,
    /// Counts changes of lives and of the map.
    changes: watch::Sender<u64>,
    nodes: Mutex<BTreeMap<Endpoint, Arc<Server>>>,
    map: watch::Sender<Arc<SlotMap>>,
    refresh: Notify,
    error: Mutex<Option<String>>,
}

impl Cluster {
    /// Starts to connect.
    pub(crate) fn start(
        seeds: Vec<Endpoint>,
        access: Access,
        changes: watch::Sender<u64>,
        counters: Arc<Counters>,
    ) -> Self {
        let shared = Arc::new(Shared {
            seeds,
            access,
            counters,
            changes,
            nodes: Mutex::default(),
            map: watch::Sender::new(Arc::default()),
            refresh: Notify::new(),
            error: Mutex::new(Some("not connected yet".to_owned())),
        });
        let task = Task::spawn(Arc::clone(&shared).run());
        Self { shared, _task: task }
    }

    /// The present map.
    pub(crate) fn map(&self) -> Arc<SlotMap> {
        Arc::clone(&self.shared.map.borrow())
    }

    /// The map, and notice of its changes.
    pub(crate) fn maps(&self) -> watch::Receiver<Arc<SlotMap>> {
        self.shared.map.subscribe()
    }

    /// The node at a place.
    pub(crate) fn node(&self, endpoint: &Endpoint) -> Arc<Server> {
        self.shared.node(endpoint)
    }

    /// The primary of a slot, if it is known.
    pub(crate) fn owner(&self, slot: u16) -> Option<Arc<Server>> {
        let map = self.map();
        map.owner(slot).map(|endpoint| self.shared.node(endpoint))
    }

    /// A node said who serves a slot.
    pub(crate) fn moved(&self, slot: u16, endpoint: &Endpoint) {
        self.shared.map.send_if_modified(|map| {
            let moved = map.owner(slot) != Some(endpoint);
            if moved {
                Arc::make_mut(map).set(slot, endpoint);
            }
            moved
        });
        self.refresh();
    }

    /// Asks for the map soon.
    pub(crate) fn refresh(&self) {
        self.shared.refresh.notify_one();
    }

    /// Reason why some slots are not served, if that is so.
    pub(crate) fn down(&self) -> Option<String> {
        let map = self.map();
        let unknown = || self.shared.error.lock().clone();
        if map.endpoints().is_empty() {
            return unknown().or_else(|| Some("no map of hash slots".to_owned()));
        }
        map.endpoints().iter().find_map(|endpoint| {
            let reason = self.shared.node(endpoint).down()?;
            Some(format!("{endpoint}: {reason}"))
        })
    }

    pub(crate) fn close(&self) {
        self.shared.nodes.lock().values().for_each(|node| node.close());
    }
}

impl Shared {
    fn node(&self, endpoint: &Endpoint) -> Arc<Server> {
        let mut nodes = self.nodes.lock();
        let node = nodes.entry(endpoint.clone()).or_insert_with(|| {
            let locator = Locator::Fixed { endpoint: endpoint.clone(), primary: false };
            Server::start(locator, self.access.clone(), self.changes.clone(), Arc::clone(&self.counters))
        });
        Arc::clone(node)
    }

    async fn run(self: Arc<Self>) {
        loop {
            let well = match Box::pin(self.ask()).await {
                Ok(()) => {
                    *self.error.lock() = None;
                    let nodes = self.nodes.lock();
                    nodes.values().all(|node| node.down().is_none())
                }
                Err(error) => {
                    warn!(%error, "no map of the Redis cluster");
                    *self.error.lock() = Some(error.to_string());
                    false
                }
            };
            sleep(LEAST).await;
            let round = if well { ROUNDS.0 } else { ROUNDS.1 };
            let _ = timeout(round, self.refresh.notified()).await;
        }
    }

    /// Asks nodes for the map: those that are connected, or else all that are known.
    async fn ask(&self) -> Result<(), Error> {
        let mut candidates: Vec<_> = {
            let nodes = self.nodes.lock();
            nodes.values().filter(|node| node.down().is_none()).cloned().collect()
        };
        if candidates.is_empty() {
            let known = self.nodes.lock().keys().cloned().collect::<Vec<_>>();
            let all = self.seeds.iter().chain(&known);
            candidates = all.map(|endpoint| self.node(endpoint)).collect();
        }
        let mut tasks = tokio::task::JoinSet::new();
        for node in candidates {
            tasks.spawn(async move {
                let connection = node.connection().await?;
                let mut question = cmd("CLUSTER");
                question.arg("SLOTS");
                let answer = connection.call(&question).await?;
                let map = SlotMap::read(&answer, connection.endpoint());
                map.ok_or_else(|| Error::unexpected(connection.endpoint(), "no map of hash slots"))
            });
        }
        // A node that was away still gives out what it knew: the map of most nodes counts. Who hangs is not waited for.
        let (mut votes, mut last): (Vec<(SlotMap, usize)>, _) = (Vec::new(), Error::Closed);
        let mut end = None;
        loop {
            let next = tasks.join_next();
            let done = match end {
                Some(end) => timeout_at(end, next).await.ok().flatten(),
                None => next.await,
            };
            match done {
                Some(Ok(Ok(map))) => {
                    end.get_or_insert_with(|| Instant::now() + LEAST);
                    match votes.iter_mut().find(|(one, _)| *one == map) {
                        Some((_, count)) => *count += 1,
                        None => votes.push((map, 1)),
                    }
                }
                Some(Ok(Err(error))) => last = error,
                Some(Err(_)) => {}
                None => break,
            }
        }
        match votes.into_iter().max_by_key(|(_, count)| *count) {
            Some((map, _)) => {
                self.install(map);
                Ok(())
            }
            None => Err(last),
        }
    }

    fn install(&self, map: SlotMap) {
        {
            // Nodes that serve nothing are dropped, apart from those where everything begins.
            let mut nodes = self.nodes.lock();
            nodes.retain(|endpoint, _| map.endpoints().contains(endpoint) || self.seeds.contains(endpoint));
        }
        for endpoint in map.endpoints() {
            self.node(endpoint);
        }
        let changed = self.map.send_if_modified(|present| {
            let changed = **present != map;
            if changed {
                *present = Arc::new(map);
            }
            changed
        });
        if changed {
            info!("the map of the Redis cluster has changed");
            self.changes.send_modify(|count| *count += 1);
        }
    }
}
