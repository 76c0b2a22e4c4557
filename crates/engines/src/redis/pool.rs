//! All servers of an engine: shards by consistent hashing, each of which is one server or a cluster.

use super::cluster::Cluster;
use super::config::{Config, ConfigError, Endpoint, Kind, Target};
use super::connection::{Connection, Task};
use super::counters::{Counters, bump};
use super::error::{Error, value};
use super::lives::Lives;
use super::script::{Call, Reply};
use super::sentinel::Sentinels;
use super::server::{Locator, Server};
use super::slots::{SLOTS, redirection, slot};
use redis::Value;
use spinward::engine::EngineHealth;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error as ThisError;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};

/// Times that a call is sent on from node to node.
const HOPS: usize = 16;

/// Time between two attempts of a call that was refused for a reason that passes.
const PAUSE: Duration = Duration::from_millis(50);

/// A pool cannot start.
#[derive(Debug, ThisError)]
pub(crate) enum StartError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    NoRuntime(Error),
}

/// The servers. Dropping it ends all of its tasks and connections.
pub(crate) struct Pool {
    shards: Vec<Arc<Shard>>,
    counters: Arc<Counters>,
}

impl Pool {
    /// Starts to connect, in tasks on the present runtime.
    pub(crate) fn start(config: &Config) -> Result<Self, StartError> {
        let targets = config.targets()?;
        if tokio::runtime::Handle::try_current().is_err() {
            return Err(StartError::NoRuntime(Error::NoRuntime));
        }
        let counters = Arc::<Counters>::default();
        let shards = targets.into_iter().map(|target| Shard::start(target, Arc::clone(&counters))).collect();
        Ok(Self { shards, counters })
    }

    pub(crate) const fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// Every shard, in the order of the configuration.
    pub(crate) fn shards(&self) -> &[Arc<Shard>] {
        &self.shards
    }

    /// Index of a channel's shard.
    pub(crate) fn index(&self, channel: &str) -> usize {
        super::jump::bucket(channel, self.shards.len())
    }

    /// The shard of a channel.
    pub(crate) fn shard(&self, channel: &str) -> Result<Arc<Shard>, Error> {
        self.shards.get(self.index(channel)).cloned().ok_or(Error::Closed)
    }

    pub(crate) fn health(&self) -> EngineHealth {
        let reasons: Vec<_> = self.shards.iter().filter_map(|shard| shard.down()).collect();
        if reasons.is_empty() { EngineHealth::Up } else { EngineHealth::Down { reason: reasons.join("; ") } }
    }

    /// Ends every connection. Calls fail from here on.
    pub(crate) fn close(&self) {
        self.shards.iter().for_each(|shard| shard.close());
    }
}

/// The servers of one entry of the configuration.
pub(crate) struct Shard {
    mode: watch::Sender<Mode>,
    /// Counts whatever may change the incarnation of a channel.
    changes: watch::Sender<u64>,
    counters: Arc<Counters>,
    target: Target,
    first: Option<Arc<Server>>,
    _task: Option<Task>,
}

/// The kind of a shard, once it is known.
#[derive(Clone)]
pub(crate) enum Mode {
    /// A single address that has not answered yet.
    Unknown,
    One(Arc<Server>),
    Cluster(Arc<Cluster>),
    Closed,
}

impl Shard {
    fn start(target: Target, counters: Arc<Counters>) -> Arc<Self> {
        let changes = watch::Sender::new(0);
        let access = target.access.clone();
        let server = |locator| Server::start(locator, access.clone(), changes.clone(), Arc::clone(&counters));
        let cluster = |seeds: &[Endpoint]| {
            Arc::new(Cluster::start(seeds.to_vec(), access.clone(), changes.clone(), Arc::clone(&counters)))
        };
        let (mode, first) = match &target.kind {
            Kind::Single(endpoint) => {
                (Mode::Unknown, Some(server(Locator::Fixed { endpoint: endpoint.clone(), primary: true })))
            }
            Kind::Sentinel { sentinels, access, master } => {
                let sentinels = Sentinels::start(sentinels.clone(), access.clone(), master.clone());
                (Mode::One(server(Locator::Sentinels(sentinels))), None)
            }
            Kind::Cluster(seeds) => (Mode::Cluster(cluster(seeds)), None),
        };
        let mode = watch::Sender::new(mode);
        let task = first.clone().map(|server| {
            let (mode, access) = (mode.clone(), access.clone());
            let (changes, counters) = (changes.clone(), Arc::clone(&counters));
            Task::spawn(async move {
                let (endpoint, facts) = loop {
                    match server.connected().await {
                        Ok((connection, facts)) => break (connection.endpoint().clone(), facts),
                        Err(Error::Closed) => return,
                        Err(_) => {}
                    }
                };
                mode.send_modify(|mode| {
                    if matches!(mode, Mode::Unknown) {
                        *mode = if facts.cluster {
                            server.close();
                            Mode::Cluster(Arc::new(Cluster::start(vec![endpoint], access, changes, counters)))
                        } else {
                            Mode::One(server)
                        };
                    }
                });
            })
        });
        Arc::new(Self { mode, changes, counters, target, first, _task: task })
    }

    /// The kind of this shard, awaited until a deadline.
    pub(crate) async fn mode(&self, deadline: Instant) -> Result<Mode, Error> {
        let known = self.mode.borrow().clone();
        match known {
            Mode::Unknown => {}
            Mode::Closed => return Err(Error::Closed),
            known => return Ok(known),
        }
        let mut modes = self.mode.subscribe();
        let known = timeout_at(deadline, modes.wait_for(|mode| !matches!(mode, Mode::Unknown))).await;
        match known {
            Ok(Ok(mode)) if !matches!(*mode, Mode::Closed) => Ok(mode.clone()),
            Ok(_) => Err(Error::Closed),
            Err(_) => Err(self.unavailable()),
        }
    }

    /// The kind of this shard, however long it takes. `None` once it is closed.
    pub(crate) async fn settled(&self) -> Option<Mode> {
        let mut modes = self.mode.subscribe();
        let mode = modes.wait_for(|mode| !matches!(mode, Mode::Unknown)).await.ok()?.clone();
        (!matches!(mode, Mode::Closed)).then_some(mode)
    }

    /// The settings of its connections.
    pub(crate) const fn target(&self) -> &Target {
        &self.target
    }

    /// Notice of whatever may change the incarnation of a channel.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Returns true if the shard is a cluster. Waits until that is known, for `io_timeout` at most.
    pub(crate) async fn is_cluster(&self) -> Result<bool, Error> {
        match &*self.mode.borrow() {
            Mode::One(_) => return Ok(false),
            Mode::Cluster(_) => return Ok(true),
            Mode::Unknown | Mode::Closed => {}
        }
        let deadline = Instant::now() + self.target.access.io_timeout;
        Ok(matches!(self.mode(deadline).await?, Mode::Cluster(_)))
    }

    /// The lives of the server of a key, if it is known.
    pub(crate) fn lives(&self, key: &[u8]) -> Option<Arc<Lives>> {
        match &*self.mode.borrow() {
            Mode::One(server) => Some(Arc::clone(server.lives())),
            Mode::Cluster(cluster) => cluster.owner(slot(key)).map(|server| Arc::clone(server.lives())),
            Mode::Unknown | Mode::Closed => None,
        }
    }

    /// The present incarnation of the server of a key; empty before the first answer.
    pub(crate) fn incarnation(&self, key: &[u8]) -> Arc<str> {
        self.lives(key).map_or_else(|| "".into(), |lives| lives.present())
    }

    /// The present incarnation of every hash slot, or of the one server.
    pub(crate) fn incarnations(&self) -> Vec<Arc<str>> {
        match &*self.mode.borrow() {
            Mode::One(server) => vec![server.lives().present()],
            Mode::Cluster(cluster) => {
                let map = cluster.map();
                let known: Vec<_> = map
                    .endpoints()
                    .iter()
                    .map(|endpoint| (endpoint, cluster.node(endpoint).lives().present()))
                    .collect();
                let of = |slot| {
                    let owner = map.owner(slot);
                    known
                        .iter()
                        .find(|(endpoint, _)| Some(*endpoint) == owner)
                        .map(|(_, life)| Arc::clone(life))
                };
                (0..SLOTS).map(|slot| of(slot).unwrap_or_else(|| "".into())).collect()
            }
            Mode::Unknown | Mode::Closed => Vec::new(),
        }
    }

    /// Number of flushes of its servers, as seen so far.
    pub(crate) fn flushes(&self) -> u64 {
        match &*self.mode.borrow() {
            Mode::One(server) => server.lives().flushes(),
            Mode::Cluster(cluster) => {
                let map = cluster.map();
                map.endpoints().iter().map(|endpoint| cluster.node(endpoint).lives().flushes()).sum()
            }
            Mode::Unknown | Mode::Closed => 0,
        }
    }

    /// Makes a call, within `io_timeout`.
    ///
    /// It is sent again only after an answer that says that it had no effect.
    pub(crate) async fn call(&self, call: &Call) -> Result<Reply, Error> {
        bump(&self.counters.calls);
        let deadline = Instant::now() + self.target.access.io_timeout;
        let mut progress = Progress::Waiting;
        let attempts = Box::pin(self.attempts(call, deadline, &mut progress));
        let result = match timeout_at(deadline, attempts).await {
            Ok(result) => result,
            Err(_) => Err(match progress {
                Progress::Refused(error) => error,
                Progress::Waiting if self.down().is_some() => self.unavailable(),
                Progress::Waiting | Progress::Sent => Error::Timeout(self.name()),
            }),
        };
        if result.is_err() {
            bump(&self.counters.errors);
        }
        result
    }

    async fn attempts(
        &self,
        call: &Call,
        deadline: Instant,
        progress: &mut Progress,
    ) -> Result<Reply, Error> {
        let mode = self.mode(deadline).await?;
        let (mut hops, mut whole, mut asked) = (0, false, None);
        loop {
            let asking = asked.is_some();
            let server = match (&mode, asked.take()) {
                (Mode::One(server), _) => Arc::clone(server),
                (Mode::Cluster(cluster), Some(endpoint)) => cluster.node(&endpoint),
                (Mode::Cluster(cluster), None) => owner(cluster, slot(call.key())).await?,
                (Mode::Unknown | Mode::Closed, _) => return Err(Error::Closed),
            };
            let connection = match &mode {
                Mode::Cluster(cluster) if !asking => {
                    // The slot may get another primary while its present one is away.
                    let mut maps = cluster.maps();
                    tokio::select! {
                        connection = server.connection() => connection?,
                        Ok(()) = maps.changed() => continue,
                    }
                }
                _ => server.connection().await?,
            };
            *progress = Progress::Sent;
            let error = match send(&connection, call, whole, asking).await {
                Ok((value, replicas)) => {
                    return Ok(Reply { value, replicas, lives: Arc::clone(server.lives()) });
                }
                Err(error) => error,
            };
            let Error::Refused { code, detail, .. } = &error else {
                if error.breaks() {
                    server.doubt();
                }
                return Err(error);
            };
            *progress = Progress::Waiting;
            let redirected = || redirection(detail, connection.endpoint());
            match (&**code, &mode) {
                ("NOSCRIPT", _) if !whole => {
                    bump(&self.counters.scripts_loaded);
                    whole = true;
                    // The other answers of this server stand.
                    asked = asking.then(|| connection.endpoint().clone());
                }
                ("MOVED", Mode::Cluster(cluster)) if hops < HOPS => {
                    bump(&self.counters.redirects);
                    hops += 1;
                    match redirected() {
                        Some((slot, endpoint)) => cluster.moved(slot, &endpoint),
                        None => return Err(error),
                    }
                }
                ("ASK", Mode::Cluster(_)) if hops < HOPS => {
                    bump(&self.counters.redirects);
                    hops += 1;
                    asked = redirected().map(|(_, endpoint)| endpoint);
                }
                ("MOVED" | "ASK", Mode::Cluster(_)) => return Err(Error::Redirected(slot(call.key()))),
                ("READONLY" | "LOADING" | "MASTERDOWN" | "TRYAGAIN" | "CLUSTERDOWN", _) => {
                    server.doubt();
                    if let Mode::Cluster(cluster) = &mode {
                        cluster.refresh();
                    }
                    *progress = Progress::Refused(error);
                    sleep(PAUSE).await;
                }
                _ => return Err(error),
            }
        }
    }

    fn unavailable(&self) -> Error {
        Error::Unavailable { server: self.name(), reason: self.down().unwrap_or_default() }
    }

    /// Name for errors.
    fn name(&self) -> String {
        match (&self.target.kind, &self.first) {
            (_, Some(first)) => first.name().to_owned(),
            (Kind::Single(endpoint), None) => endpoint.to_string(),
            (Kind::Sentinel { master, .. }, None) => master.clone(),
            (Kind::Cluster(seeds), None) => {
                seeds.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
            }
        }
    }

    /// Reason why the shard is not served, or only partly, if that is so.
    pub(crate) fn down(&self) -> Option<String> {
        match &*self.mode.borrow() {
            Mode::One(server) => server.down(),
            Mode::Cluster(cluster) => cluster.down(),
            Mode::Unknown => self.first.as_ref().and_then(|first| first.down()),
            Mode::Closed => Some("closed".to_owned()),
        }
    }

    fn close(&self) {
        if let Some(first) = &self.first {
            first.close();
        }
        let mode = self.mode.send_replace(Mode::Closed);
        match mode {
            Mode::One(server) => server.close(),
            Mode::Cluster(cluster) => cluster.close(),
            Mode::Unknown | Mode::Closed => {}
        }
    }
}

/// State of a call when its time is over.
enum Progress {
    /// It was not sent.
    Waiting,
    /// It was sent, and is not answered: it may have had its effect.
    Sent,
    /// It was refused for a reason that passes, with no effect.
    Refused(Error),
}

/// Sends a call, and returns the answer and how many replicas have it.
async fn send(
    connection: &Connection,
    call: &Call,
    whole: bool,
    asking: bool,
) -> Result<(Value, Option<u32>), Error> {
    if let Some(command) = call.alone(whole, asking) {
        return Ok((connection.answer(&command).await?, None));
    }
    let (commands, place) = call.to_send(whole, asking);
    let mut answers = connection.answers(commands).await?.into_iter().skip(place);
    let value = value(connection.endpoint(), Ok(answers.next().unwrap_or(Value::Nil)))?;
    let replicas = answers.next().map(|answer| match answer {
        Value::Int(count) => u32::try_from(count).unwrap_or(0),
        _ => 0,
    });
    Ok((value, replicas))
}

/// The primary of a slot, once it is known. The caller bounds the time.
async fn owner(cluster: &Cluster, slot: u16) -> Result<Arc<Server>, Error> {
    let mut maps = cluster.maps();
    loop {
        if let Some(owner) = cluster.owner(slot) {
            return Ok(owner);
        }
        cluster.refresh();
        tokio::select! {
            changed = maps.changed() => if changed.is_err() { return Err(Error::Closed) },
            () = sleep(PAUSE) => {}
        }
    }
}
