//! The slots of a shard: connections from the moment they are there until the mover releases them.

use crate::clock::Now;
use crate::fault::{self, Fault};
use crate::handle::Handle;
use crate::identity::Transport;
use crate::mailbox::accepted::{Accepted, Io};
use crate::session::extras::Extra;
use crate::session::{MayPush, Session};
use crate::shard::core::{Core, Execute};
use crate::shard::outbox::{Outbox, weight};
use crate::shard::unsent::Way;
use crate::shard::work::Pending;
use bytes::Bytes;
use spinward_wire::Form;
use spinward_wire::code::DisconnectCode;
use spinward_wire::framing::Decoder;
use std::sync::atomic::Ordering;

/// One connection, or room for one.
pub(super) struct Slot {
    pub(super) generation: u32,
    pub(super) state: SlotState,
    pub(super) marks: Marks,
    pub(super) form: Form,
    pub(super) transport: Transport,
    pub(super) decoder: Decoder,
    pub(super) outbox: Outbox,
    pub(super) pending: Option<Box<Pending>>,
    pub(super) session: Option<Box<Session>>,
    pub(super) held: Option<Box<HeldFrames>>,
}

/// Output that must not be sent before a reply that is being put together.
#[derive(Default)]
pub(super) struct HeldFrames {
    /// Frames in order, each with the number of its channel, or none where it is of the whole connection.
    pub(super) frames: Vec<(Option<u32>, Bytes)>,
    pub(super) bytes: usize,
}

impl Slot {
    /// Takes something of a channel that is to be sent.
    ///
    /// Inlined, because it is done for every delivery. The compiler alone decides otherwise now and then.
    #[inline(always)]
    pub(super) fn take(&mut self, channel: u32, frame: Bytes) -> Placement {
        let waits = self
            .session
            .as_ref()
            .is_some_and(|session| session.is_entering() && session.may_push(channel) == MayPush::Wait);
        if waits {
            self.hold(Some(channel), frame);
            Placement::Held
        } else if self.outbox.push(frame) {
            Placement::Alone
        } else {
            Placement::Queued
        }
    }

    #[inline(never)]
    pub(super) fn hold(&mut self, channel: Option<u32>, frame: Bytes) {
        let held = self.held.get_or_insert_default();
        held.bytes += frame.len();
        held.frames.push((channel, frame));
    }

    /// Returns the weight of the output that waits to be sent to the client, in the outbox or for a reply.
    #[inline]
    pub(super) fn queued(&self) -> usize {
        if fault::holds(Fault::OutputUncounted) {
            return 0;
        }
        let (bytes, frames) = self.held.as_ref().map_or((0, 0), |held| (held.bytes, held.frames.len()));
        weight(self.outbox.len() + bytes, self.outbox.pieces() + frames)
    }

    /// Returns true if more waits for the client than may. A message that waits alone is never too much, nor is a
    /// reply: commands are not taken while much waits, so that no more than one reply is beyond the limit.
    #[inline]
    pub(super) fn is_slow(&self, limit: usize) -> bool {
        let held = self.held.as_ref().map_or(0, |held| held.frames.len());
        self.outbox.pieces() + held > 1 && self.queued() > limit + self.outbox.allowance()
    }
}

/// The destination of something that is to be sent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Placement {
    /// Into an empty outbox.
    Alone,
    /// Into the outbox, behind something else.
    Queued,
    /// It waits for a reply that goes before it.
    Held,
}

/// Yes-or-no facts about a slot, in one byte.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Marks(u8);

impl Marks {
    /// It is in the queue of slots with something to send.
    pub(super) const EXPRESS: u8 = 1;
    /// It is in the queue of those that have something of a large fan-out to send.
    pub(super) const BULK: u8 = 16;
    /// The socket takes no more; the mover says when it does again.
    pub(super) const BLOCKED: u8 = 2;
    /// It is in the queue of slots to be served.
    pub(super) const RUNNABLE: u8 = 4;
    /// It sent more than it may, and is not read until its timer is due.
    pub(super) const THROTTLED: u8 = 32;
    /// Something that it sent was handled since its timer was last due.
    pub(super) const PROGRESS: u8 = 8;
    /// Its events have ids.
    pub(super) const EVENT_IDS: u8 = 64;
    /// There is a time by which the carrier, which takes nothing now, has to take something.
    pub(super) const STALLED: u8 = 128;

    /// Returns true if any of these marks is set.
    pub(super) const fn has(self, marks: u8) -> bool {
        self.0 & marks != 0
    }

    pub(super) const fn set(&mut self, marks: u8) {
        self.0 |= marks;
    }

    pub(super) const fn clear(&mut self, marks: u8) {
        self.0 &= !marks;
    }
}

/// Stage of the life of a slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum SlotState {
    /// Without a connection.
    Free,
    /// Its connection is served.
    Open,
    /// The last bytes are on their way; what the peer still says is dropped.
    Closing,
    /// The mover must release the connection.
    Gone,
}

impl Core {
    /// Takes a connection over; `None` when there is no room for it.
    pub(crate) fn open(&mut self, accepted: &mut Accepted, now: Now) -> Option<u32> {
        if self.shutting_down {
            return None;
        }
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None if (self.slots.len() as u32) < Handle::MAX_SLOTS => {
                self.slots.push(Slot {
                    generation: 0,
                    state: SlotState::Free,
                    marks: Marks::default(),
                    form: accepted.form,
                    transport: accepted.transport,
                    decoder: Decoder::Whole,
                    outbox: Outbox::default(),
                    pending: None,
                    session: None,
                    held: None,
                });
                self.slots.len() as u32 - 1
            }
            None => return None,
        };
        let session = Session::new(accepted, &self.config, now);
        let entry = &mut self.slots[slot as usize];
        entry.state = SlotState::Open;
        entry.form = accepted.form;
        entry.transport = accepted.transport;
        let resume = accepted.resume.take();
        if resume.is_some() {
            entry.marks.set(Marks::EVENT_IDS);
        }
        let extra = Extra {
            secret: accepted.secret,
            close_code: accepted.close_code.clone(),
            verdict: accepted.verdict.take(),
            resume: resume.filter(|resume| !resume.is_empty()),
            ..Extra::default()
        };
        self.extras.open(slot, extra);
        entry.decoder = match accepted.io {
            // Its carrier brings output alone: what the client says comes by requests, if it says anything.
            _ if accepted.transport.is_response() => Decoder::Whole,
            Io::Body(_) => Decoder::Whole,
            Io::Tcp(_) | Io::Layered(_) | Io::Stream(_) => Decoder::new(accepted.form.framing()),
        };
        entry.session = Some(Box::new(session));
        if let Some(rates) = &mut self.rates {
            rates.open(slot);
        }
        self.hub.inboxes[usize::from(self.shard)].connections().fetch_add(1, Ordering::Relaxed);
        self.rearm(slot, now);
        self.greet(slot);
        Some(slot)
    }

    /// Sends the first bytes of the framing, where it has such.
    fn greet(&mut self, slot: u32) {
        let mut greeting = Vec::new();
        self.slots[slot as usize].form.framing().append_open(&mut greeting);
        if !greeting.is_empty() {
            self.send(slot, greeting.into());
        }
    }

    pub(crate) fn handle(&self, slot: u32) -> Handle {
        Handle::new(self.shard, slot, self.slots[slot as usize].generation)
    }

    pub(crate) fn transport(&self, slot: u32) -> Transport {
        self.slots[slot as usize].transport
    }

    pub(crate) fn resolve(&self, handle: Handle) -> Option<u32> {
        let slot = handle.slot();
        let entry = self.slots.get(slot as usize)?;
        (entry.generation == handle.generation() && entry.state != SlotState::Free).then_some(slot)
    }

    pub(crate) fn state(&self, slot: u32) -> SlotState {
        self.slots.get(slot as usize).map_or(SlotState::Free, |entry| entry.state)
    }

    /// Returns true if the mover may read from the connection now.
    pub(crate) fn wants_input(&self, slot: u32) -> bool {
        let Some(entry) = self.slots.get(slot as usize) else { return false };
        match entry.state {
            SlotState::Closing => true,
            SlotState::Open => {
                entry.pending.is_none()
                    && entry.session.as_ref().is_some_and(|session| !session.is_busy())
                    && !entry.marks.has(Marks::THROTTLED)
                    && !self.is_paused(slot)
            }
            SlotState::Free | SlotState::Gone => false,
        }
    }

    /// Returns true if the connection is not read only because a command of it waits for its outcome. The mover looks
    /// ahead then, so that a client that closes is not served any longer.
    pub(crate) fn is_awaiting(&self, slot: u32) -> bool {
        let Some(entry) = self.slots.get(slot as usize) else { return false };
        entry.state == SlotState::Open
            && entry.pending.is_none()
            && entry.session.as_ref().is_some_and(|session| session.is_busy())
            && !entry.marks.has(Marks::THROTTLED)
            && !self.is_paused(slot)
    }

    /// Returns true if bytes that come in on a connection are its messages. Others are dropped: those after the goodbye,
    /// and those behind a request whose response is the output.
    pub(crate) fn takes_bytes(&self, slot: u32) -> bool {
        let entry = self.slots.get(slot as usize);
        entry.is_some_and(|entry| entry.state == SlotState::Open && !matches!(entry.decoder, Decoder::Whole))
    }

    /// A slot that may read again, though no readiness will be reported.
    pub(crate) fn take_resumed(&mut self) -> Option<u32> {
        self.resumed.pop()
    }

    /// The next slot with something to send, or to release, among those that are not of a large fan-out alone.
    pub(crate) fn take_express(&mut self) -> Option<u32> {
        // What was taken before is sent by now.
        self.release_sent();
        let slot = self.express.pop_front()?;
        self.unsent.count_express();
        self.slots[slot as usize].marks.clear(Marks::EXPRESS);
        Some(slot)
    }

    /// The next slot with something of a large fan-out to send. It may have been sent with something else by now.
    pub(crate) fn take_bulk(&mut self) -> Option<u32> {
        self.release_sent();
        let slot = self.bulk.pop_front()?;
        self.unsent.count_bulk();
        self.slots[slot as usize].marks.clear(Marks::BULK);
        Some(slot)
    }

    pub(crate) fn has_dirty(&self) -> bool {
        !self.express.is_empty() || self.has_bulk() || self.unsent.is_waiting()
    }

    /// Returns true if sends of a large fan-out are still to be made.
    pub(crate) fn has_bulk(&self) -> bool {
        !self.bulk.is_empty()
    }

    pub(crate) fn outbox(&mut self, slot: u32) -> &mut Outbox {
        &mut self.slots[slot as usize].outbox
    }

    /// The socket takes no more (or does again).
    pub(crate) fn set_blocked(&mut self, slot: u32, blocked: bool) {
        let entry = &mut self.slots[slot as usize];
        if blocked {
            entry.marks.set(Marks::BLOCKED);
            return;
        }
        entry.marks.clear(Marks::BLOCKED);
        if !entry.outbox.is_empty() {
            self.mark(slot);
        }
        self.end_stall(slot);
    }

    pub(super) fn mark(&mut self, slot: u32) {
        self.mark_for(slot, Way::Express);
    }

    /// Puts a slot into the queue for a way, unless it is in one that is served no later.
    pub(super) fn mark_for(&mut self, slot: u32, way: Way) {
        let entry = &mut self.slots[slot as usize];
        if entry.marks.has(way.marks()) {
            return;
        }
        let (queue, mark) = match way {
            Way::Express => (&mut self.express, Marks::EXPRESS),
            Way::Bulk => (&mut self.bulk, Marks::BULK),
        };
        entry.marks.set(mark);
        queue.push_back(slot);
    }

    /// The mover has released the connection: the slot is free.
    pub(crate) fn release(&mut self, slot: u32) {
        let entry = &mut self.slots[slot as usize];
        if entry.state == SlotState::Free {
            return;
        }
        entry.state = SlotState::Free;
        entry.session = None;
        entry.pending = None;
        entry.held = None;
        entry.outbox = Outbox::default();
        entry.decoder = Decoder::Whole;
        // It may still be in a queue: those marks stay until it is taken out.
        entry
            .marks
            .clear(Marks::BLOCKED | Marks::STALLED | Marks::PROGRESS | Marks::THROTTLED | Marks::EVENT_IDS);
        if let Some(rates) = &mut self.rates {
            rates.close(slot);
        }
        self.extras.remove(slot);
        self.wheel.set(slot, u64::MAX);
        // A slot whose generations are used up is retired, so that no handle ever means two connections.
        if entry.generation < u32::MAX {
            entry.generation += 1;
            self.free.push(slot);
        }
        self.hub.metrics.connections.fetch_sub(1, Ordering::Relaxed);
        self.hub.inboxes[usize::from(self.shard)].connections().fetch_sub(1, Ordering::Relaxed);
    }

    /// The peer has closed, or its socket has failed.
    pub(crate) fn eof(&mut self, slot: u32, now: Now, exec: &mut impl Execute) {
        if self.state(slot) == SlotState::Open {
            self.with(slot, now, |session, cx| session.close(cx, DisconnectCode::CONNECTION_CLOSED));
            self.settle(slot, now, exec);
        }
        self.out.clear();
        self.control.clear();
        self.gone(slot);
    }

    pub(super) fn gone(&mut self, slot: u32) {
        let entry = &mut self.slots[slot as usize];
        if entry.state != SlotState::Free {
            entry.state = SlotState::Gone;
            entry.marks.clear(Marks::BLOCKED);
            entry.outbox = Outbox::default();
            self.wheel.set(slot, u64::MAX);
            self.mark(slot);
        }
    }

    /// Connections of this shard, for placing new ones.
    pub(crate) fn connections(&self) -> usize {
        self.slots.len() - self.free.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every connection has one, and most of them have nothing waiting.
    #[test]
    fn a_slot_stays_small() {
        assert!(size_of::<Outbox>() <= 48, "{} bytes for an outbox", size_of::<Outbox>());
        assert!(size_of::<Slot>() <= 96, "{} bytes for a slot", size_of::<Slot>());
    }
}
