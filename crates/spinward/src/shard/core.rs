//! The pure part of a shard: sessions, local channels, timers and outboxes.
//!
//! Bytes, inbox entries and the time come in; bytes per slot come out, and calls to the outside, which go to
//! the executor that is passed along. No I/O, no clock: a simulation steps several of these on one thread.

use super::Accepted;
use super::breaches::Breaches;
use super::inbox::{Control, Entry};
use super::outbox::Outbox;
use super::probe::{PROBE, Probes};
use super::wheel::Wheel;
use crate::broker::{BrokerError, History};
use crate::clock::Now;
use crate::config::Config;
use crate::handle::Handle;
use crate::hub::Hub;
use crate::hub::encoded::{Delivery, frame, info_to_wire};
use crate::hub::interest::Interest;
use crate::hub::join::{Start, Ticket};
use crate::hub::local::{LocalTable, Moved, Subscriber, Verdict};
use crate::metrics::add;
use crate::node::call::{Call, Called, Outcome};
use crate::publication::{ClientInfo, Position};
use crate::session::{Cx, MayPush, Session};
use bytes::Bytes;
use spinward_wire::code::{DisconnectCode, ErrorCode};
use spinward_wire::message::{Join, Leave, Push};
use spinward_wire::ws::{self, Event, Limits};
use spinward_wire::{Commands, Protocol};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Makes the calls of a shard. An outcome that is there at once is returned; any other comes through the inbox.
pub(crate) trait Execute {
    fn execute(&mut self, called: Called) -> Option<Outcome>;
}

/// How long a closing connection may take to take leave.
const CLOSE_MS: u64 = 2_000;
/// Replies of one input message are sent in one frame up to about this size.
const FRAME_BYTES: usize = 32 << 10;

/// The pure part of a shard.
pub(crate) struct Core {
    pub(super) shard: u8,
    pub(super) hub: Arc<Hub>,
    pub(super) config: Arc<Config>,
    slots: Vec<Slot>,
    free: Vec<u32>,
    pub(super) channels: LocalTable,
    wheel: Wheel,
    calls: VecDeque<Called>,
    fresh_calls: Vec<Called>,
    out: Vec<u8>,
    moved: Vec<Moved>,
    due: Vec<u32>,
    /// Slots with something to send.
    dirty: VecDeque<u32>,
    /// Slots that may read again.
    resumed: Vec<u32>,
    limits: Limits,
    breaches: Breaches,
    pub(super) probes: Probes,
    shutting_down: bool,
}

/// One connection, or room for one.
struct Slot {
    generation: u32,
    state: State,
    dirty: bool,
    /// The socket takes no more; the mover says when it does again.
    blocked: bool,
    reader: ws::Reader,
    outbox: Outbox,
    pending: Option<Box<Pending>>,
    session: Option<Box<Session>>,
    held: Option<Box<Held>>,
}

/// What must not be sent before a reply that is being put together.
#[derive(Default)]
struct Held {
    /// Frames in order, each with the number of its channel, or none where it is of the whole connection.
    frames: Vec<(Option<u32>, Bytes)>,
    bytes: usize,
}

impl Slot {
    /// Takes something of a channel that is to be sent. Says whether it now waits to be sent.
    fn take(&mut self, channel: u32, frame: Bytes) -> bool {
        let waits = self
            .session
            .as_ref()
            .is_some_and(|session| session.is_entering() && session.may_push(channel) == MayPush::Wait);
        if waits {
            self.hold(Some(channel), frame);
        } else {
            self.outbox.push(frame);
        }
        !waits
    }

    fn hold(&mut self, channel: Option<u32>, frame: Bytes) {
        let held = self.held.get_or_insert_default();
        held.bytes += frame.len();
        held.frames.push((channel, frame));
    }

    /// Whether more waits for the client than may.
    fn is_slow(&self, limit: usize) -> bool {
        let (bytes, pieces) = self.held.as_ref().map_or((0, 0), |held| (held.bytes, held.frames.len()));
        self.outbox.len() + bytes > limit && self.outbox.pieces() + pieces > 1
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum State {
    Free,
    Open,
    /// The close frame is on its way; what the peer still says is dropped.
    Closing,
    /// The mover must let go of the connection.
    Gone,
}

/// What was received while a command was under way.
#[derive(Default)]
struct Pending {
    /// The rest of the message that the command came in.
    commands: Vec<u8>,
    /// What came after that message.
    input: Vec<u8>,
}

impl Core {
    pub(crate) fn new(shard: u8, hub: Arc<Hub>, now: Now) -> Self {
        let config = Arc::clone(&hub.config);
        let seed = hub.entropy.number();
        Self {
            shard,
            slots: Vec::new(),
            free: Vec::new(),
            channels: LocalTable::new(seed),
            wheel: Wheel::new(now.mono),
            calls: VecDeque::new(),
            fresh_calls: Vec::new(),
            out: Vec::new(),
            moved: Vec::new(),
            due: Vec::new(),
            dirty: VecDeque::new(),
            resumed: Vec::new(),
            limits: Limits { message: config.message_size_limit, ..Limits::default() },
            breaches: Breaches::default(),
            probes: Probes::default(),
            shutting_down: false,
            hub,
            config,
        }
    }

    /// Takes a connection over; `None` when there is no room for it.
    pub(crate) fn open(&mut self, accepted: &Accepted, now: Now) -> Option<u32> {
        if self.shutting_down {
            return None;
        }
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None if (self.slots.len() as u32) < Handle::MAX_SLOTS => {
                self.slots.push(Slot {
                    generation: 0,
                    state: State::Free,
                    dirty: false,
                    blocked: false,
                    reader: ws::Reader::new(),
                    outbox: Outbox::default(),
                    pending: None,
                    session: None,
                    held: None,
                });
                self.slots.len() as u32 - 1
            }
            None => return None,
        };
        let session = Session::new(
            accepted.id,
            accepted.protocol,
            accepted.transport,
            Arc::clone(&accepted.handshake),
            &self.config,
            now,
        );
        let entry = &mut self.slots[slot as usize];
        entry.state = State::Open;
        entry.session = Some(Box::new(session));
        self.hub.inboxes[usize::from(self.shard)].connections().fetch_add(1, Ordering::Relaxed);
        self.rearm(slot, now);
        Some(slot)
    }

    fn handle(&self, slot: u32) -> Handle {
        Handle::new(self.shard, slot, self.slots[slot as usize].generation)
    }

    fn resolve(&self, handle: Handle) -> Option<u32> {
        let slot = handle.slot();
        let entry = self.slots.get(slot as usize)?;
        (entry.generation == handle.generation() && entry.state != State::Free).then_some(slot)
    }

    pub(crate) fn state(&self, slot: u32) -> State {
        self.slots.get(slot as usize).map_or(State::Free, |entry| entry.state)
    }

    /// Whether the mover may read from the connection now.
    pub(crate) fn wants_input(&self, slot: u32) -> bool {
        let Some(entry) = self.slots.get(slot as usize) else { return false };
        match entry.state {
            State::Closing => true,
            State::Open => {
                entry.pending.is_none() && entry.session.as_ref().is_some_and(|session| !session.is_busy())
            }
            State::Free | State::Gone => false,
        }
    }

    /// A slot that may read again, though no readiness will be told.
    pub(crate) fn take_resumed(&mut self) -> Option<u32> {
        self.resumed.pop()
    }

    /// The next slot with something to send, or to let go of.
    pub(crate) fn take_dirty(&mut self) -> Option<u32> {
        let slot = self.dirty.pop_front()?;
        self.slots[slot as usize].dirty = false;
        Some(slot)
    }

    pub(crate) fn has_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    pub(crate) fn outbox(&mut self, slot: u32) -> &mut Outbox {
        &mut self.slots[slot as usize].outbox
    }

    /// The socket takes no more (or does again).
    pub(crate) fn set_blocked(&mut self, slot: u32, blocked: bool) {
        let entry = &mut self.slots[slot as usize];
        entry.blocked = blocked;
        if !blocked && !entry.outbox.is_empty() {
            self.mark(slot);
        }
    }

    fn mark(&mut self, slot: u32) {
        let entry = &mut self.slots[slot as usize];
        if !entry.dirty && !entry.blocked {
            entry.dirty = true;
            self.dirty.push_back(slot);
        }
    }

    /// The mover has let go of the connection: the slot is free.
    pub(crate) fn release(&mut self, slot: u32) {
        let entry = &mut self.slots[slot as usize];
        if entry.state == State::Free {
            return;
        }
        entry.state = State::Free;
        entry.session = None;
        entry.pending = None;
        entry.held = None;
        entry.outbox = Outbox::default();
        entry.reader = ws::Reader::new();
        entry.blocked = false;
        self.wheel.set(slot, u64::MAX);
        // A slot whose generations are used up is retired, so that no handle ever means two connections.
        if entry.generation < u32::MAX {
            entry.generation += 1;
            self.free.push(slot);
        }
        self.hub.metrics.connections.fetch_sub(1, Ordering::Relaxed);
        self.hub.inboxes[usize::from(self.shard)].connections().fetch_sub(1, Ordering::Relaxed);
    }

    /// Bytes of a connection.
    pub(crate) fn input(&mut self, slot: u32, bytes: &mut [u8], now: Now, exec: &mut impl Execute) {
        add(&self.metrics().bytes_received, bytes.len() as u64);
        self.read(slot, bytes, now, exec);
        self.settle_event(slot, now);
    }

    fn read(&mut self, slot: u32, mut bytes: &mut [u8], now: Now, exec: &mut impl Execute) {
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
                    let mut pong = Vec::with_capacity(payload.len() + 2);
                    ws::append_frame(ws::Opcode::Pong, &payload, &mut pong);
                    self.emit(slot);
                    self.send(slot, pong.into());
                }
                Ok(Some(Event::Pong)) => {}
                Ok(Some(Event::Close(code))) => {
                    let answer = code.filter(|code| *code != 1005).unwrap_or(1000);
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
    fn message(&mut self, slot: u32, payload: &[u8], now: Now, exec: &mut impl Execute) {
        let Some(session) = &self.slots[slot as usize].session else { return };
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
            if self.slots[slot as usize].state != State::Open {
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

    /// The peer has closed, or its socket has failed.
    pub(crate) fn eof(&mut self, slot: u32, now: Now, exec: &mut impl Execute) {
        if self.state(slot) == State::Open {
            self.with(slot, now, |session, cx| session.close(cx, DisconnectCode::CONNECTION_CLOSED));
            self.settle(slot, now, exec);
        }
        self.out.clear();
        self.gone(slot);
    }

    fn gone(&mut self, slot: u32) {
        let entry = &mut self.slots[slot as usize];
        if entry.state != State::Free {
            entry.state = State::Gone;
            entry.blocked = false;
            entry.outbox = Outbox::default();
            self.wheel.set(slot, u64::MAX);
            self.mark(slot);
        }
    }

    /// Something from the inbox. Connections to accept are the mover's business.
    pub(crate) fn entry(&mut self, entry: Entry, now: Now, exec: &mut impl Execute) {
        match entry {
            Entry::Accept(_) => debug_assert!(false, "the mover accepts"),
            Entry::Publication { channel, delivery } => {
                self.deliver(channel, &delivery, now, exec);
                self.hub.inboxes[usize::from(self.shard)].done(delivery.weight());
            }
            Entry::JoinLeave { channel, info, join } => self.tell_join_leave(channel, &info, join, now, exec),
            Entry::Outcome { handle, token, outcome } => self.outcome(handle, token, *outcome, now, exec),
            Entry::Interest { channel, ok } => self.interest(channel, ok, now, exec),
            Entry::Slice { channel, read: PROBE, slice } => self.position_told(channel, *slice, now),
            Entry::Slice { channel, read, slice } => self.slice(channel, read, *slice, now, exec),
            Entry::Control { handle, client, except, control } => {
                if self.is_meant(handle, client.as_deref(), except.as_deref()) {
                    self.control(handle, *control, now, exec);
                }
            }
            Entry::Shutdown => self.shutdown(now, exec),
        }
    }

    /// An outcome that was not there at once.
    pub(crate) fn outcome(
        &mut self,
        handle: Handle,
        token: u32,
        outcome: Outcome,
        now: Now,
        exec: &mut impl Execute,
    ) {
        let Some(slot) = self.resolve(handle).filter(|slot| self.slots[*slot as usize].session.is_some())
        else {
            // The connection is gone. What the outcome holds is given back.
            if let Outcome::PresenceAdded { channel, client, ok: true } = outcome {
                let call = Call::PresenceRemove { channel, client };
                exec.execute(Called { handle, token: 0, identity: None, call });
            }
            return;
        };
        self.with(slot, now, |session, cx| session.on_outcome(cx, token, outcome));
        self.settle(slot, now, exec);
        self.resume(slot, now, exec);
        self.settle_event(slot, now);
    }

    /// The command under way is done: what was received meanwhile is next.
    fn resume(&mut self, slot: u32, now: Now, exec: &mut impl Execute) {
        // What waited for the reply goes before anything that the next command brings.
        self.emit(slot);
        self.release_held(slot);
        loop {
            let entry = &mut self.slots[slot as usize];
            if entry.state != State::Open || entry.session.as_ref().is_none_or(|session| session.is_busy()) {
                return;
            }
            let Some(pending) = &mut entry.pending else {
                self.resumed.push(slot);
                return;
            };
            let commands = std::mem::take(&mut pending.commands);
            if !commands.is_empty() {
                self.message(slot, &commands, now, exec);
                continue;
            }
            let mut input = std::mem::take(&mut pending.input);
            entry.pending = None;
            self.read(slot, &mut input, now, exec);
        }
    }

    fn is_meant(&self, handle: Handle, client: Option<&str>, except: Option<&[String]>) -> bool {
        let Some(session) = self.resolve(handle).and_then(|slot| self.slots[slot as usize].session.as_ref())
        else {
            return false;
        };
        if client.is_none() && except.is_none() {
            return true;
        }
        let id = session.id().to_string();
        client.is_none_or(|client| client == id) && !except.is_some_and(|except| except.contains(&id))
    }

    fn control(&mut self, handle: Handle, control: Control, now: Now, exec: &mut impl Execute) {
        let Some(slot) = self.resolve(handle) else { return };
        let was_busy = self.is_busy(slot);
        self.with(slot, now, |session, cx| session.on_control(cx, control));
        self.settle(slot, now, exec);
        if was_busy {
            self.resume(slot, now, exec);
        }
        self.settle_event(slot, now);
    }

    fn is_busy(&self, slot: u32) -> bool {
        self.slots[slot as usize].session.as_ref().is_some_and(|session| session.is_busy())
    }

    fn shutdown(&mut self, now: Now, exec: &mut impl Execute) {
        self.shutting_down = true;
        for slot in 0..self.slots.len() as u32 {
            if self.state(slot) == State::Open {
                self.end(slot, DisconnectCode::SHUTDOWN, now, exec, None);
            }
        }
    }

    /// Runs the timers that are due.
    pub(crate) fn tick(&mut self, now: Now, exec: &mut impl Execute) {
        let mut due = std::mem::take(&mut self.due);
        self.wheel.expire(now.mono, &mut due);
        for slot in due.drain(..) {
            match self.state(slot) {
                State::Open => {
                    let was_busy = self.is_busy(slot);
                    self.with(slot, now, |session, cx| session.on_timer(cx));
                    self.settle(slot, now, exec);
                    if was_busy {
                        self.resume(slot, now, exec);
                    }
                    self.settle_event(slot, now);
                }
                State::Closing => self.gone(slot),
                State::Free | State::Gone => {}
            }
        }
        self.due = due;
        self.probe(now, exec);
    }

    /// When to call [`Core::tick`] next, on the monotonic clock.
    pub(crate) fn next_deadline(&self) -> Option<u64> {
        self.wheel.next_deadline().into_iter().chain(self.probes.next_deadline()).min()
    }

    /// Gives a publication to the local subscribers of its channel.
    fn deliver(&mut self, channel: u64, delivery: &Delivery, now: Now, exec: &mut impl Execute) {
        let Some(number) = self.channels.find_id(channel) else { return };
        let Some(local) = self.channels.get_mut(number) else { return };
        if let Some(joining) = local.joining() {
            joining.keep(&delivery.publication, delivery.epoch.as_ref());
        }
        match local.judge(delivery) {
            Verdict::Repeated => return,
            Verdict::Deliver => {}
            Verdict::Gap(gap) => {
                let lost = local.losers(delivery, gap);
                self.tell_gap(number, lost, now, exec);
            }
        }
        let Some(local) = self.channels.get_mut(number) else { return };
        let record = Arc::clone(&local.record);
        let (slots, dirty, limit) = (&mut self.slots, &mut self.dirty, self.config.queue_max_size);
        let mut slow = Vec::new();
        let mut count = 0;
        let filtered = local.for_each_wanting(delivery, |slot, form| {
            let entry = &mut slots[slot as usize];
            let Some(session) = &entry.session else { return };
            if entry.state != State::Open {
                return;
            }
            let frame = delivery.frame(&record.name, session.protocol(), form);
            #[cfg(feature = "planted-faults")]
            let Some(frame) = crate::sim::planted::on_frame(record.id, slot, frame) else { return };
            let sends = entry.take(number, frame);
            count += 1;
            if entry.is_slow(limit) {
                slow.push(slot);
            }
            if sends && !entry.dirty && !entry.blocked {
                entry.dirty = true;
                dirty.push_back(slot);
            }
        });
        add(&self.metrics().deliveries, count);
        add(&self.metrics().filtered, filtered as u64);
        for slot in slow {
            self.end(slot, DisconnectCode::SLOW, now, exec, None);
        }
    }

    /// Tells subscribers of a channel that they lost something.
    pub(super) fn tell_gap(&mut self, channel: u32, lost: Vec<u32>, now: Now, exec: &mut impl Execute) {
        for slot in lost {
            let was_busy = self.is_busy(slot);
            self.with(slot, now, |session, cx| session.on_gap(cx, channel));
            self.settle(slot, now, exec);
            if was_busy {
                self.resume(slot, now, exec);
            }
            self.settle_event(slot, now);
        }
    }

    fn tell_join_leave(
        &mut self,
        channel: u64,
        info: &Arc<ClientInfo>,
        join: bool,
        now: Now,
        exec: &mut impl Execute,
    ) {
        let Some(number) = self.channels.find_id(channel) else { return };
        let Some(local) = self.channels.get(number) else { return };
        let name = local.record.name.clone();
        let wanting: Vec<u32> = local
            .subscribers
            .iter()
            .filter(|subscriber| subscriber.is(Subscriber::JOIN_LEAVE))
            .map(|subscriber| subscriber.slot)
            .collect();
        let mut frames: [Option<Bytes>; 2] = [None, None];
        for slot in wanting {
            let Some(session) = &self.slots[slot as usize].session else { continue };
            let protocol = session.protocol();
            let encode = || {
                let info = Some(info_to_wire(info, protocol));
                let mut push = Push { channel: name.to_string(), ..Push::default() };
                if join {
                    push.join = Some(Join { info });
                } else {
                    push.leave = Some(Leave { info });
                }
                let mut payload = Vec::new();
                spinward_wire::append_push(protocol, &push, &mut payload, true);
                frame(protocol, &payload)
            };
            let bytes = frames[usize::from(protocol == Protocol::Json)].get_or_insert_with(encode).clone();
            let entry = &mut self.slots[slot as usize];
            if entry.state == State::Open && entry.take(number, bytes) {
                self.mark(slot);
            }
            self.close_if_slow(slot, now, exec);
        }
    }

    /// The remote broker delivers a channel now, or does not: those who waited for it go on.
    fn interest(&mut self, channel: u64, ok: bool, now: Now, exec: &mut impl Execute) {
        let Some(number) = self.channels.find_id(channel) else { return };
        let Some(local) = self.channels.get_mut(number) else { return };
        // The answer may be to a request of others, who have left since: who waits now waits for its own.
        let interest = local.record.lock().interest;
        let mine = if ok { interest == Interest::Held } else { interest == Interest::None };
        let Some(joining) = local.joining().filter(|_| mine) else { return };
        let waiting = std::mem::take(&mut joining.waiting);
        for ticket in waiting {
            if ok {
                self.read_slice(number, ticket, exec);
            } else {
                self.entered(ticket, Err(ErrorCode::INTERNAL), 0, now, exec);
            }
        }
        self.stop_joining_if_done(number);
    }

    fn read_slice(&mut self, number: u32, ticket: Ticket, exec: &mut impl Execute) {
        let filter = crate::session::read_filter(&ticket.wish);
        let options = self.hub.with_meta_ttl(ticket.wish.history);
        let handle = ticket.handle;
        let Some(record) = self.channels.get(number).map(|local| Arc::clone(&local.record)) else { return };
        if let Some(read) = self.channels.read(number, ticket) {
            let call = Call::Slice { channel: record, read, filter, options };
            exec.execute(Called { handle, token: 0, identity: None, call });
        }
    }

    /// A read of a remote stream is here: merged with what arrived meanwhile it is the start of those who
    /// wait for it.
    fn slice(
        &mut self,
        channel: u64,
        read: u32,
        slice: Result<History, BrokerError>,
        now: Now,
        exec: &mut impl Execute,
    ) {
        const TRIES: u8 = 3;
        let Some(number) = self.channels.find_id(channel) else { return };
        let Some(local) = self.channels.get_mut(number) else { return };
        let seen = local.seen;
        let Some(joining) = local.joining() else { return };
        let Some(mut read) = joining.take_read(read) else { return };
        for mut ticket in std::mem::take(&mut read.tickets) {
            let positioned = ticket.wish.positioned;
            let start = match &slice {
                _ if !positioned => Some(Ok(Start::default())),
                Ok(history) => self
                    .channels
                    .get_mut(number)
                    .and_then(|local| local.joining())
                    .and_then(|joining| joining.merge(&read, history, &ticket.wish))
                    .map(Ok),
                Err(BrokerError::UnrecoverablePosition) => None,
                Err(_) => Some(Err(ErrorCode::INTERNAL)),
            };
            match start {
                Some(start) => {
                    if let (Ok(start), true) = (&start, positioned) {
                        self.take_position(number, &start.top, now, exec);
                        self.watch(number, now);
                    }
                    self.entered(ticket, start, seen, now, exec);
                }
                None if ticket.tries + 1 < TRIES => {
                    ticket.tries += 1;
                    if let Err(BrokerError::UnrecoverablePosition) = &slice
                        && let Some(recover) = &mut ticket.wish.recover
                    {
                        // The position is of another epoch: read where the stream is now, without it.
                        recover.since = Position { offset: u64::MAX, epoch: "".into() };
                        recover.cache = false;
                    }
                    self.read_slice(number, ticket, exec);
                }
                None => self.entered(ticket, Err(ErrorCode::INTERNAL), 0, now, exec),
            }
        }
        self.stop_joining_if_done(number);
    }

    /// A subscriber enters a channel of a remote broker at this place.
    ///
    /// The channel itself stands where its last publication was: those that are in already still wait for what
    /// the one that enters was given.
    fn take_position(&mut self, number: u32, top: &Position, now: Now, exec: &mut impl Execute) {
        let Some(local) = self.channels.get_mut(number) else { return };
        match local.epoch() {
            Some(epoch) if *epoch == top.epoch => {}
            Some(_) => {
                // What the others wait for belongs to a stream that is no more.
                let others = local.positioned();
                local.set_position(top.offset, &top.epoch);
                self.tell_gap(number, others, now, exec);
            }
            None if local.subscribers.is_empty() => local.set_position(top.offset, &top.epoch),
            None => {}
        }
    }

    fn stop_joining_if_done(&mut self, number: u32) {
        if let Some(local) = self.channels.get_mut(number)
            && local.joining().is_some_and(|joining| joining.is_done())
        {
            local.stop_joining();
        }
    }

    fn entered(
        &mut self,
        ticket: Ticket,
        start: Result<Start, ErrorCode>,
        seq: u64,
        now: Now,
        exec: &mut impl Execute,
    ) {
        let Some(slot) = self.resolve(ticket.handle) else { return };
        self.with(slot, now, |session, cx| session.on_entered(cx, ticket.join, start, seq));
        self.settle(slot, now, exec);
        self.resume(slot, now, exec);
        self.settle_event(slot, now);
    }

    /// Lets a session handle something.
    fn with(&mut self, slot: u32, now: Now, f: impl FnOnce(&mut Session, &mut Cx<'_>)) {
        let handle = self.handle(slot);
        let Some(mut session) = self.slots[slot as usize].session.take() else { return };
        let mut cx = Cx {
            now,
            handle,
            hub: &self.hub,
            config: &self.config,
            channels: &mut self.channels,
            calls: &mut self.fresh_calls,
            out: &mut self.out,
            moved: &mut self.moved,
            metrics: &self.hub.metrics.shards[usize::from(self.shard)],
            closed: None,
            breach: None,
        };
        f(&mut session, &mut cx);
        let (closed, breach) = (cx.closed.take(), cx.breach);
        self.slots[slot as usize].session = Some(session);
        self.calls.extend(self.fresh_calls.drain(..));
        for moved in self.moved.drain(..) {
            if let Some(session) = &mut self.slots[moved.slot as usize].session {
                session.moved(moved);
            }
        }
        if let Some(code) = closed {
            if let Some(cause) = breach {
                self.report(slot, &cause, code.code, now);
            }
            self.start_closing(slot, code.code as u16, &code.reason, code == DisconnectCode::SLOW, now);
        }
    }

    /// Makes the calls that came up, and lets the session handle the outcomes that are there at once.
    fn settle(&mut self, slot: u32, now: Now, exec: &mut impl Execute) {
        while let Some(called) = self.calls.pop_front() {
            let token = called.token;
            if let Some(outcome) = exec.execute(called) {
                self.with(slot, now, |session, cx| session.on_outcome(cx, token, outcome));
            }
        }
    }

    /// An event is handled: what it gave to send goes to the outbox, and the timer is set anew.
    fn settle_event(&mut self, slot: u32, now: Now) {
        self.emit(slot);
        if self.state(slot) == State::Open {
            self.release_held(slot);
            self.rearm(slot, now);
        }
    }

    /// Sends what waited for a reply that is there now.
    fn release_held(&mut self, slot: u32) {
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
                MayPush::Yes => entry.outbox.push(frame),
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
    }

    fn rearm(&mut self, slot: u32, now: Now) {
        let handle = self.handle(slot);
        let Some(session) = self.slots[slot as usize].session.take() else { return };
        let cx = Cx {
            now,
            handle,
            hub: &self.hub,
            config: &self.config,
            channels: &mut self.channels,
            calls: &mut self.fresh_calls,
            out: &mut self.out,
            moved: &mut self.moved,
            metrics: &self.hub.metrics.shards[usize::from(self.shard)],
            closed: None,
            breach: None,
        };
        let deadline = session.deadline(&cx);
        self.slots[slot as usize].session = Some(session);
        self.wheel.set(slot, deadline);
    }

    /// Puts the replies so far into one frame.
    fn emit(&mut self, slot: u32) {
        if self.out.is_empty() {
            return;
        }
        let entry = &mut self.slots[slot as usize];
        if let (State::Open, Some(session)) = (entry.state, &entry.session) {
            let bytes = frame(session.protocol(), &self.out);
            if session.is_logging_in() {
                entry.hold(None, bytes);
            } else {
                self.send(slot, bytes);
            }
        }
        self.out.clear();
        self.out.shrink_to(FRAME_BYTES * 2);
    }

    fn send(&mut self, slot: u32, bytes: Bytes) {
        let entry = &mut self.slots[slot as usize];
        if entry.state == State::Open {
            entry.outbox.push(bytes);
            self.mark(slot);
        }
    }

    fn close_if_slow(&mut self, slot: u32, now: Now, exec: &mut impl Execute) {
        if self.slots[slot as usize].is_slow(self.config.queue_max_size) {
            self.end(slot, DisconnectCode::SLOW, now, exec, None);
        }
    }

    /// Ends a connection; `answer` is the close frame's code and reason where it is not the disconnect's.
    fn end(
        &mut self,
        slot: u32,
        code: DisconnectCode,
        now: Now,
        exec: &mut impl Execute,
        answer: Option<(u16, &str)>,
    ) {
        if self.state(slot) != State::Open {
            return;
        }
        if let Some((answer, reason)) = answer {
            self.emit(slot);
            self.start_closing(slot, answer, reason, false, now);
        }
        self.with(slot, now, |session, cx| session.close(cx, code));
        self.settle(slot, now, exec);
    }

    fn start_closing(&mut self, slot: u32, code: u16, reason: &str, abandon: bool, now: Now) {
        if self.state(slot) != State::Open {
            return;
        }
        self.emit(slot);
        let mut close = Vec::with_capacity(8 + reason.len());
        ws::append_close(code, reason, &mut close);
        let entry = &mut self.slots[slot as usize];
        if abandon {
            entry.outbox.abandon();
        }
        entry.outbox.push(close.into());
        entry.state = State::Closing;
        entry.pending = None;
        entry.held = None;
        entry.reader = ws::Reader::new();
        self.wheel.set(slot, now.mono + CLOSE_MS);
        self.mark(slot);
    }

    /// A client did something against the protocol: the log says what.
    fn report(&mut self, slot: u32, cause: &dyn std::fmt::Display, code: u32, now: Now) {
        if let Some(session) = &self.slots[slot as usize].session {
            self.breaches.log(session.id(), cause, code, now);
        }
    }

    fn metrics(&self) -> &crate::metrics::ShardMetrics {
        &self.hub.metrics.shards[usize::from(self.shard)]
    }

    /// Connections of this shard, for placing new ones.
    pub(crate) fn connections(&self) -> usize {
        self.slots.len() - self.free.len()
    }
}
