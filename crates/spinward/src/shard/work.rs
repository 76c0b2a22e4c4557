//! Bounds on how much of a connection's input is handled at a time.
//!
//! A peer may send, in one frame, commands whose replies take gigabytes. Two bounds keep that from costing anybody
//! else: a connection with much waiting to be sent is *paused*, so that it is neither read nor served until it has
//! taken that, and one turn handles only so much for each connection. What has to wait is kept in the slot's
//! [`Pending`], and the slot takes its place in a queue that each turn serves once around.

use crate::clock::Now;
use crate::fault::{self, Fault};
use crate::identity::Transport;
use crate::mailbox::inbox::Control;
use crate::shard::core::{Core, Execute};
use crate::shard::slots::{Marks, SlotState};
use spinward_wire::Protocol;
use spinward_wire::framing::Decoder;
use spinward_wire::ws::Payload;

/// Work that one connection may use of a turn. The unit is about the work of a byte received or sent.
pub(crate) const TURN: usize = 128 << 10;
/// Cost of a command beside its bytes and those of its reply.
pub(super) const COMMAND: usize = 2 << 10;
/// Cost of putting something into the outbox of a subscriber.
pub(super) const DELIVERY: usize = 64;
/// Cost of reading from a socket or sending to one, beside the bytes.
pub(super) const SYSTEM_CALL: usize = 2 << 10;
/// Cost of a frame beside its bytes.
pub(super) const FRAME: usize = 64;

/// Input that has to wait: no more than one read and one message where the connection brings it, and a few messages where
/// requests do.
#[derive(Default)]
pub(super) struct Pending {
    /// Commands of the message that was being handled.
    pub(super) message: Rest,
    /// Input that came after that message.
    pub(super) input: Rest,
}

/// Bytes that are used from the front. Used bytes are not moved: however often a message has to wait, it is copied
/// once.
#[derive(Default)]
pub(super) struct Rest {
    bytes: Vec<u8>,
    used: usize,
}

impl Rest {
    pub(super) fn of(bytes: &[u8]) -> Self {
        Self { bytes: bytes.to_vec(), used: 0 }
    }

    /// The last `left` bytes of a payload.
    pub(super) fn of_payload(payload: Payload<'_>, left: usize) -> Self {
        let used = payload.len().saturating_sub(left);
        match payload {
            Payload::Borrowed(bytes) => Self::of(&bytes[used..]),
            Payload::Owned(bytes) => Self { bytes, used },
        }
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        &self.bytes[self.used..]
    }

    pub(super) fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut self.bytes[self.used..]
    }

    /// Appends a further message. Joined as in one transport message, they are the same commands.
    pub(super) fn append(&mut self, encoding: Protocol, message: &[u8]) {
        self.bytes.drain(..self.used);
        self.used = 0;
        if encoding == Protocol::Json && self.bytes.last().is_some_and(|last| *last != b'\n') {
            self.bytes.push(b'\n');
        }
        self.bytes.extend_from_slice(message);
    }

    pub(super) fn advance(&mut self, count: usize) {
        self.used = self.bytes.len().min(self.used + count);
    }

    pub(super) const fn len(&self) -> usize {
        self.bytes.len() - self.used
    }
}

impl Core {
    /// Returns true if the next frame or command of a connection may be handled now.
    pub(super) fn may_go_on(&self, slot: u32) -> bool {
        let entry = &self.slots[slot as usize];
        entry.state == SlotState::Open
            && self.has_turn_left()
            && entry.session.as_ref().is_some_and(|session| !session.is_busy())
            && entry.queued() + self.out.len() + self.control.len() <= self.high_water
    }

    fn has_turn_left(&self) -> bool {
        self.spent < TURN || fault::holds(Fault::EndlessTurn)
    }

    /// Returns true if so much waits to be sent to a connection that nothing more is taken from it.
    pub(super) fn is_paused(&self, slot: u32) -> bool {
        self.slots[slot as usize].queued() > self.high_water
    }

    /// The mover has sent `count` bytes of an outbox.
    pub(crate) fn sent(&mut self, slot: u32, count: usize) {
        let was_paused = self.is_paused(slot);
        self.slots[slot as usize].outbox.advance(count);
        self.end_stall(slot);
        if was_paused && !fault::holds(Fault::NeverResumed) {
            self.end_pause(slot);
        }
    }

    /// Less waits to be sent to a connection: what waited for that comes again.
    fn end_pause(&mut self, slot: u32) {
        if !self.is_paused(slot) {
            for delivering in self.extras.take_delayed(slot) {
                self.hub.control(self.handle(slot), Control::Deliver(Box::new(delivering)));
            }
        }
        self.go_on(slot);
    }

    /// Puts messages that wait for a connection into fewer frames, where that is asked for.
    pub(super) fn join(&mut self, slot: u32) {
        let is_asked = self.config.uni_websocket.join_push_messages;
        if is_asked && self.transport(slot) == Transport::UniWebSocket {
            let was_paused = self.is_paused(slot);
            self.slots[slot as usize].outbox.join();
            if was_paused {
                self.end_pause(slot);
            }
        }
    }

    /// A reason to wait may be gone: if none is left, the connection is served in its turn, or read again.
    pub(super) fn go_on(&mut self, slot: u32) {
        let paused = self.is_paused(slot);
        let entry = &mut self.slots[slot as usize];
        let busy = entry.session.as_ref().is_none_or(|session| session.is_busy());
        if entry.state != SlotState::Open || busy || paused {
            return;
        }
        if entry.pending.is_none() {
            if !entry.marks.has(Marks::THROTTLED) {
                self.resumed.push(slot);
            }
        } else if matches!(entry.decoder, Decoder::Whole) && entry.marks.has(Marks::THROTTLED) {
            // Its messages come whether they are read or not: they wait here until it may send again.
        } else if !entry.marks.has(Marks::RUNNABLE) {
            entry.marks.set(Marks::RUNNABLE);
            self.runnable.push_back(slot);
        }
    }

    /// `count` bytes of a connection were received: if that is more than it may send, it is not read for a while.
    pub(super) fn throttle(&mut self, slot: u32, count: usize, now: Now) {
        if let Some(rates) = &mut self.rates
            && rates.received(slot, count, now).is_some()
        {
            self.slots[slot as usize].marks.set(Marks::THROTTLED);
        }
    }

    pub(super) fn throttled_until(&self, slot: u32) -> u64 {
        match &self.rates {
            Some(rates) if self.slots[slot as usize].marks.has(Marks::THROTTLED) => rates.until(slot),
            _ => u64::MAX,
        }
    }

    /// Reads from a connection again if it has waited long enough.
    pub(super) fn end_throttle(&mut self, slot: u32, now: Now) {
        if self.throttled_until(slot) <= now.mono {
            self.slots[slot as usize].marks.clear(Marks::THROTTLED);
            self.go_on(slot);
        }
    }

    /// Returns true if a connection has sent something that this shard has yet to take, though it gets on with it. Its
    /// pong may be in there.
    pub(super) fn is_behind(&mut self, slot: u32) -> bool {
        let marks = &mut self.slots[slot as usize].marks;
        let progress = marks.has(Marks::PROGRESS);
        marks.clear(Marks::PROGRESS);
        progress && !self.wants_input(slot)
    }

    /// Bytes that wait to be sent to a connection.
    #[cfg(feature = "simulation")]
    pub(crate) fn queued_bytes(&self, slot: u32) -> usize {
        let entry = &self.slots[slot as usize];
        entry.outbox.len() + entry.held.as_ref().map_or(0, |held| held.bytes)
    }

    /// Bytes that were received and wait to be handled: of the message under way, and of what came after it.
    #[cfg(feature = "simulation")]
    pub(crate) fn stashed_bytes(&self, slot: u32) -> (usize, usize) {
        let pending = self.slots[slot as usize].pending.as_deref();
        pending.map_or((0, 0), |pending| (pending.message.len(), pending.input.len()))
    }

    /// Returns the number of connections that wait to be served.
    pub(crate) fn runnable(&self) -> usize {
        self.runnable.len()
    }

    /// Serves the next connection that waits for it, within what a turn allows. It takes its place at the end of
    /// the queue if more is left.
    pub(crate) fn work(&mut self, now: Now, exec: &mut impl Execute) {
        let Some(slot) = self.runnable.pop_front() else { return };
        self.slots[slot as usize].marks.clear(Marks::RUNNABLE);
        self.spent = 0;
        if !self.may_go_on(slot) {
            return;
        }
        let Some(mut pending) = self.slots[slot as usize].pending.take() else { return };
        self.slots[slot as usize].marks.set(Marks::PROGRESS);
        loop {
            let (in_message, in_input) = (pending.message.len(), pending.input.len());
            if in_message + in_input == 0 || !self.may_go_on(slot) {
                break;
            }
            if in_message > 0 {
                let left = self.commands(slot, pending.message.as_slice(), now, exec);
                pending.message.advance(in_message - left);
            } else {
                let used = self.read(slot, pending.input.as_mut_slice(), now, exec);
                pending.input.advance(used);
                if let Some(fresh) = self.slots[slot as usize].pending.take() {
                    pending.message = fresh.message;
                }
            }
        }
        let entry = &mut self.slots[slot as usize];
        if entry.state == SlotState::Open && pending.message.len() + pending.input.len() > 0 {
            entry.pending = Some(pending);
        }
        self.settle_event(slot, now, exec);
        self.go_on(slot);
    }
}
