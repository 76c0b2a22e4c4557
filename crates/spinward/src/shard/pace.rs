//! Time limit of one part of a turn, so that the others have theirs.

use crate::clock::Clock;

/// Microseconds that a part of a turn may take. A unit of work that has begun is done to its end.
const PART: u64 = 3_000;
/// The clock is looked at once in about so much work, in the unit of [`super::work::TURN`].
const LOOK: usize = 32 << 10;

/// Bounds one part of a turn by time.
///
/// The pure core bounds work by counting it, so that a simulation repeats. Counting only knows what a unit costs on
/// some machine with some application, so the driver looks at a clock as well.
pub(super) struct Pace {
    clock: Clock,
    until: u64,
    left: usize,
}

impl Pace {
    pub(super) fn new(clock: &Clock) -> Self {
        Self { clock: clock.clone(), until: clock.micros() + PART, left: LOOK }
    }

    /// Counts work done. Returns true if the part may go on.
    pub(super) fn may_go_on(&mut self, done: usize) -> bool {
        if done < self.left {
            self.left -= done;
            return true;
        }
        self.left = LOOK;
        self.clock.micros() < self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Now;

    #[test]
    fn a_part_ends_once_its_time_is_over() {
        let clock = Clock::manual(Now { mono: 1_000, wall: 0 });
        let mut pace = Pace::new(&clock);
        assert!((0..1_000).all(|_| pace.may_go_on(LOOK / 4)), "the clock stands still");
        clock.advance(PART.div_ceil(1_000));
        let more = (0..1_000).take_while(|_| pace.may_go_on(LOOK / 4)).count();
        assert!(more <= 4, "it went on for {more} units");
        assert!(Pace::new(&clock).may_go_on(LOOK), "the next part has its own time");
    }
}
