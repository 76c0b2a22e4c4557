//! Record of what the publisher has published.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Shared by the publisher and those who check.
pub(super) struct Ledger {
    entries: Mutex<Entries>,
    pub(super) paused: AtomicBool,
    pub(super) over: AtomicBool,
    pub(super) repeated: AtomicU64,
}

struct Entries {
    /// Last accepted number of each channel.
    accepted: Vec<Option<u64>>,
    /// Channel and number of calls that were made again.
    twice: BTreeSet<(usize, u64)>,
}

impl Ledger {
    pub(super) fn new(channels: usize) -> Self {
        Self {
            entries: Mutex::new(Entries { accepted: vec![None; channels], twice: BTreeSet::new() }),
            paused: AtomicBool::new(false),
            over: AtomicBool::new(false),
            repeated: AtomicU64::new(0),
        }
    }

    pub(super) fn next(&self, channel: usize) -> u64 {
        self.accepted(channel).map_or(0, |last| last + 1)
    }

    pub(super) fn accepted(&self, channel: usize) -> Option<u64> {
        self.lock().accepted.get(channel).copied().flatten()
    }

    pub(super) fn accept(&self, channel: usize, number: u64) {
        if let Some(last) = self.lock().accepted.get_mut(channel) {
            *last = Some(number);
        }
    }

    /// The call was not answered: it may or may not have been done.
    pub(super) fn again(&self, channel: usize, number: u64) {
        self.repeated.fetch_add(1, Ordering::Relaxed);
        self.lock().twice.insert((channel, number));
    }

    pub(super) fn may_be_twice(&self, channel: usize, number: u64) -> bool {
        self.lock().twice.contains(&(channel, number))
    }

    pub(super) fn total(&self) -> u64 {
        self.lock().accepted.iter().flatten().map(|last| last + 1).sum()
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
