//! The pace at which connections come in: where they come faster, they wait for their turn.

use parking_lot::Mutex;
use spinward::clock::Now;
use std::time::Duration;

const NANOS: u64 = 1_000_000_000;

/// Turns of new connections, one after the other. Those who wait are as many as have their turn within the longest wait.
pub(super) struct Pace {
    /// Nanoseconds between two turns.
    interval: u64,
    /// Nanoseconds.
    longest: u64,
    /// The next turn that is free, in nanoseconds of the monotonic clock.
    next: Mutex<u64>,
}

impl Pace {
    /// So many turns a second. `None` without a limit, or where nobody may wait.
    pub(super) fn new(rate: u32, longest: Duration) -> Option<Self> {
        let longest = u64::try_from(longest.as_nanos()).unwrap_or(u64::MAX);
        (rate > 0 && longest > 0).then(|| Self {
            interval: NANOS / u64::from(rate),
            longest,
            next: Mutex::new(0),
        })
    }

    /// Takes the next turn if it has come.
    pub(super) fn take(&self, now: Now) -> bool {
        self.within(now, 0).is_some()
    }

    /// Takes the next turn. Returns the time until it comes, or `None` where that is too long.
    pub(super) fn wait(&self, now: Now) -> Option<Duration> {
        self.within(now, self.longest)
    }

    fn within(&self, now: Now, longest: u64) -> Option<Duration> {
        let now = now.mono.saturating_mul(NANOS / 1_000);
        let mut next = self.next.lock();
        // The clock counts milliseconds: turns within one of them come together, and none is lost.
        let turn = (*next).max(now.saturating_sub(NANOS / 1_000));
        let wait = turn.saturating_sub(now);
        if wait > longest {
            return None;
        }
        *next = turn + self.interval;
        Some(Duration::from_nanos(wait))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(mono: u64) -> Now {
        Now { mono, wall: 0 }
    }

    #[test]
    fn turns_keep_the_rate_and_nobody_waits_too_long() {
        let pace = Pace::new(100, Duration::from_millis(500)).unwrap();
        let waits: Vec<_> = (0..60).filter_map(|_| pace.wait(at(1_000))).collect();
        // One millisecond of the clock is as good as no wait.
        assert_eq!(waits.len(), 51);
        assert!(waits.windows(2).skip(1).all(|pair| pair[1] - pair[0] == Duration::from_millis(10)));
        assert_eq!(pace.wait(at(1_000)), None);
        assert!(!pace.take(at(1_400)));
        assert!(pace.wait(at(1_400)).is_some());
        assert!(pace.take(at(10_000)));
    }

    #[test]
    fn a_fast_rate_is_kept_by_a_clock_of_milliseconds() {
        let pace = Pace::new(5_000, Duration::from_secs(1)).unwrap();
        let taken = (0..1_000).map(|ms| (0..20).filter(|_| pace.take(at(ms))).count()).sum::<usize>();
        assert!((4_990..=5_010).contains(&taken), "{taken}");
    }

    #[test]
    fn without_a_limit_there_are_no_turns() {
        assert!(Pace::new(0, Duration::from_secs(1)).is_none());
        assert!(Pace::new(1, Duration::ZERO).is_none());
    }
}
