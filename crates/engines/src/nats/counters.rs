//! Counters of an engine on NATS.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counters of an engine since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Connections made after the first one.
    pub reconnects: u64,
    /// Attempts to connect that failed.
    pub failed_connects: u64,
    /// Times that deliveries may have been lost and the node was told.
    pub gaps: u64,
    /// Messages dropped because a queue was full.
    pub dropped: u64,
    /// Messages dropped because they came late: a newer one of the same sender or stream was delivered before.
    pub late: u64,
    /// Messages that could not be understood.
    pub malformed: u64,
    /// Calls that failed.
    pub errors: u64,
    /// Publishes that were tried again because another node published to the channel at the same time.
    pub conflicts: u64,
}

/// The counters behind [`Counts`].
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) reconnects: Counter,
    pub(super) failed_connects: Counter,
    pub(super) gaps: Counter,
    pub(super) dropped: Counter,
    pub(super) late: Counter,
    pub(super) malformed: Counter,
    pub(super) errors: Counter,
    pub(super) conflicts: Counter,
}

/// One number that only grows.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn bump(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    fn value(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

impl Counters {
    pub(super) fn snapshot(&self) -> Counts {
        Counts {
            reconnects: self.reconnects.value(),
            failed_connects: self.failed_connects.value(),
            gaps: self.gaps.value(),
            dropped: self.dropped.value(),
            late: self.late.value(),
            malformed: self.malformed.value(),
            errors: self.errors.value(),
            conflicts: self.conflicts.value(),
        }
    }
}
