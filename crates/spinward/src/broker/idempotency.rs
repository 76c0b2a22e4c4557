//! Which idempotency keys were used lately, and what came of it.

use super::{IDEMPOTENCY_TTL, Published};
use crate::publication::Position;
use foldhash::fast::FixedState;
use hashbrown::HashTable;
use std::collections::VecDeque;
use std::hash::BuildHasher;
use std::mem::size_of;

/// Idempotency keys of the last five minutes.
///
/// A key belongs to its channel: the two are kept and compared apart, so that no pair can pass for another.
///
/// Memory is bounded by age and by bytes; where the bytes do not suffice, the oldest keys are forgotten early,
/// and a repeat of one of them is then published again.
///
/// To look up and to insert are two calls: both belong under the lock of the channel, with the publish between.
pub(crate) struct Idempotency {
    hasher: FixedState,
    /// In the order of insertion, which is the order of expiry.
    queue: VecDeque<Entry>,
    /// Numbers of entries by the hash of channel and key. Only the last of several entries with the same key
    /// is here.
    numbers: HashTable<u64>,
    /// The number of the entry at the front of the queue.
    first: u64,
    bytes: usize,
    max_bytes: usize,
}

struct Entry {
    channel_id: u64,
    key: Box<str>,
    position: Position,
    expires_at: u64,
}

impl Idempotency {
    /// Room for about 400,000 keys of 36 bytes: 1,300 such publishes a second.
    pub(crate) const DEFAULT_MAX_BYTES: usize = 64 << 20;

    /// Remembers nothing yet. The seed is that of its hash table.
    pub(crate) fn new(seed: u64, max_bytes: usize) -> Self {
        Self {
            hasher: FixedState::with_seed(seed),
            queue: VecDeque::new(),
            numbers: HashTable::new(),
            first: 0,
            bytes: 0,
            max_bytes,
        }
    }

    /// What the first publish with this key did; it is suppressed now.
    pub(crate) fn get(&mut self, channel_id: u64, key: &str, now_ms: u64) -> Option<Published> {
        self.forget_expired(now_ms);
        let entry = self.find(channel_id, key)?;
        (entry.expires_at > now_ms).then(|| Published { position: entry.position.clone(), suppressed: true })
    }

    /// Remembers what the first publish with this key did, and answers when the key will be forgotten. The
    /// channel must keep its id until then.
    ///
    /// A publish that was suppressed for its version leaves no trace here (as in Centrifugo v6.9).
    pub(crate) fn put(&mut self, channel_id: u64, key: &str, published: &Published, now_ms: u64) -> u64 {
        self.forget_expired(now_ms);
        if let Some(entry) = self.find(channel_id, key)
            && entry.expires_at > now_ms
        {
            return entry.expires_at;
        }
        let expires_at = now_ms.saturating_add(TTL_MS);
        let hash = hash(&self.hasher, channel_id, key);
        let number = self.first + self.queue.len() as u64;
        let entry = Entry { channel_id, key: key.into(), position: published.position.clone(), expires_at };
        self.bytes += entry.weight();
        self.queue.push_back(entry);
        let (queue, first, hasher) = (&self.queue, self.first, &self.hasher);
        // An expired entry of this key may still wait for its turn to be forgotten: take its place.
        match self.numbers.find_mut(hash, |n| queue[at(first, *n)].is(channel_id, key)) {
            Some(taken) => *taken = number,
            None => {
                self.numbers.insert_unique(hash, number, |n| queue[at(first, *n)].hash(hasher));
            }
        }
        while self.bytes > self.max_bytes && self.forget_first() {}
        expires_at
    }

    /// Bytes held, about.
    pub(crate) const fn weight(&self) -> usize {
        self.bytes
    }

    fn find(&self, channel_id: u64, key: &str) -> Option<&Entry> {
        let hash = hash(&self.hasher, channel_id, key);
        let number = self.numbers.find(hash, |n| self.queue[at(self.first, *n)].is(channel_id, key))?;
        self.queue.get(at(self.first, *number))
    }

    /// Forgets a few entries at most, so that no publish pays for a burst of five minutes ago. Each publish
    /// adds one, so this still keeps up.
    fn forget_expired(&mut self, now_ms: u64) {
        for _ in 0..16 {
            if !(self.queue.front().is_some_and(|entry| entry.expires_at <= now_ms) && self.forget_first()) {
                break;
            }
        }
    }

    fn forget_first(&mut self) -> bool {
        let Some(entry) = self.queue.front() else { return false };
        let hash = entry.hash(&self.hasher);
        let first = self.first;
        if let Ok(found) = self.numbers.find_entry(hash, |n| *n == first) {
            found.remove();
        }
        self.bytes -= entry.weight();
        self.queue.pop_front();
        self.first += 1;
        self.give_back();
        true
    }

    /// Halving below an eighth keeps the cost constant on average.
    fn give_back(&mut self) {
        if self.queue.capacity() > 1024 && self.queue.len() < self.queue.capacity() / 8 {
            let half = self.queue.capacity() / 2;
            self.queue.shrink_to(half);
            let (queue, first, hasher) = (&self.queue, self.first, &self.hasher);
            self.numbers.shrink_to(half, |n| queue[at(first, *n)].hash(hasher));
        }
    }
}

impl Entry {
    fn is(&self, channel_id: u64, key: &str) -> bool {
        self.channel_id == channel_id && *self.key == *key
    }

    fn hash(&self, hasher: &FixedState) -> u64 {
        hash(hasher, self.channel_id, &self.key)
    }

    /// Its share of the queue and the table (each up to half empty), and the key with its allocation.
    fn weight(&self) -> usize {
        2 * (size_of::<Self>() + size_of::<u64>() + 1) + self.key.len() + 16
    }
}

fn hash(hasher: &FixedState, channel_id: u64, key: &str) -> u64 {
    hasher.hash_one((channel_id, key))
}

/// Entries leave from the front alone, so the place of an entry is how far its number is from the first.
fn at(first: u64, number: u64) -> usize {
    (number - first) as usize
}

const TTL_MS: u64 = IDEMPOTENCY_TTL.as_millis() as u64;
