//! Durations, counted in buckets.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Counts durations by upper bounds, in seconds and in ascending order.
pub(crate) struct Histogram<const N: usize> {
    bounds: &'static [f64; N],
    buckets: [AtomicU64; N],
    count: AtomicU64,
    micros: AtomicU64,
}

/// Counts of a histogram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Durations<const N: usize> {
    /// Durations up to each bound.
    pub(crate) buckets: [u64; N],
    /// All durations.
    pub(crate) count: u64,
    /// Their sum.
    pub(crate) sum: Duration,
}

impl<const N: usize> Histogram<N> {
    pub(crate) fn new(bounds: &'static [f64; N]) -> Self {
        let buckets = std::array::from_fn(|_| AtomicU64::new(0));
        Self { bounds, buckets, count: AtomicU64::new(0), micros: AtomicU64::new(0) }
    }

    /// Counts a duration.
    pub(crate) fn took(&self, duration: Duration) {
        self.count.fetch_add(1, Relaxed);
        self.micros.fetch_add(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX), Relaxed);
        let seconds = duration.as_secs_f64();
        if let Some(at) = self.bounds.iter().position(|bound| seconds <= *bound)
            && let Some(bucket) = self.buckets.get(at)
        {
            bucket.fetch_add(1, Relaxed);
        }
    }

    pub(crate) fn snapshot(&self) -> Durations<N> {
        let mut sum = 0;
        Durations {
            buckets: self.buckets.each_ref().map(|bucket| {
                sum += bucket.load(Relaxed);
                sum
            }),
            count: self.count.load(Relaxed),
            sum: Duration::from_micros(self.micros.load(Relaxed)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_counts_up_to_every_bound_above_it() {
        let histogram = Histogram::new(&[0.001, 0.05, 1.0]);
        for millis in [1, 30, 2_000] {
            histogram.took(Duration::from_millis(millis));
        }
        let counts = Durations { buckets: [1, 2, 2], count: 3, sum: Duration::from_millis(2_031) };
        assert_eq!(histogram.snapshot(), counts);
    }
}
