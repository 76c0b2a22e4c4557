//! The end of access. One small pure state, for connections and for subscriptions.

use crate::clock::Now;

/// The end of a login or of a subscription, in unix seconds.
///
/// Nothing clears it but a refresh that the application accepted. Expiry follows the wall clock; the timer that checks
/// it runs on the monotonic one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Expiry(i64);

/// State of a login or subscription.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Standing {
    Valid,
    /// Expired, and may still be refreshed.
    Grace,
    /// Over: nothing may be delivered.
    Over,
}

impl Expiry {
    pub(crate) const NEVER: Self = Self(0);

    /// Unix seconds; 0 is never. Negative numbers are long ago, not never.
    pub(crate) const fn at(unix: i64) -> Self {
        Self(unix)
    }

    /// Returns true if it had already expired when it was given.
    pub(crate) const fn is_past(self, now: Now) -> bool {
        self.0 != 0 && self.0 <= now.unix()
    }

    /// Seconds that are left, from 1 to a year: the `ttl` sent to the client. Absent when there is no end.
    pub(crate) fn ttl(self, now: Now) -> Option<u32> {
        // A year is the most that Centrifugo v6.9 sends: a client refreshes then, whatever is left.
        const YEAR: u32 = 365 * 24 * 3600;
        self.left(now).map(|left| left.min(YEAR))
    }

    /// Seconds that are left, at least 1. A subscribe reply contains all of them, as in Centrifugo v6.9.
    pub(crate) fn left(self, now: Now) -> Option<u32> {
        let left = self.0.saturating_sub(now.unix()).max(1);
        (self.0 != 0).then(|| u32::try_from(left).unwrap_or(u32::MAX))
    }

    pub(crate) const fn standing(self, now: Now, grace_ms: u64) -> Standing {
        if self.0 == 0 || now.wall < self.0.saturating_mul(1000) {
            Standing::Valid
        } else if now.wall < self.0.saturating_mul(1000).saturating_add(grace_ms as i64) {
            Standing::Grace
        } else {
            Standing::Over
        }
    }

    /// Returns the time to look again, on the monotonic clock; `u64::MAX` is never.
    pub(crate) const fn deadline(self, now: Now, grace_ms: u64) -> u64 {
        if self.0 == 0 {
            return u64::MAX;
        }
        let left = self.0.saturating_mul(1000).saturating_add(grace_ms as i64).saturating_sub(now.wall);
        if left <= 0 { now.mono } else { now.mono.saturating_add(left as u64) }
    }

    /// Returns the next time to ask whether it may go on: at the end, and at every multiple of `every_ms` after it. So
    /// it does not depend on what else happens in between, however often that is.
    pub(crate) const fn question(self, now: Now, every_ms: u64) -> u64 {
        let past = now.wall.saturating_sub(self.0.saturating_mul(1000));
        if self.0 == 0 || past < 0 {
            return self.deadline(now, 0);
        }
        now.mono.saturating_add(every_ms - past as u64 % every_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_come_at_their_times_whatever_happens_between() {
        let end = Expiry::at(100);
        assert_eq!(Expiry::NEVER.question(at(100, 0), 1_000), u64::MAX);
        for (now, next) in [(at(99, 400), 600), (at(100, 0), 1_000), (at(100, 999), 1), (at(107, 250), 750)] {
            assert_eq!(end.question(now, 1_000), now.mono + next, "{now:?}");
        }
    }

    const fn at(unix: i64, ms: i64) -> Now {
        Now { mono: 1_000_000, wall: unix * 1000 + ms }
    }

    #[test]
    fn stands_valid_then_in_grace_then_over() {
        let expiry = Expiry::at(100);
        assert_eq!(expiry.standing(at(99, 999), 25_000), Standing::Valid);
        assert_eq!(expiry.standing(at(100, 0), 25_000), Standing::Grace);
        assert_eq!(expiry.standing(at(124, 999), 25_000), Standing::Grace);
        assert_eq!(expiry.standing(at(125, 0), 25_000), Standing::Over);
    }

    #[test]
    fn never_is_only_zero() {
        assert_eq!(Expiry::NEVER.standing(at(i64::from(u32::MAX), 0), 0), Standing::Valid);
        assert_eq!(Expiry::at(-5).standing(at(0, 0), 0), Standing::Over);
        assert_eq!(Expiry::at(i64::MAX).standing(at(100, 0), 1), Standing::Valid);
    }

    #[test]
    fn ttl_counts_whole_seconds_and_never_says_zero() {
        assert_eq!(Expiry::at(110).ttl(at(100, 0)), Some(10));
        assert_eq!(Expiry::at(100).ttl(at(100, 0)), Some(1));
        assert_eq!(Expiry::NEVER.ttl(at(100, 0)), None);
    }

    #[test]
    fn ttl_is_a_year_at_most() {
        assert_eq!(Expiry::at(100 + 31_536_000).ttl(at(100, 0)), Some(31_536_000));
        assert_eq!(Expiry::at(101 + 31_536_000).ttl(at(100, 0)), Some(31_536_000));
        assert_eq!(Expiry::at(i64::MAX).ttl(at(100, 0)), Some(31_536_000));
        assert_eq!(Expiry::at(99 + 31_536_000).ttl(at(100, 0)), Some(31_535_999));
    }

    #[test]
    fn the_deadline_is_the_moment_that_standing_changes() {
        let expiry = Expiry::at(100);
        let now = at(90, 500);
        assert_eq!(expiry.deadline(now, 2_000), now.mono + 11_500);
        let then = Now { mono: now.mono + 11_500, wall: now.wall + 11_500 };
        assert_eq!(expiry.standing(then, 2_000), Standing::Over);
    }
}
