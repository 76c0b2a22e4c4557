//! The channel directory: one record for each channel that has a subscriber on this node or a stream in it.

use crate::capacity::reduced;
use crate::channel::record::{Channel, ChannelState, EngineId};
use foldhash::fast::FixedState;
use hashbrown::HashTable;
use parking_lot::Mutex;
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
/// its part meanwhile says so, and the name is looked up again.
pub(crate) struct Directory {
    parts: Box<[Mutex<HashTable<Arc<Channel>>>]>,
    pub(crate) names: Names,
    records: AtomicU64,
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
    fn find_or_create(&self, name: &str, engine: EngineId) -> Arc<Channel> {
        let hash = self.names.hash(name);
        let mut part = self.part(hash).lock();
        if let Some(channel) = part.find(hash, |channel| *channel.name == *name) {
            return Arc::clone(channel);
        }
        let channel = Arc::new(Channel::new(
            Names::id(self.records.fetch_add(1, Ordering::Relaxed), hash),
            name,
            engine,
        ));
        part.insert_unique(hash, Arc::clone(&channel), |other| self.names.hash(&other.name));
        channel
    }

    /// Runs `f` on the locked record of a channel, made with this engine if need be.
    pub(crate) fn with<T>(
        &self,
        name: &str,
        engine: EngineId,
        f: impl FnOnce(&Arc<Channel>, &mut ChannelState) -> T,
    ) -> T {
        loop {
            let channel = self.find_or_create(name, engine);
            let mut state = channel.lock();
            if state.engine.is_some() {
                return f(&channel, &mut state);
            }
        }
    }

    /// Runs `f` on the locked record of a channel, if it has one.
    pub(crate) fn with_existing<T>(
        &self,
        name: &str,
        f: impl FnOnce(&Arc<Channel>, &mut ChannelState) -> T,
    ) -> Option<T> {
        let channel = self.find(name)?;
        let mut state = channel.lock();
        (state.engine.is_some()).then(|| f(&channel, &mut state))
    }

    /// Takes the record out if nothing uses it.
    pub(crate) fn release(&self, channel: &Arc<Channel>) {
        let hash = self.names.hash(&channel.name);
        let mut part = self.part(hash).lock();
        let mut state = channel.lock();
        if state.engine.is_none() || !state.is_idle() {
            return;
        }
        state.engine = None;
        if let Ok(entry) = part.find_entry(hash, |other| Arc::ptr_eq(other, channel)) {
            entry.remove();
            if let Some(capacity) = reduced(part.len(), part.capacity()) {
                part.shrink_to(capacity, |other| self.names.hash(&other.name));
            }
        }
    }

    /// Records, and bytes of the tables that find them.
    #[cfg(test)]
    pub(crate) fn size(&self) -> (usize, usize) {
        let parts = self.parts.iter().map(|part| part.lock());
        parts.fold((0, 0), |(len, bytes), part| (len + part.len(), bytes + part.allocation_size()))
    }

    /// Channels of an engine that have subscribers on this node. Walks the whole directory: for an engine that has lost
    /// its connection.
    pub(crate) fn wanted(&self, engine: EngineId) -> Vec<Arc<str>> {
        let mut found = Vec::new();
        for part in &self.parts {
            for channel in part.lock().iter() {
                let state = channel.lock();
                if state.subscribers > 0 && state.engine == Some(engine) {
                    found.push(Arc::from(&*channel.name));
                }
            }
        }
        found
    }

    /// Channels with subscribers on this node, and how many each has. Walks the whole directory: for
    /// listings that someone asked for.
    pub(crate) fn occupied(&self, mut wanted: impl FnMut(&str) -> bool) -> Vec<(Box<str>, u32)> {
        let mut found = Vec::new();
        for part in &self.parts {
            for channel in part.lock().iter() {
                if wanted(&channel.name) {
                    let state = channel.lock();
                    if state.subscribers > 0 {
                        found.push((channel.name.clone(), state.subscribers));
                    }
                }
            }
        }
        found
    }
}
