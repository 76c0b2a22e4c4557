//! Fan-out: from the locked record of a channel into the inboxes of the shards that hold subscribers.

use crate::channel::delivery::Delivery;
use crate::channel::record::{Channel, ChannelState, ShardSet};
use crate::fault::{self, Fault};
use crate::mailbox::admission::{Admission, Block};
use crate::mailbox::inbox::{Entry, Inbox};
use crate::publication::ClientInfo;
use std::sync::Arc;

/// Lots of one channel that each shard may have queued and not sent: publications of up to the size of a lot.
const WINDOW: u16 = 64;

/// Deliveries of one channel that each shard may have queued and not sent while the channel still counts as light:
/// what it adds is hardly noticed by others, so it does not wait behind the fan-outs of large channels.
const LIGHT: u32 = 256;

/// Cost of one publication, join or leave to each of these shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Share {
    pub(crate) shards: ShardSet,
    /// Deliveries that each shard has to make, and one for the entry itself.
    pub(crate) deliveries: u32,
    /// Publications of usual size that it is worth.
    pub(crate) lots: u16,
    pub(crate) load: Load,
}

/// Amount that a channel has under way, with one publication, join or leave more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Load {
    /// Few deliveries: they go ahead of channels that have much, and have a reserve of room.
    Light,
    /// Many deliveries, and nothing else is under way.
    First,
    /// Many deliveries, or more of them.
    Much,
}

impl Share {
    const fn all_shards(self, lots: u16) -> u16 {
        // At most 64 shards.
        lots.saturating_mul(self.shards.len() as u16)
    }

    const fn all_lots(self) -> u16 {
        self.all_shards(self.lots)
    }
}

impl ChannelState {
    /// Returns the cost of delivering so many bytes to the present subscribers. Subscribers are spread evenly over
    /// the shards, so that no count is kept for each.
    pub(crate) fn share(&self, admission: &Admission, bytes: usize) -> Share {
        let shards = self.shards.len().max(1);
        let (deliveries, lots) = (1 + self.subscribers.div_ceil(shards), admission.lots(bytes));
        let all_lots = (u32::from(self.unsent) + u32::from(lots) * shards).div_ceil(shards);
        let load = match deliveries.saturating_mul(all_lots) {
            ..=LIGHT => Load::Light,
            _ if self.unsent == 0 => Load::First,
            _ => Load::Much,
        };
        Share { shards: self.shards, deliveries, lots, load }
    }

    /// Returns what keeps something of that cost from being queued. With nothing under way in its channel, nothing is
    /// too large for the channel.
    pub(crate) fn blocked(&self, admission: &Admission, share: Share) -> Option<Block> {
        if self.shards.is_empty() || fault::holds(Fault::Unbounded) {
            return None;
        }
        let full = self.unsent > 0 && self.unsent.saturating_add(share.all_lots()) > share.all_shards(WINDOW);
        // What a shard held that has ended is never sent.
        if full
            && !share
                .shards
                .iter()
                .any(|shard| admission.inboxes.get(shard).is_some_and(|inbox| inbox.is_closed()))
        {
            return Some(Block::Channel);
        }
        share
            .shards
            .iter()
            .find(|shard| admission.inboxes.get(*shard).is_some_and(|inbox| !inbox.takes(share.load)))
            .map(Block::Shard)
    }

    /// Takes room for something that is to be queued soon.
    pub(crate) fn reserve(&mut self, admission: &Admission, share: Share) {
        self.unsent = self.unsent.saturating_add(share.all_lots());
        for inbox in share.shards.iter().filter_map(|shard| admission.inboxes.get(shard)) {
            inbox.reserve(share);
        }
    }

    /// Gives that room back.
    pub(crate) fn release(&mut self, admission: &Admission, share: Share) {
        self.sent(share.all_lots());
        for inbox in share.shards.iter().filter_map(|shard| admission.inboxes.get(shard)) {
            inbox.done(0, Some(share));
        }
    }
}

impl Channel {
    /// Puts a publication into the inbox of every interested shard. Returns the shards to wake once the lock
    /// is released.
    pub(crate) fn deliver(
        self: &Arc<Self>,
        state: &mut ChannelState,
        admission: &Admission,
        make: impl FnOnce(u64) -> Delivery,
    ) -> Wake {
        state.delivered += 1;
        if state.shards.is_empty() {
            return Wake::NOBODY;
        }
        let delivery = Arc::new(make(state.delivered));
        let share = state.share(admission, delivery.publication.weight());
        for shard in share.shards.iter() {
            if let Some(inbox) = admission.inboxes.get(shard) {
                let queued = inbox.push_publication(self, &delivery, share);
                state.unsent = state.unsent.saturating_add(queued * share.lots);
            }
        }
        Wake(state.shards)
    }

    /// The same for a client that joined or left.
    pub(crate) fn deliver_join_leave(
        self: &Arc<Self>,
        state: &mut ChannelState,
        admission: &Admission,
        info: &Arc<ClientInfo>,
        join: bool,
    ) -> Wake {
        let share = state.share(admission, 0);
        for shard in share.shards.iter() {
            if let Some(inbox) = admission.inboxes.get(shard)
                && inbox.push(Entry::JoinLeave {
                    channel: Arc::clone(self),
                    info: Arc::clone(info),
                    join,
                    share,
                })
            {
                state.unsent = state.unsent.saturating_add(share.lots);
            }
        }
        Wake(state.shards)
    }
}

/// Shards to wake.
#[must_use]
#[derive(Clone, Copy)]
pub(crate) struct Wake(ShardSet);

impl Wake {
    pub(crate) const NOBODY: Self = Self(ShardSet::EMPTY);

    pub(crate) fn wake(self, inboxes: &[Arc<Inbox>]) {
        self.0.iter().for_each(|shard| {
            if let Some(inbox) = inboxes.get(shard) {
                inbox.wake();
            }
        });
    }
}
