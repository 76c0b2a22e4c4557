//! The output of a connection, and its closing.

use crate::clock::Now;
use crate::identity::Transport;
use crate::session::MayPush;
use crate::shard::core::{CLOSE_MS, Core, Execute, FRAME_BYTES};
use crate::shard::slots::{Marks, SlotState};
use bytes::Bytes;
use spinward_wire::Protocol;
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
        if entry.state == SlotState::Open && entry.session.is_some() {
            let mut bytes = entry.form.frame_with(&self.out, self.deflater.get_mut());
            if entry.marks.has(Marks::EVENT_IDS) && self.out != spinward_wire::ping(Protocol::Json) {
                bytes = self.with_event_id(slot, &bytes);
            }
            let entry = &mut self.slots[slot as usize];
            let Some(session) = &entry.session else { return };
            if session.is_logging_in() {
                entry.hold(None, bytes);
            } else {
                if let Some(verdict) = self.extras.take_verdict(slot) {
                    self.send(slot, verdict(Ok(())));
                }
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
        if entry.state == SlotState::Open && !bytes.is_empty() {
            entry.outbox.push_reply(bytes);
            self.mark(slot);
        }
    }

    /// Returns true if a connection ends without a word.
    pub(super) fn is_silent(&self, slot: u32, code: &DisconnectCode) -> bool {
        // The first is for the application alone: the peer has closed already. As in Centrifugo v6.9, it is not sent
        // with another reason either. The second is a peer that answers nothing.
        code.code == DisconnectCode::CONNECTION_CLOSED.code
            || *code == DisconnectCode::NO_PONG && self.transport(slot) == Transport::UniWebSocket
    }

    /// The last bytes of a connection that ends with this code.
    pub(super) fn goodbye(&mut self, slot: u32, code: &DisconnectCode) -> Bytes {
        if let Some(verdict) = self.extras.take_verdict(slot) {
            return verdict(Err(code));
        }
        let form = self.slots[slot as usize].form;
        if self.transport(slot) == Transport::UniWebSocket {
            let settings = &self.config.uni_websocket;
            let (push, close) = (!settings.disable_disconnect_push, !settings.disable_closing_handshake);
            return form.goodbye_in_part(code, push, close);
        }
        form.goodbye(code)
    }

    /// The last bytes of a connection whose message could not be read. A unidirectional client that reads frames gets no
    /// push, as in Centrifugo v6.9.
    pub(super) fn goodbye_to_malformed(&mut self, slot: u32) -> Bytes {
        if self.transport(slot) == Transport::UniWebSocket {
            let close = !self.config.uni_websocket.disable_closing_handshake;
            let form = self.slots[slot as usize].form;
            return form.goodbye_in_part(&DisconnectCode::BAD_REQUEST, false, close);
        }
        self.goodbye(slot, &DisconnectCode::BAD_REQUEST)
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
        if self.state(slot) != SlotState::Open {
            return;
        }
        if let Some(goodbye) = goodbye {
            let verdict = self.extras.take_verdict(slot);
            let goodbye = verdict.map_or(goodbye, |verdict| verdict(Err(&code)));
            self.start_closing(slot, Some(goodbye), false, now);
        }
        self.with(slot, now, |session, cx| session.close(cx, code));
        self.settle(slot, now, exec);
    }

    /// Sends these last bytes, if any, and then waits for the peer to close.
    pub(super) fn start_closing(&mut self, slot: u32, goodbye: Option<Bytes>, abandon: bool, now: Now) {
        if self.state(slot) != SlotState::Open {
            return;
        }
        self.emit(slot);
        let entry = &mut self.slots[slot as usize];
        if abandon {
            entry.outbox.abandon();
        }
        if let Some(goodbye) = goodbye.filter(|goodbye| !goodbye.is_empty()) {
            entry.outbox.push(goodbye);
        }
        entry.state = SlotState::Closing;
        entry.pending = None;
        entry.held = None;
        entry.decoder = Decoder::Whole;
        self.wheel.set(slot, now.mono + CLOSE_MS);
        self.mark(slot);
    }
}
