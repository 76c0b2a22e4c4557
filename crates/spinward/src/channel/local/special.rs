//! The subscribers of a channel that are not plain.

use crate::channel::delivery::{Content, Delivery};
use crate::channel::local::Filtering;
use crate::channel::local::entrants::Entrants;
use crate::channel::local::filters::Filters;
use crate::publication::{Position, Publication, Tags};
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use std::sync::Arc;

/// Options of a subscriber. Four bytes, because there may be millions; a plain subscriber has none set.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct SubscriberFlags {
    pub(super) flags: u16,
    /// Number of the filter, from 1; 0 means no filter.
    pub(super) filter: u16,
}

impl SubscriberFlags {
    /// Is notified of lost publications.
    pub(crate) const POSITIONED: u16 = 1;
    /// Receives joins and leaves.
    pub(crate) const JOIN_LEAVE: u16 = 2;
    /// Agreed on deltas.
    pub(crate) const DELTA: u16 = 4;
    /// Has the last publication that was delivered here, so that a patch against it is of use.
    pub(super) const BASE_KNOWN: u16 = 8;
    /// Its cursor is ahead of what this shard has processed: see `Special::ahead`.
    pub(super) const AHEAD: u16 = 16;
    /// The number of a filter that nothing passes.
    pub(super) const NOTHING: u16 = u16::MAX;

    pub(super) const fn is(self, flag: u16) -> bool {
        self.flags & flag != 0
    }
}

/// Rarely used state of a channel, kept separate so that plain channels stay small.
#[derive(Default)]
pub(super) struct Special {
    /// Of each subscriber, in the order of their slots.
    pub(super) flags: Vec<SubscriberFlags>,
    /// Place of the last stored publication that was processed here, or the top when the first came.
    pub(super) position: Option<Position>,
    /// Cursors of subscribers, by slot, that are elsewhere than this channel until the next delivery has passed them.
    pub(super) ahead: HashMap<u32, Cursor, FixedState>,
    /// The last publication that was delivered here, while anyone may be sent a patch against it.
    pub(super) base: Option<Arc<Publication>>,
    /// Subscribers that agreed on deltas.
    pub(super) deltas: usize,
    pub(super) filters: Option<Box<Filters>>,
    pub(super) entrants: Option<Box<Entrants>>,
    /// Its position is compared with the broker's from time to time.
    pub(super) watched: bool,
}

impl Special {
    /// For a channel with `count` plain subscribers.
    pub(super) fn of_plain(count: usize) -> Self {
        Self { flags: vec![SubscriberFlags::default(); count], ..Self::default() }
    }

    /// Asks each filter about a publication. Returns how many that were.
    pub(super) fn evaluate(&mut self, delivery: &Delivery) -> u64 {
        let Some(filters) = &mut self.filters else { return 0 };
        match &delivery.publication.tags {
            Some(tags) => filters.evaluate(tags),
            None => filters.evaluate(&Tags::new()),
        }
    }

    /// The content that a subscriber gets of a publication, if it is to have it.
    pub(super) fn content(
        &mut self,
        place: usize,
        slot: u32,
        delivery: &Delivery,
        filtering: &mut Filtering,
    ) -> Option<Content<'_>> {
        let own = self.flags.get_mut(place)?;
        if own.is(SubscriberFlags::AHEAD) {
            if self.ahead.get(&slot).is_some_and(|cursor| cursor.has(delivery)) {
                return None;
            }
            own.flags &= !SubscriberFlags::AHEAD;
            self.ahead.remove(&slot);
        }
        if own.filter > 0 && !self.filters.as_ref().is_some_and(|filters| filters.passes(own.filter)) {
            filtering.held_back += 1;
            // It does not have this one, so a patch against it would be of no use and would reveal it.
            own.flags &= !SubscriberFlags::BASE_KNOWN;
            return None;
        }
        if !own.is(SubscriberFlags::DELTA) {
            return Some(Content::Plain);
        }
        // Without a position nobody would notice that the base was lost on the way.
        let known = own.is(SubscriberFlags::BASE_KNOWN) && own.is(SubscriberFlags::POSITIONED);
        own.flags |= SubscriberFlags::BASE_KNOWN;
        Some(Content::Delta(if known { self.base.as_ref() } else { None }))
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.flags.len()
    }
}

/// Place of a subscriber: what it gets next comes after both.
#[derive(Clone, Debug)]
pub(crate) struct Cursor {
    /// The delivery.
    pub(crate) seq: u64,
    /// The place in the stream, if it is known.
    pub(crate) position: Option<Position>,
}

impl Cursor {
    /// Returns true if the subscriber had this publication when it entered.
    fn has(&self, delivery: &Delivery) -> bool {
        self.seq >= delivery.seq
            || self.offset(delivery).is_some_and(|offset| offset >= delivery.publication.offset)
    }

    /// Its offset, where that compares with the publication's.
    pub(super) fn offset(&self, delivery: &Delivery) -> Option<u64> {
        let position = self.position.as_ref()?;
        (delivery.epoch.as_ref() == Some(&position.epoch)).then_some(position.offset)
    }
}
