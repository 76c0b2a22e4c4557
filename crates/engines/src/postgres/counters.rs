//! Counters of the engines.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Counters of an engine since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Connections of the reader that were lost.
    pub reconnects: u64,
    /// Looks at the log.
    pub polls: u64,
    /// Rows read.
    pub rows: u64,
    /// Rows that could not be read and were dropped, as those that another program wrote.
    pub dropped: u64,
    /// Publishes that gave up waiting for the transaction of somebody else.
    pub blocked: u64,
    /// Attempts to remove what has expired that failed, as a transaction was in the way.
    pub cleanups_failed: u64,
    /// Age of the row that was delivered last at that time.
    pub lag: Duration,
    /// Age of the oldest transaction that has published and not ended, at the last cleanup, as far as the role may see
    /// it.
    pub oldest_transaction: Duration,
}

/// Counters. Durations are milliseconds.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) reconnects: AtomicU64,
    pub(super) polls: AtomicU64,
    pub(super) rows: AtomicU64,
    pub(super) dropped: AtomicU64,
    pub(super) blocked: AtomicU64,
    pub(super) cleanups_failed: AtomicU64,
    pub(super) lag: AtomicU64,
    pub(super) oldest_transaction: AtomicU64,
}

impl Counters {
    pub(super) fn add(counter: &AtomicU64, count: u64) {
        counter.fetch_add(count, Relaxed);
    }

    pub(super) fn set(gauge: &AtomicU64, millis: i64) {
        gauge.store(u64::try_from(millis).unwrap_or(0), Relaxed);
    }

    pub(super) fn counts(&self) -> Counts {
        let read = |counter: &AtomicU64| counter.load(Relaxed);
        Counts {
            reconnects: read(&self.reconnects),
            polls: read(&self.polls),
            rows: read(&self.rows),
            dropped: read(&self.dropped),
            blocked: read(&self.blocked),
            cleanups_failed: read(&self.cleanups_failed),
            lag: Duration::from_millis(read(&self.lag)),
            oldest_transaction: Duration::from_millis(read(&self.oldest_transaction)),
        }
    }
}
