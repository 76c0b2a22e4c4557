//! Reads of streams, for clients and for subscribers that are entering.

use crate::answer::Answer;
use crate::backend::{Channels, Engine};
use crate::channel::params::SubscribeParams;
use crate::channel::record::Channel;
use crate::engine::broker::{BrokerError, History, HistoryFilter, HistoryOptions, Interest};
use std::sync::Arc;

impl Channels {
    /// Reads a stream.
    pub(crate) fn history(
        &self,
        channel: &str,
        filter: HistoryFilter,
        options: HistoryOptions,
    ) -> Answer<Result<History, BrokerError>> {
        let options = self.hub.with_meta_ttl(options);
        match &self.engines[self.choose(channel).place()] {
            Engine::Remote(remote) => remote.read(channel, filter.into(), options),
            Engine::Memory(memory) => {
                let now = self.hub.clock.now();
                Answer::Now(memory.history(&self.hub, channel, &filter, options, now))
            }
        }
    }

    /// Drops the publications of a stream.
    pub(crate) fn remove_history(&self, channel: &str) -> Answer<Result<(), BrokerError>> {
        match &self.engines[self.choose(channel).place()] {
            Engine::Remote(remote) => remote.forget(&self.hub, channel),
            Engine::Memory(memory) => {
                memory.remove_history(&self.hub, channel);
                Answer::Now(Ok(()))
            }
        }
    }

    /// Asks the engine to begin or to end delivery of a channel. Its answer goes to the shards.
    pub(crate) fn ask(&self, channel: Arc<Channel>, ask: Interest) {
        if let Engine::Remote(remote) = self.engine(&channel) {
            remote.ask(channel, ask);
        }
    }

    /// Compares the position of a channel with the engine's. Its answer goes to the shards.
    pub(crate) fn compare(&self, channel: Arc<Channel>) {
        if let Engine::Remote(remote) = self.engine(&channel) {
            remote.compare(&self.hub, channel);
        }
    }

    /// Plans a read for a subscriber of a shard that is entering a channel of an engine outside of the process. Returns
    /// the number under which the answer comes to the shard, after [`Channels::read_planned`] at the latest.
    pub(crate) fn plan_read(&self, channel: &Channel, shard: u8, params: &SubscribeParams) -> Option<u32> {
        let Engine::Remote(remote) = self.engine(channel) else { return None };
        Some(remote.plan(&self.hub, channel, shard, params))
    }

    /// Makes the reads that are planned for a channel.
    pub(crate) fn read_planned(&self, channel: &Arc<Channel>) {
        if let Engine::Remote(remote) = self.engine(channel) {
            remote.read_planned(&self.hub, channel);
        }
    }
}
