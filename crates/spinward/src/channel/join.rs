//! Entering a channel: the start of a subscriber, and what it is given of what it missed.

use crate::channel::directory::{Channel, State};
use crate::clock::Now;
use crate::engine::broker::{HistoryFilter, HistoryOptions};
use crate::engine::interest::Ask;
use crate::engine::memory::Memory;
use crate::engine::memory::stream::Stream;
use crate::handle::Handle;
use crate::hub::{Engine, Hub};
use crate::publication::{Position, Publication};
use spinward_wire::filter::Filter;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A subscriber's requirements when it enters.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wish {
    /// It wants its position: the channel has history and the subscription is positioned.
    pub(crate) positioned: bool,
    pub(crate) history: HistoryOptions,
    pub(crate) recover: Option<Recover>,
    pub(crate) filter: Option<Filter>,
}

/// From where a subscriber wants to be brought up to date.
#[derive(Clone, Debug)]
pub(crate) struct Recover {
    pub(crate) since: Position,
    /// The latest publication alone will do.
    pub(crate) cache: bool,
    /// Most publications.
    pub(crate) limit: usize,
}

/// The start of a subscriber.
#[derive(Clone, Debug, Default)]
pub(crate) struct Start {
    pub(crate) top: Position,
    /// Publications that it missed, oldest first; empty unless `recovered`. Its filter is applied.
    pub(crate) publications: Vec<Arc<Publication>>,
    /// Nothing is missing between its position and the start.
    pub(crate) recovered: bool,
    /// The publication before the start, as a base for patches, whether or not it passes the filter.
    pub(crate) last: Option<Arc<Publication>>,
}

/// Result of entering.
pub(crate) struct Entered {
    pub(crate) record: Arc<Channel>,
    /// The delivery at which it entered.
    pub(crate) seq: u64,
    /// This is the first subscriber of the node.
    pub(crate) occupied: bool,
    pub(crate) start: Start,
}

impl Hub {
    /// Enters a channel served by the memory broker: the position, what was missed, and the start of delivery
    /// to this shard are one step under the lock of the record, so that nothing falls between.
    pub(crate) fn enter_memory(
        &self,
        memory: &Memory,
        name: &str,
        shard: u8,
        wish: &Wish,
        now: Now,
    ) -> Entered {
        self.directory.with(name, |record, state| {
            let start = if wish.positioned {
                self.start_memory(memory, record, state, wish, now)
            } else {
                Start::default()
            };
            state.set_shard(shard, true);
            self.came(state);
            memory.settle(record, state, now.mono);
            Entered {
                record: Arc::clone(record),
                seq: state.delivered,
                occupied: state.subscribers == 1,
                start,
            }
        })
    }

    fn start_memory(
        &self,
        memory: &Memory,
        record: &Channel,
        state: &mut State,
        wish: &Wish,
        now: Now,
    ) -> Start {
        let stream = memory.stream(record, state, now.mono);
        stream.touch(self.with_meta_ttl(wish.history).meta_ttl, now.mono);
        let start = match &wish.recover {
            None => Start { top: stream.top(), ..Start::default() },
            Some(recover) if recover.cache => start_from_cache(stream, recover, wish.filter.as_ref(), now),
            Some(recover) => {
                let found =
                    stream.recover(recover.since.offset, &recover.since.epoch, recover.limit, now.mono);
                Start {
                    top: stream.top(),
                    last: found.publications.last().cloned(),
                    publications: filtered(found.publications, wish.filter.as_ref()),
                    recovered: found.complete,
                }
            }
        };
        #[cfg(feature = "planted-faults")]
        if wish.recover.is_some()
            && !start.recovered
            && crate::sim::planted::holds(crate::sim::planted::Fault::FalseRecovered)
        {
            return Start { recovered: true, ..start };
        }
        start
    }

    /// Enters a channel served by a remote broker, without a position: deliveries to this shard begin. Returns
    /// what to ask of the broker.
    pub(crate) fn enter_remote(&self, name: &str, shard: u8) -> (Entered, Option<Ask>, bool) {
        self.directory.with(name, |record, state| {
            state.set_shard(shard, true);
            self.came(state);
            let ask = state.interest.want();
            let held = state.interest == crate::engine::interest::Interest::Held;
            let entered = Entered {
                record: Arc::clone(record),
                seq: state.delivered,
                occupied: state.subscribers == 1,
                start: Start::default(),
            };
            (entered, ask, held)
        })
    }

    fn came(&self, state: &mut State) {
        state.subscribers += 1;
        if state.subscribers == 1 {
            self.metrics.occupied.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A subscriber leaves. `shard_empty`: it was the last of its shard. Returns whether it was the last of
    /// the node, and what to ask of a remote broker.
    pub(crate) fn leave(
        &self,
        record: &Arc<Channel>,
        shard: u8,
        shard_empty: bool,
        now: Now,
    ) -> (bool, Option<Ask>) {
        let (vacated, ask) = {
            let mut state = record.lock();
            state.subscribers = state.subscribers.saturating_sub(1);
            if state.subscribers == 0 {
                self.metrics.occupied.fetch_sub(1, Ordering::Relaxed);
            }
            if shard_empty {
                state.set_shard(shard, false);
            }
            let vacated = state.subscribers == 0;
            let ask = match &self.engine {
                Engine::Remote(_) if vacated => state.interest.unwant(),
                Engine::Memory(memory) if vacated => {
                    memory.left(record, &mut state, now.mono);
                    None
                }
                Engine::Remote(_) | Engine::Memory(_) => None,
            };
            (vacated, ask)
        };
        if vacated {
            self.directory.release(record);
        }
        (vacated, ask)
    }
}

/// In cache mode being up to date means having the latest publication, whichever were missed before it.
fn start_from_cache(stream: &mut Stream, recover: &Recover, filter: Option<&Filter>, now: Now) -> Start {
    let top = stream.top();
    let at_top = recover.since == top && !top.epoch.is_empty() && top.offset > 0;
    let latest = match filter {
        None => stream.latest(now.mono),
        Some(filter) => {
            stream.latest_matching(recover.limit, now.mono, |publication| passes(publication, filter))
        }
    };
    let last = stream.latest(now.mono);
    let publications = if at_top { Vec::new() } else { latest.into_iter().collect::<Vec<_>>() };
    Start { recovered: at_top || !publications.is_empty(), top, publications, last }
}

/// Applies a subscriber's filter.
pub(crate) fn filtered(
    publications: Vec<Arc<Publication>>,
    filter: Option<&Filter>,
) -> Vec<Arc<Publication>> {
    match filter {
        None => publications,
        Some(filter) => publications.into_iter().filter(|publication| passes(publication, filter)).collect(),
    }
}

fn passes(publication: &Publication, filter: &Filter) -> bool {
    match &publication.tags {
        Some(tags) => filter.matches(tags),
        None => filter.matches(&std::collections::BTreeMap::new()),
    }
}

/// Subscribers of one shard that are entering a channel of a remote broker.
///
/// From before the first of them asks for history until the last of them is in, the publications that arrive
/// are kept in one ring, which is then merged with what each of them was given.
#[derive(Default)]
pub(crate) struct Joining {
    pub(crate) ring: VecDeque<Arc<Publication>>,
    ring_bytes: usize,
    /// The epoch of what is in the ring.
    pub(crate) ring_epoch: Option<Arc<str>>,
    /// Something was left out of the ring, so that what is read must be read again.
    pub(crate) overflowed: bool,
    /// Those who wait for the broker's interest.
    pub(crate) waiting: Vec<Ticket>,
    /// Reads in flight, and who waits for each.
    pub(crate) reads: Vec<Read>,
}

/// One subscriber that is entering.
#[derive(Clone)]
pub(crate) struct Ticket {
    pub(crate) handle: Handle,
    /// Names the join within the session.
    pub(crate) join: u32,
    pub(crate) wish: Wish,
    pub(crate) tries: u8,
}

/// One read of history, shared by all who want the same.
pub(crate) struct Read {
    pub(crate) number: u32,
    filter: HistoryFilter,
    /// The epoch of the ring when the read was made.
    ring_epoch: Option<Arc<str>>,
    pub(crate) tickets: Vec<Ticket>,
}

/// Bytes of publications that a ring holds at most.
const RING_BYTES: usize = 1 << 20;

impl Joining {
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

    /// Adds a ticket to an equal read in flight, or returns the number of a new one that is to be made.
    ///
    /// Numbers are never used again in a shard, so that a late answer is not taken for that of another read.
    pub(crate) fn read(&mut self, ticket: Ticket, number: u32) -> Option<u32> {
        let filter = crate::session::read_filter(&ticket.wish);
        if let Some(read) = self.reads.iter_mut().find(|read| read.filter == filter && ticket.tries == 0) {
            read.tickets.push(ticket);
            return None;
        }
        let ring_epoch = self.ring_epoch.clone();
        self.reads.push(Read { number, filter, ring_epoch, tickets: vec![ticket] });
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
        history: &crate::engine::broker::History,
        wish: &Wish,
    ) -> Option<Start> {
        let mut top = history.top.clone();
        let mut fresh = Vec::new();
        let other =
            self.ring_epoch.as_ref().is_some_and(|epoch| *epoch != top.epoch) && !self.ring.is_empty();
        if other && read.ring_epoch == self.ring_epoch {
            // The read came after the ring's epoch, so that is the older one and nothing in it counts.
            return Some(start_from_slice(history, fresh, top, wish));
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
        #[cfg_attr(not(feature = "planted-faults"), expect(unused_mut, reason = "planted faults change it"))]
        let mut start = start_from_slice(history, fresh, top, wish);
        #[cfg(feature = "planted-faults")]
        crate::sim::planted::on_merged(&mut start.publications);
        Some(start)
    }
}

/// Judges whether a slice of a remote stream and what followed it bring a subscriber up to date.
fn start_from_slice(
    history: &crate::engine::broker::History,
    fresh: Vec<Arc<Publication>>,
    top: Position,
    wish: &Wish,
) -> Start {
    let filter = wish.filter.as_ref();
    let Some(recover) = &wish.recover else {
        return Start { top, ..Start::default() };
    };
    let mut all = history.publications.clone();
    all.extend(fresh);
    // A read for the cache comes newest first.
    all.sort_by_key(|publication| publication.offset);
    let last = all.last().cloned();
    if recover.cache {
        let at_top = recover.since == top && !top.epoch.is_empty() && top.offset > 0;
        let latest = filtered(all, filter).pop();
        let publications = if at_top { Vec::new() } else { latest.into_iter().collect::<Vec<_>>() };
        return Start { recovered: at_top || !publications.is_empty(), top, publications, last };
    }
    let since = &recover.since;
    let same = since.epoch.is_empty() || since.epoch == top.epoch;
    let missed: Vec<_> = all.into_iter().filter(|publication| publication.offset > since.offset).collect();
    let whole = top.offset >= since.offset && missed.len() as u64 == top.offset - since.offset;
    let few = recover.limit == 0 || missed.len() <= recover.limit;
    if same && whole && few {
        Start { top, publications: filtered(missed, filter), recovered: true, last }
    } else {
        Start { top, ..Start::default() }
    }
}
