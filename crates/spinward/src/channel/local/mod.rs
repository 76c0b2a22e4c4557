//! A channel in one shard: its subscribed connections, without a lock.

pub(crate) mod entrants;
mod filters;
pub(crate) mod special;
pub(crate) mod start;
mod subscribers;
pub(crate) mod table;

use crate::capacity::{reduced, reserve_one};
use crate::channel::delivery::{Content, Delivery};
use crate::channel::local::entrants::Entrants;
use crate::channel::local::filters::Filters;
use crate::channel::local::special::{Cursor, SubscriberFlags};
use crate::channel::local::subscribers::Subscribers;
use crate::channel::record::Channel;
use crate::fault::{self, Fault};
use crate::publication::{Position, Publication};
use spinward_wire::filter::Filter;
use std::sync::Arc;

/// A channel that has subscribers in this shard, or some that are entering.
pub(crate) struct LocalChannel {
    pub(crate) record: Arc<Channel>,
    /// The last delivery that was processed here.
    pub(crate) seen: u64,
    subscribers: Subscribers,
}

/// A subscriber to add.
pub(crate) struct NewSubscriber {
    pub(crate) slot: u32,
    pub(crate) flags: u16,
    pub(crate) filter: Option<Filter>,
    /// The place at which it enters: it gets what comes after. With a position if it is positioned.
    pub(crate) cursor: Cursor,
    /// It was given the publications up to the present one and can take a patch.
    pub(crate) base: Option<Arc<Publication>>,
}

/// Decision about a publication.
pub(crate) enum Verdict {
    /// Give it to the subscribers.
    Deliver,
    /// It was here before.
    Repeated,
    /// Some before it may be lost. Positioned subscribers that have not got them must be notified.
    Gap(Gap),
}

/// Effect of the filters on one publication.
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
    /// Before it, the shard was at another position. Otherwise it had none yet.
    known: bool,
    /// It follows the one before.
    follows: bool,
}

impl LocalChannel {
    /// Nobody is in it yet; `seen` is the last delivery there was.
    pub(super) const fn new(record: Arc<Channel>, seen: u64) -> Self {
        Self { record, seen, subscribers: Subscribers::NONE }
    }

    /// Returns the channel's position in this shard, if known.
    pub(crate) fn position(&self) -> Option<&Position> {
        self.subscribers.special()?.position.as_ref()
    }

    pub(crate) fn epoch(&self) -> Option<&Arc<str>> {
        Some(&self.position()?.epoch)
    }

    /// Returns true if everything up to this place was processed here.
    pub(crate) fn has_reached(&self, place: &Position) -> bool {
        self.position().is_some_and(|at| at.epoch == place.epoch && at.offset >= place.offset)
    }

    pub(crate) fn set_position(&mut self, offset: u64, epoch: &Arc<str>) {
        let position = &mut self.subscribers.make_special().position;
        match position {
            Some(known) if known.epoch == *epoch => known.offset = offset,
            _ => *position = Some(Position { offset, epoch: Arc::clone(epoch) }),
        }
    }

    /// The stream that the position was of is over.
    pub(crate) fn forget_position(&mut self) {
        if let Some(special) = self.subscribers.special_mut() {
            special.position = None;
        }
    }

    pub(crate) fn entrants(&mut self) -> Option<&mut Entrants> {
        self.subscribers.special_mut()?.entrants.as_deref_mut()
    }

    pub(crate) fn open_entrants(&mut self) -> &mut Entrants {
        self.subscribers.make_special().entrants.get_or_insert_default()
    }

    pub(crate) fn close_entrants(&mut self) {
        if let Some(special) = self.subscribers.special_mut() {
            special.entrants = None;
        }
    }

    /// Returns the number of subscribers.
    pub(crate) fn len(&self) -> usize {
        self.subscribers.slots().len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.subscribers.slots().is_empty()
    }

    /// Returns true without subscribers, present or entering.
    pub(crate) fn is_idle(&self) -> bool {
        self.is_empty() && self.subscribers.special().is_none_or(|special| special.entrants.is_none())
    }

    /// Adds a subscriber.
    pub(crate) fn add(&mut self, new: NewSubscriber) {
        let mut own = SubscriberFlags { flags: new.flags, filter: 0 };
        if let Some(wanted) = new.filter {
            let seed = self.record.id;
            let special = self.subscribers.make_special();
            let filters = special.filters.get_or_insert_with(|| Box::new(Filters::new(seed)));
            own.filter = filters.add(wanted).unwrap_or(SubscriberFlags::NOTHING);
        }
        let elsewhere = new.cursor.position.as_ref().is_some_and(|start| self.position() != Some(start));
        if new.cursor.seq > self.seen || elsewhere {
            own.flags |= SubscriberFlags::AHEAD;
            self.subscribers.make_special().ahead.insert(new.slot, new.cursor);
        }
        if own.is(SubscriberFlags::DELTA) {
            let special = self.subscribers.make_special();
            special.deltas += 1;
            // Its base is of use only if it is also what the shard will take for the base of the next patch.
            if let Some(base) = new.base {
                let current = special.base.get_or_insert_with(|| Arc::clone(&base));
                if Arc::ptr_eq(current, &base) || (current.offset == base.offset && current.data == base.data)
                {
                    own.flags |= SubscriberFlags::BASE_KNOWN;
                }
            }
        }
        if fault::strikes(Fault::LostSubscriber) {
            own.filter = SubscriberFlags::NOTHING;
        }
        if own != SubscriberFlags::default() {
            self.subscribers.make_special();
        }
        self.subscribers.push(new.slot);
        if let Some(special) = self.subscribers.special_mut() {
            reserve_one(&mut special.flags, 4);
            special.flags.push(own);
        }
    }

    /// Returns true if a subscriber has a flag.
    pub(crate) fn is(&self, slot: u32, flag: u16) -> bool {
        let (place, special) = (self.subscribers.place(slot), self.subscribers.special());
        place.zip(special).is_some_and(|(place, special)| special.flags[place].is(flag))
    }

    /// Returns the place of a subscriber.
    pub(crate) fn cursor(&self, slot: u32) -> Cursor {
        match self.subscribers.special().and_then(|special| special.ahead.get(&slot)) {
            Some(cursor) => cursor.clone(),
            None => Cursor { seq: self.seen, position: self.position().cloned() },
        }
    }

    /// Takes a subscriber out.
    pub(crate) fn remove(&mut self, slot: u32) {
        let Some(place) = self.subscribers.remove(slot) else { return };
        let Some(special) = self.subscribers.special_mut() else { return };
        let gone = special.flags.swap_remove(place);
        if let Some(capacity) = reduced(special.flags.len(), special.flags.capacity()) {
            special.flags.shrink_to(capacity);
        }
        if gone.is(SubscriberFlags::AHEAD) {
            special.ahead.remove(&slot);
        }
        if gone.is(SubscriberFlags::DELTA) {
            special.deltas -= 1;
            if special.deltas == 0 {
                special.base = None;
            }
        }
        if let Some(filters) = special.filters.as_mut().filter(|_| gone.filter > 0) {
            filters.remove(gone.filter);
            if filters.is_empty() {
                special.filters = None;
            }
        }
    }

    /// Returns true if there is room for another subscriber with a filter.
    pub(crate) fn takes_filter(&self) -> bool {
        let filters = self.subscribers.special().and_then(|special| special.filters.as_ref());
        filters.is_none_or(|filters| filters.has_capacity())
    }

    /// Bytes of a subscriber's filter.
    pub(crate) fn filter_weight(&self, slot: u32) -> usize {
        let Some(special) = self.subscribers.special() else { return 0 };
        let (Some(filters), Some(place)) = (&special.filters, self.subscribers.place(slot)) else { return 0 };
        special.flags.get(place).map_or(0, |own| filters.weight(own.filter))
    }

    /// Judges a publication by its place in the stream, and moves on to that place.
    pub(crate) fn judge(&mut self, delivery: &Delivery) -> Verdict {
        // seq ≤ seen: processed before. A record numbers its deliveries under its lock, and an inbox keeps their order.
        if delivery.seq <= self.seen {
            return Verdict::Repeated;
        }
        self.seen = delivery.seq;
        let offset = delivery.publication.offset;
        // Stored nowhere: it has no place in a stream, so nothing can be missing before it.
        let Some(epoch) = &delivery.epoch else { return Verdict::Deliver };
        let at = self.position();
        let known = at.is_some();
        // Offsets of different epochs do not compare.
        let before = at.filter(|at| at.epoch == *epoch).map(|at| at.offset);
        // offset ≤ before: a broker delivers it a second time, under a new number.
        if before.is_some_and(|before| offset <= before) {
            return Verdict::Repeated;
        }
        // offset = before + 1: nothing is missing. A larger offset, or another epoch, is a gap.
        let follows = before.is_some_and(|before| offset == before + 1);
        self.set_position(offset, epoch);
        // What follows for the channel may still leave a gap for a subscriber that is elsewhere.
        let elsewhere = self.subscribers.special().is_some_and(|special| !special.ahead.is_empty());
        if (follows || !known) && !elsewhere {
            Verdict::Deliver
        } else {
            Verdict::Gap(Gap { known, follows })
        }
    }

    /// The slots of subscribers with this flag for which `f` returns true. It is given the cursors of those that are
    /// ahead of the channel.
    fn slots_with(&self, flag: u16, f: impl Fn(Option<&Cursor>) -> bool) -> Vec<u32> {
        let Some(special) = self.subscribers.special() else { return Vec::new() };
        let with = self.subscribers.slots().iter().zip(&special.flags).filter(|(_, own)| own.is(flag));
        with.map(|(slot, _)| *slot).filter(|slot| f(special.ahead.get(slot))).collect()
    }

    /// The slots of positioned subscribers that have a gap before this publication.
    pub(crate) fn with_gap(&self, delivery: &Delivery, gap: Gap) -> Vec<u32> {
        self.slots_with(SubscriberFlags::POSITIONED, |cursor| match cursor {
            // It entered at this delivery or after it, and its start had what came before.
            Some(cursor) if cursor.seq >= delivery.seq => false,
            // offset + 1 < publication's: those between are missing. Where the two do not compare, its stream is over.
            Some(cursor) => {
                cursor.offset(delivery).is_none_or(|offset| offset + 1 < delivery.publication.offset)
            }
            // It is where the channel was. A channel that was nowhere yet has no gap: this is its first place.
            None => gap.known && !gap.follows,
        })
    }

    /// The slots of all positioned subscribers.
    pub(crate) fn positioned(&self) -> Vec<u32> {
        self.slots_with(SubscriberFlags::POSITIONED, |_| true)
    }

    /// The slots of subscribers that receive joins and leaves.
    pub(crate) fn receiving_joins(&self) -> Vec<u32> {
        self.slots_with(SubscriberFlags::JOIN_LEAVE, |_| true)
    }

    /// The slots of positioned subscribers that have not got what is up to this place.
    pub(crate) fn behind(&self, place: &Position) -> Vec<u32> {
        let there = |position: &Position| position.epoch == place.epoch && position.offset >= place.offset;
        self.slots_with(SubscriberFlags::POSITIONED, |cursor| {
            !cursor.and_then(|cursor| cursor.position.as_ref()).is_some_and(there)
        })
    }

    /// Returns true while the position is compared with the broker's.
    pub(crate) fn is_watched(&self) -> bool {
        self.subscribers.special().is_some_and(|special| special.watched)
    }

    /// Notes that the position is compared, or no longer. Returns what was noted before.
    pub(crate) fn set_watched(&mut self, watched: bool) -> bool {
        std::mem::replace(&mut self.subscribers.make_special().watched, watched)
    }

    /// Calls `send` for each subscriber that is to have this publication, with the content it is to have.
    pub(crate) fn for_each_wanting(
        &mut self,
        delivery: &Delivery,
        mut send: impl FnMut(u32, Content<'_>),
    ) -> Filtering {
        let mut filtering = Filtering::default();
        let (slots, mut special) = self.subscribers.split();
        if let Some(special) = &mut special {
            filtering.evaluated = special.evaluate(delivery);
        }
        // One call for plain and other channels alike, so that it is made part of the loop.
        for (place, &slot) in slots.iter().enumerate() {
            let content = match &mut special {
                None => Content::Plain,
                Some(special) => match special.content(place, slot, delivery, &mut filtering) {
                    Some(content) => content,
                    None => continue,
                },
            };
            send(slot, content);
        }
        if let Some(special) = special.filter(|special| special.deltas > 0) {
            special.base = Some(Arc::clone(&delivery.publication));
        }
        filtering
    }
}
