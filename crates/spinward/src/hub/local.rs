//! A channel in one shard: who of its connections is subscribed, without a lock.

use super::directory::Channel;
use super::encoded::{Delivery, Form};
use super::join::Joining;
use crate::publication::{Position, Publication};
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use smallvec::SmallVec;
use spinward_wire::filter::Filter;
use std::sync::Arc;

/// One subscriber: a slot of this shard and what it wants. Eight bytes, because there may be millions.
#[derive(Clone, Copy)]
pub(crate) struct Subscriber {
    pub(crate) slot: u32,
    flags: u16,
    /// Number of the filter, from 1; 0 is none.
    filter: u16,
}

impl Subscriber {
    /// Is told of lost publications.
    pub(crate) const POSITIONED: u16 = 1;
    /// Is told who joins and leaves.
    pub(crate) const JOIN_LEAVE: u16 = 2;
    /// Agreed on deltas.
    pub(crate) const DELTA: u16 = 4;
    /// Has the last publication that was delivered here, so that a patch against it is of use.
    const BASE_KNOWN: u16 = 8;
    /// Joined at a delivery that this shard has yet to process: see `young`.
    const YOUNG: u16 = 16;
    /// A planted fault: gets nothing.
    #[cfg(feature = "planted-faults")]
    const LOST: u16 = 32;

    pub(crate) const fn is(self, flag: u16) -> bool {
        self.flags & flag != 0
    }
}

/// A channel that has subscribers in this shard, or some that are joining.
pub(crate) struct LocalChannel {
    pub(crate) record: Arc<Channel>,
    /// The one or two of most channels are in here.
    pub(crate) subscribers: SmallVec<[Subscriber; 2]>,
    /// The last delivery that was processed here.
    pub(crate) seen: u64,
    /// Offset of the last stored publication that was processed here, or of the top when the first came.
    pub(crate) top: u64,
    more: Option<Box<More>>,
}

/// What few channels need.
#[derive(Default)]
struct More {
    epoch: Option<Arc<str>>,
    /// Subscribers, by slot, that stand elsewhere than this channel until the next delivery has passed them.
    young: HashMap<u32, Young, FixedState>,
    /// The last publication that was delivered here, while anyone may be sent a patch against it.
    base: Option<Arc<Publication>>,
    /// Subscribers that agreed on deltas.
    deltas: usize,
    filters: Vec<FilterUse>,
    joining: Option<Joining>,
    /// Its position is compared with the broker's from time to time.
    watched: bool,
}

/// Where a subscriber joined.
struct Young {
    /// The delivery.
    seq: u64,
    /// The place in the stream, if it is positioned.
    start: Option<Position>,
}

impl Young {
    /// It had this one when it joined.
    fn has(&self, delivery: &Delivery) -> bool {
        self.seq >= delivery.seq
            || self.stands_at(delivery).is_some_and(|offset| offset >= delivery.publication.offset)
    }

    /// Its offset, where that compares with the publication's.
    fn stands_at(&self, delivery: &Delivery) -> Option<u64> {
        let start = self.start.as_ref()?;
        (delivery.epoch.as_ref() == Some(&start.epoch)).then_some(start.offset)
    }
}

struct FilterUse {
    filter: Filter,
    users: usize,
    verdict: bool,
}

/// A subscriber to add.
pub(crate) struct Joiner {
    pub(crate) slot: u32,
    pub(crate) flags: u16,
    pub(crate) filter: Option<Filter>,
    /// The delivery that it joined at: it gets what comes after.
    pub(crate) joined_at: u64,
    /// The place in the stream that it joined at, if it is positioned: the same.
    pub(crate) start: Option<Position>,
    /// It was given the publications up to the present one and can take a patch.
    pub(crate) base: Option<Arc<Publication>>,
}

/// Where a subscriber stands: what it gets next comes after both.
#[derive(Clone, Debug)]
pub(crate) struct Stand {
    /// The delivery.
    pub(crate) seq: u64,
    /// The place in the stream, if it is known.
    pub(crate) position: Option<Position>,
}

/// A subscriber that took another place in its channel's list: its connection has to know.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moved {
    pub(crate) slot: u32,
    pub(crate) channel: u32,
    pub(crate) place: u32,
}

/// What to do with a publication.
pub(crate) enum Verdict {
    /// Give it to the subscribers.
    Deliver,
    /// It was here before.
    Repeated,
    /// Some before it may be lost. Positioned subscribers that have not got them must be told.
    Gap(Gap),
}

/// What filters did about one publication.
#[derive(Clone, Copy, Default)]
pub(crate) struct Filtering {
    /// Filters that were asked, each once for all who have it.
    pub(crate) evaluated: u64,
    /// Subscribers that do not get it.
    pub(crate) held_back: u64,
}

/// Publications are missing before one that arrived.
#[derive(Clone, Copy)]
pub(crate) struct Gap {
    /// Before it, the shard stood elsewhere. Otherwise it stood nowhere yet.
    known: bool,
    /// It follows the one before.
    follows: bool,
}

impl LocalChannel {
    /// Nobody is in it yet; `seen` is the last delivery there was.
    pub(super) const fn new(record: Arc<Channel>, seen: u64) -> Self {
        Self { record, subscribers: SmallVec::new_const(), seen, top: 0, more: None }
    }

    fn more(&mut self) -> &mut More {
        self.more.get_or_insert_default()
    }

    pub(crate) fn epoch(&self) -> Option<&Arc<str>> {
        self.more.as_ref()?.epoch.as_ref()
    }

    pub(crate) fn set_position(&mut self, top: u64, epoch: &Arc<str>) {
        self.top = top;
        if self.epoch() != Some(epoch) {
            self.more().epoch = Some(Arc::clone(epoch));
        }
    }

    pub(crate) fn joining(&mut self) -> Option<&mut Joining> {
        self.more.as_mut()?.joining.as_mut()
    }

    pub(crate) fn start_joining(&mut self) -> &mut Joining {
        self.more().joining.get_or_insert_default()
    }

    pub(crate) fn stop_joining(&mut self) -> Option<Joining> {
        self.more.as_mut()?.joining.take()
    }

    /// Nobody is here and nobody comes.
    pub(crate) fn is_idle(&self) -> bool {
        self.subscribers.is_empty() && self.more.as_ref().is_none_or(|more| more.joining.is_none())
    }

    /// Adds a subscriber; answers its place.
    pub(crate) fn add(&mut self, joiner: Joiner) -> u32 {
        let mut flags = joiner.flags;
        let mut filter = 0;
        if let Some(wanted) = joiner.filter {
            filter = self.use_filter(wanted);
        }
        let elsewhere = |start: &Position| start.offset != self.top || self.epoch() != Some(&start.epoch);
        if joiner.joined_at > self.seen || joiner.start.as_ref().is_some_and(elsewhere) {
            flags |= Subscriber::YOUNG;
            self.more().young.insert(joiner.slot, Young { seq: joiner.joined_at, start: joiner.start });
        }
        if flags & Subscriber::DELTA != 0 {
            let more = self.more();
            more.deltas += 1;
            // Its base is of use only if it is also what the shard will take for the base of the next patch.
            if let Some(base) = joiner.base {
                let current = more.base.get_or_insert_with(|| Arc::clone(&base));
                if Arc::ptr_eq(current, &base) || (current.offset == base.offset && current.data == base.data)
                {
                    flags |= Subscriber::BASE_KNOWN;
                }
            }
        }
        #[cfg(feature = "planted-faults")]
        if crate::sim::planted::strikes(crate::sim::planted::Fault::LostSubscriber) {
            flags |= Subscriber::LOST;
            self.more();
        }
        let len = self.subscribers.len();
        if len == self.subscribers.capacity() {
            // By a quarter: the room left over in many lists is more than the copying.
            self.subscribers.reserve_exact(len / 4 + 1);
        }
        self.subscribers.push(Subscriber { slot: joiner.slot, flags, filter });
        self.subscribers.len() as u32 - 1
    }

    /// Whether the subscriber at this place has a flag.
    pub(crate) fn is(&self, place: u32, flag: u16) -> bool {
        self.subscribers.get(place as usize).is_some_and(|subscriber| subscriber.is(flag))
    }

    /// Where the subscriber at this place stands.
    pub(crate) fn stand(&self, place: u32) -> Option<Stand> {
        let subscriber = self.subscribers.get(place as usize)?;
        let young = self.more.as_ref().and_then(|more| more.young.get(&subscriber.slot));
        Some(match young.filter(|_| subscriber.is(Subscriber::YOUNG)) {
            Some(young) => Stand { seq: young.seq, position: young.start.clone() },
            None => {
                let position =
                    self.epoch().map(|epoch| Position { offset: self.top, epoch: Arc::clone(epoch) });
                Stand { seq: self.seen, position }
            }
        })
    }

    /// Takes a subscriber out; the last one takes its place.
    pub(super) fn remove(&mut self, place: u32) -> Option<Subscriber> {
        if place as usize >= self.subscribers.len() {
            return None;
        }
        let gone = self.subscribers.swap_remove(place as usize);
        if self.subscribers.capacity() > 16 && self.subscribers.len() < self.subscribers.capacity() / 4 {
            let mut fewer = SmallVec::with_capacity(self.subscribers.capacity() / 2);
            fewer.extend_from_slice(&self.subscribers);
            self.subscribers = fewer;
        }
        if let Some(more) = &mut self.more {
            if gone.is(Subscriber::YOUNG) {
                more.young.remove(&gone.slot);
            }
            if gone.is(Subscriber::DELTA) {
                more.deltas -= 1;
                if more.deltas == 0 {
                    more.base = None;
                }
            }
            if gone.filter > 0 {
                more.filters[usize::from(gone.filter) - 1].users -= 1;
            }
        }
        self.subscribers.get(place as usize).copied()
    }

    fn use_filter(&mut self, wanted: Filter) -> u16 {
        let filters = &mut self.more().filters;
        let found = filters.iter().position(|one| one.users > 0 && one.filter == wanted);
        let place = found.unwrap_or_else(|| {
            let fresh = FilterUse { filter: wanted, users: 0, verdict: false };
            if let Some(free) = filters.iter().position(|one| one.users == 0) {
                filters[free] = fresh;
                free
            } else {
                filters.push(fresh);
                filters.len() - 1
            }
        });
        filters[place].users += 1;
        // 65,535 distinct filters on one channel of one shard: the subscriber limit is reached before.
        u16::try_from(place + 1).unwrap_or(u16::MAX)
    }

    /// Whether another subscriber with a filter finds room.
    pub(crate) fn has_room_for_filter(&self) -> bool {
        self.more.as_ref().is_none_or(|more| more.filters.len() < usize::from(u16::MAX) - 1)
    }

    /// Looks at the place of a publication in the stream and moves on to it.
    pub(crate) fn judge(&mut self, delivery: &Delivery) -> Verdict {
        if delivery.seq <= self.seen {
            return Verdict::Repeated;
        }
        self.seen = delivery.seq;
        let offset = delivery.publication.offset;
        let Some(epoch) = &delivery.epoch else { return Verdict::Deliver };
        let (known, same) = (self.epoch().is_some(), self.epoch() == Some(epoch));
        if same && offset <= self.top {
            return Verdict::Repeated;
        }
        let follows = same && offset == self.top + 1;
        self.set_position(offset, epoch);
        let young = self.more.as_ref().is_some_and(|more| !more.young.is_empty());
        if (follows || !known) && !young { Verdict::Deliver } else { Verdict::Gap(Gap { known, follows }) }
    }

    /// The slots of positioned subscribers that lost something before this publication.
    pub(crate) fn losers(&self, delivery: &Delivery, gap: Gap) -> Vec<u32> {
        let young = |slot| self.more.as_ref().and_then(|more| more.young.get(&slot));
        let lost = |subscriber: &&Subscriber| {
            subscriber.is(Subscriber::POSITIONED)
                && match young(subscriber.slot).filter(|_| subscriber.is(Subscriber::YOUNG)) {
                    Some(young) if young.seq >= delivery.seq => false,
                    Some(young) => young
                        .stands_at(delivery)
                        .is_none_or(|offset| offset + 1 < delivery.publication.offset),
                    None => gap.known && !gap.follows,
                }
        };
        self.subscribers.iter().filter(lost).map(|subscriber| subscriber.slot).collect()
    }

    /// The slots of all positioned subscribers.
    pub(crate) fn positioned(&self) -> Vec<u32> {
        let positioned = self.subscribers.iter().filter(|subscriber| subscriber.is(Subscriber::POSITIONED));
        positioned.map(|subscriber| subscriber.slot).collect()
    }

    /// The slots of positioned subscribers that have not got what is up to this place.
    pub(crate) fn behind(&self, place: &Position) -> Vec<u32> {
        let young = |slot| self.more.as_ref().and_then(|more| more.young.get(&slot)?.start.as_ref());
        let there = |start: &Position| start.epoch == place.epoch && start.offset >= place.offset;
        let behind = |subscriber: &&Subscriber| {
            subscriber.is(Subscriber::POSITIONED) && !young(subscriber.slot).is_some_and(there)
        };
        self.subscribers.iter().filter(behind).map(|subscriber| subscriber.slot).collect()
    }

    /// Notes that the position is looked after, or no more. Answers what was noted before.
    pub(crate) fn set_watched(&mut self, watched: bool) -> bool {
        std::mem::replace(&mut self.more().watched, watched)
    }

    /// Calls `send` for each subscriber that is to have this publication, with the form it is to have.
    pub(crate) fn for_each_wanting(
        &mut self,
        delivery: &Delivery,
        mut send: impl FnMut(u32, Form<'_>),
    ) -> Filtering {
        let mut filtering = Filtering::default();
        let Some(more) = &mut self.more else {
            for subscriber in &self.subscribers {
                send(subscriber.slot, Form::Plain);
            }
            return filtering;
        };
        for one in &mut more.filters {
            if one.users > 0 {
                filtering.evaluated += 1;
                one.verdict = match &delivery.publication.tags {
                    Some(tags) => one.filter.matches(tags),
                    None => one.filter.matches(&std::collections::BTreeMap::new()),
                };
            }
        }
        let More { young, base, deltas, filters, .. } = &mut **more;
        for subscriber in &mut self.subscribers {
            #[cfg(feature = "planted-faults")]
            if subscriber.is(Subscriber::LOST) {
                continue;
            }
            if subscriber.is(Subscriber::YOUNG) {
                let slot = subscriber.slot;
                if young.get(&slot).is_some_and(|young| young.has(delivery)) {
                    continue;
                }
                subscriber.flags &= !Subscriber::YOUNG;
                young.remove(&slot);
            }
            if subscriber.filter > 0 && !filters[usize::from(subscriber.filter) - 1].verdict {
                filtering.held_back += 1;
                // It does not have this one, so a patch against it would be of no use, and tell of it.
                subscriber.flags &= !Subscriber::BASE_KNOWN;
                continue;
            }
            if subscriber.is(Subscriber::DELTA) {
                // Without a position nobody would notice that the base was lost on the way.
                let known = subscriber.is(Subscriber::BASE_KNOWN) && subscriber.is(Subscriber::POSITIONED);
                send(subscriber.slot, Form::Delta(if known { base.as_ref() } else { None }));
                subscriber.flags |= Subscriber::BASE_KNOWN;
            } else {
                send(subscriber.slot, Form::Plain);
            }
        }
        if *deltas > 0 {
            *base = Some(Arc::clone(&delivery.publication));
        }
        filtering
    }
}
