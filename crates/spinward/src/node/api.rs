//! The operations of a node that an application may call.

use crate::cluster::{Applied, ClientFilter, Operation, Outcome, Request, ServerSubscribe};
use crate::enforce::Judge;
use crate::engine::broker::{BrokerError, History, HistoryFilter, HistoryOptions, PublishOptions, Published};
use crate::engine::controller::To;
use crate::engine::presence::{Members, PresenceError, PresenceStats};
use crate::mailbox::inbox::Control;
use crate::metrics::Snapshot;
use crate::node::cluster::Applying;
use crate::node::{Done, Node};
use bytes::Bytes;
use spinward_wire::code::{DisconnectCode, UnsubscribeCode};
use std::time::Duration;
use thiserror::Error;
// A batch of calls, each of which is answered at once, would otherwise keep a thread of the runtime for milliseconds.
use tokio::task::coop::consume_budget;

/// Reason that [`Node::subscribe`] did not make a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SubscribeError {
    /// Its `expire_at` has passed. An existing subscription stays.
    #[error("the subscription would end in the past: set expire_at to a time ahead")]
    Expired,
    /// The node was shut down before this was done. Its connections are closed with 3001.
    #[error("the node has been shut down")]
    Stopped,
}

/// Facts about a node.
#[derive(Clone, Debug)]
pub struct NodeInfo {
    /// Its counters.
    pub counters: Snapshot,
    /// Time since the node was made.
    pub uptime: Duration,
    /// Threads that hold connections.
    pub shards: usize,
}

impl Node {
    /// Publishes to a channel. A loop of such calls gives way to other tasks now and then.
    ///
    /// # Errors
    /// [`BrokerError::Stopped`] once the node has been shut down; or the broker failed, which the memory broker never does.
    pub async fn publish(
        &self,
        channel: &str,
        data: Bytes,
        options: PublishOptions,
    ) -> Result<Published, BrokerError> {
        consume_budget().await;
        self.inner.channels.publish(channel, data, options).wait().await
    }

    /// Reads the stream of a channel.
    ///
    /// # Errors
    /// [`BrokerError::UnrecoverablePosition`] if `since` is of another epoch; or the broker failed.
    pub async fn history(
        &self,
        channel: &str,
        filter: HistoryFilter,
        options: HistoryOptions,
    ) -> Result<History, BrokerError> {
        consume_budget().await;
        self.inner.channels.history(channel, filter, options).wait().await
    }

    /// Drops the stored publications of a channel; offsets go on.
    ///
    /// # Errors
    /// The broker failed.
    pub async fn remove_history(&self, channel: &str) -> Result<(), BrokerError> {
        self.inner.channels.remove_history(channel).wait().await
    }

    /// Returns the members of a channel.
    ///
    /// # Errors
    /// The presence store failed.
    pub async fn presence(&self, channel: &str) -> Result<Members, PresenceError> {
        consume_budget().await;
        self.inner.members(channel).wait().await
    }

    /// Returns the number of members of a channel.
    ///
    /// # Errors
    /// The presence store failed.
    pub async fn presence_stats(&self, channel: &str) -> Result<PresenceStats, PresenceError> {
        self.inner.presence_stats(channel).wait().await
    }

    /// Waits until the shards can take more. Applications that call [`Client::send`](crate::Client::send) and its
    /// like again and again wait here in between, since those calls hold nobody back. Publishing waits by itself,
    /// and what is done to the connections of a user is awaited by its [`Done`].
    pub async fn wait_for_capacity(&self) {
        self.inner.hub.wait_for_capacity().await;
    }

    /// Closes connections of a user, or of all with [`ClientFilter::all_users`], on every node.
    pub fn disconnect(&self, user: &str, filter: &ClientFilter, code: DisconnectCode) -> Done {
        self.operate(Operation::Disconnect { user: user.to_owned(), filter: filter.clone(), code })
    }

    /// Applies a rule to connections of this node, those of a user or all. A rule is code and does not travel: to have
    /// every node apply its own, tell the others by [`Node::notify`].
    ///
    /// Connections that log in later are not asked about;
    /// [`Hooks::connected`](crate::hooks::Hooks::connected) is the place for those. Calls for all connections with
    /// the same rule are merged: those that come while a walk through the connections is under way are served by
    /// one further walk. The rule therefore decides by the state it finds when it is asked, not by the state at
    /// the time of the call.
    pub fn enforce(&self, user: Option<&str>, judge: &Judge) -> Done {
        let control = Control::Enforce(judge.clone());
        let filter = ClientFilter { all_users: user.is_none(), ..ClientFilter::default() };
        match self.walk(user.unwrap_or_default(), &filter, &control) {
            Applying::Walk(here) => Done::of_walk(here, None),
            Applying::Subscribe(_) | Applying::Handler(_) => Done::of_others(None),
        }
    }

    /// Ends a subscription of a user's connections, or all of their subscriptions, on every node. As in all operations,
    /// [`ClientFilter::all_users`] takes the connections of all users.
    pub fn unsubscribe(
        &self,
        user: &str,
        filter: &ClientFilter,
        channel: Option<&str>,
        code: UnsubscribeCode,
    ) -> Done {
        let (user, channel) = (user.to_owned(), channel.map(str::to_owned));
        self.operate(Operation::Unsubscribe { user, filter: filter.clone(), channel, code })
    }

    /// Subscribes a user's connections to a channel, on every node. Where this node keeps the channels itself, they get
    /// what is published once this is done; with a remote broker they may still be on their way in. An existing
    /// subscription is replaced. The result names the nodes that did not confirm.
    ///
    /// # Errors
    /// It would end in the past, or the node was shut down before this was done.
    pub async fn subscribe(
        &self,
        user: &str,
        filter: &ClientFilter,
        channel: &str,
        subscribe: ServerSubscribe,
    ) -> Result<Applied, SubscribeError> {
        let operation = Operation::Subscribe {
            user: user.to_owned(),
            filter: filter.clone(),
            channel: channel.to_owned(),
            subscribe: Box::new(subscribe),
        };
        let here = self.apply(&operation);
        let others = self.request(To::All, || Request::Operation(operation));
        // A declined operation is one of a handler.
        here.wait().await.unwrap_or(Ok(()))?;
        if self.inner.hub.is_stopping() {
            return Err(SubscribeError::Stopped);
        }
        let outcome = match others {
            Some(others) => others.await.unwrap_or_default(),
            None => Outcome::default(),
        };
        match outcome.applied() {
            (_, true) => Err(SubscribeError::Expired),
            (applied, false) => Ok(applied),
        }
    }

    /// Prolongs the login of a user's connections (0 is for ever), or ends it, on every node.
    pub fn refresh(
        &self,
        user: &str,
        filter: &ClientFilter,
        expired: bool,
        expire_at: i64,
        info: Option<Bytes>,
    ) -> Done {
        let (user, filter) = (user.to_owned(), filter.clone());
        self.operate(Operation::Refresh { user, filter, expired, expire_at, info })
    }

    /// Channels that have subscribers here, and how many. Costs a walk through all channels.
    #[must_use]
    pub fn channels(&self, wanted: impl FnMut(&str) -> bool) -> Vec<(Box<str>, u32)> {
        self.inner.hub.directory.occupied(wanted)
    }

    /// Returns true if a channel has a subscriber on this node.
    #[must_use]
    pub fn is_occupied(&self, channel: &str) -> bool {
        let record = self.inner.hub.directory.find(channel);
        record.is_some_and(|record| record.lock().subscribers > 0)
    }

    /// Facts and counters.
    #[must_use]
    pub fn info(&self) -> NodeInfo {
        let hub = &self.inner.hub;
        NodeInfo {
            counters: hub.metrics.snapshot(hub.users.len()),
            uptime: self.uptime(),
            shards: hub.inboxes.len(),
        }
    }

    /// Returns the time since the node was made.
    #[must_use]
    pub fn uptime(&self) -> Duration {
        Duration::from_millis(self.inner.hub.clock.now().mono - self.inner.started_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handle::Handle;

    struct Nothing;

    impl crate::hooks::Hooks for Nothing {}

    /// The directory of users may name a connection whose shard has just ended.
    #[tokio::test]
    async fn a_subscribe_ends_with_the_node() {
        let config = crate::Config { shards: 1, ..crate::Config::default() };
        let node = Node::builder(Nothing).config(config).build().unwrap();
        let subscribe =
            async || node.subscribe("u", &ClientFilter::default(), "c", ServerSubscribe::default()).await;
        assert_eq!(subscribe().await, Ok(Applied::default()), "nobody is meant");
        node.shutdown(Duration::from_secs(10)).await;
        node.inner.hub.users.register("u", Handle::new(0, 0, 0), 0, false);
        let ended = tokio::time::timeout(Duration::from_secs(10), subscribe()).await;
        assert_eq!(ended, Ok(Err(SubscribeError::Stopped)));
    }

    #[tokio::test]
    async fn a_loop_of_calls_gives_way_to_others() {
        let config = crate::Config { shards: 1, ..crate::Config::default() };
        let node = Node::builder(Nothing).config(config).build().unwrap();
        let looping = tokio::spawn({
            let node = node.clone();
            async move {
                for _ in 0..10_000 {
                    node.publish("c", Bytes::new(), PublishOptions::default()).await.unwrap();
                }
            }
        });
        let mut turns = 0;
        while !looping.is_finished() {
            tokio::task::yield_now().await;
            turns += 1;
        }
        assert!(turns > 20, "{turns} turns of another task");
        node.shutdown(Duration::from_secs(10)).await;
    }
}
