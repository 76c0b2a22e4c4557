//! The broker: history in streams or lists, deliveries by Pub/Sub.

mod answers;
mod calls;
mod scripts;

use super::config::Config;
use super::connection::Task;
use super::counters::Counts;
use super::error::Error;
use super::keys::{Keys, Kind};
use super::pool::Pool;
use super::pubsub::{Context, Subscriptions};
use super::watcher;
use bytes::Bytes;
use calls::Calls;
use parking_lot::RwLock;
use spinward::answer::Answer;
use spinward::engine::EngineHealth;
use spinward::engine::broker::{
    self, BrokerError, HistoryOptions, Interest, JoinLeave, PublishOptions, Read, Receipt, Sink, Slice,
};
use std::fmt;
use std::sync::Arc;

/// A broker on Redis or Valkey.
///
/// Each publish and each read is one script, so one round trip. The scripts name the replication history of the server
/// that runs them: a place is of that life of the store, on any connection.
pub struct Broker {
    config: Config,
    running: RwLock<Option<Arc<Running>>>,
}

/// A broker that was started.
struct Running {
    calls: Arc<Calls>,
    subscriptions: Vec<Subscriptions>,
    _watchers: Vec<Task>,
}

impl Broker {
    /// A broker with these settings. It connects once the node starts it, on the runtime of tokio that the node is
    /// started on.
    ///
    /// # Errors
    /// Names the option to change.
    pub fn new(config: Config) -> Result<Self, super::ConfigError> {
        config.check()?;
        Ok(Self { config, running: RwLock::default() })
    }

    /// Counters since it was started.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.running().map(|running| running.calls.pool().counters().counts()).unwrap_or_default()
    }

    fn running(&self) -> Option<Arc<Running>> {
        self.running.read().clone()
    }

    /// Makes a call with what is running.
    fn call<T, F>(&self, call: impl FnOnce(Arc<Calls>) -> F) -> Answer<Result<T, BrokerError>>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, BrokerError>> + Send + 'static,
    {
        match self.running() {
            Some(running) => Answer::later(call(Arc::clone(&running.calls))),
            None => Answer::Now(Err(Error::Closed.into())),
        }
    }
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broker").field("config", &self.config).finish_non_exhaustive()
    }
}

impl broker::Broker for Broker {
    fn name(&self) -> &'static str {
        "redis"
    }

    fn start(&self, sink: Sink) -> Result<(), BrokerError> {
        let pool = |config| Pool::start(config).map_err(|error| BrokerError::Failed(Box::new(error)));
        let main = pool(&self.config)?;
        let writers = if self.config.wait_replicas > 0 { Some(pool(&self.config)?) } else { None };
        let keys = Keys::in_layout(&self.config);
        let count = main.shards().len();
        let (mut subscriptions, mut watchers) = (Vec::with_capacity(count), Vec::with_capacity(count));
        for (index, shard) in main.shards().iter().enumerate() {
            let context = Context {
                keys: keys.clone(),
                access: shard.target().access.clone(),
                sink: sink.clone(),
                counters: Arc::clone(main.counters()),
            };
            subscriptions.push(Subscriptions::start(context, Arc::clone(shard), index, count));
            let counters = Arc::clone(main.counters());
            let watcher = watcher::Watcher { keys: keys.clone(), sink: sink.clone(), counters, index, count };
            watchers.push(Task::spawn(watcher.run(Arc::clone(shard))));
        }
        let calls = Arc::new(Calls::new(&self.config, keys, main, writers));
        *self.running.write() = Some(Arc::new(Running { calls, subscriptions, _watchers: watchers }));
        Ok(())
    }

    fn incarnation(&self, channel: &str) -> Arc<str> {
        self.running().map_or_else(|| "".into(), |running| running.calls.incarnation(channel))
    }

    fn publish(
        &self,
        channel: &str,
        data: Bytes,
        options: PublishOptions,
    ) -> Answer<Result<Receipt, BrokerError>> {
        let channel: Arc<str> = channel.into();
        self.call(|calls| async move { calls.publish(&channel, data, options).await })
    }

    fn announce(&self, channel: &str, change: JoinLeave) -> Answer<Result<(), BrokerError>> {
        let channel: Arc<str> = channel.into();
        self.call(|calls| async move { calls.announce(&channel, change).await })
    }

    fn read(&self, channel: &str, read: Read, history: HistoryOptions) -> Answer<Result<Slice, BrokerError>> {
        let channel: Arc<str> = channel.into();
        self.call(|calls| async move { calls.read(&channel, read, history).await })
    }

    fn forget(&self, channel: &str) -> Answer<Result<(), BrokerError>> {
        let channel: Arc<str> = channel.into();
        self.call(|calls| async move { calls.forget(&channel).await })
    }

    fn interest(&self, changes: &[(Arc<str>, Interest)]) {
        let Some(running) = self.running() else { return };
        let mut shards: Vec<Vec<(Arc<str>, Interest)>> = vec![Vec::new(); running.subscriptions.len()];
        for (channel, asked) in changes {
            if let Some(shard) = shards.get_mut(running.calls.pool().index(channel)) {
                shard.push((Arc::clone(channel), *asked));
            }
        }
        for (subscriptions, changes) in running.subscriptions.iter().zip(shards) {
            if !changes.is_empty() {
                subscriptions.change(changes);
            }
        }
    }

    fn health(&self) -> EngineHealth {
        let Some(running) = self.running() else {
            return EngineHealth::Down { reason: "not started, or closed".to_owned() };
        };
        match running.calls.pool().health() {
            EngineHealth::Up => match running.subscriptions.iter().find_map(Subscriptions::down) {
                Some(reason) => EngineHealth::Down { reason },
                None => EngineHealth::Up,
            },
            down => down,
        }
    }

    fn close(&self) -> Answer<()> {
        if let Some(running) = self.running.write().take() {
            running.subscriptions.iter().for_each(Subscriptions::close);
            running.calls.close();
        }
        Answer::Now(())
    }
}

/// The key that decides on the hash slot of a channel.
pub(super) fn home(keys: &Keys, channel: &str) -> Bytes {
    keys.of(Kind::Channel, channel)
}
