//! Rate limits of one connection, on commands and bytes.
//!
//! Nothing is kept for connections of a node without such limits.

use crate::clock::Now;
use crate::config::{Bucket, RateLimits};
use spinward_wire::Request;
use std::ops::Range;
use std::time::Duration;

/// The limits of a node, and what each connection has used of them.
pub(super) struct Rates {
    buckets: Vec<Meter>,
    commands: Commands,
    bytes: Range<usize>,
    /// By slot: when each bucket would be full again, in nanoseconds of the monotonic clock.
    slots: Vec<Option<Box<[u64]>>>,
}

/// The buckets that a command takes from, beside those of all commands.
struct Commands {
    total: Range<usize>,
    subscribe: Range<usize>,
    unsubscribe: Range<usize>,
    publish: Range<usize>,
    history: Range<usize>,
    presence: Range<usize>,
    presence_stats: Range<usize>,
    refresh: Range<usize>,
    sub_refresh: Range<usize>,
    rpc: Range<usize>,
    other: Range<usize>,
}

/// A bucket as the generic cell rate algorithm has it: one number says when the next event would be on time.
#[derive(Clone, Copy)]
struct Meter {
    /// Nanoseconds.
    interval: u64,
    rate: u64,
}

impl Meter {
    /// Nanoseconds that so many events take.
    const fn time(self, events: u64) -> u64 {
        events.saturating_mul(self.interval) / self.rate
    }
}

impl Rates {
    /// `None` where nothing is limited.
    pub(super) fn new(limits: &RateLimits) -> Option<Self> {
        let mut buckets = Vec::new();
        let mut add = |wanted: &[Bucket]| {
            let begin = buckets.len();
            buckets.extend(wanted.iter().filter(|bucket| !bucket.interval.is_zero()).map(|bucket| Meter {
                interval: nanos(bucket.interval),
                // Nothing may come at all with 0, and the first event is far away.
                rate: u64::from(bucket.rate).max(1),
            }));
            begin..buckets.len()
        };
        let default = add(&limits.default);
        let mut own = |wanted: &Option<Vec<Bucket>>| wanted.as_ref().map_or(default.clone(), |own| add(own));
        let commands = Commands {
            subscribe: own(&limits.subscribe),
            unsubscribe: own(&limits.unsubscribe),
            publish: own(&limits.publish),
            history: own(&limits.history),
            presence: own(&limits.presence),
            presence_stats: own(&limits.presence_stats),
            refresh: own(&limits.refresh),
            sub_refresh: own(&limits.sub_refresh),
            rpc: own(&limits.rpc),
            total: own(&Some(limits.total.clone())),
            other: default.clone(),
        };
        let bytes = own(&Some(limits.bytes.clone()));
        (!buckets.is_empty()).then(|| Self { buckets, commands, bytes, slots: Vec::new() })
    }

    /// A connection begins, with all its buckets full.
    pub(super) fn open(&mut self, slot: u32) {
        let index = slot as usize;
        if self.slots.len() <= index {
            self.slots.resize_with(index + 1, || None);
        }
        self.slots[index] = Some(vec![0; self.buckets.len()].into_boxed_slice());
    }

    pub(super) fn close(&mut self, slot: u32) {
        if let Some(used) = self.slots.get_mut(slot as usize) {
            *used = None;
        }
    }

    /// Returns true if a command may be taken now. If so it counts.
    pub(super) fn admits(&mut self, slot: u32, request: &Request, now: Now) -> bool {
        let commands = &self.commands;
        let own = match request {
            Request::Connect(_) | Request::Ping => return true,
            Request::Subscribe(_) => &commands.subscribe,
            Request::Unsubscribe(_) => &commands.unsubscribe,
            Request::Publish(_) => &commands.publish,
            Request::History(_) => &commands.history,
            Request::Presence(_) => &commands.presence,
            Request::PresenceStats(_) => &commands.presence_stats,
            Request::Refresh(_) => &commands.refresh,
            Request::SubRefresh(_) => &commands.sub_refresh,
            Request::Rpc(_) => &commands.rpc,
            Request::Send(_) => &commands.other,
        };
        let Some(Some(used)) = self.slots.get_mut(slot as usize) else { return true };
        let now = nanos(Duration::from_millis(now.mono));
        let places = || own.clone().chain(commands.total.clone());
        let next = |place: usize, used: &[u64]| used[place].max(now) + self.buckets[place].time(1);
        if places().any(|place| next(place, used) > now + self.buckets[place].interval) {
            return false;
        }
        for place in places() {
            used[place] = next(place, used);
        }
        true
    }

    /// Counts received bytes. Returns the time until which nothing more may be read, in milliseconds of the monotonic
    /// clock, if it was too much.
    pub(super) fn received(&mut self, slot: u32, count: usize, now: Now) -> Option<u64> {
        let used = self.slots.get_mut(slot as usize)?.as_mut()?;
        let now = nanos(Duration::from_millis(now.mono));
        let mut until = now;
        for place in self.bytes.clone() {
            let Meter { interval, .. } = self.buckets[place];
            used[place] = used[place].max(now) + self.buckets[place].time(count as u64);
            until = until.max(used[place].saturating_sub(interval));
        }
        (until > now).then(|| until.div_ceil(1_000_000))
    }

    /// Until when nothing may be read from a connection, in milliseconds of the monotonic clock.
    pub(super) fn until(&self, slot: u32) -> u64 {
        let Some(Some(used)) = self.slots.get(slot as usize) else { return 0 };
        let places = self.bytes.clone();
        let until = places.map(|place| used[place].saturating_sub(self.buckets[place].interval)).max();
        until.unwrap_or(0).div_ceil(1_000_000)
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(mono: u64) -> Now {
        Now { mono, wall: 0 }
    }

    fn bucket(rate: u32) -> Vec<Bucket> {
        vec![Bucket { interval: Duration::from_secs(1), rate }]
    }

    fn publishes(rates: &mut Rates, slot: u32, count: usize, now: u64) -> usize {
        let publish = Request::Publish(Default::default());
        (0..count).filter(|_| rates.admits(slot, &publish, at(now))).count()
    }

    #[test]
    fn nothing_is_kept_where_nothing_is_limited() {
        assert!(Rates::new(&RateLimits::default()).is_none());
    }

    #[test]
    fn a_command_takes_from_its_own_buckets_and_from_the_total() {
        let limits = RateLimits {
            total: bucket(10),
            default: bucket(3),
            publish: Some(bucket(8)),
            ..RateLimits::default()
        };
        let mut rates = Rates::new(&limits).expect("something is limited");
        rates.open(0);
        rates.open(1);
        let rpc = Request::Rpc(Default::default());
        assert_eq!((0..20).filter(|_| rates.admits(0, &rpc, at(5_000))).count(), 3, "the default");
        assert_eq!(publishes(&mut rates, 0, 20, 5_000), 7, "what is left of the total");
        assert_eq!(publishes(&mut rates, 1, 20, 5_000), 8, "another connection has its own");
        assert_eq!(publishes(&mut rates, 1, 20, 5_500), 4, "half a second later");
        let connect = Request::Connect(Default::default());
        assert!((0..100).all(|_| rates.admits(0, &connect, at(5_000))));
        rates.close(1);
        rates.open(1);
        assert_eq!(publishes(&mut rates, 1, 20, 5_500), 8, "the next connection of the slot");
    }

    #[test]
    fn bytes_beyond_the_rate_are_waited_for() {
        let limits = RateLimits { bytes: bucket(10_000), ..RateLimits::default() };
        let mut rates = Rates::new(&limits).expect("something is limited");
        rates.open(0);
        assert_eq!(rates.received(0, 10_000, at(1_000)), None, "a burst of one interval");
        assert_eq!(rates.received(0, 5_000, at(1_000)), Some(1_500));
        assert_eq!(rates.until(0), 1_500);
        assert_eq!(rates.received(0, 10_000, at(60_000)), None);
    }
}
