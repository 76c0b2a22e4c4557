//! A channel in one shard: its subscribed connections, without a lock.

use crate::channel::delivery::{Delivery, Form};
use crate::channel::directory::Channel;
use crate::channel::filters::Filters;
use crate::channel::join::Joining;
use crate::channel::subscribers::Subscribers;
use crate::publication::{Position, Publication, Tags};
use crate::room::{fewer, make_room};
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use spinward_wire::filter::Filter;
use std::sync::Arc;

/// Options of a subscriber. Four bytes, because there may be millions; a plain subscriber has none set.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Wants {
    flags: u16,
    /// Number of the filter, from 1; 0 means no filter.
    filter: u16,
}

impl Wants {
    /// Is notified of lost publications.
    pub(crate) const POSITIONED: u16 = 1;
    /// Receives joins and leaves.
    pub(crate) const JOIN_LEAVE: u16 = 2;
    /// Agreed on deltas.
    pub(crate) const DELTA: u16 = 4;
    /// Has the last publication that was delivered here, so that a patch against it is of use.
    const BASE_KNOWN: u16 = 8;
    /// Joined at a delivery that this shard has yet to process: see `young`.
    const YOUNG: u16 = 16;
    /// The number of a filter that nothing passes.
    const NOTHING: u16 = u16::MAX;

    /// A planted fault: gets nothing.
    #[cfg(feature = "planted-faults")]
    const LOST: u16 = 32;

    const fn is(self, flag: u16) -> bool {
        self.flags & flag != 0
    }
}

/// A channel that has subscribers in this shard, or some that are joining.
pub(crate) struct LocalChannel {
    pub(crate) record: Arc<Channel>,
    /// The last delivery that was processed here.
    pub(crate) seen: u64,
    subscribers: Subscribers,
}

/// Rarely used state of a channel, kept separate so that plain channels stay small.
#[derive(Default)]
pub(super) struct More {
    /// Of each subscriber, in the order of their slots.
    wants: Vec<Wants>,
    /// Place of the last stored publication that was processed here, or the top when the first came.
    position: Option<Position>,
    /// Subscribers, by slot, that are elsewhere than this channel until the next delivery has passed them.
    young: HashMap<u32, Young, FixedState>,
    /// The last publication that was delivered here, while anyone may be sent a patch against it.
    base: Option<Arc<Publication>>,
    /// Subscribers that agreed on deltas.
    deltas: usize,
    filters: Option<Box<Filters>>,
    joining: Option<Box<Joining>>,
    /// Its position is compared with the broker's from time to time.
    watched: bool,
}

impl More {
    /// For a channel with `count` plain subscribers.
    pub(super) fn of_plain(count: usize) -> Self {
        Self { wants: vec![Wants::default(); count], ..Self::default() }
    }

    /// Asks each filter about a publication. Returns how many that were.
    fn evaluate(&mut self, delivery: &Delivery) -> u64 {
        let Some(filters) = &mut self.filters else { return 0 };
        match &delivery.publication.tags {
            Some(tags) => filters.evaluate(tags),
            None => filters.evaluate(&Tags::new()),
        }
    }

    /// The form that a subscriber gets a publication in, if it is to have it.
    fn form(
        &mut self,
        place: usize,
        slot: u32,
        delivery: &Delivery,
        filtering: &mut Filtering,
    ) -> Option<Form<'_>> {
        let wants = self.wants.get_mut(place)?;
        #[cfg(feature = "planted-faults")]
        if wants.is(Wants::LOST) {
            return None;
        }
        if wants.is(Wants::YOUNG) {
            if self.young.get(&slot).is_some_and(|young| young.has(delivery)) {
                return None;
            }
            wants.flags &= !Wants::YOUNG;
            self.young.remove(&slot);
        }
        if wants.filter > 0 && !self.filters.as_ref().is_some_and(|filters| filters.passes(wants.filter)) {
            filtering.held_back += 1;
            // It does not have this one, so a patch against it would be of no use and would reveal it.
            wants.flags &= !Wants::BASE_KNOWN;
            return None;
        }
        if !wants.is(Wants::DELTA) {
            return Some(Form::Plain);
        }
        // Without a position nobody would notice that the base was lost on the way.
        let known = wants.is(Wants::BASE_KNOWN) && wants.is(Wants::POSITIONED);
        wants.flags |= Wants::BASE_KNOWN;
        Some(Form::Delta(if known { self.base.as_ref() } else { None }))
    }

    #[cfg(test)]
    pub(super) fn wants(&self) -> usize {
        self.wants.len()
    }
}

/// The place where a subscriber joined.
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

/// Place of a subscriber: what it gets next comes after both.
#[derive(Clone, Debug)]
pub(crate) struct Stand {
    /// The delivery.
    pub(crate) seq: u64,
    /// The place in the stream, if it is known.
    pub(crate) position: Option<Position>,
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
        self.subscribers.more()?.position.as_ref()
    }

    pub(crate) fn epoch(&self) -> Option<&Arc<str>> {
        Some(&self.position()?.epoch)
    }

    /// Returns true if everything up to this place was processed here.
    pub(crate) fn has_reached(&self, place: &Position) -> bool {
        self.position().is_some_and(|at| at.epoch == place.epoch && at.offset >= place.offset)
    }

    pub(crate) fn set_position(&mut self, offset: u64, epoch: &Arc<str>) {
        let position = &mut self.subscribers.make_more().position;
        match position {
            Some(known) if known.epoch == *epoch => known.offset = offset,
            _ => *position = Some(Position { offset, epoch: Arc::clone(epoch) }),
        }
    }

    pub(crate) fn joining(&mut self) -> Option<&mut Joining> {
        self.subscribers.more_mut()?.joining.as_deref_mut()
    }

    pub(crate) fn start_joining(&mut self) -> &mut Joining {
        self.subscribers.make_more().joining.get_or_insert_default()
    }

    pub(crate) fn stop_joining(&mut self) {
        if let Some(more) = self.subscribers.more_mut() {
            more.joining = None;
        }
    }

    /// Returns the number of subscribers.
    pub(crate) fn len(&self) -> usize {
        self.subscribers.slots().len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.subscribers.slots().is_empty()
    }

    /// Returns true without subscribers, present or joining.
    pub(crate) fn is_idle(&self) -> bool {
        self.is_empty() && self.subscribers.more().is_none_or(|more| more.joining.is_none())
    }

    /// Adds a subscriber.
    pub(crate) fn add(&mut self, joiner: Joiner) {
        let mut wants = Wants { flags: joiner.flags, filter: 0 };
        if let Some(wanted) = joiner.filter {
            let seed = self.record.id;
            let more = self.subscribers.make_more();
            let filters = more.filters.get_or_insert_with(|| Box::new(Filters::new(seed)));
            wants.filter = filters.add(wanted).unwrap_or(Wants::NOTHING);
        }
        let elsewhere = joiner.start.as_ref().is_some_and(|start| self.position() != Some(start));
        if joiner.joined_at > self.seen || elsewhere {
            wants.flags |= Wants::YOUNG;
            let young = Young { seq: joiner.joined_at, start: joiner.start };
            self.subscribers.make_more().young.insert(joiner.slot, young);
        }
        if wants.is(Wants::DELTA) {
            let more = self.subscribers.make_more();
            more.deltas += 1;
            // Its base is of use only if it is also what the shard will take for the base of the next patch.
            if let Some(base) = joiner.base {
                let current = more.base.get_or_insert_with(|| Arc::clone(&base));
                if Arc::ptr_eq(current, &base) || (current.offset == base.offset && current.data == base.data)
                {
                    wants.flags |= Wants::BASE_KNOWN;
                }
            }
        }
        #[cfg(feature = "planted-faults")]
        if crate::sim::planted::strikes(crate::sim::planted::Fault::LostSubscriber) {
            wants.flags |= Wants::LOST;
        }
        if wants != Wants::default() {
            self.subscribers.make_more();
        }
        self.subscribers.push(joiner.slot);
        if let Some(more) = self.subscribers.more_mut() {
            make_room(&mut more.wants, 4);
            more.wants.push(wants);
        }
    }

    /// Returns true if a subscriber has a flag.
    pub(crate) fn is(&self, slot: u32, flag: u16) -> bool {
        let (place, more) = (self.subscribers.place(slot), self.subscribers.more());
        place.zip(more).is_some_and(|(place, more)| more.wants[place].is(flag))
    }

    /// Returns the place of a subscriber.
    pub(crate) fn stand(&self, slot: u32) -> Stand {
        match self.subscribers.more().and_then(|more| more.young.get(&slot)) {
            Some(young) => Stand { seq: young.seq, position: young.start.clone() },
            None => Stand { seq: self.seen, position: self.position().cloned() },
        }
    }

    /// Takes a subscriber out.
    pub(crate) fn remove(&mut self, slot: u32) {
        let Some(place) = self.subscribers.remove(slot) else { return };
        let Some(more) = self.subscribers.more_mut() else { return };
        let gone = more.wants.swap_remove(place);
        if let Some(room) = fewer(more.wants.len(), more.wants.capacity()) {
            more.wants.shrink_to(room);
        }
        if gone.is(Wants::YOUNG) {
            more.young.remove(&slot);
        }
        if gone.is(Wants::DELTA) {
            more.deltas -= 1;
            if more.deltas == 0 {
                more.base = None;
            }
        }
        if let Some(filters) = more.filters.as_mut().filter(|_| gone.filter > 0) {
            filters.remove(gone.filter);
            if filters.is_empty() {
                more.filters = None;
            }
        }
    }

    /// Returns true if there is room for another subscriber with a filter.
    pub(crate) fn has_room_for_filter(&self) -> bool {
        let filters = self.subscribers.more().and_then(|more| more.filters.as_ref());
        filters.is_none_or(|filters| filters.has_room())
    }

    /// Bytes of a subscriber's filter.
    pub(crate) fn filter_weight(&self, slot: u32) -> usize {
        let Some(more) = self.subscribers.more() else { return 0 };
        let (Some(filters), Some(place)) = (&more.filters, self.subscribers.place(slot)) else { return 0 };
        more.wants.get(place).map_or(0, |wants| filters.weight(wants.filter))
    }

    /// Looks at the place of a publication in the stream and moves on to it.
    pub(crate) fn judge(&mut self, delivery: &Delivery) -> Verdict {
        if delivery.seq <= self.seen {
            return Verdict::Repeated;
        }
        self.seen = delivery.seq;
        let offset = delivery.publication.offset;
        let Some(epoch) = &delivery.epoch else { return Verdict::Deliver };
        let at = self.position();
        let known = at.is_some();
        let before = at.filter(|at| at.epoch == *epoch).map(|at| at.offset);
        if before.is_some_and(|before| offset <= before) {
            return Verdict::Repeated;
        }
        let follows = before.is_some_and(|before| offset == before + 1);
        self.set_position(offset, epoch);
        let young = self.subscribers.more().is_some_and(|more| !more.young.is_empty());
        if (follows || !known) && !young { Verdict::Deliver } else { Verdict::Gap(Gap { known, follows }) }
    }

    /// The slots of subscribers with this flag for which `f` returns true.
    fn slots_with(&self, flag: u16, f: impl Fn(Option<&Young>) -> bool) -> Vec<u32> {
        let Some(more) = self.subscribers.more() else { return Vec::new() };
        let with = self.subscribers.slots().iter().zip(&more.wants).filter(|(_, wants)| wants.is(flag));
        with.map(|(slot, _)| *slot).filter(|slot| f(more.young.get(slot))).collect()
    }

    /// The slots of positioned subscribers that lost something before this publication.
    pub(crate) fn losers(&self, delivery: &Delivery, gap: Gap) -> Vec<u32> {
        self.slots_with(Wants::POSITIONED, |young| match young {
            Some(young) if young.seq >= delivery.seq => false,
            Some(young) => {
                young.stands_at(delivery).is_none_or(|offset| offset + 1 < delivery.publication.offset)
            }
            None => gap.known && !gap.follows,
        })
    }

    /// The slots of all positioned subscribers.
    pub(crate) fn positioned(&self) -> Vec<u32> {
        self.slots_with(Wants::POSITIONED, |_| true)
    }

    /// The slots of subscribers that receive joins and leaves.
    pub(crate) fn told_of_joins(&self) -> Vec<u32> {
        self.slots_with(Wants::JOIN_LEAVE, |_| true)
    }

    /// The slots of positioned subscribers that have not got what is up to this place.
    pub(crate) fn behind(&self, place: &Position) -> Vec<u32> {
        let there = |start: &Position| start.epoch == place.epoch && start.offset >= place.offset;
        self.slots_with(Wants::POSITIONED, |young| {
            !young.and_then(|young| young.start.as_ref()).is_some_and(there)
        })
    }

    /// Returns true while the position is compared with the broker's.
    pub(crate) fn is_watched(&self) -> bool {
        self.subscribers.more().is_some_and(|more| more.watched)
    }

    /// Notes that the position is looked after, or no more. Answers what was noted before.
    pub(crate) fn set_watched(&mut self, watched: bool) -> bool {
        std::mem::replace(&mut self.subscribers.make_more().watched, watched)
    }

    /// Calls `send` for each subscriber that is to have this publication, with the form it is to have.
    pub(crate) fn for_each_wanting(
        &mut self,
        delivery: &Delivery,
        mut send: impl FnMut(u32, Form<'_>),
    ) -> Filtering {
        let mut filtering = Filtering::default();
        let (slots, mut more) = self.subscribers.split();
        if let Some(more) = &mut more {
            filtering.evaluated = more.evaluate(delivery);
        }
        // One call for plain and other channels alike, so that it is made part of the loop.
        for (place, &slot) in slots.iter().enumerate() {
            let form = match &mut more {
                None => Form::Plain,
                Some(more) => match more.form(place, slot, delivery, &mut filtering) {
                    Some(form) => form,
                    None => continue,
                },
            };
            send(slot, form);
        }
        if let Some(more) = more.filter(|more| more.deltas > 0) {
            more.base = Some(Arc::clone(&delivery.publication));
        }
        filtering
    }
}
