//! Admission of publications: which may be queued now, and which wait.
//!
//! A publication costs what its delivery costs: a publication to ten thousand subscribers is ten thousand
//! deliveries, however short it is. So two things are bounded in addition to bytes: the deliveries that wait in the
//! inbox of a shard, which everything behind them waits for, and the publications of one channel that were queued and
//! are not yet sent, which its subscribers have to keep up with.
//!
//! What is over the bounds waits in a lane, one for each channel, first in, first out. A lane goes on when sends of
//! its channel are made; lanes that wait for room in a shard are served in turn, one publication each, or as many as
//! cost little. So a channel that is flooded waits for itself, and a channel that is not passes: for it there is a
//! reserve of room.

use crate::channel::record::{Channel, ChannelState};
use crate::config::Config;
use crate::handle::{CallToken, Handle};
use crate::mailbox::call::Outcome;
use crate::mailbox::fan_out::{Load, Share};
use crate::mailbox::inbox::{ENTRY_BYTES, Entry, Inbox};
use crate::publication::ClientInfo;
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering, fence};
use tokio::sync::oneshot;

/// Lots that may wait for a connection. A channel has an eighth of that under way at most, so that its subscribers are
/// not lost because a shard is handed more than it has sent.
const LOTS: usize = 512;
/// Lots that one publication counts for at most.
const MOST_LOTS: u16 = 256;

/// Bytes that may wait in lanes at least, however small the inboxes are.
const LEAST_BYTES: usize = 1 << 20;

/// The lanes of a node.
pub(crate) struct Admission {
    pub(crate) inboxes: Vec<Arc<Inbox>>,
    /// Bytes that a publication of usual size has at most: it counts for one lot, and a larger one for more.
    lot: usize,
    /// Waiters in all lanes, to skip the search when there are none.
    waiting: AtomicUsize,
    lanes: Mutex<Lanes>,
    max_publishers: usize,
    max_bytes: usize,
}

#[derive(Default)]
struct Lanes {
    by_channel: HashMap<u64, Lane, FixedState>,
    /// Channels whose first waiter needs room in a shard, by shard, in the order in which they are served.
    by_shard: Vec<VecDeque<Arc<Channel>>>,
    publishers: usize,
    /// Bytes of what publishers hold while they wait, and of joins and leaves.
    published_bytes: usize,
    announced_bytes: usize,
    closed: bool,
}

#[derive(Default)]
struct Lane {
    waiters: VecDeque<Waiter>,
    publishers: usize,
    bytes: usize,
    /// It is in the list of a shard.
    listed: bool,
}

/// An entry of a lane.
enum Waiter {
    /// A publisher, which publishes by itself once it holds the permit.
    Publisher { bytes: usize, granted: oneshot::Sender<Permit> },
    /// A join or a leave.
    Announcement(Announcement),
}

/// A client came or went.
pub(crate) struct Announcement {
    pub(crate) info: Arc<ClientInfo>,
    pub(crate) join: bool,
    /// The client that waits until this is queued, and the token of its call: it is notified through the inbox.
    pub(crate) then: Option<(Handle, CallToken)>,
}

/// A lane's turn among those that wait for the same shard.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// Nobody else waits.
    Free,
    /// Others wait for this shard: it goes behind them.
    Behind(usize),
    /// It is its turn in this shard, once.
    Once(usize),
}

/// A place in a lane: becomes a permit in its turn, or an error when the node has been shut down.
pub(crate) type Ticket = oneshot::Receiver<Permit>;

/// Permission to publish once in a channel: what that costs is reserved.
pub(crate) struct Permit {
    admission: Arc<Admission>,
    channel: Arc<Channel>,
    share: Share,
    spent: bool,
}

/// Too many wait, or too much.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Full;

/// Reason that a publication cannot be queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Block {
    /// Too much of its channel is queued and not sent.
    Channel,
    /// A shard has too many deliveries to make.
    Shard(usize),
}

impl Waiter {
    fn bytes(&self) -> usize {
        match self {
            Self::Publisher { bytes, .. } => *bytes,
            Self::Announcement(Announcement { info, .. }) => {
                ENTRY_BYTES + info.conn_info.len() + info.chan_info.len()
            }
        }
    }

    /// Bytes of a publication. Joins and leaves are of usual size.
    fn payload(&self) -> usize {
        if let Self::Publisher { bytes, .. } = self { *bytes } else { 0 }
    }

    /// Nobody waits any more.
    fn is_gone(&self) -> bool {
        matches!(self, Self::Publisher { granted, .. } if granted.is_closed())
    }
}

impl Lanes {
    fn count(&mut self, waiter: &Waiter) {
        match waiter {
            Waiter::Publisher { bytes, .. } => {
                self.publishers += 1;
                self.published_bytes += bytes;
            }
            Waiter::Announcement(_) => self.announced_bytes += waiter.bytes(),
        }
    }

    fn discount(&mut self, waiter: &Waiter) {
        match waiter {
            Waiter::Publisher { bytes, .. } => {
                self.publishers -= 1;
                self.published_bytes -= bytes;
            }
            Waiter::Announcement(_) => self.announced_bytes -= waiter.bytes(),
        }
    }

    /// Returns true if one more of this kind may wait: one lane takes at most a quarter of the whole, so that a flooded
    /// channel leaves room for others.
    fn has_room(&self, admission: &Admission, channel: u64, waiter: &Waiter) -> bool {
        let (of_lane, publishers) =
            self.by_channel.get(&channel).map_or((0, 0), |lane| (lane.bytes, lane.publishers));
        let bytes = waiter.bytes();
        if of_lane > 0 && of_lane + bytes > admission.max_bytes / 4 {
            return false;
        }
        match waiter {
            Waiter::Publisher { .. } => {
                self.publishers < admission.max_publishers
                    && publishers < admission.max_publishers.div_ceil(4)
                    && (self.published_bytes == 0 || self.published_bytes + bytes <= admission.max_bytes)
            }
            Waiter::Announcement(_) => self.announced_bytes + bytes <= admission.max_bytes,
        }
    }

    /// The first of these shards that others wait for.
    fn contended(&self, mut shards: impl Iterator<Item = usize>) -> Option<usize> {
        shards.find(|shard| self.by_shard.get(*shard).is_some_and(|listed| !listed.is_empty()))
    }

    fn turn(&self, state: &ChannelState) -> Turn {
        self.contended(state.shards.iter()).map_or(Turn::Free, Turn::Behind)
    }

    /// Takes the first of a lane out.
    fn pop(&mut self, channel: u64) -> Option<Waiter> {
        let lane = self.by_channel.get_mut(&channel)?;
        let waiter = lane.waiters.pop_front()?;
        lane.bytes -= waiter.bytes();
        lane.publishers -= usize::from(matches!(waiter, Waiter::Publisher { .. }));
        self.discount(&waiter);
        Some(waiter)
    }

    fn remove_if_empty(&mut self, channel: u64) {
        if self.by_channel.get(&channel).is_some_and(|lane| lane.waiters.is_empty()) {
            self.by_channel.remove(&channel);
        }
    }

    /// Drops those of a lane that nobody waits for. Returns how many.
    fn purge(&mut self, channel: u64) -> usize {
        let Some(lane) = self.by_channel.get_mut(&channel) else { return 0 };
        let (gone, kept): (VecDeque<_>, VecDeque<_>) =
            std::mem::take(&mut lane.waiters).into_iter().partition(Waiter::is_gone);
        lane.waiters = kept;
        for waiter in &gone {
            lane.bytes -= waiter.bytes();
            lane.publishers -= 1;
        }
        gone.iter().for_each(|waiter| self.discount(waiter));
        gone.len()
    }
}

impl Admission {
    pub(crate) fn new(seed: u64, config: &Config, inboxes: Vec<Arc<Inbox>>) -> Self {
        Self {
            waiting: AtomicUsize::new(0),
            lanes: Mutex::new(Lanes {
                by_channel: HashMap::with_hasher(FixedState::with_seed(seed)),
                by_shard: vec![VecDeque::new(); inboxes.len()],
                ..Lanes::default()
            }),
            inboxes,
            lot: (config.queue_max_size / LOTS).max(1),
            max_publishers: config.max_calls_in_flight.div_ceil(4),
            max_bytes: config.inbox_max_size.max(LEAST_BYTES),
        }
    }

    /// Returns the number of lots that a payload of this size counts for in its channel.
    pub(crate) fn lots(&self, bytes: usize) -> u16 {
        if bytes < self.lot {
            return 1;
        }
        u16::try_from(1 + bytes / self.lot).unwrap_or(MOST_LOTS).min(MOST_LOTS)
    }

    /// Returns true if anybody waits.
    pub(crate) fn is_waiting(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) > 0
    }

    /// Returns true if something may be queued in a channel now. Those that already wait there come first, and where
    /// others wait for room in a shard, a channel with much under way queues behind them.
    pub(crate) fn admits(&self, channel: &Channel, state: &ChannelState, share: Share) -> bool {
        if state.blocked(self, share).is_some() {
            return false;
        }
        if !self.is_waiting() {
            return true;
        }
        let lanes = self.lanes.lock();
        !lanes.by_channel.contains_key(&channel.id)
            && (share.load != Load::Much || lanes.contended(share.shards.iter()).is_none())
    }

    /// Puts a publisher into the lane of a channel. The record stays locked from the moment at which the
    /// publication was not admitted, so that no release is missed.
    pub(crate) fn wait(
        self: &Arc<Self>,
        channel: &Arc<Channel>,
        state: &mut ChannelState,
        bytes: usize,
    ) -> Result<Ticket, Full> {
        let (granted, ticket) = oneshot::channel();
        self.enqueue(channel, state, Waiter::Publisher { bytes, granted }).map(|()| ticket)
    }

    /// Tells the subscribers of a channel that a client came or went, in its turn. Where too many such messages
    /// wait, this one is dropped. Returns whether the outcome comes later, through the inbox.
    pub(crate) fn announce(
        self: &Arc<Self>,
        channel: &Arc<Channel>,
        state: &mut ChannelState,
        announcement: Announcement,
    ) -> bool {
        let share = state.share(self, 0);
        if self.admits(channel, state, share) {
            channel
                .deliver_join_leave(state, self, &announcement.info, announcement.join)
                .wake(&self.inboxes);
            return false;
        }
        let waiter = Waiter::Announcement(announcement);
        self.enqueue(channel, state, waiter).is_ok()
    }

    /// Adds a waiter to the lane of a channel. The record stays locked from the moment at which it was found to be
    /// blocked, so that no release is missed.
    fn enqueue(
        self: &Arc<Self>,
        channel: &Arc<Channel>,
        state: &mut ChannelState,
        waiter: Waiter,
    ) -> Result<(), Full> {
        let mut lanes = self.lanes.lock();
        if lanes.closed {
            return Err(Full);
        }
        if !lanes.has_room(self, channel.id, &waiter) {
            let purged = lanes.purge(channel.id);
            self.waiting.fetch_sub(purged, Ordering::SeqCst);
            if !lanes.has_room(self, channel.id, &waiter) {
                lanes.remove_if_empty(channel.id);
                return Err(Full);
            }
        }
        lanes.count(&waiter);
        let lane = lanes.by_channel.entry(channel.id).or_default();
        lane.bytes += waiter.bytes();
        lane.publishers += usize::from(matches!(waiter, Waiter::Publisher { .. }));
        lane.waiters.push_back(waiter);
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let turn = lanes.turn(state);
        let refused = self.advance(channel, state, &mut lanes, turn);
        debug_assert!(refused.is_empty(), "the only one who could refuse is still here");
        Ok(())
    }

    /// Grants what may be granted in a lane. Permits that nobody took are returned, to be dropped once the locks are
    /// released.
    fn advance(
        self: &Arc<Self>,
        channel: &Arc<Channel>,
        state: &mut ChannelState,
        lanes: &mut Lanes,
        turn: Turn,
    ) -> Vec<Permit> {
        let (mut refused, mut granted) = (Vec::new(), 0);
        while let Some(lane) = lanes.by_channel.get_mut(&channel.id) {
            let Some(first) = lane.waiters.front() else {
                lanes.by_channel.remove(&channel.id);
                break;
            };
            if first.is_gone() {
                lanes.pop(channel.id);
                self.waiting.fetch_sub(1, Ordering::SeqCst);
                continue;
            }
            let share = state.share(self, first.payload());
            match state.blocked(self, share) {
                // What is under way comes back here when it is sent.
                Some(Block::Channel) => break,
                Some(Block::Shard(_)) if lane.listed => break,
                Some(Block::Shard(shard)) => {
                    lane.listed = true;
                    lanes.by_shard[shard].push_back(Arc::clone(channel));
                    // The shard may have made room and looked for lanes before this one was listed.
                    fence(Ordering::SeqCst);
                    if state.blocked(self, share) == Some(Block::Shard(shard)) {
                        break;
                    }
                    lanes.by_shard[shard].retain(|listed| !Arc::ptr_eq(listed, channel));
                    if let Some(lane) = lanes.by_channel.get_mut(&channel.id) {
                        lane.listed = false;
                    }
                }
                None => match turn {
                    // Others wait for the same shard: it goes behind them, unless it costs little.
                    Turn::Behind(shard) | Turn::Once(shard)
                        if share.load == Load::Much && (granted > 0 || turn == Turn::Behind(shard)) =>
                    {
                        if !lane.listed {
                            lane.listed = true;
                            lanes.by_shard[shard].push_back(Arc::clone(channel));
                        }
                        break;
                    }
                    Turn::Free | Turn::Behind(_) | Turn::Once(_) => {
                        let Some(waiter) = lanes.pop(channel.id) else { break };
                        self.waiting.fetch_sub(1, Ordering::SeqCst);
                        granted += 1;
                        refused.extend(grant(self, channel, state, share, waiter));
                    }
                },
            }
        }
        refused
    }

    /// Something of a channel was sent, or is not to be sent after all.
    pub(crate) fn channel_has_room(self: &Arc<Self>, channel: &Arc<Channel>) {
        let refused = {
            let mut state = channel.lock();
            let mut lanes = self.lanes.lock();
            let turn = lanes.turn(&state);
            self.advance(channel, &mut state, &mut lanes, turn)
        };
        drop(refused);
    }

    /// A shard has worked off entries of its inbox: serves the lanes that wait for that, each once.
    pub(crate) fn shard_has_room(self: &Arc<Self>, shard: usize) {
        let rounds = self.lanes.lock().by_shard[shard].len();
        for _ in 0..rounds {
            if !self.inboxes[shard].takes(Load::Light) {
                return;
            }
            let Some(channel) = self.lanes.lock().by_shard[shard].pop_front() else { return };
            let refused = {
                let mut state = channel.lock();
                let mut lanes = self.lanes.lock();
                if let Some(lane) = lanes.by_channel.get_mut(&channel.id) {
                    lane.listed = false;
                }
                self.advance(&channel, &mut state, &mut lanes, Turn::Once(shard))
            };
            drop(refused);
        }
    }

    /// The node is shut down: nobody waits any longer.
    pub(crate) fn close(&self) {
        let lanes = {
            let mut lanes = self.lanes.lock();
            lanes.closed = true;
            self.waiting.store(0, Ordering::SeqCst);
            lanes.by_shard.iter_mut().for_each(VecDeque::clear);
            (lanes.publishers, lanes.published_bytes, lanes.announced_bytes) = (0, 0, 0);
            std::mem::take(&mut lanes.by_channel)
        };
        drop(lanes);
    }
}

impl Permit {
    /// Gives the reservation back under the lock of the record, for what is queued right after.
    pub(crate) fn spend(&mut self, channel: &Arc<Channel>, state: &mut ChannelState) {
        if Arc::ptr_eq(channel, &self.channel) && !self.spent {
            self.spent = true;
            state.release(&self.admission, self.share);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if !self.spent {
            let mut state = self.channel.lock();
            state.release(&self.admission, self.share);
        }
        // It may have been given back without anything queued.
        if self.admission.is_waiting() {
            self.admission.channel_has_room(&self.channel);
            self.share.shards.iter().for_each(|shard| self.admission.shard_has_room(shard));
        }
    }
}

/// Lets a waiter go on. Returns the permit that it did not take.
fn grant(
    admission: &Arc<Admission>,
    channel: &Arc<Channel>,
    state: &mut ChannelState,
    share: Share,
    waiter: Waiter,
) -> Option<Permit> {
    match waiter {
        Waiter::Publisher { granted, .. } => {
            state.reserve(admission, share);
            let permit = Permit {
                admission: Arc::clone(admission),
                channel: Arc::clone(channel),
                share,
                spent: false,
            };
            granted.send(permit).err()
        }
        Waiter::Announcement(Announcement { info, join, then }) => {
            channel.deliver_join_leave(state, admission, &info, join).wake(&admission.inboxes);
            if let Some((handle, token)) = then {
                let outcome = Box::new(Outcome::Announced);
                if let Some(inbox) = admission.inboxes.get(handle.shard()) {
                    inbox.push(Entry::Outcome { handle, token, outcome });
                    inbox.wake();
                }
            }
            None
        }
    }
}

#[cfg(test)]
mod tests;
