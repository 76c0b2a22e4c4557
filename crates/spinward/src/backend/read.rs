//! Reads of streams, for clients and for subscribers that are entering.

use crate::answer::Answer;
use crate::backend::{Channels, Engine};
use crate::channel::local::entrants::ReadRequest;
use crate::channel::record::Channel;
use crate::engine::broker::{BrokerError, History, HistoryFilter, HistoryOptions, Interest};
use crate::mailbox::inbox::Entry;
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
            Engine::Remote(remote) => remote.forget(channel),
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

    /// Reads a stream for subscribers of a shard that are entering. They wait for it, so that there are no more of
    /// these than subscriptions on their way.
    pub(crate) fn read_for(&self, shard: usize, request: ReadRequest) {
        let ReadRequest { channel, number, read, history } = request;
        let Engine::Remote(remote) = self.engine(&channel) else { return };
        let (hub, id) = (Arc::clone(&self.hub), channel.id);
        let send = move |slice| {
            let entry = Entry::Slice { channel: id, read: number, slice: Box::new(slice) };
            hub.send(shard, entry);
        };
        match remote.read(&channel.name, read, self.hub.with_meta_ttl(history)) {
            Answer::Now(slice) => send(slice),
            Answer::Later(future) => {
                let (runtime, hub) = (remote.runtime.clone(), Arc::clone(&self.hub));
                remote.runtime.spawn(async move {
                    send(runtime.within(hub.config.hook_timeout, future).await.unwrap_or_else(|| {
                        hub.timed_out("slice");
                        Err(BrokerError::Failed("no answer in time".into()))
                    }));
                });
            }
        }
    }
}
