//! Rate limits of one connection, on commands, bytes and errors.
//!
//! Nothing is kept for connections of a node without such limits.

use crate::clock::Now;
use crate::config::RateLimits;
use crate::rates::{CommandMeters, Meters};
use spinward_wire::Request;
use std::ops::Range;

/// The limits of a node, and what each connection has used of them.
pub(super) struct Rates {
    meters: Meters,
    commands: CommandMeters,
    bytes: Range<usize>,
    errors: Range<usize>,
    /// By slot.
    slots: Vec<Option<Box<[u64]>>>,
}

impl Rates {
    /// `None` where nothing is limited.
    pub(super) fn new(limits: &RateLimits) -> Option<Self> {
        let mut meters = Meters::default();
        let commands = CommandMeters::new(&limits.commands, limits.channel_group.as_ref(), &mut meters);
        let (bytes, errors) = (meters.add(&limits.bytes), meters.add(&limits.errors));
        (!meters.is_empty()).then(|| Self { meters, commands, bytes, errors, slots: Vec::new() })
    }

    /// A connection begins, with all its buckets full.
    pub(super) fn open(&mut self, slot: u32) {
        let index = slot as usize;
        if self.slots.len() <= index {
            self.slots.resize_with(index + 1, || None);
        }
        self.slots[index] = Some(self.meters.full());
    }

    pub(super) fn close(&mut self, slot: u32) {
        if let Some(used) = self.slots.get_mut(slot as usize) {
            *used = None;
        }
    }

    /// Returns true if a command may be taken now. If so it counts.
    pub(super) fn admits(&mut self, slot: u32, request: &Request, now: Now) -> bool {
        let Some(places) = self.commands.of(request) else { return true };
        let Some(Some(used)) = self.slots.get_mut(slot as usize) else { return true };
        self.meters.take(used, places, now)
    }

    /// Counts replies with an error. Returns false if there were too many.
    pub(super) fn admits_errors(&mut self, slot: u32, count: u32, now: Now) -> bool {
        let Some(Some(used)) = self.slots.get_mut(slot as usize) else { return true };
        (0..count).all(|_| self.meters.take(used, self.errors.clone(), now))
    }

    /// Counts received bytes. Returns the time until which nothing more may be read, in milliseconds of the monotonic
    /// clock, if it was too much.
    pub(super) fn received(&mut self, slot: u32, count: usize, now: Now) -> Option<u64> {
        let used = self.slots.get_mut(slot as usize)?.as_mut()?;
        self.meters.overdraw(used, self.bytes.clone(), count, now);
        let until = self.meters.settled(used, self.bytes.clone());
        (until > now.mono).then_some(until)
    }

    /// Until when nothing may be read from a connection, in milliseconds of the monotonic clock.
    pub(super) fn until(&self, slot: u32) -> u64 {
        let Some(Some(used)) = self.slots.get(slot as usize) else { return 0 };
        self.meters.settled(used, self.bytes.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Bucket, CommandLimits};
    use std::time::Duration;

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
        let commands = CommandLimits {
            total: bucket(10),
            default: bucket(3),
            publish: Some(bucket(8)),
            ..CommandLimits::default()
        };
        let limits = RateLimits { commands, ..RateLimits::default() };
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

    #[test]
    fn a_method_has_its_own_buckets() {
        let commands = CommandLimits {
            total: bucket(12),
            rpc: Some(bucket(5)),
            rpc_methods: [("slow".to_owned(), bucket(1)), ("free".to_owned(), Vec::new())].into(),
            ..CommandLimits::default()
        };
        let limits = RateLimits { commands, ..RateLimits::default() };
        let mut rates = Rates::new(&limits).expect("something is limited");
        rates.open(0);
        let mut calls = |method: &str| {
            let rpc = Request::Rpc(spinward_wire::message::RPCRequest {
                method: method.to_owned(),
                ..Default::default()
            });
            (0..20).filter(|_| rates.admits(0, &rpc, at(5_000))).count()
        };
        assert_eq!((calls("slow"), calls("other"), calls("free")), (1, 5, 6), "the total is for all of them");
    }

    #[test]
    fn a_group_of_channels_has_its_own_buckets() {
        use crate::config::{ChannelGroup, GroupLimits};
        let group = GroupLimits { publish: Some(bucket(2)), ..GroupLimits::default() };
        let free = GroupLimits { publish: Some(Vec::new()), ..GroupLimits::default() };
        let commands = CommandLimits {
            total: bucket(12),
            publish: Some(bucket(5)),
            history: Some(bucket(4)),
            groups: vec![group, free],
            ..CommandLimits::default()
        };
        let find = |channel: &str| ["slow:", "free:"].iter().position(|prefix| channel.starts_with(prefix));
        let limits =
            RateLimits { commands, channel_group: Some(ChannelGroup::new(find)), ..RateLimits::default() };
        let mut rates = Rates::new(&limits).expect("something is limited");
        rates.open(0);
        let history = Request::History(spinward_wire::message::HistoryRequest {
            channel: "slow:a".to_owned(),
            ..Default::default()
        });
        assert_eq!(
            (0..20).filter(|_| rates.admits(0, &history, at(1_000))).count(),
            4,
            "no limit of the group"
        );
        let mut publishes = |channel: &str| {
            let publish = Request::Publish(spinward_wire::message::PublishRequest {
                channel: channel.to_owned(),
                ..Default::default()
            });
            (0..20).filter(|_| rates.admits(0, &publish, at(5_000))).count()
        };
        assert_eq!((publishes("slow:a"), publishes("slow:b")), (2, 0), "shared by the channels of the group");
        assert_eq!((publishes("other"), publishes("free:a")), (5, 5), "the total is for all of them");
    }

    #[test]
    fn errors_have_buckets_of_their_own() {
        let limits = RateLimits { errors: bucket(3), ..RateLimits::default() };
        let mut rates = Rates::new(&limits).expect("something is limited");
        rates.open(0);
        assert!(rates.admits_errors(0, 2, at(5_000)) && rates.admits_errors(0, 1, at(5_000)));
        assert!(!rates.admits_errors(0, 1, at(5_000)));
        assert!(rates.admits_errors(0, 1, at(5_400)) && !rates.admits_errors(0, 1, at(5_400)));
        assert_eq!(publishes(&mut rates, 0, 50, 5_000), 50);
    }
}
