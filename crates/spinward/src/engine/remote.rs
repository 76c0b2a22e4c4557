//! Events from a remote broker.

use crate::channel::delivery::Delivery;
use crate::channel::record::{Channel, ChannelState};
use crate::engine::broker::{BrokerEvent, BrokerSink};
use crate::engine::interest::Ask;
use crate::hub::Hub;
use crate::mailbox::fan_out::Wake;
use crate::mailbox::inbox::Entry;
use crate::publication::{ClientInfo, Position};
use std::sync::Arc;
use std::sync::atomic::Ordering;

impl BrokerSink for Hub {
    fn deliver(&self, channel: &str, epoch: &str, event: BrokerEvent) {
        let wake = self.directory.with_existing(channel, |record, state| match event {
            BrokerEvent::Publication(publication) => {
                let epoch = (publication.offset > 0).then(|| Arc::from(epoch));
                record.deliver(state, &self.admission, |seq| Delivery::new(publication, seq, epoch))
            }
            BrokerEvent::Join(info) => self.deliver_join_leave(record, state, &info, true),
            BrokerEvent::Leave(info) => self.deliver_join_leave(record, state, &info, false),
        });
        if let Some(wake) = wake {
            wake.wake(&self.inboxes);
        }
    }

    fn has_room(&self) -> bool {
        self.inboxes
            .iter()
            .all(|inbox| inbox.takes(false) && inbox.unsent().load(Ordering::Relaxed) < UNSENT_LOTS)
    }
}

/// Lots that a shard may have handed to connections and not sent, all channels together, before the reader pauses:
/// half of what may wait for a connection.
const UNSENT_LOTS: usize = 256;

impl Hub {
    /// The broker reported the top of a channel's stream: passes it on to the shards with subscribers.
    pub(crate) fn position_told(&self, record: &Channel, top: &Position) {
        let shards = record.lock().shards;
        shards
            .iter()
            .for_each(|shard| self.send(shard, Entry::Position { channel: record.id, top: top.clone() }));
    }

    /// Joins and leaves of other nodes do not wait: without room, the clients here do not receive them.
    fn deliver_join_leave(
        &self,
        record: &Arc<Channel>,
        state: &mut ChannelState,
        info: &Arc<ClientInfo>,
        join: bool,
    ) -> Wake {
        if state.blocked(&self.admission, state.share(&self.admission, 0)).is_some() {
            return Wake::NOBODY;
        }
        record.deliver_join_leave(state, &self.admission, info, join)
    }

    /// The broker answered a request for interest: notifies the shards, and returns what to ask next.
    pub(crate) fn interest_answered(&self, record: &Arc<Channel>, asked: Ask, ok: bool) -> Option<Ask> {
        let next = {
            let mut state = record.lock();
            let wanted = state.subscribers > 0;
            let next = state.interest.answered(ok, wanted);
            if asked == Ask::Subscribe && !state.shards.is_empty() {
                for inbox in &self.inboxes {
                    inbox.push(Entry::Interest { channel: record.id, ok });
                }
            }
            next
        };
        for inbox in &self.inboxes {
            inbox.wake();
        }
        if next.is_none() {
            self.directory.release(record);
        }
        next
    }
}
