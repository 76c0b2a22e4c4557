//! Common parts of the reports to the back end: pauses between repetitions, and the lines about events that were dropped.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// The first pause after a failed request and the longest, in milliseconds.
const PAUSES_MS: (u64, u64) = (100, 20_000);

/// Least time between two lines of the log about dropped events, in milliseconds.
const QUIET_MS: u64 = 10_000;

/// Returns the pause after so many failures, in milliseconds: it doubles, and half of it is random.
pub(super) fn pause(failures: u32, random: u64) -> u64 {
    let (first, longest) = PAUSES_MS;
    let whole = first.saturating_mul(1 << failures.min(16)).min(longest);
    whole / 2 + random % (whole / 2 + 1)
}

/// Sleeps; for ever, where the time is longer than timers can count.
pub(super) async fn sleep(time: Duration) {
    if time == Duration::MAX {
        std::future::pending::<()>().await;
    }
    tokio::time::sleep(time).await;
}

/// Dropped events that the operator was told of.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// Time of the last line, plus one; 0 before the first.
    at: AtomicU64,
    dropped: AtomicU64,
}

impl Told {
    /// Returns the number of events dropped since the last line, if it is time for another.
    pub(super) fn due(&self, dropped: u64, now: u64) -> Option<u64> {
        let (before, last) = (self.dropped.load(Relaxed), self.at.load(Relaxed));
        if dropped == before || last > 0 && now < last - 1 + QUIET_MS {
            return None;
        }
        self.at.store(now + 1, Relaxed);
        self.dropped.store(dropped, Relaxed);
        Some(dropped - before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        for (failures, whole) in [(0, 100), (1, 200), (5, 3_200), (8, 20_000), (u32::MAX, 20_000)] {
            assert_eq!(pause(failures, 0), whole / 2);
            assert_eq!(pause(failures, whole / 2), whole);
            assert_eq!(pause(failures, whole / 2 + 1), whole / 2);
        }
    }

    #[test]
    fn dropped_events_are_told_once_in_a_while() {
        let told = Told::default();
        assert_eq!(told.due(0, 0), None);
        assert_eq!(told.due(3, 5), Some(3));
        assert_eq!(told.due(4, 10_004), None);
        assert_eq!(told.due(5, 10_005), Some(2));
        assert_eq!(told.due(5, 30_000), None);
    }
}
