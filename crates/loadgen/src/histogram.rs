//! A histogram of durations: 32 buckets an octave, so a quantile is off by 3 % at most.

const SUB: u32 = 5;

/// Counts of nanosecond values.
pub(crate) struct Histogram {
    counts: Vec<u64>,
    total: u64,
    max: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self::new()
    }
}

impl Histogram {
    pub(crate) fn new() -> Self {
        Self { counts: vec![0; 64 << SUB], total: 0, max: 0 }
    }

    pub(crate) fn record(&mut self, value: u64) {
        self.counts[bucket(value)] += 1;
        self.total += 1;
        self.max = self.max.max(value);
    }

    pub(crate) fn clear(&mut self) {
        self.counts.fill(0);
        self.total = 0;
        self.max = 0;
    }

    /// Value below or at which the given share of what was recorded lies; 0 when nothing was.
    pub(crate) fn quantile(&self, share: f64) -> u64 {
        let rank = (self.total as f64 * share).ceil() as u64;
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank && *count > 0 {
                return upper(index).min(self.max);
            }
        }
        self.max
    }

    pub(crate) fn max(&self) -> u64 {
        self.max
    }
}

fn bucket(value: u64) -> usize {
    if value < 1 << SUB {
        return value as usize;
    }
    let octave = 63 - value.leading_zeros();
    let within = (value >> (octave - SUB)) & ((1 << SUB) - 1);
    (((octave - SUB + 1) << SUB) as u64 + within) as usize
}

fn upper(index: usize) -> u64 {
    let index = index as u64;
    if index < 1 << SUB {
        return index;
    }
    let octave = (index >> SUB) - 1;
    let within = index & ((1 << SUB) - 1);
    (((1 << SUB) + within + 1) << octave) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_lies_within_its_bucket() {
        for value in (0..200_000).chain([u64::from(u32::MAX), 1 << 40, (1 << 40) - 1, u64::MAX / 3]) {
            let index = bucket(value);
            assert!(value <= upper(index), "{value}");
            assert!(index == 0 || value > upper(index - 1), "{value}");
        }
    }

    #[test]
    fn quantiles_are_close() {
        let mut h = Histogram::new();
        (1..=10_000).for_each(|v| h.record(v * 1000));
        for (share, want) in [(0.5, 5_000_000.0), (0.99, 9_900_000.0)] {
            let got = h.quantile(share) as f64;
            assert!((got / want - 1.0).abs() < 0.04, "{share}: {got}");
        }
    }
}
