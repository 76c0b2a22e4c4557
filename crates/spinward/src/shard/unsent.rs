//! Deliveries handed to connections and not sent yet, so that publishers of a channel wait for its sends; and the two
//! ways by which they are sent.

use crate::channel::record::Channel;
use crate::shard::core::Core;
use crate::shard::slots::Marks;
use std::collections::VecDeque;
use std::sync::Arc;

/// Publications, joins and leaves that wait for sends, oldest first.
#[derive(Default)]
pub(super) struct Unsent {
    /// Of small fan-outs, which do not wait for the sends of large ones.
    express: VecDeque<Handed>,
    bulk: VecDeque<Handed>,
    lots: usize,
    /// Slots that were served out of the queues of those with something to send, ever.
    served: Served,
}

/// A fan-out to more subscribers than this is sent beside what is sent else, and not before it.
const BULK: usize = 256;

/// The queue of slots by which something is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// The one that is served first.
    Express,
    /// That of large fan-outs. Slots that are in the other one already stay there.
    Bulk,
}

impl Way {
    /// The way of a fan-out to so many subscribers.
    pub(super) const fn of(subscribers: usize) -> Self {
        if subscribers > BULK { Self::Bulk } else { Self::Express }
    }

    /// Marks of a slot that need not be queued for it. One that waits for a large fan-out is queued again for a small
    /// one, which is not to wait for it.
    pub(super) const fn marks(self) -> u8 {
        match self {
            Self::Express => Marks::EXPRESS | Marks::BLOCKED,
            Self::Bulk => Marks::EXPRESS | Marks::BULK | Marks::BLOCKED,
        }
    }
}

/// Numbers of slots, of both queues.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Served {
    express: u64,
    bulk: u64,
}

struct Handed {
    channel: Arc<Channel>,
    lots: u16,
    /// Sent once so many slots were served.
    until: Served,
}

impl Unsent {
    pub(super) const fn count_express(&mut self) {
        self.served.express += 1;
    }

    pub(super) const fn count_bulk(&mut self) {
        self.served.bulk += 1;
    }

    /// Returns true if anything waits for sends.
    pub(super) fn is_waiting(&self) -> bool {
        !self.express.is_empty() || !self.bulk.is_empty()
    }

    fn take_sent(&mut self) -> Option<Handed> {
        let served = self.served;
        let sent =
            |first: &mut Handed| first.until.express <= served.express && first.until.bulk <= served.bulk;
        self.express.pop_front_if(sent).or_else(|| self.bulk.pop_front_if(sent))
    }
}

impl Core {
    /// Something of a channel was handed to its subscribers. Each of them is in a queue of slots with something to
    /// send now, unless its socket takes no more: it is sent when all slots in the queues have had their turn.
    pub(super) fn hand_over(&mut self, channel: Arc<Channel>, lots: u16, way: Way) {
        let mut until = self.unsent.served;
        until.express += self.express.len() as u64;
        let handed = match way {
            Way::Express => &mut self.unsent.express,
            Way::Bulk => {
                until.bulk += self.bulk.len() as u64;
                &mut self.unsent.bulk
            }
        };
        self.unsent.lots += usize::from(lots);
        match handed.back_mut() {
            Some(last) if last.until == until && Arc::ptr_eq(&last.channel, &channel) => {
                last.lots = last.lots.saturating_add(lots);
            }
            _ => handed.push_back(Handed { channel, lots, until }),
        }
        self.release_sent();
        self.show_unsent();
    }

    /// Tells readers of remote brokers how much is not sent yet.
    fn show_unsent(&self) {
        self.hub.inboxes[usize::from(self.shard)].show_unsent(self.unsent.lots);
    }

    /// Lets publishers of those channels go on whose sends are made.
    pub(super) fn release_sent(&mut self) {
        while let Some(Handed { channel, lots, .. }) = self.unsent.take_sent() {
            self.unsent.lots -= usize::from(lots);
            channel.lock().sent(lots);
            if self.hub.admission.is_waiting() {
                self.hub.admission.channel_has_room(&channel);
            }
            self.show_unsent();
        }
    }
}
