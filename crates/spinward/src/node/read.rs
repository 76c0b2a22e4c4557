//! Reads of streams, for clients and for shards.

use crate::answer::Answer;
use crate::channel::record::Channel;
use crate::engine::broker::{BrokerError, History, HistoryFilter, HistoryOptions, Interest, Read};
use crate::handle::Handle;
use crate::hub::Engine;
use crate::mailbox::inbox::Entry;
use crate::node::Inner;
use std::sync::Arc;

impl Inner {
    /// Reads a stream.
    pub(crate) fn history(
        &self,
        channel: &str,
        filter: HistoryFilter,
        options: HistoryOptions,
    ) -> Answer<Result<History, BrokerError>> {
        match &self.hub.engine {
            Engine::Remote(remote) => remote.read(channel, filter.into(), self.hub.with_meta_ttl(options)),
            Engine::Memory(memory) => {
                let now = self.hub.clock.now();
                Answer::Now(self.hub.history_memory(memory, channel, &filter, options, now))
            }
        }
    }

    /// Drops the publications of a stream.
    pub(crate) fn remove_history(&self, channel: &str) -> Answer<Result<(), BrokerError>> {
        match &self.hub.engine {
            Engine::Remote(remote) => remote.forget(channel),
            Engine::Memory(_) => {
                self.hub.remove_history_memory(channel);
                Answer::Now(Ok(()))
            }
        }
    }

    /// Asks a remote broker to begin or to end delivery of a channel. Its answer goes to the shards.
    pub(super) fn ask_interest(&self, channel: Arc<Channel>, ask: Interest) {
        if let Engine::Remote(remote) = &self.hub.engine {
            remote.ask(channel, ask);
        }
    }

    /// Compares the position of a channel with a remote broker's. Its answer goes to the shards.
    pub(super) fn compare_position(&self, channel: Arc<Channel>) {
        if let Engine::Remote(remote) = &self.hub.engine {
            remote.compare(&self.hub, channel);
        }
    }

    /// Reads a remote stream for subscribers that are entering. They wait for it, so that there are no more of these
    /// than subscriptions on their way.
    pub(super) fn read_slice(
        &self,
        channel: &Channel,
        handle: Handle,
        read: u32,
        slice: Read,
        options: HistoryOptions,
    ) {
        let Engine::Remote(remote) = &self.hub.engine else { return };
        let (hub, channel_id) = (Arc::clone(&self.hub), channel.id);
        let send = move |slice| {
            let entry = Entry::Slice { channel: channel_id, read, slice: Box::new(slice) };
            hub.send(handle.shard(), entry);
        };
        match remote.read(&channel.name, slice, options) {
            Answer::Now(slice) => send(slice),
            Answer::Later(future) => {
                let (runtime, hub) = (self.runtime.clone(), Arc::clone(&self.hub));
                self.runtime.spawn(async move {
                    send(runtime.within(hub.config.hook_timeout, future).await.unwrap_or_else(|| {
                        hub.timed_out("slice");
                        Err(BrokerError::Failed("no answer in time".into()))
                    }));
                });
            }
        }
    }
}
