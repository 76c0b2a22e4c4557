//! Subscribers of one shard that are entering a channel of a remote broker.

use crate::channel::local::start::{StartState, start_from_slice};
use crate::channel::params::SubscribeParams;
use crate::engine::broker::History;
use crate::fault;
use crate::handle::{CallToken, Handle};
use crate::publication::Publication;
use std::collections::VecDeque;
use std::sync::Arc;

/// Subscribers of one shard that are entering a channel of a remote broker.
///
/// From before the first of them asks for history until the last of them is in, the publications that arrive
/// are kept in one ring, which is then merged with what each of them was given.
#[derive(Default)]
pub(crate) struct Entrants {
    pub(crate) ring: VecDeque<Arc<Publication>>,
    ring_bytes: usize,
    /// The epoch of what is in the ring.
    pub(crate) ring_epoch: Option<Arc<str>>,
    /// Offset of the last publication of that epoch that the ring had no room for.
    dropped: Option<u64>,
    /// Those who wait for the broker's interest.
    pub(crate) waiting: Vec<Entrant>,
    /// Reads in flight, and who waits for each.
    pub(crate) reads: Vec<PendingRead>,
}

/// One subscriber that is entering.
#[derive(Clone)]
pub(crate) struct Entrant {
    pub(crate) handle: Handle,
    /// Names the entry within the session.
    pub(crate) number: CallToken,
    pub(crate) params: SubscribeParams,
    pub(crate) tries: u8,
}

/// One read of history, shared by all who wait for it.
pub(crate) struct PendingRead {
    pub(crate) number: u32,
    /// The epoch of the ring before the read was made.
    ring_epoch: Option<Arc<str>>,
    pub(crate) entrants: Vec<Entrant>,
}

/// A read that is answered.
pub(crate) struct AnsweredRead {
    /// The epoch of the ring before the read was made.
    ring_epoch: Option<Arc<str>>,
    /// Those who waited for it.
    pub(crate) entrants: Vec<Entrant>,
    /// Nobody else waits for it.
    pub(crate) is_last: bool,
}

/// Bytes of publications that a ring holds at most.
const RING_BYTES: usize = 1 << 20;

impl Entrants {
    /// Keeps a publication that arrived while somebody is entering.
    pub(crate) fn keep(&mut self, publication: &Arc<Publication>, epoch: Option<&Arc<str>>) {
        if publication.offset == 0 {
            return;
        }
        if self.ring_epoch.as_ref() != epoch {
            self.ring.clear();
            self.ring_bytes = 0;
            self.dropped = None;
            self.ring_epoch = epoch.cloned();
        }
        self.ring_bytes += publication.weight();
        self.ring.push_back(Arc::clone(publication));
        while self.ring_bytes > RING_BYTES {
            let Some(dropped) = self.ring.pop_front() else { break };
            self.ring_bytes -= dropped.weight();
            self.dropped = Some(dropped.offset);
        }
    }

    /// Has an entrant wait for the read of this number, which is planned and not made yet. Returns true if nobody else
    /// waits for it.
    pub(super) fn read(&mut self, entrant: Entrant, number: u32) -> bool {
        if let Some(read) = self.reads.iter_mut().rfind(|read| read.number == number) {
            read.entrants.push(entrant);
            return false;
        }
        let ring_epoch = self.ring_epoch.clone();
        self.reads.push(PendingRead { number, ring_epoch, entrants: vec![entrant] });
        true
    }

    /// Takes out those who wait for a read that is answered, so many at most. Others stay until they are taken out too.
    pub(crate) fn take_read(&mut self, number: u32, most: usize) -> Option<AnsweredRead> {
        let at = self.reads.iter().position(|read| read.number == number)?;
        let read = &mut self.reads[at];
        if read.entrants.len() > most {
            let entrants = read.entrants.drain(..most).collect();
            return Some(AnsweredRead { ring_epoch: read.ring_epoch.clone(), entrants, is_last: false });
        }
        let PendingRead { ring_epoch, entrants, .. } = self.reads.swap_remove(at);
        Some(AnsweredRead { ring_epoch, entrants, is_last: true })
    }

    pub(crate) fn is_done(&self) -> bool {
        self.waiting.is_empty() && self.reads.is_empty()
    }

    /// Puts together what a read gave and what arrived since.
    ///
    /// `None`: something between the two is missing, so read again.
    pub(crate) fn merge(
        &self,
        read: &AnsweredRead,
        history: &History,
        params: &SubscribeParams,
    ) -> Option<StartState> {
        let mut top = history.top.clone();
        let mut fresh = Vec::new();
        // The ring holds publications of one epoch, that of the last to arrive.
        let arrived = !self.ring.is_empty() || self.dropped.is_some();
        let other = arrived && self.ring_epoch.as_ref().is_some_and(|epoch| *epoch != top.epoch);
        if other && read.ring_epoch == self.ring_epoch {
            // The ring was of this epoch when the read was made, and the read found another one: that is the newer of
            // the two, and nothing in the ring counts.
            return Some(start_from_slice(history, fresh, top, params));
        }
        if other {
            // The epoch of the ring began after the read was made: what the read found is over.
            return None;
        }
        // dropped > top: it was published after the read, and is not in the ring either.
        if self.dropped.is_some_and(|dropped| dropped > top.offset) {
            return None;
        }
        for publication in &self.ring {
            // offset ≤ top: the read has it.
            if publication.offset <= top.offset {
                continue;
            }
            // offset > top + 1: those between the read and this one were lost on the way.
            if publication.offset != top.offset + 1 {
                return None;
            }
            top.offset = publication.offset;
            fresh.push(Arc::clone(publication));
        }
        let mut start = start_from_slice(history, fresh, top, params);
        fault::on_merged(&mut start.publications);
        Some(start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::params::Recover;
    use crate::publication::Position;

    fn publication(offset: u64, bytes: usize) -> Arc<Publication> {
        Arc::new(Publication { offset, data: vec![b' '; bytes].into(), ..Publication::default() })
    }

    fn at(offset: u64, epoch: &str) -> Position {
        Position { offset, epoch: epoch.into() }
    }

    fn params(since: Position) -> SubscribeParams {
        let recover = Some(Recover { since, cache: false, limit: 0, over: false });
        SubscribeParams { positioned: true, recover, ..SubscribeParams::default() }
    }

    /// A read that is made when the ring has these, and the start that it leads to once those have arrived.
    fn start(
        before: &[(u64, &str)],
        after: &[(u64, &str)],
        bytes: usize,
        top: Position,
    ) -> Option<StartState> {
        let mut entrants = Entrants::default();
        let keep = |entrants: &mut Entrants, all: &[(u64, &str)]| {
            for (offset, epoch) in all {
                entrants.keep(&publication(*offset, bytes), Some(&Arc::from(*epoch)));
            }
        };
        keep(&mut entrants, before);
        let params = params(at(3, "e"));
        let entrant = Entrant {
            handle: Handle::new(0, 0, 0),
            number: CallToken::NOBODY.next(),
            params: params.clone(),
            tries: 0,
        };
        assert!(entrants.read(entrant, 7));
        let read = entrants.take_read(7, 1).unwrap();
        keep(&mut entrants, after);
        let publications = (4..=top.offset).map(|offset| publication(offset, 1)).collect();
        entrants.merge(&read, &History { publications, top }, &params)
    }

    #[test]
    fn what_arrived_is_appended_to_what_was_read() {
        let found = start(&[(4, "e"), (5, "e")], &[(6, "e"), (7, "e")], 1, at(5, "e")).unwrap();
        let offsets: Vec<_> = found.publications.iter().map(|one| one.offset).collect();
        assert_eq!((found.recovered, found.top, offsets), (true, at(7, "e"), vec![4, 5, 6, 7]));
        assert!(start(&[], &[(7, "e")], 1, at(5, "e")).is_none(), "6 is missing");
    }

    #[test]
    fn the_newer_of_two_epochs_counts() {
        let newer_read = start(&[(9, "old")], &[], 1, at(5, "e")).unwrap();
        assert_eq!((newer_read.recovered, newer_read.top), (true, at(5, "e")));
        assert!(start(&[(5, "e")], &[(1, "new")], 1, at(5, "e")).is_none(), "what was read is over");
    }

    #[test]
    fn a_publication_too_large_for_the_ring_is_read_again() {
        assert!(start(&[], &[(6, "e")], RING_BYTES, at(5, "e")).is_none(), "6 is neither read nor kept");
        assert!(start(&[(5, "e")], &[(1, "new")], RING_BYTES, at(5, "e")).is_none(), "nor is the new epoch");
        assert!(start(&[(5, "e")], &[], RING_BYTES, at(5, "e")).is_some(), "5 was read");
    }
}
