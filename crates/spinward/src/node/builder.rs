//! How a node is made.

use super::execute::Executor;
use super::runtime::Runtime;
use super::threads::Threads;
use super::{Inner, Node};
use crate::broker::Broker;
use crate::clock::Clock;
use crate::config::Config;
use crate::hooks::Hooks;
use crate::hub::Hub;
use crate::id::Entropy;
use crate::presence::{MemoryPresence, PresenceStore};
use std::sync::{Arc, Weak};
use std::time::Duration;
use thiserror::Error;

/// A node could not be made.
#[derive(Debug, Error)]
pub enum BuildError {
    /// `ping_interval` must be longer than `pong_timeout`, or a client has no time to answer.
    #[error("ping_interval must be greater than pong_timeout")]
    PongTimeout,
    /// `shards` is more than 64.
    #[error("shards must be between 1 and 64, or 0 for one per CPU")]
    Shards,
    /// There is no runtime to run slow answers on: build within one, or name one.
    #[error("no tokio runtime: call build() inside of one, or give one with runtime()")]
    NoRuntime(#[source] tokio::runtime::TryCurrentError),
    /// A shard's thread could not be started.
    #[error("a shard could not be started")]
    Thread(#[source] std::io::Error),
}

/// Makes a [`Node`].
pub struct NodeBuilder {
    hooks: Arc<dyn Hooks>,
    config: Config,
    broker: Option<Arc<dyn Broker>>,
    presence: Option<Arc<dyn PresenceStore>>,
    runtime: Option<tokio::runtime::Handle>,
    clock: Clock,
    entropy: Entropy,
}

impl NodeBuilder {
    pub(super) fn new(hooks: Arc<dyn Hooks>) -> Self {
        Self {
            hooks,
            config: Config::default(),
            broker: None,
            presence: None,
            runtime: None,
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

    /// Uses another presence store than the memory one.
    #[must_use]
    pub fn presence(mut self, presence: Arc<dyn PresenceStore>) -> Self {
        self.presence = Some(presence);
        self
    }

    /// Runs slow answers on this runtime. Without this, on the one that `build` is called in.
    #[must_use]
    pub fn runtime(mut self, runtime: tokio::runtime::Handle) -> Self {
        self.runtime = Some(runtime);
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
        let runtime = Runtime::Tokio(match self.runtime.take() {
            Some(runtime) => runtime,
            None => tokio::runtime::Handle::try_current().map_err(BuildError::NoRuntime)?,
        });
        let hub = Arc::new(Hub::new(Arc::new(self.config), self.clock, self.entropy, self.broker, shards));
        if let crate::hub::Engine::Remote(broker) = &hub.engine {
            broker.attach(hub.clone());
        }
        let presence = self.presence.unwrap_or_else(|| Arc::new(MemoryPresence::new(hub.entropy.number())));
        let started_ms = hub.clock.now().mono;
        let inner = Arc::new(Inner { hub, hooks: self.hooks, presence, runtime, started_ms });
        let threads = Arc::new(Threads::new(Arc::clone(&inner.hub)));
        for shard in 0..shards {
            let executor = Executor::new(Arc::clone(&inner), inner.runtime.clone());
            let thread =
                crate::shard::spawn(shard, Arc::clone(&inner.hub), executor).map_err(BuildError::Thread)?;
            threads.add(thread);
        }
        inner.runtime.spawn(expire(Arc::downgrade(&inner)));
        Ok(Node { inner, threads })
    }
}

/// Lets go of expired history, as long as the node lives.
async fn expire(inner: Weak<Inner>) {
    const LONGEST: Duration = Duration::from_secs(1);
    loop {
        let wait = {
            let Some(inner) = inner.upgrade() else { return };
            let now = inner.hub.clock.now();
            let next = inner.hub.expire_memory(now);
            next.map_or(LONGEST, |next| Duration::from_millis(next.saturating_sub(now.mono)).min(LONGEST))
        };
        // A full batch is followed by the next one, with a breath between.
        tokio::time::sleep(wait.max(Duration::from_millis(10))).await;
    }
}
