//! Publications, joins and leaves on their way into a channel.

use crate::answer::Answer;
use crate::backend::memory::{Memory, NotAdmitted};
use crate::backend::{Channels, Engine};
use crate::channel::record::Channel;
use crate::engine::broker::{BrokerError, JoinLeave, PublishOptions, Published};
use crate::handle::{CallToken, Handle};
use crate::hub::Hub;
use crate::mailbox::admission::Announcement;
use crate::publication::ClientInfo;
use bytes::Bytes;
use std::sync::Arc;

impl Channels {
    /// Publishes; the memory engine answers at once unless subscribers are behind.
    pub(crate) fn publish(
        &self,
        channel: &str,
        data: Bytes,
        options: PublishOptions,
    ) -> Answer<Result<Published, BrokerError>> {
        if self.hub.is_stopping() {
            return Answer::Now(Err(BrokerError::Stopped));
        }
        crate::metrics::bump(&self.hub.metrics.published);
        match &self.engines[self.choose(channel).place()] {
            Engine::Remote(remote) => {
                let history = self.hub.with_meta_ttl(options.history);
                remote.publish(channel, data, PublishOptions { history, ..options })
            }
            Engine::Memory(memory) => {
                let now = self.hub.clock.now();
                match memory.publish(&self.hub, channel, data, options, None, now) {
                    Ok(published) => Answer::Now(Ok(published)),
                    Err(waiting) => publish_in_turn(&self.hub, memory, channel, *waiting),
                }
            }
        }
    }

    /// Sends a join or leave to the subscribers of a channel. Returns true if `then` is notified of it later.
    pub(crate) fn announce(
        &self,
        channel: &Channel,
        info: Arc<ClientInfo>,
        join: bool,
        then: Option<(Handle, CallToken)>,
    ) -> bool {
        crate::metrics::bump(if join { &self.hub.metrics.joined } else { &self.hub.metrics.left });
        match self.engine(channel) {
            Engine::Remote(remote) => {
                let change = if join { JoinLeave::Join(info) } else { JoinLeave::Leave(info) };
                remote.announce(&self.hub, &channel.name, change);
                false
            }
            Engine::Memory(_) => {
                let announced = self.hub.directory.with_existing(&channel.name, |record, state| {
                    let announcement = Announcement { info, join, then };
                    self.hub.admission.announce(record, state, announcement)
                });
                announced.unwrap_or(false)
            }
        }
    }
}

/// Publishes what was not admitted, once it is its turn.
fn publish_in_turn(
    hub: &Arc<Hub>,
    memory: &Arc<Memory>,
    channel: &str,
    waiting: NotAdmitted,
) -> Answer<Result<Published, BrokerError>> {
    let NotAdmitted { ticket, data, options } = waiting;
    let Ok(ticket) = ticket else { return Answer::Now(Err(BrokerError::Overloaded)) };
    let (hub, memory, channel) = (Arc::clone(hub), Arc::clone(memory), channel.to_owned());
    Answer::later(async move {
        let permit = ticket.await.map_err(|_| BrokerError::Stopped)?;
        let now = hub.clock.now();
        let published = memory.publish(&hub, &channel, data, options, Some(permit), now);
        published.map_err(|_| BrokerError::Overloaded)
    })
}
