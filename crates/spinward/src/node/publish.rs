//! Publications, joins and leaves on their way into a channel: to the memory engine, or to a broker.

use crate::answer::Answer;
use crate::engine::broker::{BrokerError, JoinLeave, PublishOptions, Published};
use crate::handle::Handle;
use crate::hub::{Engine, Held};
use crate::mailbox::admission::Announcement;
use crate::node::Inner;
use crate::publication::ClientInfo;
use bytes::Bytes;
use std::sync::Arc;

impl Inner {
    /// Publishes; the memory engine answers at once unless subscribers are behind.
    pub(crate) fn publish(
        self: &Arc<Self>,
        channel: &str,
        data: Bytes,
        options: PublishOptions,
    ) -> Answer<Result<Published, BrokerError>> {
        if self.hub.is_stopping() {
            return Answer::Now(Err(BrokerError::Stopped));
        }
        crate::metrics::bump(&self.hub.metrics.published);
        match &self.hub.engine {
            Engine::Remote(remote) => {
                let history = self.hub.with_meta_ttl(options.history);
                remote.publish(channel, data, PublishOptions { history, ..options })
            }
            Engine::Memory(memory) => {
                let now = self.hub.clock.now();
                match self.hub.publish_memory(memory, channel, data, options, None, now) {
                    Ok(published) => Answer::Now(Ok(published)),
                    Err(held) => self.publish_in_turn(channel, *held),
                }
            }
        }
    }

    /// Publishes what was not admitted, once it is its turn.
    fn publish_in_turn(
        self: &Arc<Self>,
        channel: &str,
        held: Held,
    ) -> Answer<Result<Published, BrokerError>> {
        let Held { ticket, data, options } = held;
        let Ok(ticket) = ticket else { return Answer::Now(Err(BrokerError::Overloaded)) };
        let (inner, channel) = (Arc::clone(self), channel.to_owned());
        Answer::later(async move {
            let (Ok(permit), Engine::Memory(memory)) = (ticket.await, &inner.hub.engine) else {
                return Err(BrokerError::Stopped);
            };
            let now = inner.hub.clock.now();
            let published = inner.hub.publish_memory(memory, &channel, data, options, Some(permit), now);
            published.map_err(|_| BrokerError::Overloaded)
        })
    }

    /// Sends a join or leave to the subscribers of a channel. Returns true if `then` is notified of it later.
    pub(super) fn join_leave(
        &self,
        channel: &str,
        info: Arc<ClientInfo>,
        join: bool,
        then: Option<(Handle, u32)>,
    ) -> bool {
        crate::metrics::bump(if join { &self.hub.metrics.joined } else { &self.hub.metrics.left });
        match &self.hub.engine {
            Engine::Remote(remote) => {
                let change = if join { JoinLeave::Join(info) } else { JoinLeave::Leave(info) };
                remote.announce(&self.hub, channel, change);
                false
            }
            Engine::Memory(_) => {
                let announced = self.hub.directory.with_existing(channel, |record, state| {
                    let announcement = Announcement { info, join, then };
                    self.hub.admission.announce(record, state, announcement)
                });
                announced.unwrap_or(false)
            }
        }
    }
}
