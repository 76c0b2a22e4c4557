//! The circuit breaker of a proxy: a back end that answers nothing is left alone for a while.
//!
//! A pure state machine. Times are milliseconds of the monotonic clock.

/// State of the breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Calls are made; so many in a row have failed.
    Closed { failed: u32 },
    /// No calls are made until this time, after so many openings in a row.
    Open { until: u64, opened: u32 },
    /// One call tries the back end. If it is not heard of until this time, another one may.
    HalfOpen { until: u64, opened: u32 },
}

/// Change made by the end of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Calls are no longer made.
    Opened,
    /// Calls are made again.
    Closed,
}

/// A circuit breaker.
#[derive(Clone, Debug)]
pub(super) struct Breaker {
    /// Failures in a row that open it; 0 never does.
    failures: u32,
    /// Time that it is open at first. It doubles with each probe that fails, up to [`Breaker::LONGEST`] times it.
    delay_ms: u64,
    /// Time after which a probe counts as lost.
    probe_ms: u64,
    state: State,
}

impl Breaker {
    /// The longest time that it is open, in multiples of the first one.
    const LONGEST: u64 = 16;

    /// A closed breaker.
    pub(super) const fn new(failures: u32, delay_ms: u64, probe_ms: u64) -> Self {
        Self { failures, delay_ms, probe_ms, state: State::Closed { failed: 0 } }
    }

    /// Returns true if a call that came now could not be made. Changes nothing.
    pub(super) const fn refuses(&self, now: u64) -> bool {
        match self.state {
            State::Closed { .. } => false,
            State::Open { until, .. } | State::HalfOpen { until, .. } => now < until,
        }
    }

    /// Takes up a call. Returns false if it must not be made. The first one after the delay is the probe.
    pub(super) const fn admits(&mut self, now: u64) -> bool {
        if self.refuses(now) {
            return false;
        }
        if let State::Open { opened, .. } | State::HalfOpen { opened, .. } = self.state {
            self.state = State::HalfOpen { until: now.saturating_add(self.probe_ms), opened };
        }
        true
    }

    /// Notes that the back end has answered, whatever it was.
    pub(super) const fn answered(&mut self) -> Option<Change> {
        let closed = matches!(self.state, State::Closed { .. });
        self.state = State::Closed { failed: 0 };
        if closed { None } else { Some(Change::Closed) }
    }

    /// Notes that there was no answer.
    pub(super) fn failed(&mut self, now: u64) -> Option<Change> {
        let opened = match self.state {
            State::Closed { failed } => {
                let failed = failed.saturating_add(1);
                self.state = State::Closed { failed };
                if self.failures == 0 || failed < self.failures {
                    return None;
                }
                0
            }
            // A call from before.
            State::Open { .. } => return None,
            State::HalfOpen { opened, .. } => opened,
        };
        let times = 1u64.checked_shl(opened).unwrap_or(Self::LONGEST).min(Self::LONGEST);
        let until = now.saturating_add(self.delay_ms.saturating_mul(times));
        self.state = State::Open { until, opened: opened.saturating_add(1) };
        (opened == 0).then_some(Change::Opened)
    }

    /// Returns true unless calls are made freely.
    pub(super) const fn is_open(&self) -> bool {
        !matches!(self.state, State::Closed { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened() -> Breaker {
        let mut breaker = Breaker::new(3, 1_000, 500);
        for now in [10, 20] {
            assert!(breaker.admits(now));
            assert_eq!(breaker.failed(now), None);
        }
        assert!(breaker.admits(30));
        assert_eq!(breaker.failed(30), Some(Change::Opened));
        breaker
    }

    #[test]
    fn failures_in_a_row_open_it() {
        let mut breaker = Breaker::new(2, 1_000, 500);
        assert_eq!(breaker.failed(1), None);
        assert_eq!(breaker.answered(), None);
        assert_eq!(breaker.failed(2), None, "one answer resets the count");
        assert!(!breaker.is_open() && breaker.admits(2));
        assert_eq!(breaker.failed(3), Some(Change::Opened));
        assert!(breaker.is_open() && !breaker.admits(3) && breaker.refuses(1_002));
    }

    #[test]
    fn one_probe_goes_out_after_the_delay() {
        let mut breaker = opened();
        assert!(!breaker.admits(1_029));
        assert!(breaker.admits(1_030), "the probe");
        assert!(!breaker.admits(1_031), "one at a time");
        assert_eq!(breaker.answered(), Some(Change::Closed));
        assert!(breaker.admits(1_032) && breaker.admits(1_032));
    }

    #[test]
    fn a_failed_probe_opens_it_for_twice_as_long() {
        let mut breaker = opened();
        let mut now = 1_030;
        for wait in [2_000, 4_000, 8_000, 16_000, 16_000, 16_000] {
            assert!(breaker.admits(now));
            assert_eq!(breaker.failed(now), None);
            assert!(breaker.refuses(now + wait - 1), "{wait}");
            assert!(!breaker.refuses(now + wait), "{wait}");
            now += wait;
        }
    }

    #[test]
    fn a_lost_probe_does_not_close_it_for_good() {
        let mut breaker = opened();
        assert!(breaker.admits(1_030));
        assert!(!breaker.admits(1_529));
        assert!(breaker.admits(1_530), "nobody has heard of the first");
    }

    #[test]
    fn late_failures_do_not_prolong_it() {
        let mut breaker = opened();
        assert_eq!(breaker.failed(900), None);
        assert!(breaker.admits(1_030));
    }

    #[test]
    fn it_can_be_off() {
        let mut breaker = Breaker::new(0, 1_000, 500);
        for now in 0..1_000 {
            assert_eq!(breaker.failed(now), None);
        }
        assert!(breaker.admits(1_000));
    }
}
