//! The health of a node: whether it can do its work.

use crate::engine::EngineHealth;
use crate::hub::Hub;
use crate::node::Node;
use std::time::Duration;

/// The state of a node and of its shards, the threads that hold its connections.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Health {
    /// The node is shut down, or about to be.
    pub stopping: bool,
    /// The node is [drained](Node::drain), or was: its connections are to go to other nodes.
    pub draining: bool,
    /// Every shard, by its number.
    pub shards: Vec<ShardHealth>,
    /// The connections of brokers to their stores: the first that is down. Always up with the memory engine.
    pub broker: EngineHealth,
    /// The connection to the presence store.
    pub presence: EngineHealth,
    /// The connection of the controller, if the node has one.
    pub controller: Option<EngineHealth>,
}

/// The state of one shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShardHealth {
    /// State of the shard.
    pub state: ShardState,
    /// The time that its loop takes until it comes round, measured several times a second.
    pub lag: Duration,
}

/// State of a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ShardState {
    /// It does its work.
    Responsive,
    /// Its loop has not come round for [`unresponsive_after`](crate::Config::unresponsive_after).
    Unresponsive,
    /// It ended in a panic or by an error. Its connections are closed, and the node takes no new ones.
    Failed,
    /// It ended with its node.
    Stopped,
}

impl Health {
    /// Returns true if the node takes connections, and all of its shards and engines do their work.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        !self.stopping
            && !self.draining
            && self.shards.iter().all(|shard| shard.state == ShardState::Responsive)
            && [&self.broker, &self.presence]
                .into_iter()
                .chain(&self.controller)
                .all(|engine| *engine == EngineHealth::Up)
    }
}

impl Node {
    /// The state of the node and of its shards at this moment.
    #[must_use]
    pub fn health(&self) -> Health {
        let hub = &self.inner.hub;
        let now = hub.clock.now().mono;
        Health {
            stopping: hub.is_stopping(),
            draining: self.inner.draining.is_active(),
            shards: (0..hub.inboxes.len()).map(|shard| of_shard(hub, shard, now)).collect(),
            broker: self.inner.channels.health(),
            presence: self.inner.presence.health(),
            controller: self.inner.link.as_ref().map(|link| link.health()),
        }
    }

    /// The longest time that the loop of a shard takes until it comes round: the one figure of
    /// [`Node::health`] for decisions about every new connection.
    #[must_use]
    pub fn loop_lag(&self) -> Duration {
        let hub = &self.inner.hub;
        let now = hub.clock.now().mono;
        let longest = (0..hub.inboxes.len()).map(|shard| hub.pulse.lag(shard, now)).max();
        Duration::from_millis(longest.unwrap_or_default())
    }

    /// Waits until a shard has failed, which is a fault of this library or of the system under it. The node does
    /// not recover from that: it takes no new connections, and what the shard held is not cleaned up. An
    /// application shuts the node down and builds another one, or ends its process to be started again.
    pub async fn failed(&self) {
        self.inner.hub.pulse.broken().await;
    }
}

fn of_shard(hub: &Hub, shard: usize, now: u64) -> ShardHealth {
    let lag = Duration::from_millis(hub.pulse.lag(shard, now));
    let state = if hub.pulse.has_failed(shard) {
        ShardState::Failed
    } else if hub.pulse.has_ended(shard) {
        ShardState::Stopped
    } else if lag >= hub.config.unresponsive_after {
        ShardState::Unresponsive
    } else {
        ShardState::Responsive
    };
    ShardHealth { state, lag }
}
