//! The record of a channel: what all shards share of it, under its lock.

use crate::engine::interest::InterestState;
use crate::engine::memory::stream::Stream;
use parking_lot::{Mutex, MutexGuard};
use std::num::NonZeroU8;

/// The record of a channel.
pub(crate) struct Channel {
    /// Never reused, so that an inbox entry of an earlier record is not taken for one of this. Its low bits are
    /// those of the name's hash, so that one table finds a channel by either; the others count.
    pub(crate) id: u64,
    pub(crate) name: Box<str>,
    pub(crate) kind: Kind,
    state: Mutex<ChannelState>,
}

/// Kind of a channel. It decides what its data are, in the engine and in each shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Publications in their order, with or without history.
    Stream,
}

/// Fields guarded by the lock of a record. Holding it orders what happens in the channel.
#[derive(Default)]
pub(crate) struct ChannelState {
    /// Shards that hold subscribers.
    pub(crate) shards: ShardSet,
    /// Subscribers on this node.
    pub(crate) subscribers: u32,
    /// `None` once the record was taken out of the directory.
    pub(super) engine: Option<EngineId>,
    pub(crate) interest: InterestState,
    /// Lots that are queued in inboxes, or reserved, and not sent yet, of all shards together.
    pub(crate) unsent: u16,
    /// Counts deliveries: tells a subscriber what came before it.
    pub(crate) delivered: u64,
    /// The stream that the memory broker keeps here. Most channels have none, and every one pays for the size.
    pub(crate) stream: Option<Box<Stream>>,
}

impl Channel {
    /// A record that nothing uses yet.
    pub(super) fn new(id: u64, name: &str, engine: EngineId) -> Self {
        let state = ChannelState { engine: Some(engine), ..ChannelState::default() };
        Self { id, name: name.into(), kind: Kind::Stream, state: Mutex::new(state) }
    }

    /// Locks the record.
    pub(crate) fn lock(&self) -> MutexGuard<'_, ChannelState> {
        self.state.lock()
    }
}

/// An engine of a node, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EngineId(NonZeroU8);

impl EngineId {
    /// The engine of every channel for which the application names no other.
    pub(crate) const DEFAULT: Self = Self(NonZeroU8::MIN);

    /// The engine at a place in the list; `None` where there are too many.
    pub(crate) fn at(place: usize) -> Option<Self> {
        NonZeroU8::MIN.checked_add(u8::try_from(place).ok()?).map(Self)
    }

    /// Returns its place in the list.
    pub(crate) const fn place(self) -> usize {
        self.0.get() as usize - 1
    }
}

impl ChannelState {
    /// Returns the engine that was chosen when the record was made.
    pub(crate) fn engine(&self) -> EngineId {
        self.engine.unwrap_or(EngineId::DEFAULT)
    }

    /// Returns true if nothing uses the record.
    pub(crate) fn is_idle(&self) -> bool {
        self.subscribers == 0 && self.shards.is_empty() && self.interest.is_none() && self.stream.is_none()
    }

    /// So many lots were sent by a shard.
    pub(crate) fn sent(&mut self, lots: u16) {
        self.unsent = self.unsent.saturating_sub(lots);
    }
}

/// A set of shards, by number: a node has at most 64.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ShardSet(u64);

impl ShardSet {
    pub(crate) const EMPTY: Self = Self(0);

    pub(crate) const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Returns the number of shards in the set.
    pub(crate) const fn len(self) -> u32 {
        self.0.count_ones()
    }

    /// Adds a shard, or takes it out.
    pub(crate) const fn set(&mut self, shard: u8, present: bool) {
        let bit = 1 << shard;
        self.0 = if present { self.0 | bit } else { self.0 & !bit };
    }

    /// The numbers of the shards, in order.
    pub(crate) fn iter(self) -> impl Iterator<Item = usize> + use<> {
        let mut left = self.0;
        std::iter::from_fn(move || {
            let shard = left.trailing_zeros();
            left &= left.checked_sub(1)?;
            Some(shard as usize)
        })
    }
}
