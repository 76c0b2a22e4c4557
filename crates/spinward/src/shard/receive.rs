//! Bytes of a connection: into frames, messages and commands.

use crate::clock::Now;
use crate::fault::{self, Fault};
use crate::mailbox::call::{Called, SessionCall};
use crate::metrics::add;
use crate::shard::core::{Core, Execute, FRAME_BYTES};
use crate::shard::slots::{Marks, SlotState};
use crate::shard::work::{COMMAND, FRAME, Rest};
use spinward_wire::code::DisconnectCode;
use spinward_wire::framing::{Decoder, Fault as Violation, Input};
use spinward_wire::ws::{Compressed, Limits, Payload};
use spinward_wire::{Commands, Incoming, Protocol, Request};

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
        if entry.state == SlotState::Open && used < bytes.len() {
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
        while at < bytes.len()
            && self.slots[slot as usize].pending.is_none()
            && (self.may_go_on(slot) || self.is_close_next(slot, &bytes[at..]))
        {
            let limits = self.limits(slot);
            let entry = &mut self.slots[slot as usize];
            let (used, found) = entry.decoder.read(entry.form, &limits, &mut bytes[at..]);
            at += used;
            self.spent += FRAME + used;
            match found {
                Ok(None) => {}
                Ok(Some(Input::Message(payload))) => {
                    add(&self.traffic(slot).messages_received, 1);
                    self.message(slot, payload, now, exec);
                }
                Ok(Some(Input::Compressed(message))) => {
                    add(&self.traffic(slot).messages_received, 1);
                    self.compressed(slot, &message, now, exec);
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
                Err(violation) => self.violate(slot, violation, now, exec),
            }
        }
        at
    }

    pub(super) fn limits(&self, slot: u32) -> Limits {
        let entry = &self.slots[slot as usize];
        match entry.decoder {
            Decoder::Delimited(_) => self.stream_limits,
            Decoder::WebSocket(_) if entry.form.dialect().is_unidirectional() => self.uni_limits,
            Decoder::Whole if entry.transport.is_response() => self.request_limits,
            Decoder::WebSocket(_) | Decoder::Whole => self.limits,
        }
    }

    /// Handles a compressed message. What it holds counts as work like the bytes that came in.
    fn compressed(&mut self, slot: u32, message: &Compressed<'_>, now: Now, exec: &mut impl Execute) {
        let limits = self.limits(slot);
        match self.inflater.inflate(&limits, message) {
            Ok(mut inflated) => {
                self.spent += inflated.len();
                self.message(slot, Payload::Borrowed(&mut inflated), now, exec);
                self.inflater.recycle(inflated);
            }
            Err(error) => {
                self.spent += limits.decompressed as usize;
                self.violate(slot, error.into(), now, exec);
            }
        }
    }

    /// The client broke the rules of its framing.
    fn violate(&mut self, slot: u32, violation: Violation, now: Now, exec: &mut impl Execute) {
        self.report(slot, &violation.cause, violation.code, now);
        self.end(slot, DisconnectCode::BAD_REQUEST, now, exec, Some(violation.goodbye));
    }

    /// Returns true if all that the client still says is that it closes. That is not left waiting for the outcome of a
    /// command.
    pub(crate) fn is_close_next(&self, slot: u32, bytes: &[u8]) -> bool {
        let entry = &self.slots[slot as usize];
        entry.state == SlotState::Open && entry.decoder.is_close_next(bytes)
    }

    fn admits(&mut self, slot: u32, request: &Request, now: Now) -> bool {
        if !self.rates.as_mut().is_none_or(|rates| rates.admits(slot, request, now)) {
            return false;
        }
        let Some(rates) = &self.hub.user_rates else { return true };
        let user = self.slots[slot as usize].session.as_ref().and_then(|session| session.user());
        user.is_none_or(|user| rates.admits(user, request, now))
    }

    pub(super) fn message(&mut self, slot: u32, payload: Payload<'_>, now: Now, exec: &mut impl Execute) {
        let left = self.commands(slot, &payload, now, exec);
        if left > 0 && !fault::holds(Fault::PendingDropped) {
            self.slots[slot as usize].pending.get_or_insert_default().message =
                Rest::of_payload(payload, left);
        }
    }

    /// Tells by the first message of a connection whether it is of an old client. Returns true if it is, and is to be
    /// read as such.
    #[cold]
    fn find_version(&mut self, slot: u32, payload: &[u8]) -> bool {
        let entry = &mut self.slots[slot as usize];
        let negotiated = entry.form.dialect().encoding();
        // An SDK may have asked for Protobuf in a way of its time, of which the handshake here knows nothing. No JSON
        // object can be mistaken for it.
        let other = if entry.form.framing().is_sockjs() { negotiated } else { Protocol::Protobuf };
        let spoken = [negotiated, other];
        let spoken = spoken.into_iter().find(|encoding| spinward_wire::v1::speaks(*encoding, payload));
        if self.config.legacy
            && let (Some(encoding), Some(session)) = (spoken, &mut entry.session)
        {
            session.speak_v1(encoding);
            entry.form = entry.form.in_v1(encoding);
            add(&self.metrics().legacy_accepted, 1);
            return true;
        }
        false
    }

    /// Handles the commands of one message, at least one and as many as may be now. Returns how many bytes are left.
    pub(super) fn commands(&mut self, slot: u32, payload: &[u8], now: Now, exec: &mut impl Execute) -> usize {
        let Some(session) = &self.slots[slot as usize].session else { return 0 };
        if session.ignores_input() {
            return 0;
        }
        let mut awaits_version = session.awaits_version();
        let mut commands = Commands::new(self.slots[slot as usize].form.dialect(), payload);
        while let Some(command) = commands.next() {
            // A request of today's protocol is never taken for one of an old client, so nearly all messages are read once.
            let may_be_old = !matches!(command, Ok(Incoming { request: Some(_), .. }));
            if std::mem::take(&mut awaits_version) && may_be_old && self.find_version(slot, payload) {
                commands = Commands::new(self.slots[slot as usize].form.dialect(), payload);
                continue;
            }
            self.spent += COMMAND;
            match command {
                Ok(Incoming { id, request: Some(request), .. }) if !self.admits(slot, &request, now) => {
                    self.with(slot, now, |session, cx| session.on_too_many(cx, id));
                }
                Ok(command) if self.config.subscribe_batch > 1 && self.may_gather(slot, &command) => {
                    return self.gather(slot, command, commands, now, exec);
                }
                Ok(command) => self.with(slot, now, |session, cx| session.on_command(cx, command)),
                Err(error) => {
                    let cause = format_args!("a malformed command: {error}");
                    self.report(slot, &cause, DisconnectCode::BAD_REQUEST.code, now);
                    let goodbye = self.goodbye_to_malformed(slot);
                    self.end(slot, DisconnectCode::BAD_REQUEST, now, exec, Some(goodbye));
                }
            }
            self.settle(slot, now, exec);
            if self.slots[slot as usize].state != SlotState::Open || self.is_refused(slot) {
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

    fn may_gather(&self, slot: u32, command: &Incoming) -> bool {
        matches!(command.request, Some(Request::Subscribe(_)))
            && self.slots[slot as usize].session.as_ref().is_some_and(|session| session.may_gather())
    }

    /// Handles a subscribe command, with those that follow it in its message: the application is asked about all of them
    /// at once. Returns how many bytes are left.
    #[cold]
    fn gather(
        &mut self,
        slot: u32,
        first: Incoming,
        mut commands: Commands<'_>,
        now: Now,
        exec: &mut impl Execute,
    ) -> usize {
        let mut questions = Vec::new();
        self.with(slot, now, |session, cx| {
            session.on_command(cx, first);
            questions.extend(session.take_question(cx));
        });
        let mut left = commands.rest().len();
        while !questions.is_empty() && questions.len() < self.config.subscribe_batch {
            // What does not go with them waits for its turn, as it came.
            let Some(Ok(Incoming { id, request: Some(request), .. })) = commands.next() else { break };
            let mut may_ask = false;
            if let Request::Subscribe(request) = &request
                && !questions.iter().any(|question: &SessionCall| question.asks_for(&request.channel))
            {
                self.with(slot, now, |session, cx| may_ask = session.may_ask_ahead(cx, id, request));
            }
            if !may_ask || !self.admits(slot, &request, now) {
                break;
            }
            self.spent += COMMAND;
            self.with(slot, now, |session, cx| {
                cx.metrics.command(&request);
                if let Request::Subscribe(request) = request {
                    questions.push(session.ask_ahead(cx, id, request));
                }
            });
            left = commands.rest().len();
        }
        self.calls.extend(SessionCall::together(questions).map(Called::Session));
        self.settle(slot, now, exec);
        if self.slots[slot as usize].state == SlotState::Open && !self.is_refused(slot) { left } else { 0 }
    }
}
