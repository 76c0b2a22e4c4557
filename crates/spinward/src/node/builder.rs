//! The builder of a node.

use crate::backend::{Brokers, Channels, ChooseEngine};
use crate::clock::Clock;
use crate::cluster;
use crate::config::Config;
use crate::engine::broker::{Broker, BrokerError};
use crate::engine::controller::{ControlError, Controller};
use crate::engine::presence::{MemoryPresence, Presence};
use crate::hooks::Hooks;
use crate::hub::Hub;
use crate::id::Entropy;
use crate::node::ask::Executor;
use crate::node::cluster::{ClusterHandler, Link, NoHandler};
use crate::node::drain::Draining;
use crate::node::threads::Threads;
use crate::node::{Bulkheads, Inner, Node};
use crate::runtime::Runtime;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};
use std::time::Duration;
use thiserror::Error;

/// A node could not be made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BuildError {
    /// `ping_interval` must be longer than `pong_timeout`, or a client has no time to answer.
    #[error("ping_interval must be greater than pong_timeout")]
    PongTimeout,
    /// `shards` is more than 64.
    #[error("shards must be between 1 and 64, or 0 for one per CPU")]
    Shards,
    /// There is no runtime to run slow answers on: build within one, or pass one.
    #[error("no tokio runtime: call build() inside of one, or give one with runtime()")]
    NoRuntime(#[source] tokio::runtime::TryCurrentError),
    /// The controller cannot be started with its settings.
    #[error("the controller could not be started: {0}")]
    Controller(#[source] ControlError),
    /// The thread of a shard, or the one that watches them, could not be started.
    #[error("a thread could not be started: {0}")]
    Thread(#[source] std::io::Error),
    /// Two brokers have the same name, or one has that of the memory broker.
    #[error("the broker name {0:?} is taken: give each broker a name of its own")]
    EngineName(Box<str>),
    /// More than 64 brokers have names.
    #[error("at most 64 named brokers may be registered")]
    Engines,
    /// The broker cannot be used.
    #[error("the broker does not start: {0}")]
    Broker(#[source] BrokerError),
}

/// Makes a [`Node`].
pub struct NodeBuilder {
    hooks: Arc<dyn Hooks>,
    config: Config,
    broker: Option<Arc<dyn Broker>>,
    named: Vec<(Box<str>, Arc<dyn Broker>)>,
    presence: Option<Arc<dyn Presence>>,
    runtime: Option<tokio::runtime::Handle>,
    name: String,
    version: String,
    controller: Option<Arc<dyn Controller>>,
    cluster: cluster::Config,
    handler: Arc<dyn ClusterHandler>,
    clock: Clock,
    entropy: Entropy,
}

impl NodeBuilder {
    pub(super) fn new(hooks: Arc<dyn Hooks>) -> Self {
        Self {
            hooks,
            config: Config::default(),
            broker: None,
            named: Vec::new(),
            presence: None,
            runtime: None,
            name: String::new(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            controller: None,
            cluster: cluster::Config::default(),
            handler: Arc::new(NoHandler),
            clock: Clock::system(),
            entropy: Entropy::system(),
        }
    }

    /// Sets limits and timings.
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Uses a broker outside of this process in place of the memory broker.
    #[must_use]
    pub fn broker(mut self, broker: Arc<dyn Broker>) -> Self {
        self.broker = Some(broker);
        self
    }

    /// Registers a further broker under a name. It serves the channels for which [`Hooks::engine`] returns that name.
    ///
    /// The name `memory` is that of the memory broker.
    #[must_use]
    pub fn named_broker(mut self, name: &str, broker: Arc<dyn Broker>) -> Self {
        self.named.push((name.into(), broker));
        self
    }

    /// Uses another presence store than the memory one.
    #[must_use]
    pub fn presence(mut self, presence: Arc<dyn Presence>) -> Self {
        self.presence = Some(presence);
        self
    }

    /// Runs slow answers on this runtime. Without this, on the one that `build` is called in.
    #[must_use]
    pub fn runtime(mut self, runtime: tokio::runtime::Handle) -> Self {
        self.runtime = Some(runtime);
        self
    }

    /// Names the node, for people: other nodes and [`Node::nodes`] show the name. It need not be unique.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Sets the version that other nodes and [`Node::nodes`] show. Without this, that of the library.
    #[must_use]
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.version = version.into();
        self
    }

    /// Connects the node to others.
    #[must_use]
    pub fn controller(mut self, controller: Arc<dyn Controller>) -> Self {
        self.controller = Some(controller);
        self
    }

    /// Sets the timings between nodes.
    #[must_use]
    pub fn cluster(mut self, config: cluster::Config) -> Self {
        self.cluster = config;
        self
    }

    /// Answers [`Node::notify`] and [`Node::survey`] of other nodes, and surveys of this one.
    #[must_use]
    pub fn handler(mut self, handler: impl ClusterHandler) -> Self {
        self.handler = Arc::new(handler);
        self
    }

    /// Makes the node and starts its shards.
    ///
    /// # Errors
    /// [`BuildError`] names the setting that does not fit.
    pub fn build(mut self) -> Result<Node, BuildError> {
        let config = &self.config;
        if !config.ping_interval.is_zero() && config.ping_interval <= config.pong_timeout {
            return Err(BuildError::PongTimeout);
        }
        let shards = match config.shards {
            0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get).min(64),
            shards @ 1..=64 => shards,
            _ => return Err(BuildError::Shards),
        };
        let taken = |name: &str| self.named.iter().filter(|(other, _)| **other == *name).count() > 1;
        if let Some((name, _)) = self.named.iter().find(|(name, _)| taken(name) || **name == *Brokers::MEMORY)
        {
            return Err(BuildError::EngineName(name.clone()));
        }
        if self.named.len() > Brokers::MOST {
            return Err(BuildError::Engines);
        }
        let runtime = Runtime::Tokio(match self.runtime.take() {
            Some(runtime) => runtime,
            None => tokio::runtime::Handle::try_current().map_err(BuildError::NoRuntime)?,
        });
        let config = Arc::new(self.config);
        let hub = Arc::new(Hub::new(config, self.clock, self.entropy, shards));
        let choose = Arc::new(ByHooks(Arc::clone(&self.hooks)));
        let brokers = Brokers { default: self.broker, named: self.named, choose };
        let channels = Channels::start(Arc::clone(&hub), &runtime, brokers).map_err(BuildError::Broker)?;
        let presence = self.presence.unwrap_or_else(|| Arc::new(MemoryPresence::new(hub.entropy.number())));
        let started_ms = hub.clock.now().mono;
        let bulkheads = Bulkheads::new(hub.config.max_calls_in_flight);
        let config = self.cluster;
        let link = self.controller.map(|controller| Arc::new(Link::new(controller, config, hub.node)));
        let inner = Arc::new(Inner {
            hub,
            channels,
            hooks: self.hooks,
            presence,
            runtime,
            bulkheads,
            started_ms,
            name: self.name,
            version: self.version,
            handler: self.handler,
            draining: Draining::default(),
            link,
        });
        let threads = Arc::new(Threads::new(Arc::clone(&inner.hub)));
        for shard in 0..shards {
            let refresh = inner.presence.refresh_interval();
            let executor = Executor::new(Arc::clone(&inner));
            let thread = crate::shard::spawn(shard, Arc::clone(&inner.channels), Box::new(executor), refresh)
                .map_err(BuildError::Thread)?;
            threads.add(thread);
        }
        let watchdog = super::watchdog::spawn(Arc::clone(&inner.hub)).map_err(BuildError::Thread)?;
        threads.add_watchdog(&watchdog);
        inner.runtime.spawn(expire(Arc::downgrade(&inner)));
        let node = Node { inner, threads };
        if let Some(link) = &node.inner.link {
            link.start(node.downgrade()).map_err(BuildError::Controller)?;
            node.inner.runtime.spawn(Arc::clone(link).run(node.downgrade()));
        }
        Ok(node)
    }
}

/// The application's choice of an engine, by its hook.
pub(crate) struct ByHooks(pub(crate) Arc<dyn Hooks>);

impl ChooseEngine for ByHooks {
    fn engine<'a>(&'a self, channel: &str) -> Option<&'a str> {
        self.0.engine(channel)
    }
}

/// Drops expired history and does what engines have to do about once a second, as long as the node lives.
///
/// What has expired is dropped in slices, with a chance for other tasks between them. A turn of slices is followed by
/// a rest, so that even an endless backlog leaves half of a CPU to others, and is caught up with: a slice takes well
/// below a millisecond, and publishing a channel costs more than dropping it.
async fn expire(inner: Weak<Inner>) {
    const LONGEST: Duration = Duration::from_secs(1);
    const SHORTEST: Duration = Duration::from_millis(10);
    const REST: Duration = Duration::from_millis(1);
    const TURN_MS: u64 = 4;
    /// Slices of a turn, in case the clock does not move.
    const SLICES: usize = 64;
    /// Channels of a slice.
    const SLICE: usize = 256;
    const TIDY_MS: u64 = 1000;
    let mut tidied = 0;
    loop {
        let mut wait = LONGEST;
        let mut began = None;
        for _ in 0..SLICES {
            {
                let Some(inner) = inner.upgrade() else { return };
                let now = inner.hub.clock.now();
                let began = *began.get_or_insert(now.mono);
                if now.mono >= tidied + TIDY_MS {
                    tidied = now.mono;
                    inner.channels.tick();
                    if catch_unwind(AssertUnwindSafe(|| inner.presence.tidy())).is_err() {
                        tracing::error!("presence store panicked during cleanup");
                    }
                }
                let next = inner.channels.expire(now, SLICE);
                wait = next.map_or(LONGEST, |next| Duration::from_millis(next.saturating_sub(now.mono)));
                if !wait.is_zero() || now.mono - began >= TURN_MS {
                    break;
                }
            }
            tokio::task::yield_now().await;
        }
        tokio::time::sleep(if wait.is_zero() { REST } else { wait.clamp(SHORTEST, LONGEST) }).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::broker::{HistoryOptions, PublishOptions};

    struct Nothing;

    impl Hooks for Nothing {}

    /// Tokio's clock is virtual here, so that what is counted are rests and not work.
    #[tokio::test(start_paused = true)]
    async fn expiry_catches_up_with_a_crowd_of_channels() {
        let clock = Clock::manual(crate::clock::Now::default());
        let mut builder = Node::builder(Nothing).config(Config { shards: 1, ..Config::default() });
        builder.clock = clock.clone();
        let node = builder.build().unwrap();
        let second = Duration::from_secs(1);
        let history = HistoryOptions { size: 1, ttl: second, meta_ttl: second };
        for number in 0..100_000 {
            let options = PublishOptions { history, ..PublishOptions::default() };
            node.publish(&number.to_string(), bytes::Bytes::from_static(b"{}"), options).await.unwrap();
        }
        assert_eq!(node.inner.hub.directory.size().0, 100_000);
        clock.advance(1_000);
        let began = tokio::time::Instant::now();
        while node.inner.hub.directory.size().0 > 0 {
            assert!(began.elapsed() < 2 * second, "{} channels left", node.inner.hub.directory.size().0);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}
