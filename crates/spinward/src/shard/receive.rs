//! Bytes of a connection: into frames, messages and commands.

use super::core::{Core, Execute, FRAME_BYTES};
use super::slots::State;
use crate::clock::Now;
use crate::metrics::add;
use spinward_wire::Commands;
use spinward_wire::code::DisconnectCode;
use spinward_wire::ws::{self, Event};

impl Core {
    /// Bytes of a connection.
    pub(crate) fn input(&mut self, slot: u32, bytes: &mut [u8], now: Now, exec: &mut impl Execute) {
        add(&self.metrics().bytes_received, bytes.len() as u64);
        self.read(slot, bytes, now, exec);
        self.settle_event(slot, now);
    }

    pub(super) fn read(&mut self, slot: u32, mut bytes: &mut [u8], now: Now, exec: &mut impl Execute) {
        while !bytes.is_empty() && self.slots[slot as usize].state == State::Open {
            if !self.wants_input(slot) {
                self.slots[slot as usize].pending.get_or_insert_default().input.extend_from_slice(bytes);
                return;
            }
            let mut reader = std::mem::take(&mut self.slots[slot as usize].reader);
            let (used, event) = reader.read(&self.limits, bytes);
            match event {
                Ok(None) => {}
                Ok(Some(Event::Text(payload) | Event::Binary(payload))) => {
                    add(&self.metrics().messages_received, 1);
                    self.message(slot, &payload, now, exec);
                }
                Ok(Some(Event::Ping(payload))) => {
                    self.send_control(slot, ws::Opcode::Pong, &payload);
                }
                Ok(Some(Event::Pong)) => {
                    if let Some(session) = &mut self.slots[slot as usize].session {
                        session.on_pong_frame();
                    }
                }
                Ok(Some(Event::Close(code))) => {
                    // Answered with the code it came with, or without one (RFC 6455 §5.5.1): an SDK reports the
                    // code of the answer to its application.
                    let answer = code.unwrap_or(ws::NO_STATUS);
                    self.end(slot, DisconnectCode::CONNECTION_CLOSED, now, exec, Some((answer, "")));
                }
                Err(error) => {
                    let cause =
                        if error.reason.is_empty() { "a message over the size limit" } else { error.reason };
                    self.report(slot, &cause, error.code.into(), now);
                    self.end(slot, DisconnectCode::BAD_REQUEST, now, exec, Some((error.code, error.reason)));
                }
            }
            self.slots[slot as usize].reader = reader;
            bytes = &mut bytes[used..];
        }
    }

    /// The commands of one message, up to one that has to wait.
    pub(super) fn message(&mut self, slot: u32, payload: &[u8], now: Now, exec: &mut impl Execute) {
        let Some(session) = &self.slots[slot as usize].session else { return };
        if session.is_refused() {
            return;
        }
        let mut commands = Commands::new(session.protocol(), payload);
        while let Some(command) = commands.next() {
            match command {
                Ok(command) => self.with(slot, now, |session, cx| session.on_command(cx, command)),
                Err(error) => {
                    let cause = format_args!("a malformed command: {error}");
                    self.report(slot, &cause, DisconnectCode::BAD_REQUEST.code, now);
                    self.with(slot, now, |session, cx| session.close(cx, DisconnectCode::BAD_REQUEST));
                }
            }
            self.settle(slot, now, exec);
            if self.slots[slot as usize].state != State::Open || self.is_refused(slot) {
                return;
            }
            if self.out.len() > FRAME_BYTES {
                self.emit(slot);
            }
            let entry = &mut self.slots[slot as usize];
            if entry.session.as_ref().is_some_and(|session| session.is_busy()) {
                let rest = commands.rest();
                if !rest.is_empty() {
                    entry.pending.get_or_insert_default().commands = rest.to_vec();
                }
                return;
            }
        }
    }
}
