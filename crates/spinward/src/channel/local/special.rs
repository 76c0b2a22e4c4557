//! The subscribers of a channel that are not plain.

use crate::channel::delivery::{Content, Delivery};
use crate::channel::local::Filtering;
use crate::channel::local::filters::Filters;
use crate::channel::local::stream::StreamState;
use crate::channel::record::Kind;
use crate::publication::Tags;
use std::slice::IterMut;
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
    /// Its cursor is ahead of what this shard has processed: see `StreamState::ahead`.
    pub(super) const AHEAD: u16 = 16;
    /// The number of a filter that nothing passes.
    pub(super) const NOTHING: u16 = u16::MAX;

    /// Returns true for a subscriber that gets every publication as it is.
    const fn gets_all(self) -> bool {
        self.flags & (Self::AHEAD | Self::DELTA) == 0 && self.filter == 0
    }

    pub(super) const fn is(self, flag: u16) -> bool {
        self.flags & flag != 0
    }
}

/// Rarely used state of a channel, kept separate so that plain channels stay small.
pub(super) struct Special {
    /// Of each subscriber, in the order of their slots.
    pub(super) flags: Vec<SubscriberFlags>,
    pub(super) filters: Option<Box<Filters>>,
    kind: KindState,
}

/// State that depends on the kind of the channel.
enum KindState {
    Stream(StreamState),
}

impl Special {
    /// For a channel with `count` plain subscribers.
    pub(super) fn of_plain(kind: Kind, count: usize) -> Self {
        let kind = match kind {
            Kind::Stream => KindState::Stream(StreamState::default()),
        };
        Self { flags: vec![SubscriberFlags::default(); count], filters: None, kind }
    }

    /// State of a channel of the kind stream.
    pub(super) const fn stream(&self) -> &StreamState {
        let KindState::Stream(stream) = &self.kind;
        stream
    }

    /// The same, to change it.
    pub(super) const fn stream_mut(&mut self) -> &mut StreamState {
        let KindState::Stream(stream) = &mut self.kind;
        stream
    }

    /// Asks each filter about a publication. Returns how many that were.
    pub(super) fn evaluate(&mut self, delivery: &Delivery) -> u64 {
        let Some(filters) = &mut self.filters else { return 0 };
        match &delivery.publication.tags {
            Some(tags) => filters.evaluate(tags),
            None => filters.evaluate(&Tags::new()),
        }
    }

    /// The flags of each subscriber, in the order of their slots, and what decides with them about the content.
    pub(super) fn split(&mut self) -> (IterMut<'_, SubscriberFlags>, Contents<'_>) {
        let KindState::Stream(stream) = &mut self.kind;
        (self.flags.iter_mut(), Contents { filters: self.filters.as_deref(), stream })
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.flags.len()
    }
}

/// Decides which content of a publication each subscriber gets.
pub(super) struct Contents<'a> {
    filters: Option<&'a Filters>,
    stream: &'a mut StreamState,
}

impl Contents<'_> {
    /// The content that a subscriber gets of a publication, if it is to have it.
    ///
    /// Inlined, because it is done for every delivery.
    #[inline]
    pub(super) fn of(
        &mut self,
        own: &mut SubscriberFlags,
        slot: u32,
        delivery: &Delivery,
        filtering: &mut Filtering,
    ) -> Option<Content<'_>> {
        if own.gets_all() {
            return Some(Content::Plain);
        }
        if own.is(SubscriberFlags::AHEAD) {
            if self.stream.ahead.get(&slot).is_some_and(|cursor| cursor.has(delivery)) {
                return None;
            }
            own.flags &= !SubscriberFlags::AHEAD;
            self.stream.ahead.remove(&slot);
        }
        if own.filter > 0 && !self.filters.is_some_and(|filters| filters.passes(own.filter)) {
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
        Some(Content::Delta(if known { self.stream.base.as_ref() } else { None }))
    }

    /// Everyone has been served: keeps the publication as a base for patches.
    pub(super) fn keep_base(self, delivery: &Delivery) {
        if self.stream.deltas > 0 {
            self.stream.base = Some(Arc::clone(&delivery.publication));
        }
    }
}
