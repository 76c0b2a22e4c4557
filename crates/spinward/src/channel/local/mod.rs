//! A channel in one shard: its subscribed connections, without a lock.

pub(crate) mod entrants;
mod filters;
pub(crate) mod special;
pub(crate) mod start;
pub(crate) mod stream;
mod subscribers;
pub(crate) mod table;

use crate::capacity::{reduced, reserve_one};
use crate::channel::delivery::{Content, Delivery};
use crate::channel::local::filters::Filters;
use crate::channel::local::special::{Special, SubscriberFlags};
use crate::channel::local::stream::Cursor;
use crate::channel::local::subscribers::{Few, Subscribers};
use crate::channel::record::Channel;
use crate::fault::{self, Fault};
use crate::publication::Publication;
use spinward_wire::filter::Filter;
use std::slice::IterMut;
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

/// Effect of the filters on one publication.
#[derive(Clone, Copy, Default)]
pub(crate) struct Filtering {
    /// Filters that were asked, each once for all who have it.
    pub(crate) evaluated: u64,
    /// Subscribers that do not get it.
    pub(crate) held_back: u64,
}

impl LocalChannel {
    /// Nobody is in it yet; `seen` is the last delivery there was.
    pub(super) const fn new(record: Arc<Channel>, seen: u64) -> Self {
        Self { record, seen, subscribers: Subscribers::NONE }
    }

    /// Returns the state of what is not plain, making it if needed.
    fn make_special(&mut self) -> &mut Special {
        self.subscribers.make_special(self.record.kind)
    }

    /// Returns the number of subscribers.
    pub(crate) fn len(&self) -> usize {
        self.subscribers.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns true without subscribers, present or entering.
    pub(crate) fn is_idle(&self) -> bool {
        self.is_empty() && self.subscribers.special().is_none_or(|special| special.stream().is_idle())
    }

    /// Adds a subscriber.
    pub(crate) fn add(&mut self, new: NewSubscriber) {
        let mut own = SubscriberFlags { flags: new.flags, filter: 0 };
        if let Some(wanted) = new.filter {
            let seed = self.record.id;
            let special = self.make_special();
            let filters = special.filters.get_or_insert_with(|| Box::new(Filters::new(seed)));
            own.filter = filters.add(wanted).unwrap_or(SubscriberFlags::NOTHING);
        }
        let elsewhere = new.cursor.position.as_ref().is_some_and(|start| self.position() != Some(start));
        if new.cursor.seq > self.seen || elsewhere {
            own.flags |= SubscriberFlags::AHEAD;
            self.make_special().stream_mut().ahead.insert(new.slot, new.cursor);
        }
        if own.is(SubscriberFlags::DELTA) && self.make_special().stream_mut().add_delta(new.base) {
            own.flags |= SubscriberFlags::BASE_KNOWN;
        }
        if fault::strikes(Fault::LostSubscriber) {
            own.filter = SubscriberFlags::NOTHING;
        }
        if own != SubscriberFlags::default() {
            self.make_special();
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
        match self.subscribers.special().and_then(|special| special.stream().ahead.get(&slot)) {
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
            special.stream_mut().ahead.remove(&slot);
        }
        if gone.is(SubscriberFlags::DELTA) {
            special.stream_mut().remove_delta();
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

    /// The slots of subscribers with this flag for which `f` returns true. It is given the cursors of those that are
    /// ahead of the channel.
    fn slots_with(&self, flag: u16, f: impl Fn(Option<&Cursor>) -> bool) -> Vec<u32> {
        let Some(special) = self.subscribers.special() else { return Vec::new() };
        let mut few = Few::default();
        let with =
            self.subscribers.slots(&mut few).iter().zip(&special.flags).filter(|(_, own)| own.is(flag));
        with.map(|(slot, _)| *slot).filter(|slot| f(special.stream().ahead.get(slot))).collect()
    }

    /// The slots of subscribers that receive joins and leaves.
    pub(crate) fn receiving_joins(&self) -> Vec<u32> {
        self.slots_with(SubscriberFlags::JOIN_LEAVE, |_| true)
    }

    /// Calls `send` for each subscriber that is to have this publication, with the content it is to have.
    pub(crate) fn for_each_wanting(
        &mut self,
        delivery: &Delivery,
        mut send: impl FnMut(u32, Content<'_>),
    ) -> Filtering {
        let mut filtering = Filtering::default();
        let mut few = Few::default();
        let (slots, special) = self.subscribers.split(&mut few);
        let (mut flags, mut contents) = (IterMut::default(), None);
        if let Some(special) = special {
            filtering.evaluated = special.evaluate(delivery);
            let (own, decides) = special.split();
            (flags, contents) = (own, Some(decides));
        }
        // One call for plain and other channels alike, so that it is made part of the loop.
        for &slot in slots {
            let content = match (&mut contents, flags.next()) {
                (Some(contents), Some(own)) => match contents.of(own, slot, delivery, &mut filtering) {
                    Some(content) => content,
                    None => continue,
                },
                _ => Content::Plain,
            };
            send(slot, content);
        }
        if let Some(contents) = contents {
            contents.keep_base(delivery);
        }
        filtering
    }
}
