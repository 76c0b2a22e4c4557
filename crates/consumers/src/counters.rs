//! Counters of a consumer.

use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Counts since the start, and the present lag.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Messages whose call had its effect.
    pub processed: u64,
    /// Messages skipped since they are no call.
    pub undecodable: u64,
    /// Messages skipped since their call was refused.
    pub refused: u64,
    /// Attempts of calls that failed and are made again.
    pub failed: u64,
    /// Failures of the source: lost connections, refused requests.
    pub source_errors: u64,
    /// Age of the oldest message that was taken up last in any partition; 0 where nothing waits.
    pub lag: Duration,
    /// The source is connected, and its messages are taken.
    pub up: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) processed: AtomicU64,
    pub(crate) undecodable: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) source_errors: AtomicU64,
    pub(crate) up: AtomicBool,
    lags: Mutex<BTreeMap<u64, Duration>>,
}

impl Counters {
    pub(crate) fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Relaxed);
    }

    /// Sets the lag of a partition.
    pub(crate) fn lag(&self, partition: u64, lag: Duration) {
        self.lags.lock().insert(partition, lag);
    }

    /// Forgets the lag of a partition that another node reads now.
    pub(crate) fn forget(&self, partition: u64) {
        self.lags.lock().remove(&partition);
    }

    pub(crate) fn counts(&self) -> Counts {
        Counts {
            processed: self.processed.load(Relaxed),
            undecodable: self.undecodable.load(Relaxed),
            refused: self.refused.load(Relaxed),
            failed: self.failed.load(Relaxed),
            source_errors: self.source_errors.load(Relaxed),
            lag: self.lags.lock().values().copied().max().unwrap_or_default(),
            up: self.up.load(Relaxed),
        }
    }
}
