//! Rate limits of users, over all of their connections on this node.

use crate::clock::Now;
use crate::config::{ChannelGroup, CommandLimits};
use crate::rates::{CommandMeters, Meters, are_full};
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use parking_lot::Mutex;
use spinward_wire::Request;
use std::hash::BuildHasher;
use std::sync::Arc;

const PARTS: usize = 16;
/// Users in a part before those with full buckets are looked for.
const FEW: usize = 64;

/// The limits of a node, and what each user has used of them.
pub(crate) struct UserRates {
    meters: Meters,
    commands: CommandMeters,
    hasher: FixedState,
    parts: [Mutex<Part>; PARTS],
}

/// Users whose buckets may not be full. Those with full buckets are dropped whenever their number has doubled, so that
/// there are at most twice as many as were active within the longest interval, and a few.
struct Part {
    used: HashMap<Arc<str>, Box<[u64]>, FixedState>,
    sweep_at: usize,
}

impl UserRates {
    /// `None` where nothing is limited.
    pub(crate) fn new(limits: &CommandLimits, group: Option<&ChannelGroup>, seed: u64) -> Option<Self> {
        let mut meters = Meters::default();
        let commands = CommandMeters::new(limits, group, &mut meters);
        let hasher = FixedState::with_seed(seed);
        let part = |_| Mutex::new(Part { used: HashMap::with_hasher(hasher.clone()), sweep_at: FEW });
        let parts = std::array::from_fn(part);
        (!meters.is_empty()).then_some(Self { meters, commands, hasher, parts })
    }

    /// Returns true if a command of this user may be taken now. If so it counts.
    pub(crate) fn admits(&self, user: &str, request: &Request, now: Now) -> bool {
        self.commands.of(request).is_none_or(|places| self.take(user, places, now))
    }

    /// Returns true if this user may log in now. If so it counts.
    pub(crate) fn admits_connect(&self, user: &str, now: Now) -> bool {
        self.take(user, self.commands.of_connect(), now)
    }

    fn take(&self, user: &str, places: impl Iterator<Item = usize> + Clone, now: Now) -> bool {
        if user.is_empty() {
            return true;
        }
        let part = &self.parts[(self.hasher.hash_one(user) >> 32) as usize % PARTS];
        let mut part = part.lock();
        if let Some(used) = part.used.get_mut(user) {
            return self.meters.take(used, places, now);
        }
        if part.used.len() >= part.sweep_at {
            part.used.retain(|_, used| !are_full(used, now));
            part.used.shrink_to(FEW);
            part.sweep_at = FEW.max(2 * part.used.len());
        }
        let mut used = self.meters.full();
        let admitted = self.meters.take(&mut used, places, now);
        part.used.insert(user.into(), used);
        admitted
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.parts.iter().map(|part| part.lock().used.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Bucket;
    use std::time::Duration;

    fn bucket(rate: u32) -> Vec<Bucket> {
        vec![Bucket { interval: Duration::from_secs(1), rate }]
    }

    const fn at(mono: u64) -> Now {
        Now { mono, wall: 0 }
    }

    #[test]
    fn each_user_has_its_own_and_nobody_has_none() {
        assert!(UserRates::new(&CommandLimits::default(), None, 1).is_none());
        let limits =
            CommandLimits { default: bucket(3), connect: Some(bucket(1)), ..CommandLimits::default() };
        let rates = UserRates::new(&limits, None, 1).expect("something is limited");
        let publish = Request::Publish(Default::default());
        let publishes = |user, now| (0..9).filter(|_| rates.admits(user, &publish, at(now))).count();
        assert_eq!((publishes("a", 5_000), publishes("b", 5_000), publishes("", 5_000)), (3, 3, 9));
        assert_eq!((publishes("a", 5_000), publishes("a", 5_700)), (0, 2));
        let connects = |user| (0..9).filter(|_| rates.admits_connect(user, at(5_700))).count();
        assert_eq!((connects("a"), connects("c"), connects("")), (1, 1, 9));
    }

    #[test]
    fn users_who_have_been_quiet_are_not_kept() {
        let limits = CommandLimits { default: bucket(3), ..CommandLimits::default() };
        let rates = UserRates::new(&limits, None, 1).expect("something is limited");
        let publish = Request::Publish(Default::default());
        for user in 0..100_000_u64 {
            // 100 a second, each of whom has full buckets again within the second.
            assert!(rates.admits(&user.to_string(), &publish, at(user * 10)));
        }
        assert!(rates.len() <= 2 * PARTS * FEW, "{}", rates.len());
    }
}
