//! The faults, and their order.

/// One fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fault {
    /// SIGKILL, and a start.
    Kill,
    /// SIGTERM, and a start.
    Terminate,
    /// SIGHUP, with another token key and the log file moved away.
    Reload,
    /// SIGSTOP, and SIGCONT a second or two later.
    Stop,
    /// No space for the revocation file for a while.
    DiskFull,
    /// Many logins at once, again and again.
    Storm,
    /// A flood of one kind.
    Flood(usize),
    /// Every second client is cut off.
    Cut,
}

/// Kinds of [`Fault::Flood`].
pub(super) const FLOODS: usize = 4;

/// Faults drawn from a seed.
pub(super) struct Draws {
    state: u64,
    /// Rest of the current round: each fault comes once in a round.
    round: Vec<Fault>,
}

impl Draws {
    pub(super) fn new(seed: u64) -> Self {
        Self { state: seed, round: Vec::new() }
    }

    /// The next fault. In each round the restarts come last, so that a process lives through all other faults
    /// before it is judged.
    pub(super) fn next(&mut self) -> Fault {
        if self.round.is_empty() {
            let flood = Fault::Flood(self.below(FLOODS));
            let mut others =
                vec![Fault::Reload, Fault::Stop, Fault::DiskFull, Fault::Storm, flood, Fault::Cut];
            self.round = vec![if self.below(2) == 0 { Fault::Kill } else { Fault::Terminate }];
            while !others.is_empty() {
                let at = self.below(others.len());
                self.round.push(others.swap_remove(at));
            }
        }
        self.round.pop().unwrap_or(Fault::Cut)
    }

    /// A number below `bound`, by SplitMix64.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % bound.max(1) as u64).unwrap_or(0)
    }
}

impl Fault {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Kill => "SIGKILL and start",
            Self::Terminate => "SIGTERM and start",
            Self::Reload => "SIGHUP with another key and a rotated log",
            Self::Stop => "SIGSTOP for a while",
            Self::DiskFull => "disk full under the revocation file",
            Self::Storm => "storm of logins",
            Self::Flood(_) => "flood",
            Self::Cut => "half of the clients cut off",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_faults_and_a_round_all_of_them() {
        let draw = |seed, count| {
            let mut draws = Draws::new(seed);
            (0..count).map(|_| draws.next()).collect::<Vec<_>>()
        };
        assert_eq!(draw(7, 50), draw(7, 50));
        assert_ne!(draw(7, 50), draw(8, 50));
        let round = draw(7, 7);
        for fault in [Fault::Reload, Fault::Stop, Fault::DiskFull, Fault::Storm, Fault::Cut] {
            assert!(round.contains(&fault), "{fault:?}");
        }
        assert!(matches!(round[6], Fault::Kill | Fault::Terminate));
    }
}
