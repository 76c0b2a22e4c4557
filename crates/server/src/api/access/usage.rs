//! Use of keys by their names: counts, and the rate.

use super::super::method::METHODS;
use super::caller::Denied;
use parking_lot::Mutex;
use spinward::clock::Now;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Reasons why a call is denied.
const REASONS: [&str; 3] = ["method", "channel", "rate"];

/// Use of the keys of one name.
#[derive(Debug)]
pub(crate) struct Usage {
    name: Arc<str>,
    /// Calls by method, in the order of the list.
    calls: Box<[AtomicU64]>,
    denied: [AtomicU64; REASONS.len()],
    /// Time at which no call counts any longer, in nanoseconds of the monotonic clock: the generic cell rate algorithm.
    full_at: Mutex<u64>,
}

impl Usage {
    fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            calls: METHODS.iter().map(|_| AtomicU64::new(0)).collect(),
            denied: Default::default(),
            full_at: Mutex::new(0),
        }
    }

    /// The name of the keys.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) const fn name_shared(&self) -> &Arc<str> {
        &self.name
    }

    /// Counts a call of the method at this place of the list.
    pub(super) fn called(&self, method: usize) {
        if let Some(count) = self.calls.get(method) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts a call that was denied.
    pub(super) fn denied(&self, denied: &Denied) {
        let at = REASONS.iter().position(|reason| *reason == denied.reason());
        if let Some(count) = at.and_then(|at| self.denied.get(at)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Takes one of `rate` calls per second. All of them may come at once.
    pub(super) fn take(&self, rate: u32, now: Now) -> bool {
        const SECOND: u64 = 1_000_000_000;
        let now = now.mono.saturating_mul(1_000_000);
        let mut full_at = self.full_at.lock();
        let next = (*full_at).max(now).saturating_add(SECOND / u64::from(rate.max(1)));
        let there_is = next <= now.saturating_add(SECOND);
        if there_is {
            *full_at = next;
        }
        there_is
    }

    /// Calls by method, where there were any.
    pub(crate) fn calls(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = METHODS.iter().zip(&self.calls);
        counts
            .map(|(method, count)| (method.name, count.load(Ordering::Relaxed)))
            .filter(|(_, count)| *count > 0)
    }

    /// Denied calls by reason, where there were any.
    pub(crate) fn denials(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = REASONS.iter().zip(&self.denied);
        counts.map(|(reason, count)| (*reason, count.load(Ordering::Relaxed))).filter(|(_, count)| *count > 0)
    }
}

/// Use of all keys, by their names. It outlives reloads of the configuration.
#[derive(Clone, Debug, Default)]
pub(crate) struct Usages(Arc<Mutex<BTreeMap<String, Arc<Usage>>>>);

impl Usages {
    /// Returns the use of the keys of this name.
    pub(crate) fn of(&self, name: &str) -> Arc<Usage> {
        let mut all = self.0.lock();
        let usage = all.entry(name.to_owned()).or_insert_with(|| Arc::new(Usage::new(name)));
        Arc::clone(usage)
    }

    /// All of them, by name.
    pub(crate) fn all(&self) -> Vec<(String, Arc<Usage>)> {
        self.0.lock().iter().map(|(name, usage)| (name.clone(), Arc::clone(usage))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_holds_whenever_calls_come() {
        let usage = Usage::new("a");
        let at = |mono| Now { mono, wall: 0 };
        assert_eq!((0..20).filter(|_| usage.take(5, at(10_000))).count(), 5, "all of them at once");
        assert!(!usage.take(5, at(10_100)));
        assert!(usage.take(5, at(10_200)));
        assert!(!usage.take(5, at(10_200)));
        let taken = (10_200..=20_200).filter(|mono| usage.take(5, at(*mono))).count();
        assert_eq!(taken, 50);
        assert_eq!((0..20).filter(|_| usage.take(5, at(100_000))).count(), 5, "no more than a second's");
    }

    #[test]
    fn a_name_has_one_use() {
        let usages = Usages::default();
        usages.of("a").called(0);
        usages.of("a").called(0);
        assert_eq!(usages.of("a").calls().collect::<Vec<_>>(), [(METHODS[0].name, 2)]);
        assert_eq!(usages.all().len(), 1);
    }
}
