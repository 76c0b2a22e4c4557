//! The channel directory: one record for each channel that has a subscriber on this node or a stream in it.

use crate::channel::delivery::Delivery;
use crate::engine::interest::Interest;
use crate::engine::memory::stream::Stream;
use crate::mailbox::admission::{Admission, Block};
use crate::mailbox::inbox::{Entry, Inbox};
use crate::publication::ClientInfo;
use crate::room::fewer;
use foldhash::fast::FixedState;
use hashbrown::HashTable;
use parking_lot::{Mutex, MutexGuard};
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// So many that a table of one of them grows within milliseconds, even with millions of channels.
const PARTS: usize = 256;

/// Hashes the names of channels, alike in the directory and in every shard.
#[derive(Clone)]
pub(crate) struct Names(FixedState);

impl Names {
    /// Bits of an id that are the name's. What is left of an id counts a thousand new records a second for 35 years.
    const KEY_BITS: u32 = 24;

    fn hash(&self, name: &str) -> u64 {
        self.0.hash_one(name)
    }

    /// A hash of the name for tables that find a channel by its name or by the id of its record.
    pub(crate) fn of_name(&self, name: &str) -> u64 {
        self.of_id(self.hash(name))
    }

    /// The same by the id.
    pub(crate) fn of_id(&self, id: u64) -> u64 {
        self.0.hash_one(Self::key(id))
    }

    const fn key(hash: u64) -> u64 {
        hash & ((1 << Self::KEY_BITS) - 1)
    }

    const fn id(count: u64, hash: u64) -> u64 {
        count << Self::KEY_BITS | Self::key(hash)
    }
}

/// Every channel of this node, by name.
///
/// Lock order: part, then record, then inbox. A record is locked without its part; one that was taken out of
/// its part meanwhile says so (`dead`), and the name is looked up again.
pub(crate) struct Directory {
    parts: Box<[Mutex<HashTable<Arc<Channel>>>]>,
    pub(crate) names: Names,
    records: AtomicU64,
}

/// The record of a channel.
pub(crate) struct Channel {
    /// Never reused, so that an inbox entry of an earlier record is not taken for one of this. Its low bits are
    /// those of the name's hash, so that one table finds a channel by either; the others count.
    pub(crate) id: u64,
    pub(crate) name: Box<str>,
    state: Mutex<State>,
}

/// What the lock of a record guards. Holding it orders what happens in the channel.
pub(crate) struct State {
    /// Shards that hold subscribers.
    shards: u64,
    /// Subscribers on this node.
    pub(crate) subscribers: u32,
    /// Taken out of the directory.
    dead: bool,
    pub(crate) interest: Interest,
    /// What was queued in inboxes, or is reserved, and is not sent yet: lots, for each shard.
    unsent: u16,
    /// Counts deliveries: tells a subscriber what came before it.
    pub(crate) delivered: u64,
    /// The stream that the memory broker keeps here. Most channels have none, and every one pays for the size.
    pub(crate) stream: Option<Box<Stream>>,
}

impl State {
    pub(crate) fn is_idle(&self) -> bool {
        self.subscribers == 0 && self.shards == 0 && self.interest.is_none() && self.stream.is_none()
    }

    /// Sets or clears the bit of a shard.
    pub(crate) fn set_shard(&mut self, shard: u8, present: bool) {
        let bit = 1 << shard;
        self.shards = if present { self.shards | bit } else { self.shards & !bit };
    }

    /// The shards that hold subscribers.
    pub(crate) const fn shards(&self) -> impl Iterator<Item = usize> + use<> {
        Bits(self.shards)
    }

    pub(crate) fn has_shards(&self) -> bool {
        self.shards != 0
    }

    /// Whether something is queued and not sent yet.
    pub(crate) const fn has_unsent(&self) -> bool {
        self.unsent > 0
    }

    /// What the delivery of so many bytes to the present subscribers would cost. Subscribers are spread evenly over
    /// the shards, so that no count is kept for each.
    pub(crate) fn share(&self, admission: &Admission, bytes: usize) -> Share {
        let shards = self.shards.count_ones().max(1);
        Share {
            shards: self.shards,
            deliveries: 1 + self.subscribers.div_ceil(shards),
            lots: admission.lots(bytes),
        }
    }

    /// What keeps something of that cost from being queued. With nothing under way in its channel it has a reserve
    /// of room, and is never too large.
    pub(crate) fn blocked(&self, admission: &Admission, share: Share) -> Option<Block> {
        if self.shards == 0 {
            return None;
        }
        #[cfg(feature = "planted-faults")]
        if crate::sim::planted::holds(crate::sim::planted::Fault::Unbounded) {
            return None;
        }
        let first = self.unsent == 0;
        let full = !first && self.unsent.saturating_add(share.all_lots()) > share.all_shards(WINDOW);
        // What a shard held that has ended is never sent.
        if full
            && !share
                .shards()
                .any(|shard| admission.inboxes.get(shard).is_some_and(|inbox| inbox.is_closed()))
        {
            return Some(Block::Channel);
        }
        share
            .shards()
            .find(|shard| admission.inboxes.get(*shard).is_some_and(|inbox| !inbox.takes(first)))
            .map(Block::Shard)
    }

    /// Takes room for something that is to be queued soon.
    pub(crate) fn reserve(&mut self, admission: &Admission, share: Share) {
        self.unsent = self.unsent.saturating_add(share.all_lots());
        for inbox in share.shards().filter_map(|shard| admission.inboxes.get(shard)) {
            inbox.reserve(share.deliveries);
        }
    }

    /// Gives that room back.
    pub(crate) fn release(&mut self, admission: &Admission, share: Share) {
        self.sent(share.all_lots());
        for inbox in share.shards().filter_map(|shard| admission.inboxes.get(shard)) {
            inbox.done(0, share.deliveries);
        }
    }

    /// So many lots were sent by a shard.
    pub(crate) fn sent(&mut self, lots: u16) {
        self.unsent = self.unsent.saturating_sub(lots);
    }
}

/// Lots of one channel that each shard may have queued and not sent: publications of up to the size of a lot.
const WINDOW: u16 = 64;

/// What the delivery of one publication, join or leave costs each of these shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Share {
    shards: u64,
    /// Deliveries that each shard has to make, and one for the entry itself.
    pub(crate) deliveries: u32,
    /// Publications of usual size that it is worth.
    pub(crate) lots: u16,
}

impl Share {
    pub(crate) fn shards(self) -> impl Iterator<Item = usize> {
        Bits(self.shards)
    }

    const fn all_shards(self, lots: u16) -> u16 {
        // At most 64 shards.
        lots.saturating_mul(self.shards.count_ones() as u16)
    }

    const fn all_lots(self) -> u16 {
        self.all_shards(self.lots)
    }
}

impl Channel {
    /// Locks the record.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Puts a publication into the inbox of every interested shard. Returns the shards to wake once the lock
    /// is released.
    pub(crate) fn deliver(
        self: &Arc<Self>,
        state: &mut State,
        admission: &Admission,
        make: impl FnOnce(u64) -> Delivery,
    ) -> Wake {
        state.delivered += 1;
        if state.shards == 0 {
            return Wake(0);
        }
        let delivery = Arc::new(make(state.delivered));
        let share = state.share(admission, delivery.publication.weight());
        for shard in share.shards() {
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
        state: &mut State,
        admission: &Admission,
        info: &Arc<ClientInfo>,
        join: bool,
    ) -> Wake {
        let share = state.share(admission, 0);
        for shard in share.shards() {
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
pub(crate) struct Wake(u64);

impl Wake {
    pub(crate) const NOBODY: Self = Self(0);

    pub(crate) fn wake(self, inboxes: &[Arc<Inbox>]) {
        Bits(self.0).for_each(|shard| {
            if let Some(inbox) = inboxes.get(shard) {
                inbox.wake();
            }
        });
    }
}

/// The numbers of the set bits.
struct Bits(u64);

impl Iterator for Bits {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        if self.0 == 0 {
            return None;
        }
        let bit = self.0.trailing_zeros() as usize;
        self.0 &= self.0 - 1;
        Some(bit)
    }
}

impl Directory {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            parts: (0..PARTS).map(|_| Mutex::new(HashTable::new())).collect(),
            names: Names(FixedState::with_seed(seed)),
            records: AtomicU64::new(1),
        }
    }

    fn part(&self, hash: u64) -> &Mutex<HashTable<Arc<Channel>>> {
        // The table uses the top and the low bits of the hash; these are others.
        &self.parts[(hash >> 40) as usize % PARTS]
    }

    /// The record of a channel, if it has one.
    pub(crate) fn find(&self, name: &str) -> Option<Arc<Channel>> {
        let hash = self.names.hash(name);
        self.part(hash).lock().find(hash, |channel| *channel.name == *name).cloned()
    }

    /// The record of a channel, made if need be.
    fn find_or_create(&self, name: &str) -> Arc<Channel> {
        let hash = self.names.hash(name);
        let mut part = self.part(hash).lock();
        if let Some(channel) = part.find(hash, |channel| *channel.name == *name) {
            return Arc::clone(channel);
        }
        let channel = Arc::new(Channel {
            id: Names::id(self.records.fetch_add(1, Ordering::Relaxed), hash),
            name: name.into(),
            state: Mutex::new(State {
                shards: 0,
                subscribers: 0,
                dead: false,
                interest: Interest::default(),
                unsent: 0,
                delivered: 0,
                stream: None,
            }),
        });
        part.insert_unique(hash, Arc::clone(&channel), |other| self.names.hash(&other.name));
        channel
    }

    /// Runs `f` on the locked record of a channel, made if need be.
    pub(crate) fn with<T>(&self, name: &str, f: impl FnOnce(&Arc<Channel>, &mut State) -> T) -> T {
        loop {
            let channel = self.find_or_create(name);
            let mut state = channel.lock();
            if !state.dead {
                return f(&channel, &mut state);
            }
        }
    }

    /// Runs `f` on the locked record of a channel, if it has one.
    pub(crate) fn with_existing<T>(
        &self,
        name: &str,
        f: impl FnOnce(&Arc<Channel>, &mut State) -> T,
    ) -> Option<T> {
        let channel = self.find(name)?;
        let mut state = channel.lock();
        (!state.dead).then(|| f(&channel, &mut state))
    }

    /// Takes the record out if nothing uses it.
    pub(crate) fn release(&self, channel: &Arc<Channel>) {
        let hash = self.names.hash(&channel.name);
        let mut part = self.part(hash).lock();
        let mut state = channel.lock();
        if state.dead || !state.is_idle() {
            return;
        }
        state.dead = true;
        if let Ok(entry) = part.find_entry(hash, |other| Arc::ptr_eq(other, channel)) {
            entry.remove();
            if let Some(room) = fewer(part.len(), part.capacity()) {
                part.shrink_to(room, |other| self.names.hash(&other.name));
            }
        }
    }

    /// Records, and bytes of the tables that find them.
    #[cfg(test)]
    pub(crate) fn size(&self) -> (usize, usize) {
        let parts = self.parts.iter().map(|part| part.lock());
        parts.fold((0, 0), |(len, bytes), part| (len + part.len(), bytes + part.allocation_size()))
    }

    /// Channels with subscribers on this node, and how many each has. Walks the whole directory: for
    /// listings that someone asked for.
    pub(crate) fn occupied(&self, mut wanted: impl FnMut(&str) -> bool) -> Vec<(Box<str>, u32)> {
        let mut found = Vec::new();
        for part in &self.parts {
            for channel in part.lock().iter() {
                if wanted(&channel.name) {
                    let subscribers = channel.lock().subscribers;
                    if subscribers > 0 {
                        found.push((channel.name.clone(), subscribers));
                    }
                }
            }
        }
        found
    }
}
