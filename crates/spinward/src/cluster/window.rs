//! Numbers that were seen, so that a message is taken once.

/// Numbers below the highest one that are still told apart. A message that comes later than so many others of its
/// sender is taken for a repetition.
const WIDTH: u64 = 1024;
const WORDS: usize = (WIDTH / 64) as usize;

/// The numbers that were seen of one sender, in constant space.
#[derive(Debug, Default)]
pub(super) struct Window {
    highest: u64,
    /// One bit for each of the latest `WIDTH` numbers, at the number modulo `WIDTH`.
    seen: [u64; WORDS],
}

impl Window {
    /// Takes a number. Returns false if it was taken before, or is too old to know.
    pub(super) fn take(&mut self, number: u64) -> bool {
        if number > self.highest {
            let from = self.highest + 1;
            if number - self.highest >= WIDTH {
                self.seen = [0; WORDS];
            } else {
                // The bits of the numbers in between stood for numbers that are too old now.
                (from..number).for_each(|between| self.seen[word(between)] &= !bit(between));
            }
            self.highest = number;
            self.seen[word(number)] |= bit(number);
            return true;
        }
        if self.highest - number >= WIDTH || self.seen[word(number)] & bit(number) != 0 {
            return false;
        }
        self.seen[word(number)] |= bit(number);
        true
    }
}

const fn word(number: u64) -> usize {
    (number % WIDTH / 64) as usize
}

const fn bit(number: u64) -> u64 {
    1 << (number % 64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_edges_of_the_window() {
        let mut window = Window::default();
        assert!(window.take(WIDTH + 10));
        assert!(!window.take(10), "too old");
        assert!(window.take(11));
        assert!(!window.take(11));
        assert!(window.take(u64::MAX));
        assert!(!window.take(WIDTH + 10));
        assert!(window.take(u64::MAX - WIDTH + 1));
    }

    proptest! {
        /// A set of all numbers decides the same, as long as they are not too old.
        #[test]
        fn it_is_a_set_of_the_latest_numbers(steps in prop::collection::vec((0_u64..3_000, any::<bool>()), 1..300)) {
            let (mut window, mut all, mut at) = (Window::default(), BTreeSet::new(), 1_000);
            for (step, back) in steps {
                at = if back { u64::saturating_sub(at, step % 1_200).max(1) } else { at + step };
                let highest = all.last().copied().unwrap_or_default();
                let expected = at + WIDTH > highest && all.insert(at);
                prop_assert_eq!(window.take(at), expected, "{}", at);
            }
        }
    }
}
