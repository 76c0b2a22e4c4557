//! Numbers of connections by address.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv6Addr};

/// Addresses are spread over so many locks.
const PARTS: usize = 16;

/// Addresses of one part before those that have nothing are looked for.
const FIRST_SWEEP: usize = 64;

/// Unit of counting: an IPv4 address, or a /64 of IPv6, of which a host has as many addresses as it likes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key(IpAddr);

impl Key {
    pub(super) fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V6(address) => {
                let network = address.to_bits() & !u128::from(u64::MAX);
                Self(IpAddr::V6(Ipv6Addr::from_bits(network)))
            }
            v4 @ IpAddr::V4(_) => Self(v4),
        }
    }
}

/// Kinds of counts for an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Connection,
    Unauthenticated,
}

/// The addresses that have connections, or had one within the last second.
pub(super) struct Addresses {
    parts: [Mutex<Part>; PARTS],
    hasher: RandomState,
}

impl Default for Addresses {
    fn default() -> Self {
        Self { parts: Default::default(), hasher: RandomState::new() }
    }
}

#[derive(Default)]
struct Part {
    entries: HashMap<Key, Entry>,
    sweep_at: usize,
}

#[derive(Default)]
struct Entry {
    counts: [u32; 2],
    /// Time at which the next connection would be on time, in microseconds.
    on_time: u64,
}

impl Entry {
    const fn is_idle(&self, now: u64) -> bool {
        self.counts[0] == 0 && self.counts[1] == 0 && self.on_time <= now
    }
}

impl Addresses {
    fn part(&self, key: Key) -> &Mutex<Part> {
        &self.parts[self.hasher.hash_one(key) as usize % PARTS]
    }

    /// Counts one in, unless there are `limit` already. `now` is in milliseconds.
    pub(super) fn enter(&self, key: Key, kind: Kind, limit: u32, now: u64) -> bool {
        let mut part = self.part(key).lock();
        let count = &mut part.entry(key, now).counts[kind as usize];
        let fits = *count < limit;
        *count += u32::from(fits);
        fits
    }

    /// Admits `rate` connections of an address a second, with a burst of as many (generic cell rate algorithm).
    pub(super) fn on_time(&self, key: Key, rate: u32, now: u64) -> bool {
        let mut part = self.part(key).lock();
        let entry = part.entry(key, now);
        let now = now * 1000;
        let next = entry.on_time.max(now) + 1_000_000 / u64::from(rate.max(1));
        let admitted = next <= now + 1_000_000;
        if admitted {
            entry.on_time = next;
        }
        admitted
    }

    /// Counts one out.
    pub(super) fn leave(&self, key: Key, kind: Kind, now: u64) {
        let mut part = self.part(key).lock();
        if let Some(entry) = part.entries.get_mut(&key) {
            let count = &mut entry.counts[kind as usize];
            *count = count.saturating_sub(1);
            if entry.is_idle(now * 1000) {
                part.entries.remove(&key);
            }
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.parts.iter().map(|part| part.lock().entries.len()).sum()
    }
}

impl Part {
    /// The entry of an address. Those that have nothing any more are dropped whenever their number has doubled.
    fn entry(&mut self, key: Key, now: u64) -> &mut Entry {
        if self.entries.len() >= self.sweep_at.max(FIRST_SWEEP) {
            self.entries.retain(|_, entry| !entry.is_idle(now * 1000));
            self.sweep_at = self.entries.len() * 2;
        }
        self.entries.entry(key).or_default()
    }
}
