//! Rate limits: token buckets, and which of them a command takes from. Shards keep what each connection has used of
//! them, and the hub what each user has.

use crate::clock::Now;
use crate::config::{Bucket, ChannelGroup, CommandLimits, GroupLimits};
use spinward_wire::Request;
use std::collections::HashMap;
use std::ops::Range;
use std::time::Duration;

/// Buckets by number. The generic cell rate algorithm: one number for each says when it would be full again, in
/// nanoseconds of the monotonic clock.
#[derive(Default)]
pub(crate) struct Meters(Vec<Meter>);

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

impl Meters {
    /// Adds buckets. Returns their numbers.
    pub(crate) fn add(&mut self, wanted: &[Bucket]) -> Range<usize> {
        let begin = self.0.len();
        self.0.extend(wanted.iter().filter(|bucket| !bucket.interval.is_zero()).map(|bucket| Meter {
            interval: nanos(bucket.interval),
            // Nothing may come at all with 0, and the first event is far away.
            rate: u64::from(bucket.rate).max(1),
        }));
        begin..self.0.len()
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Full buckets.
    pub(crate) fn full(&self) -> Box<[u64]> {
        vec![0; self.0.len()].into_boxed_slice()
    }

    /// Takes an event from each of these buckets, or from none if one of them is empty. Returns whether it did.
    pub(crate) fn take(
        &self,
        used: &mut [u64],
        places: impl Iterator<Item = usize> + Clone,
        now: Now,
    ) -> bool {
        let now = instant(now);
        let next = |place: usize, used: &[u64]| used[place].max(now) + self.0[place].time(1);
        if places.clone().any(|place| next(place, used) > now + self.0[place].interval) {
            return false;
        }
        for place in places {
            used[place] = next(place, used);
        }
        true
    }

    /// Takes events from these buckets, more than are in them if need be.
    pub(crate) fn overdraw(&self, used: &mut [u64], places: Range<usize>, events: usize, now: Now) {
        let now = instant(now);
        for place in places {
            used[place] = used[place].max(now) + self.0[place].time(events as u64);
        }
    }

    /// Returns the time at which none of these buckets is overdrawn any more, in milliseconds of the monotonic clock.
    pub(crate) fn settled(&self, used: &[u64], places: Range<usize>) -> u64 {
        let until = places.map(|place| used[place].saturating_sub(self.0[place].interval)).max();
        until.unwrap_or(0).div_ceil(1_000_000)
    }
}

/// Returns true if all of these buckets are full.
pub(crate) fn are_full(used: &[u64], now: Now) -> bool {
    let now = instant(now);
    used.iter().all(|full| *full <= now)
}

/// The buckets of each kind of command.
pub(crate) struct CommandMeters {
    total: Range<usize>,
    default: Range<usize>,
    connect: Range<usize>,
    subscribe: Range<usize>,
    unsubscribe: Range<usize>,
    publish: Range<usize>,
    history: Range<usize>,
    presence: Range<usize>,
    presence_stats: Range<usize>,
    refresh: Range<usize>,
    sub_refresh: Range<usize>,
    rpc: Range<usize>,
    rpc_methods: HashMap<Box<str>, Range<usize>>,
    groups: Option<GroupMeters>,
}

/// The buckets of commands about the channels of a group.
struct GroupMeters {
    find: ChannelGroup,
    groups: Box<[[Option<Range<usize>>; KINDS]]>,
}

/// Kinds of commands about a channel.
#[derive(Clone, Copy)]
enum Kind {
    Subscribe,
    Unsubscribe,
    Publish,
    History,
    Presence,
    PresenceStats,
    SubRefresh,
}

const KINDS: usize = 7;

impl GroupMeters {
    fn new(limits: &[GroupLimits], find: Option<&ChannelGroup>, meters: &mut Meters) -> Option<Self> {
        let find = find.filter(|_| !limits.is_empty())?.clone();
        let group = |limits: &GroupLimits| {
            let GroupLimits {
                subscribe,
                unsubscribe,
                publish,
                history,
                presence,
                presence_stats,
                sub_refresh,
            } = limits;
            [subscribe, unsubscribe, publish, history, presence, presence_stats, sub_refresh]
                .map(|own| own.as_ref().map(|own| meters.add(own)))
        };
        Some(Self { find, groups: limits.iter().map(group).collect() })
    }

    fn of(&self, kind: Kind, channel: &str) -> Option<&Range<usize>> {
        self.groups.get(self.find.find(channel)?)?[kind as usize].as_ref()
    }
}

impl CommandMeters {
    pub(crate) fn new(limits: &CommandLimits, group: Option<&ChannelGroup>, meters: &mut Meters) -> Self {
        let default = meters.add(&limits.default);
        let mut own =
            |wanted: &Option<Vec<Bucket>>| wanted.as_ref().map_or(default.clone(), |own| meters.add(own));
        Self {
            connect: own(&limits.connect),
            subscribe: own(&limits.subscribe),
            unsubscribe: own(&limits.unsubscribe),
            publish: own(&limits.publish),
            history: own(&limits.history),
            presence: own(&limits.presence),
            presence_stats: own(&limits.presence_stats),
            refresh: own(&limits.refresh),
            sub_refresh: own(&limits.sub_refresh),
            rpc: own(&limits.rpc),
            rpc_methods: limits
                .rpc_methods
                .iter()
                .map(|(method, buckets)| (method.as_str().into(), meters.add(buckets)))
                .collect(),
            groups: GroupMeters::new(&limits.groups, group, meters),
            total: meters.add(&limits.total),
            default,
        }
    }

    /// Returns the buckets of a command, or `None` for one that is not counted.
    pub(crate) fn of(&self, request: &Request) -> Option<impl Iterator<Item = usize> + Clone + use<>> {
        let (own, about) = match request {
            Request::Connect(_) | Request::Ping => return None,
            Request::Subscribe(it) => (&self.subscribe, Some((Kind::Subscribe, &it.channel))),
            Request::Unsubscribe(it) => (&self.unsubscribe, Some((Kind::Unsubscribe, &it.channel))),
            Request::Publish(it) => (&self.publish, Some((Kind::Publish, &it.channel))),
            Request::History(it) => (&self.history, Some((Kind::History, &it.channel))),
            Request::Presence(it) => (&self.presence, Some((Kind::Presence, &it.channel))),
            Request::PresenceStats(it) => (&self.presence_stats, Some((Kind::PresenceStats, &it.channel))),
            Request::Refresh(_) => (&self.refresh, None),
            Request::SubRefresh(it) => (&self.sub_refresh, Some((Kind::SubRefresh, &it.channel))),
            Request::Rpc(rpc) => (self.rpc_methods.get(rpc.method.as_str()).unwrap_or(&self.rpc), None),
            Request::Send(_) => (&self.default, None),
        };
        let of_group =
            self.groups.as_ref().zip(about).and_then(|(groups, (kind, channel))| groups.of(kind, channel));
        let own = of_group.unwrap_or(own);
        Some(own.clone().chain(self.total.clone()))
    }

    /// Returns the buckets of a connect command.
    pub(crate) fn of_connect(&self) -> impl Iterator<Item = usize> + Clone + use<> {
        self.connect.clone().chain(self.total.clone())
    }
}

fn instant(now: Now) -> u64 {
    nanos(Duration::from_millis(now.mono))
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
