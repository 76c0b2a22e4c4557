//! Counts of a proxy's calls.

use super::failure::Failure;
use crate::session::{PROXY_BUCKETS as BUCKETS, ProxyCounts};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Counts of the calls of one proxy.
#[derive(Default)]
pub(super) struct Stats {
    buckets: [AtomicU64; BUCKETS.len()],
    calls: AtomicU64,
    micros: AtomicU64,
    in_flight: AtomicU64,
    failures: [AtomicU64; Failure::COUNT],
    headers_left_out: AtomicU64,
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
        self.calls.fetch_add(1, Relaxed);
        self.micros.fetch_add(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX), Relaxed);
        let seconds = duration.as_secs_f64();
        if let Some(at) = BUCKETS.iter().position(|bound| seconds <= *bound)
            && let Some(bucket) = self.buckets.get(at)
        {
            bucket.fetch_add(1, Relaxed);
        }
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
        let mut sum = 0;
        ProxyCounts {
            buckets: self.buckets.each_ref().map(|bucket| {
                sum += bucket.load(Relaxed);
                sum
            }),
            calls: self.calls.load(Relaxed),
            time: Duration::from_micros(self.micros.load(Relaxed)),
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
