//! Bytes of a connection: into frames, messages and commands.

use crate::clock::Now;
use crate::fault::{self, Fault};
use crate::metrics::add;
use crate::shard::core::{Core, Execute, FRAME_BYTES};
use crate::shard::slots::{Marks, State};
use crate::shard::work::{COMMAND, FRAME, Rest};
use spinward_wire::code::DisconnectCode;
use spinward_wire::framing::Input;
use spinward_wire::ws::Payload;
use spinward_wire::{Commands, Incoming, Request};

impl Core {
    /// Bytes of a connection that wants input. Input that cannot be handled in this turn is kept: see [`super::work`].
    pub(crate) fn input(&mut self, slot: u32, bytes: &mut [u8], now: Now, exec: &mut impl Execute) {
        debug_assert!(self.slots[slot as usize].pending.is_none(), "read from while something waits");
        add(&self.traffic(slot).bytes_received, bytes.len() as u64);
        self.spent = 0;
        self.throttle(slot, bytes.len(), now);
        let used = self.read(slot, bytes, now, exec);
        let entry = &mut self.slots[slot as usize];
        entry.marks.set(Marks::PROGRESS);
        if entry.state == State::Open && used < bytes.len() {
            entry.pending.get_or_insert_default().input = Rest::of(&bytes[used..]);
        }
        self.settle_event(slot, now, exec);
        if self.slots[slot as usize].pending.is_some() {
            self.go_on(slot);
        }
    }

    /// Handles the frames of an input, as far as may be now. Returns how many bytes that were; of the last message
    /// some commands may be left, which are kept then.
    pub(super) fn read(&mut self, slot: u32, bytes: &mut [u8], now: Now, exec: &mut impl Execute) -> usize {
        let mut at = 0;
        while at < bytes.len() && self.slots[slot as usize].pending.is_none() && self.may_go_on(slot) {
            let entry = &mut self.slots[slot as usize];
            let (used, found) = entry.decoder.read(entry.form, &self.limits, &mut bytes[at..]);
            at += used;
            self.spent += FRAME + used;
            match found {
                Ok(None) => {}
                Ok(Some(Input::Message(payload))) => {
                    add(&self.traffic(slot).messages_received, 1);
                    self.message(slot, payload, now, exec);
                }
                Ok(Some(Input::Ping(payload))) => {
                    self.send_control(slot, |framing, out| framing.append_pong(&payload, out));
                }
                Ok(Some(Input::Pong)) => {
                    if let Some(session) = &mut self.slots[slot as usize].session {
                        session.on_pong_frame();
                    }
                }
                Ok(Some(Input::End(answer))) => {
                    self.end(slot, DisconnectCode::CONNECTION_CLOSED, now, exec, Some(answer));
                }
                Err(fault) => {
                    self.report(slot, &fault.cause, fault.code, now);
                    self.end(slot, DisconnectCode::BAD_REQUEST, now, exec, Some(fault.goodbye));
                }
            }
        }
        at
    }

    fn admits(&mut self, slot: u32, request: &Request, now: Now) -> bool {
        if !self.rates.as_mut().is_none_or(|rates| rates.admits(slot, request, now)) {
            return false;
        }
        let Some(rates) = &self.hub.user_rates else { return true };
        let user = self.slots[slot as usize].session.as_ref().and_then(|session| session.user());
        user.is_none_or(|user| rates.admits(user, request, now))
    }

    fn message(&mut self, slot: u32, payload: Payload<'_>, now: Now, exec: &mut impl Execute) {
        let left = self.commands(slot, &payload, now, exec);
        if left > 0 && !fault::holds(Fault::PendingDropped) {
            self.slots[slot as usize].pending.get_or_insert_default().message =
                Rest::of_payload(payload, left);
        }
    }

    /// Handles the commands of one message, at least one and as many as may be now. Returns how many bytes are left.
    pub(super) fn commands(&mut self, slot: u32, payload: &[u8], now: Now, exec: &mut impl Execute) -> usize {
        let Some(session) = &self.slots[slot as usize].session else { return 0 };
        if session.ignores_input() {
            return 0;
        }
        let mut commands = Commands::new(self.slots[slot as usize].form.dialect(), payload);
        while let Some(command) = commands.next() {
            self.spent += COMMAND;
            match command {
                Ok(Incoming { id, request: Some(request) }) if !self.admits(slot, &request, now) => {
                    self.with(slot, now, |session, cx| session.on_too_many(cx, id));
                }
                Ok(command) => self.with(slot, now, |session, cx| session.on_command(cx, command)),
                Err(error) => {
                    let cause = format_args!("a malformed command: {error}");
                    self.report(slot, &cause, DisconnectCode::BAD_REQUEST.code, now);
                    self.with(slot, now, |session, cx| session.close(cx, DisconnectCode::BAD_REQUEST));
                }
            }
            self.settle(slot, now, exec);
            if self.slots[slot as usize].state != State::Open || self.is_refused(slot) {
                return 0;
            }
            if self.out.len() > FRAME_BYTES {
                self.emit(slot);
            }
            let left = commands.rest().len();
            if left > 0 && !self.may_go_on(slot) {
                return left;
            }
        }
        0
    }
}
