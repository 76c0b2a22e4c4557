//! A channel of the kind stream, in one shard: its place in the stream, and gaps before it.

use crate::channel::delivery::Delivery;
use crate::channel::local::LocalChannel;
use crate::channel::local::entrants::Entrants;
use crate::channel::local::special::SubscriberFlags;
use crate::publication::{Position, Publication};
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use std::sync::Arc;

/// State of a stream that plain subscribers do without.
#[derive(Default)]
pub(super) struct StreamState {
    /// Place of the last stored publication that was processed here, or the top when the first came.
    position: Option<Position>,
    /// Cursors of subscribers, by slot, that are elsewhere than this channel until the next delivery has passed them.
    pub(super) ahead: HashMap<u32, Cursor, FixedState>,
    /// The last publication that was delivered here, while anyone may be sent a patch against it.
    pub(super) base: Option<Arc<Publication>>,
    /// Subscribers that agreed on deltas.
    pub(super) deltas: usize,
    entrants: Option<Box<Entrants>>,
    /// Its position is compared with the broker's from time to time.
    watched: bool,
}

impl StreamState {
    /// Returns true without subscribers that are entering.
    pub(super) const fn is_idle(&self) -> bool {
        self.entrants.is_none()
    }

    /// A subscriber agreed on deltas. Returns true if it has the base of the next patch.
    pub(super) fn add_delta(&mut self, base: Option<Arc<Publication>>) -> bool {
        self.deltas += 1;
        // Its base is of use only if it is also what the shard will take for the base of the next patch.
        base.is_some_and(|base| {
            let current = self.base.get_or_insert_with(|| Arc::clone(&base));
            Arc::ptr_eq(current, &base) || (current.offset == base.offset && current.data == base.data)
        })
    }

    /// A subscriber that agreed on deltas has left.
    pub(super) fn remove_delta(&mut self) {
        self.deltas -= 1;
        if self.deltas == 0 {
            self.base = None;
        }
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
    #[inline]
    pub(super) fn has(&self, delivery: &Delivery) -> bool {
        self.seq >= delivery.seq
            || self.offset(delivery).is_some_and(|offset| offset >= delivery.publication.offset)
    }

    /// Its offset, where that compares with the publication's.
    fn offset(&self, delivery: &Delivery) -> Option<u64> {
        let position = self.position.as_ref()?;
        (delivery.epoch.as_ref() == Some(&position.epoch)).then_some(position.offset)
    }
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

/// Publications are missing before one that arrived.
#[derive(Clone, Copy)]
pub(crate) struct Gap {
    /// Before it, the shard was at another position. Otherwise it had none yet.
    known: bool,
    /// It follows the one before.
    follows: bool,
}

impl LocalChannel {
    fn stream(&self) -> Option<&StreamState> {
        Some(self.subscribers.special()?.stream())
    }

    fn stream_mut(&mut self) -> Option<&mut StreamState> {
        Some(self.subscribers.special_mut()?.stream_mut())
    }

    fn make_stream(&mut self) -> &mut StreamState {
        self.make_special().stream_mut()
    }

    /// Returns the channel's position in this shard, if known.
    pub(crate) fn position(&self) -> Option<&Position> {
        self.stream()?.position.as_ref()
    }

    pub(crate) fn epoch(&self) -> Option<&Arc<str>> {
        Some(&self.position()?.epoch)
    }

    /// Returns true if everything up to this place was processed here.
    pub(crate) fn has_reached(&self, place: &Position) -> bool {
        self.position().is_some_and(|at| at.epoch == place.epoch && at.offset >= place.offset)
    }

    pub(crate) fn set_position(&mut self, offset: u64, epoch: &Arc<str>) {
        let position = &mut self.make_stream().position;
        match position {
            Some(known) if known.epoch == *epoch => known.offset = offset,
            _ => *position = Some(Position { offset, epoch: Arc::clone(epoch) }),
        }
    }

    /// The stream that the position was of is over.
    pub(crate) fn forget_position(&mut self) {
        if let Some(stream) = self.stream_mut() {
            stream.position = None;
        }
    }

    pub(crate) fn entrants(&mut self) -> Option<&mut Entrants> {
        self.stream_mut()?.entrants.as_deref_mut()
    }

    pub(crate) fn open_entrants(&mut self) -> &mut Entrants {
        self.make_stream().entrants.get_or_insert_default()
    }

    pub(crate) fn close_entrants(&mut self) {
        if let Some(stream) = self.stream_mut() {
            stream.entrants = None;
        }
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
        let elsewhere = self.stream().is_some_and(|stream| !stream.ahead.is_empty());
        if (follows || !known) && !elsewhere {
            Verdict::Deliver
        } else {
            Verdict::Gap(Gap { known, follows })
        }
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

    /// The slots of positioned subscribers that have not got what is up to this place.
    pub(crate) fn behind(&self, place: &Position) -> Vec<u32> {
        let there = |position: &Position| position.epoch == place.epoch && position.offset >= place.offset;
        self.slots_with(SubscriberFlags::POSITIONED, |cursor| {
            !cursor.and_then(|cursor| cursor.position.as_ref()).is_some_and(there)
        })
    }

    /// The slots of positioned subscribers that entered behind the channel, and behind this place.
    pub(crate) fn lagging(&self, place: &Position) -> Vec<u32> {
        let behind = |position: &Position| position.epoch == place.epoch && position.offset < place.offset;
        self.slots_with(SubscriberFlags::POSITIONED, |cursor| {
            cursor.and_then(|cursor| cursor.position.as_ref()).is_some_and(behind)
        })
    }

    /// Returns true while the stream is read for subscribers that are entering.
    pub(crate) fn is_reading(&self) -> bool {
        let entrants = self.stream().and_then(|stream| stream.entrants.as_deref());
        entrants.is_some_and(|entrants| !entrants.reads.is_empty())
    }

    /// Returns true while the position is compared with the broker's.
    pub(crate) fn is_watched(&self) -> bool {
        self.stream().is_some_and(|stream| stream.watched)
    }

    /// Notes that the position is compared, or no longer. Returns what was noted before.
    pub(crate) fn set_watched(&mut self, watched: bool) -> bool {
        std::mem::replace(&mut self.make_stream().watched, watched)
    }
}
