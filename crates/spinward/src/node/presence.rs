//! Calls to the presence store.

use crate::answer::Answer;
use crate::channel::record::Channel;
use crate::engine::presence::{Member, Members, PresenceError, PresenceStats};
use crate::id::ClientId;
use crate::mailbox::call::Outcome;
use crate::node::Inner;
use crate::publication::ClientInfo;
use std::sync::Arc;

impl Inner {
    /// Adds a connection, which waits for it.
    pub(super) fn add_presence(
        &self,
        channel: Arc<Channel>,
        client: ClientId,
        info: Arc<ClientInfo>,
    ) -> Answer<Outcome> {
        let user = Arc::clone(&info.user);
        let added = self.presence.add(&channel.name, client, info);
        self.bulkheads.presence.admit(added).map(move |added| Outcome::PresenceAdded {
            channel,
            client,
            user,
            ok: added.is_ok(),
        })
    }

    pub(super) fn remove_presence(&self, channel: &str, client: ClientId, user: &str) {
        self.forget("presence remove", self.presence.remove(channel, client, user));
    }

    pub(super) fn refresh_presence(&self, members: &[Member]) {
        self.forget("presence refresh", self.presence.refresh(members));
    }

    pub(crate) fn members(&self, channel: &str) -> Answer<Result<Members, PresenceError>> {
        self.bulkheads.presence.admit(self.presence.members(channel))
    }

    pub(crate) fn presence_stats(&self, channel: &str) -> Answer<Result<PresenceStats, PresenceError>> {
        self.bulkheads.presence.admit(self.presence.stats(channel))
    }

    /// Does what nobody waits for. Without room it is dropped: an entry that is not removed, or not refreshed, is gone
    /// after its time to live, where the store has one.
    fn forget(&self, hook: &'static str, answer: Answer<Result<(), PresenceError>>) {
        match answer {
            Answer::Now(Ok(())) => {}
            Answer::Now(Err(error)) => self.hub.engine_failed(hook, &error),
            Answer::Later(future) => {
                let (runtime, weak) = (self.runtime.clone(), Arc::downgrade(&self.hub));
                let timeout = self.hub.config.hook_timeout;
                let job = async move {
                    let done = runtime.within(timeout, future).await;
                    let Some(hub) = weak.upgrade() else { return };
                    match done {
                        Some(Ok(())) => {}
                        Some(Err(error)) => hub.engine_failed(hook, &error),
                        None => hub.timed_out(hook),
                    }
                };
                if !self.bulkheads.presence.post(&self.runtime, Box::pin(job)) {
                    crate::metrics::bump(&self.hub.metrics.presence_dropped);
                }
            }
        }
    }
}
