//! Recently used idempotency keys, with the results of their publishes.

use crate::engine::broker::{IDEMPOTENCY_TTL, Published};
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
    channel: Box<str>,
    key: Box<str>,
    position: Position,
    expires_at: u64,
}

impl Idempotency {
    /// Room for about 300,000 keys of 36 bytes in channels of 20: 1,000 such publishes a second.
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

    /// Returns the result of the first publish with this key, marked as suppressed.
    pub(crate) fn get(&mut self, channel: &str, key: &str, now_ms: u64) -> Option<Published> {
        self.forget_expired(now_ms, FEW);
        let entry = self.find(channel, key)?;
        (entry.expires_at > now_ms).then(|| Published { position: entry.position.clone(), suppressed: true })
    }

    /// Remembers what the first publish with this key did.
    ///
    /// A publish that was suppressed for its version leaves no trace, as in Centrifugo v6.9.
    pub(crate) fn put(&mut self, channel: &str, key: &str, published: &Published, now_ms: u64) {
        self.forget_expired(now_ms, FEW);
        let known = self.find(channel, key).is_some_and(|entry| entry.expires_at > now_ms);
        if published.suppressed || known {
            return;
        }
        let expires_at = now_ms.saturating_add(TTL_MS);
        let hash = hash(&self.hasher, channel, key);
        let number = self.first + self.queue.len() as u64;
        let entry = Entry {
            channel: channel.into(),
            key: key.into(),
            position: published.position.clone(),
            expires_at,
        };
        self.bytes += entry.weight();
        self.queue.push_back(entry);
        let (queue, first, hasher) = (&self.queue, self.first, &self.hasher);
        // An expired entry of this key may still wait for its turn to be forgotten: take its place.
        match self.numbers.find_mut(hash, |n| queue[at(first, *n)].is(channel, key)) {
            Some(taken) => *taken = number,
            None => {
                self.numbers.insert_unique(hash, number, |n| queue[at(first, *n)].hash(hasher));
            }
        }
        while self.bytes > self.max_bytes && self.forget_first() {}
    }

    /// Returns the time at which the next entry can be forgotten.
    pub(crate) fn next_due(&self) -> Option<u64> {
        Some(self.queue.front()?.expires_at)
    }

    fn find(&self, channel: &str, key: &str) -> Option<&Entry> {
        let hash = hash(&self.hasher, channel, key);
        let number = self.numbers.find(hash, |n| self.queue[at(self.first, *n)].is(channel, key))?;
        self.queue.get(at(self.first, *number))
    }

    /// Forgets at most `max` entries that have expired: no publish pays for a burst of five minutes ago.
    pub(crate) fn forget_expired(&mut self, now_ms: u64, max: usize) {
        for _ in 0..max {
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

    /// Leaves twice what is needed, and only below an eighth: constant cost on average.
    fn give_back(&mut self) {
        if self.queue.capacity() > 1024 && self.queue.len() < self.queue.capacity() / 8 {
            let room = 2 * self.queue.len();
            self.queue.shrink_to(room);
            let (queue, first, hasher) = (&self.queue, self.first, &self.hasher);
            self.numbers.shrink_to(room, |n| queue[at(first, *n)].hash(hasher));
        }
    }
}

impl Entry {
    fn is(&self, channel: &str, key: &str) -> bool {
        *self.channel == *channel && *self.key == *key
    }

    fn hash(&self, hasher: &FixedState) -> u64 {
        hash(hasher, &self.channel, &self.key)
    }

    /// Its share of the queue and the table (each up to half empty), and the two names with their allocations.
    fn weight(&self) -> usize {
        2 * (size_of::<Self>() + size_of::<u64>() + 1) + self.channel.len() + self.key.len() + 32
    }
}

fn hash(hasher: &FixedState, channel: &str, key: &str) -> u64 {
    hasher.hash_one((channel, key))
}

/// Entries leave from the front alone, so the place of an entry is how far its number is from the first.
fn at(first: u64, number: u64) -> usize {
    (number - first) as usize
}

/// Entries that a look-up forgets. Each publish adds one, so this keeps up.
const FEW: usize = 16;

const TTL_MS: u64 = IDEMPOTENCY_TTL.as_millis() as u64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::memory::stream::tests::config;
    use proptest::prelude::*;
    use std::collections::HashSet;

    fn published(offset: u64) -> Published {
        Published { position: Position { offset, epoch: "E".into() }, suppressed: false }
    }

    fn offset(known: Option<Published>) -> Option<u64> {
        known.map(|published| {
            assert!(published.suppressed);
            published.position.offset
        })
    }

    #[test]
    fn a_key_belongs_to_its_channel_for_five_minutes() {
        let mut keys = Idempotency::new(1, usize::MAX);
        keys.put("1", "i", &published(5), 1_000);
        assert_eq!(offset(keys.get("1", "i", 300_999)), Some(5));
        assert_eq!(keys.get("2", "i", 1_000), None);
        assert_eq!(keys.get("1", "", 1_000), None);
        assert_eq!(keys.get("1", "i", 301_000), None);
        assert_eq!(keys.bytes, 0, "what is expired is gone");
    }

    #[test]
    fn the_first_publish_counts() {
        let mut keys = Idempotency::new(1, usize::MAX);
        keys.put("1", "i", &published(5), 0);
        keys.put("1", "i", &published(6), 10);
        assert_eq!(offset(keys.get("1", "i", 10)), Some(5));
        assert_eq!(keys.get("1", "i", 300_000), None, "the second publish does not prolong it");
    }

    #[test]
    fn a_suppressed_publish_leaves_no_trace() {
        let mut keys = Idempotency::new(1, usize::MAX);
        keys.put("1", "i", &Published { suppressed: true, ..published(5) }, 0);
        assert_eq!(keys.get("1", "i", 0), None);
        assert_eq!(keys.bytes, 0);
    }

    #[test]
    fn a_burst_is_forgotten_in_small_steps_and_its_memory_given_back() {
        let mut keys = Idempotency::new(1, usize::MAX);
        for n in 0..20_000_u64 {
            keys.put(&(n % 7).to_string(), &n.to_string(), &published(n), 0);
        }
        assert_eq!(keys.get("0", "0", TTL_MS), None);
        assert!(keys.queue.len() > 19_000, "one call pays for a few");
        assert_eq!(
            keys.get(&(19_998 % 7).to_string(), "19998", TTL_MS),
            None,
            "expired, though it still waits"
        );
        // A key whose expired entry still waits is free again, and stays when that entry goes.
        keys.put(&(19_999 % 7).to_string(), "19999", &published(1), TTL_MS);
        for n in 0..2_000 {
            keys.get("9", "none", TTL_MS + n);
        }
        assert_eq!((keys.queue.len(), keys.numbers.len()), (1, 1));
        assert_eq!(offset(keys.get(&(19_999 % 7).to_string(), "19999", TTL_MS)), Some(1));
        assert!(keys.queue.capacity() <= 1024 && keys.numbers.capacity() <= 2048);
    }

    #[test]
    fn hashes_that_collide_are_told_apart() {
        // One table group, tags of seven bits: of ten thousand channels, many look the same to the table.
        let mut keys = Idempotency::new(1, usize::MAX);
        keys.put("0", "i", &published(1), 0);
        for channel in 1..10_000 {
            assert_eq!(keys.get(&channel.to_string(), "i", 0), None, "{channel}");
            assert_eq!(keys.get("0", &format!("i{channel}"), 0), None, "{channel}");
        }
    }

    #[test]
    fn no_two_pairs_are_taken_for_one() {
        // Pairs that would be one if channel and key were written one after the other.
        let mut keys = Idempotency::new(3, usize::MAX);
        let mut seen = HashSet::new();
        let mut state = 1_u64;
        for n in 0..200_000_u64 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let channel =
                format!("{}{}", ["", "_", ":", "1"][(state >> 12) as usize % 4], (state >> 33) % 500);
            let key = format!("{}{}", ["", "_", ":", "1"][(state >> 20) as usize % 4], (state >> 45) % 2_000);
            assert_eq!(
                keys.get(&channel, &key, 0).is_none(),
                seen.insert((channel.clone(), key.clone())),
                "{channel} {key}"
            );
            keys.put(&channel, &key, &published(n), 0);
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Wait(u64),
        Get(String, String),
        Put(String, String),
    }

    fn step() -> impl Strategy<Value = Step> {
        let pair = || ("[ab1]{0,2}", "[ab1]{0,3}");
        prop_oneof![
            1 => (0_u64..TTL_MS / 8).prop_map(Step::Wait),
            3 => pair().prop_map(|(channel, key)| Step::Get(channel, key)),
            3 => pair().prop_map(|(channel, key)| Step::Put(channel, key)),
        ]
    }

    /// Channel, key, offset, expiry and weight, oldest first.
    type Model = Vec<(String, String, u64, u64, usize)>;

    proptest! {
        #![proptest_config(config())]

        #[test]
        fn keys_do_what_a_plain_list_does(
            seed in any::<u64>(),
            max_bytes in prop_oneof![Just(usize::MAX), 0_usize..4_000],
            steps in prop::collection::vec(step(), 1..120),
        ) {
            let mut keys = Idempotency::new(seed, max_bytes);
            let mut model = Model::new();
            let mut now = 0;
            for (number, step) in steps.into_iter().enumerate() {
                let number = number as u64;
                match step {
                    Step::Wait(millis) => now += millis,
                    Step::Get(channel, key) => {
                        let expected = model.iter().find(|e| e.0 == channel && e.1 == key && e.3 > now);
                        prop_assert_eq!(offset(keys.get(&channel, &key, now)), expected.map(|e| e.2));
                    }
                    Step::Put(channel, key) => {
                        model.retain(|e| e.3 > now);
                        keys.put(&channel, &key, &published(number), now);
                        if !model.iter().any(|e| e.0 == channel && e.1 == key) {
                            let weight = 2 * (size_of::<Entry>() + 9) + channel.len() + key.len() + 32;
                            model.push((channel, key, number, now + TTL_MS, weight));
                        }
                        while model.iter().map(|e| e.4).sum::<usize>() > max_bytes {
                            model.remove(0);
                        }
                    }
                }
                prop_assert!(keys.bytes <= max_bytes);
                prop_assert_eq!(keys.bytes, keys.queue.iter().map(Entry::weight).sum::<usize>());
            }
        }
    }
}
