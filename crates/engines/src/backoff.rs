//! Pauses between attempts to reach a back end.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

/// The first pause, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// Pauses that double up to two seconds, each with jitter: many nodes that lost the same back end do not return to it
/// in one moment.
#[derive(Debug, Default)]
pub struct Backoff {
    attempts: u32,
}

impl Backoff {
    /// The pause before the next attempt: half of it is fixed, and half is random.
    #[must_use]
    pub fn pause(&mut self) -> Duration {
        let (first, longest) = PAUSES;
        let whole = first.saturating_mul(1 << self.attempts.min(16)).min(longest);
        self.attempts = self.attempts.saturating_add(1);
        // A new state has new keys; what an empty hasher of it ends with is as good as random here.
        let random = RandomState::new().build_hasher().finish() % 1_000;
        whole / 2 + (whole / 2).mul_f64(random as f64 / 1_000.0)
    }

    /// Begins with the shortest pause again, once the back end answers.
    pub fn reset(&mut self) {
        self.attempts = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_limit_and_start_over() {
        let mut backoff = Backoff::default();
        let pauses: Vec<_> = (0..40).map(|_| backoff.pause()).collect();
        assert!(pauses[0] <= PAUSES.0 && pauses[0] >= PAUSES.0 / 2);
        assert!(pauses[20..].iter().all(|pause| *pause <= PAUSES.1 && *pause >= PAUSES.1 / 2));
        backoff.reset();
        assert!(backoff.pause() <= PAUSES.0);
    }
}
