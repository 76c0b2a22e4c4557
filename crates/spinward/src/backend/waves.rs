//! Reads of streams for subscribers that are entering: few reads for many subscribers.
//!
//! The reads of a channel are made in waves, one after the other. While one is under way, the next is planned: what a
//! subscriber needs becomes part of a planned read, if one read can give both, and of a further one otherwise. A
//! subscriber never joins a read that is under way. A publication may have been answered after that began and before
//! the subscriber came, and would not be in it.
//!
//! A subscriber that recovers needs no read while [`super::recent`] has what one would give.

use crate::answer::Answer;
use crate::backend::remote::Remote;
use crate::channel::params::SubscribeParams;
use crate::channel::record::{Channel, ShardSet};
use crate::engine::broker::{BrokerError, History, HistoryOptions, Limit, Read, Since};
use crate::hub::Hub;
use crate::mailbox::inbox::Entry;
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use std::num::NonZeroUsize;
use std::sync::Arc;

/// Planned reads that a further subscriber may become part of: the last ones.
const OPEN: usize = 8;
/// Most publications that a read may return in all, as a multiple of what its most demanding subscriber needs. So
/// nobody has the whole of a long history read by asking from the beginning of it.
const WIDTH: usize = 4;

/// The reads of an engine, by the id of the channel. A channel without any has no entry. A subscriber that is entering
/// waits for each of them, so that there are no more than subscriptions on their way.
#[derive(Default)]
pub(super) struct Waves {
    /// Number of the last read. Numbers are not used again, so that a late answer is not taken for that of another.
    last: u32,
    channels: HashMap<u64, Wave, FixedState>,
}

#[derive(Default)]
struct Wave {
    /// Reads of this wave that are not answered.
    running: usize,
    /// Those of the next one.
    planned: Vec<Planned>,
}

struct Planned {
    number: u32,
    read: Read,
    history: HistoryOptions,
    /// Shards whose subscribers wait for it.
    shards: ShardSet,
    /// Positions of its subscribers, if all of them recover within one epoch.
    origin: Option<Origin>,
}

/// Positions that subscribers recover from.
#[derive(Clone)]
pub(super) struct Origin {
    pub(super) epoch: Arc<str>,
    /// The highest offset.
    pub(super) newest: u64,
}

impl Origin {
    fn of(params: &SubscribeParams) -> Option<Self> {
        let recover = params.recover.as_ref().filter(|recover| !recover.over && !recover.cache)?;
        Some(Self { epoch: Arc::clone(&recover.since.epoch), newest: recover.since.offset })
    }

    fn union(one: Option<Self>, other: Option<Self>) -> Option<Self> {
        let (one, other) = (one?, other?);
        (one.epoch == other.epoch).then(|| Self { newest: one.newest.max(other.newest), ..one })
    }
}

impl Waves {
    fn plan(
        &mut self,
        channel: u64,
        shard: u8,
        read: Read,
        history: HistoryOptions,
        origin: Option<Origin>,
    ) -> u32 {
        let planned = &mut self.channels.entry(channel).or_default().planned;
        let open = planned.iter_mut().rev().take(OPEN).filter(|planned| planned.history == history);
        for planned in open {
            if let Some(both) = union(&planned.read, &read) {
                planned.read = both;
                planned.shards.set(shard, true);
                planned.origin = Origin::union(planned.origin.take(), origin);
                return planned.number;
            }
        }
        self.last = self.last.wrapping_add(1);
        let mut shards = ShardSet::EMPTY;
        shards.set(shard, true);
        planned.push(Planned { number: self.last, read, history, shards, origin });
        self.last
    }

    /// Returns the number of a read that is answered without being made.
    const fn number(&mut self) -> u32 {
        self.last = self.last.wrapping_add(1);
        self.last
    }

    /// Begins the next wave of a channel, if it is time for it.
    fn begin(&mut self, channel: u64) -> Vec<Planned> {
        let Some(wave) = self.channels.get_mut(&channel).filter(|wave| wave.running == 0) else {
            return Vec::new();
        };
        let planned = std::mem::take(&mut wave.planned);
        wave.running = planned.len();
        planned
    }

    /// A read is answered.
    fn end(&mut self, channel: u64) {
        let Some(wave) = self.channels.get_mut(&channel) else { return };
        wave.running = wave.running.saturating_sub(1);
        if wave.running == 0 && wave.planned.is_empty() {
            self.channels.remove(&channel);
            if self.channels.is_empty() {
                self.channels = HashMap::default();
            }
        }
    }
}

/// Returns a read that gives what each of these two gives, if there is one that does not give far more.
fn union(one: &Read, other: &Read) -> Option<Read> {
    match (one, other) {
        // Every read has the top with it.
        (Read::Top, read) | (read, Read::Top) => Some(read.clone()),
        (Read::Latest { limit: one }, Read::Latest { limit: other }) => {
            Some(Read::Latest { limit: larger(*one, *other) })
        }
        (Read::After { since, limit }, Read::After { since: since_other, limit: limit_other }) => {
            let first = since.offset.min(since_other.offset);
            let wanted = larger(*limit, *limit_other);
            let all = larger(
                longer(*limit, since.offset - first),
                longer(*limit_other, since_other.offset - first),
            );
            let narrow = all.count() <= wanted.count().saturating_mul(WIDTH);
            let epoch = since.epoch.clone().filter(|_| since.epoch == since_other.epoch);
            narrow.then_some(Read::After { since: Since { offset: first, epoch }, limit: all })
        }
        _ => None,
    }
}

fn larger(one: Limit, other: Limit) -> Limit {
    if one.count() >= other.count() { one } else { other }
}

/// The limit of a read that begins so many publications earlier.
fn longer(limit: Limit, by: u64) -> Limit {
    match limit {
        Limit::All => Limit::All,
        Limit::Most(count) => {
            let by = usize::try_from(by).unwrap_or(usize::MAX);
            Limit::Most(NonZeroUsize::MIN.saturating_add((count.get() - 1).saturating_add(by)))
        }
    }
}

impl Remote {
    /// Plans a read for a subscriber of a shard that is entering, or answers at once from what is known. Returns the
    /// number under which the answer comes.
    pub(super) fn plan(&self, hub: &Hub, channel: &Channel, shard: u8, params: &SubscribeParams) -> u32 {
        let history = hub.with_meta_ttl(params.history);
        let Some(recent) = self.recent.read(channel.id, params, history, hub.clock.now()) else {
            let (read, origin) = (params.slice(), Origin::of(params));
            return self.waves.lock().plan(channel.id, shard, read, history, origin);
        };
        crate::metrics::bump(&hub.metrics.reads_saved);
        let read = self.waves.lock().number();
        let slice = Arc::new(Ok(recent));
        hub.send(usize::from(shard), Entry::Slice { channel: channel.id, read, slice });
        read
    }

    /// Makes the reads that are planned for a channel, unless others of it are under way: those are followed by these.
    pub(super) fn read_planned(self: &Arc<Self>, hub: &Arc<Hub>, channel: &Arc<Channel>) {
        loop {
            let planned = self.waves.lock().begin(channel.id);
            if planned.is_empty() {
                return;
            }
            let now = hub.clock.now();
            let running = planned.into_iter().map(|Planned { number, read, history, shards, origin }| {
                let (remote, hub, channel) = (Arc::clone(self), Arc::clone(hub), Arc::clone(channel));
                let known =
                    origin.and_then(|origin| remote.recent.cover(channel.id, &read, &origin, history, now));
                let recent = match known {
                    Some(_) => None,
                    None => remote.recent.begin(channel.id, &read, history, now),
                };
                let recent = recent.map(|number| (number, read.clone()));
                let running = Running { remote, hub, channel, waiting: Some((number, shards)), recent };
                (running, known, read, history)
            });
            // All of them first: one that is dropped by a panic answers those who wait for it.
            let running: Vec<_> = running.collect();
            for (mut running, known, read, history) in running {
                match known {
                    Some(known) => {
                        crate::metrics::bump(&hub.metrics.reads_saved);
                        running.answer(Ok(known));
                    }
                    None => running.start(read, history),
                }
            }
        }
    }
}

/// A read under way. Dropped, it counts as failed.
struct Running {
    remote: Arc<Remote>,
    hub: Arc<Hub>,
    channel: Arc<Channel>,
    /// Its number, and the shards that wait for it.
    waiting: Option<(u32, ShardSet)>,
    /// The number of the slice that is kept of it, and the read.
    recent: Option<(u64, Read)>,
}

impl Running {
    fn start(mut self, read: Read, history: HistoryOptions) {
        match self.remote.read(&self.channel.name, read, history) {
            Answer::Now(slice) => self.answer(slice),
            Answer::Later(future) => {
                let runtime = self.remote.runtime.clone();
                self.remote.runtime.clone().spawn(async move {
                    let slice = runtime.within(self.hub.config.hook_timeout, future).await;
                    self.answer(slice.unwrap_or_else(|| {
                        self.hub.timed_out("slice");
                        Err(BrokerError::Failed("no answer in time".into()))
                    }));
                    self.remote.read_planned(&self.hub, &self.channel);
                });
            }
        }
    }

    fn answer(&mut self, slice: Result<History, BrokerError>) {
        let Some((number, shards)) = self.waiting.take() else { return };
        if let Some((number, read)) = self.recent.take() {
            let shared = self.channel.lock().subscribers > 1;
            self.remote.recent.answered(self.channel.id, number, &read, &slice, shared);
        }
        self.remote.waves.lock().end(self.channel.id);
        let slice = Arc::new(slice);
        for shard in shards.iter() {
            let slice = Arc::clone(&slice);
            self.hub.send(shard, Entry::Slice { channel: self.channel.id, read: number, slice });
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.waiting.is_some() {
            self.answer(Err(BrokerError::Failed("the broker panicked".into())));
            self.remote.read_planned(&self.hub, &self.channel);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn after(offset: u64, limit: usize) -> Read {
        let limit = NonZeroUsize::new(limit).map_or(Limit::All, Limit::Most);
        Read::After { since: Since { offset, epoch: None }, limit }
    }

    /// Offsets that a stream with these gives.
    fn read(read: &Read, kept: std::ops::RangeInclusive<u64>) -> Vec<u64> {
        match read {
            Read::After { since, limit } => {
                kept.filter(|one| *one > since.offset).take(limit.count()).collect()
            }
            Read::Latest { limit } => kept.rev().take(limit.count()).collect(),
            _ => Vec::new(),
        }
    }

    fn any_read() -> impl Strategy<Value = Read> {
        let latest = (1_usize..9)
            .prop_map(|most| Read::Latest { limit: NonZeroUsize::new(most).map_or(Limit::All, Limit::Most) });
        prop_oneof![Just(Read::Top), latest, (0_u64..40, 0_usize..20).prop_map(|(at, most)| after(at, most))]
    }

    proptest! {
        #[test]
        fn a_union_gives_what_each_read_gives(
            one in any_read(),
            other in any_read(),
            first in 1_u64..30,
            count in 0_u64..30,
        ) {
            let Some(both) = union(&one, &other) else { return Ok(()) };
            let found = read(&both, first..=first + count);
            for part in [one, other] {
                for offset in read(&part, first..=first + count) {
                    prop_assert!(found.contains(&offset), "{offset} of {part:?} is not in {both:?}");
                }
            }
        }
    }

    #[test]
    fn the_beginning_of_a_long_history_is_not_read_for_others() {
        assert_eq!(union(&after(10, 300), &after(700, 300)), Some(after(10, 990)));
        assert_eq!(union(&after(10, 300), &after(70_000, 300)), None);
        assert_eq!(union(&after(u64::MAX, 300), &after(0, 300)), None);
        assert_eq!(union(&after(u64::MAX, 0), &after(0, 300)), Some(after(0, 0)), "all of it is asked for");
        assert_eq!(union(&Read::Latest { limit: Limit::All }, &after(0, 1)), None);
    }

    #[test]
    fn nobody_joins_a_read_that_is_under_way() {
        let (mut waves, history) = (Waves::default(), HistoryOptions::default());
        let first = waves.plan(1, 0, after(5, 10), history, None);
        assert_eq!(waves.plan(1, 1, after(7, 10), history, None), first, "another shard");
        let begun = waves.begin(1);
        assert_eq!(begun.len(), 1);
        assert_eq!(begun[0].shards.iter().collect::<Vec<_>>(), [0, 1]);
        let second = waves.plan(1, 0, after(5, 10), history, None);
        assert!(second != first && waves.begin(1).is_empty(), "it waits for the first");
        let options = HistoryOptions { size: 1, ..history };
        assert!(waves.plan(1, 0, after(5, 10), options, None) != second, "other options are another read");
        assert!(waves.plan(2, 0, after(5, 10), history, None) != second, "so is another channel");
        waves.end(1);
        assert_eq!((waves.begin(1).len(), waves.begin(2).len()), (2, 1));
        (0..2).for_each(|_| waves.end(1));
        waves.end(2);
        assert!(waves.channels.is_empty());
    }
}
