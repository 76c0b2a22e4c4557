//! Subscribers of one shard that are entering a channel of a remote broker.

use crate::channel::local::start::{StartState, start_from_slice};
use crate::channel::params::SubscribeParams;
use crate::engine::broker::{self, History};
use crate::fault;
use crate::handle::Handle;
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
    /// Something was left out of the ring, so that what is read must be read again.
    pub(crate) overflowed: bool,
    /// Those who wait for the broker's interest.
    pub(crate) waiting: Vec<Entrant>,
    /// Reads in flight, and who waits for each.
    pub(crate) reads: Vec<Read>,
}

/// One subscriber that is entering.
#[derive(Clone)]
pub(crate) struct Entrant {
    pub(crate) handle: Handle,
    /// Names the entry within the session.
    pub(crate) number: u32,
    pub(crate) params: SubscribeParams,
    pub(crate) tries: u8,
}

/// One read of history, shared by all who want the same.
pub(crate) struct Read {
    pub(crate) number: u32,
    slice: broker::Read,
    /// The epoch of the ring when the read was made.
    ring_epoch: Option<Arc<str>>,
    pub(crate) entrants: Vec<Entrant>,
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
            self.ring_epoch = epoch.cloned();
        }
        self.ring_bytes += publication.weight();
        self.ring.push_back(Arc::clone(publication));
        while self.ring_bytes > RING_BYTES {
            let Some(dropped) = self.ring.pop_front() else { break };
            self.ring_bytes -= dropped.weight();
            self.overflowed = true;
        }
    }

    /// Adds an entrant to an equal read in flight, or returns the number of a new one that is to be made.
    ///
    /// Numbers are never used again in a shard, so that a late answer is not taken for that of another read.
    pub(crate) fn read(&mut self, entrant: Entrant, number: u32) -> Option<u32> {
        let slice = entrant.params.slice();
        if let Some(read) = self.reads.iter_mut().find(|read| read.slice == slice && entrant.tries == 0) {
            read.entrants.push(entrant);
            return None;
        }
        let ring_epoch = self.ring_epoch.clone();
        self.reads.push(Read { number, slice, ring_epoch, entrants: vec![entrant] });
        Some(number)
    }

    pub(crate) fn take_read(&mut self, number: u32) -> Option<Read> {
        let at = self.reads.iter().position(|read| read.number == number)?;
        Some(self.reads.swap_remove(at))
    }

    pub(crate) fn is_done(&self) -> bool {
        self.waiting.is_empty() && self.reads.is_empty()
    }

    /// Puts together what a read gave and what arrived since.
    ///
    /// `None`: something between the two is missing, so read again.
    pub(crate) fn merge(
        &self,
        read: &Read,
        history: &History,
        params: &SubscribeParams,
    ) -> Option<StartState> {
        let mut top = history.top.clone();
        let mut fresh = Vec::new();
        let other =
            self.ring_epoch.as_ref().is_some_and(|epoch| *epoch != top.epoch) && !self.ring.is_empty();
        if other && read.ring_epoch == self.ring_epoch {
            // The read came after the ring's epoch, so that is the older one and nothing in it counts.
            return Some(start_from_slice(history, fresh, top, params));
        }
        if other {
            return None;
        }
        for publication in &self.ring {
            if publication.offset <= top.offset {
                continue;
            }
            if publication.offset != top.offset + 1 {
                return None;
            }
            top.offset = publication.offset;
            fresh.push(Arc::clone(publication));
        }
        if self.overflowed && self.ring.front().is_some_and(|first| first.offset > history.top.offset + 1) {
            return None;
        }
        let mut start = start_from_slice(history, fresh, top, params);
        fault::on_merged(&mut start.publications);
        Some(start)
    }
}
