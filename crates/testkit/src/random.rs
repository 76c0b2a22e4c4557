//! Chance from a seed.

use spinward::id::Entropy;

/// Draws from a seeded sequence. Clones share it.
#[derive(Clone)]
pub struct Random(Entropy);

impl Random {
    /// The same draws for the same seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Entropy::seeded(seed))
    }

    /// A number below `bound`, which is taken for 1 if it is 0.
    #[must_use]
    pub fn below(&self, bound: usize) -> usize {
        (self.0.number() % bound.max(1) as u64) as usize
    }

    /// A number from `low` to `high`, both included.
    #[must_use]
    pub fn between(&self, low: usize, high: usize) -> usize {
        low + self.below(high - low + 1)
    }

    /// True in so many of 1,000 draws.
    #[must_use]
    pub fn permille(&self, count: usize) -> bool {
        self.below(1000) < count
    }

    /// One of these.
    ///
    /// # Panics
    /// There are none.
    #[must_use]
    pub fn one_of<'a, T>(&self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len())]
    }
}
