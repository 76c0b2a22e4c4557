//! Counts of a proxy's calls.

use super::failure::Failure;
use crate::histogram::Histogram;
use crate::session::{PROXY_BUCKETS as BUCKETS, ProxyCounts};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Counts of the calls of one proxy.
pub(super) struct Stats {
    durations: Histogram<{ BUCKETS.len() }>,
    in_flight: AtomicU64,
    failures: [AtomicU64; Failure::COUNT],
    headers_left_out: AtomicU64,
}

impl Default for Stats {
    fn default() -> Self {
        Self {
            durations: Histogram::new(&BUCKETS),
            in_flight: AtomicU64::new(0),
            failures: Default::default(),
            headers_left_out: AtomicU64::new(0),
        }
    }
}

/// A call under way. It counts until this is dropped.
pub(super) struct InFlight<'a>(&'a Stats);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Relaxed);
    }
}

impl Stats {
    /// A call begins.
    pub(super) fn begin(&self) -> InFlight<'_> {
        self.in_flight.fetch_add(1, Relaxed);
        InFlight(self)
    }

    /// A call has taken this long.
    pub(super) fn took(&self, duration: Duration) {
        self.durations.took(duration);
    }

    /// A request has no answer that could be used.
    pub(super) fn failed(&self, failure: Failure) {
        if let Some(count) = self.failures.get(failure.index()) {
            count.fetch_add(1, Relaxed);
        }
    }

    /// Headers were left out of a request.
    pub(super) fn left_out(&self, headers: u32) {
        if headers > 0 {
            self.headers_left_out.fetch_add(headers.into(), Relaxed);
        }
    }

    pub(super) fn snapshot(&self) -> ProxyCounts {
        let durations = self.durations.snapshot();
        ProxyCounts {
            buckets: durations.buckets,
            calls: durations.count,
            time: durations.sum,
            in_flight: self.in_flight.load(Relaxed),
            failures: Failure::KINDS
                .iter()
                .map(|failure| {
                    let count = self.failures.get(failure.index());
                    (failure.name(), count.map_or(0, |count| count.load(Relaxed)))
                })
                .collect(),
            headers_left_out: self.headers_left_out.load(Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_failures_are_counted() {
        let stats = Stats::default();
        stats.took(Duration::from_millis(1));
        stats.took(Duration::from_millis(30));
        stats.took(Duration::from_secs(60));
        stats.failed(Failure::Timeout);
        let flying = stats.begin();
        let counts = stats.snapshot();
        assert_eq!((counts.calls, counts.buckets[0], counts.buckets[1], counts.buckets[12]), (3, 0, 1, 2));
        assert_eq!(counts.time, Duration::from_millis(60_031));
        assert_eq!(counts.in_flight, 1);
        assert!(counts.failures.contains(&("timeout", 1)) && counts.failures.contains(&("connect", 0)));
        drop(flying);
        assert_eq!(stats.snapshot().in_flight, 0);
    }
}
