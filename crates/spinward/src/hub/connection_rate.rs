//! Rate limit on new connections.

use crate::clock::Now;
use parking_lot::Mutex;

/// Admits `rate` events in any second, with a burst of as many.
///
/// The generic cell rate algorithm: one number says when the next event would be on time.
pub(crate) struct RateLimiter {
    rate: u32,
    /// Microseconds of the monotonic clock.
    on_time: Mutex<u64>,
}

impl RateLimiter {
    /// 0 means no limit.
    pub(crate) const fn new(rate: u32) -> Self {
        Self { rate, on_time: Mutex::new(0) }
    }

    pub(crate) fn admit(&self, now: Now) -> bool {
        if self.rate == 0 {
            return true;
        }
        let now = now.mono * 1000;
        let step = 1_000_000 / u64::from(self.rate);
        let mut on_time = self.on_time.lock();
        let next = (*on_time).max(now) + step;
        if next > now + 1_000_000 {
            return false;
        }
        *on_time = next;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(mono: u64) -> Now {
        Now { mono, wall: 0 }
    }

    #[test]
    fn a_rate_of_n_admits_n_a_second() {
        let rate = RateLimiter::new(10);
        assert_eq!((0..30).filter(|_| rate.admit(at(5_000))).count(), 10, "a burst of one second's worth");
        for second in 5..15 {
            let admitted = (1..=100).filter(|i| rate.admit(at(second * 1000 + i * 10))).count();
            assert_eq!(admitted, 10, "in the second after {second}");
        }
    }

    #[test]
    fn no_rate_is_no_limit() {
        let rate = RateLimiter::new(0);
        assert!((0..1000).all(|_| rate.admit(at(1))));
    }
}
