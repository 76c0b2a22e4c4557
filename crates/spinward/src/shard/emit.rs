//! The output of a connection, and its closing.

use crate::clock::Now;
use crate::session::MayPush;
use crate::shard::core::{CLOSE_MS, Core, Execute, FRAME_BYTES};
use crate::shard::slots::State;
use bytes::Bytes;
use spinward_wire::code::DisconnectCode;
use spinward_wire::form::Framing;
use spinward_wire::framing::Decoder;

impl Core {
    /// Sends what waited for a reply that is there now.
    pub(super) fn release_held(&mut self, slot: u32) {
        let was_paused = self.is_paused(slot);
        let entry = &mut self.slots[slot as usize];
        let (Some(held), Some(session)) = (&mut entry.held, &entry.session) else { return };
        let frames = std::mem::take(&mut held.frames);
        held.bytes = 0;
        for (channel, frame) in frames {
            let push = match channel {
                Some(channel) => session.may_push(channel),
                None if session.is_logging_in() => MayPush::Wait,
                None => MayPush::Yes,
            };
            match push {
                MayPush::Yes => {
                    entry.outbox.push(frame);
                }
                MayPush::No => {}
                MayPush::Wait => {
                    held.bytes += frame.len();
                    held.frames.push((channel, frame));
                }
            }
        }
        if held.frames.is_empty() {
            entry.held = None;
        }
        if !entry.outbox.is_empty() {
            self.mark(slot);
        }
        if was_paused {
            self.go_on(slot);
        }
    }

    /// Puts the frames of the framing itself into the outbox, and after them the replies, framed.
    pub(super) fn emit(&mut self, slot: u32) {
        if !self.control.is_empty() {
            let frames = Bytes::copy_from_slice(&self.control);
            self.control.clear();
            self.control.shrink_to(FRAME_BYTES);
            self.send(slot, frames);
        }
        if self.out.is_empty() {
            return;
        }
        let entry = &mut self.slots[slot as usize];
        if let (State::Open, Some(session)) = (entry.state, &entry.session) {
            let bytes = entry.form.frame(&self.out);
            if session.is_logging_in() {
                entry.hold(None, bytes);
            } else {
                self.send(slot, bytes);
            }
        }
        self.out.clear();
        self.out.shrink_to(FRAME_BYTES * 2);
    }

    /// Sends a ping or pong of the framing itself behind what there is to send. Those of one event share a piece of the
    /// outbox.
    pub(super) fn send_control(&mut self, slot: u32, append: impl FnOnce(Framing, &mut Vec<u8>)) {
        if !self.out.is_empty() {
            self.emit(slot);
        }
        append(self.slots[slot as usize].form.framing(), &mut self.control);
    }

    pub(super) fn send(&mut self, slot: u32, bytes: Bytes) {
        let entry = &mut self.slots[slot as usize];
        if entry.state == State::Open {
            entry.outbox.push_reply(bytes);
            self.mark(slot);
        }
    }

    pub(super) fn close_if_slow(&mut self, slot: u32, now: Now, exec: &mut impl Execute) {
        if self.slots[slot as usize].is_slow(self.config.queue_max_size) {
            self.end(slot, DisconnectCode::SLOW, now, exec, None);
        }
    }

    /// Ends a connection; `goodbye` is sent last where it is not that of the disconnect code.
    pub(super) fn end(
        &mut self,
        slot: u32,
        code: DisconnectCode,
        now: Now,
        exec: &mut impl Execute,
        goodbye: Option<Bytes>,
    ) {
        if self.state(slot) != State::Open {
            return;
        }
        if goodbye.is_some() {
            self.start_closing(slot, goodbye, false, now);
        }
        self.with(slot, now, |session, cx| session.close(cx, code));
        self.settle(slot, now, exec);
    }

    /// Sends these last bytes, if any, and then waits for the peer to close.
    pub(super) fn start_closing(&mut self, slot: u32, goodbye: Option<Bytes>, abandon: bool, now: Now) {
        if self.state(slot) != State::Open {
            return;
        }
        self.emit(slot);
        let entry = &mut self.slots[slot as usize];
        if abandon {
            entry.outbox.abandon();
        }
        if let Some(goodbye) = goodbye {
            entry.outbox.push(goodbye);
        }
        entry.state = State::Closing;
        entry.pending = None;
        entry.held = None;
        entry.decoder = Decoder::Whole;
        self.wheel.set(slot, now.mono + CLOSE_MS);
        self.mark(slot);
    }
}
