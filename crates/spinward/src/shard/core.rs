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
use crate::clock::Now;
use crate::config::Config;
use crate::handle::Handle;
use crate::hub::Hub;
use crate::hub::local::{LocalTable, Moved};
use crate::node::call::{Call, Called, Outcome};
use crate::session::{Cx, MayPush, Session};
use bytes::Bytes;
use spinward_wire::code::DisconnectCode;
use spinward_wire::ws::{self, Limits};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Makes the calls of a shard. An outcome that is there at once is returned; any other comes through the inbox.
pub(crate) trait Execute {
    fn execute(&mut self, called: Called) -> Option<Outcome>;
}

/// How long a closing connection may take to take leave.
pub(super) const CLOSE_MS: u64 = 2_000;
/// How far the wall clock may move against the monotonic one before timers that follow it are set anew.
const STEP_MS: u64 = 1_000;
/// Replies of one input message are sent in one frame up to about this size.
pub(super) const FRAME_BYTES: usize = 32 << 10;

/// The pure part of a shard.
pub(crate) struct Core {
    pub(super) shard: u8,
    pub(super) hub: Arc<Hub>,
    pub(super) config: Arc<Config>,
    pub(super) slots: Vec<Slot>,
    pub(super) free: Vec<u32>,
    pub(super) channels: LocalTable,
    pub(super) wheel: Wheel,
    /// What the wall clock was ahead of the monotonic one when timers were last set by it.
    ahead: i64,
    pub(super) calls: VecDeque<Called>,
    pub(super) fresh_calls: Vec<Called>,
    pub(super) out: Vec<u8>,
    pub(super) moved: Vec<Moved>,
    pub(super) due: Vec<u32>,
    /// Slots with something to send.
    pub(super) dirty: VecDeque<u32>,
    /// Slots that may read again.
    pub(super) resumed: Vec<u32>,
    pub(super) limits: Limits,
    pub(super) breaches: Breaches,
    pub(super) probes: Probes,
    pub(super) shutting_down: bool,
}

/// One connection, or room for one.
pub(super) struct Slot {
    pub(super) generation: u32,
    pub(super) state: State,
    pub(super) dirty: bool,
    /// The socket takes no more; the mover says when it does again.
    pub(super) blocked: bool,
    pub(super) reader: ws::Reader,
    pub(super) outbox: Outbox,
    pub(super) pending: Option<Box<Pending>>,
    pub(super) session: Option<Box<Session>>,
    pub(super) held: Option<Box<Held>>,
}

/// What must not be sent before a reply that is being put together.
#[derive(Default)]
pub(super) struct Held {
    /// Frames in order, each with the number of its channel, or none where it is of the whole connection.
    pub(super) frames: Vec<(Option<u32>, Bytes)>,
    pub(super) bytes: usize,
}

impl Slot {
    /// Takes something of a channel that is to be sent. Says whether it now waits to be sent.
    pub(super) fn take(&mut self, channel: u32, frame: Bytes) -> bool {
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

    pub(super) fn hold(&mut self, channel: Option<u32>, frame: Bytes) {
        let held = self.held.get_or_insert_default();
        held.bytes += frame.len();
        held.frames.push((channel, frame));
    }

    /// Whether more waits for the client than may.
    pub(super) fn is_slow(&self, limit: usize) -> bool {
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
pub(super) struct Pending {
    /// The rest of the message that the command came in.
    pub(super) commands: Vec<u8>,
    /// What came after that message.
    pub(super) input: Vec<u8>,
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
            ahead: ahead(now),
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

    pub(super) fn handle(&self, slot: u32) -> Handle {
        Handle::new(self.shard, slot, self.slots[slot as usize].generation)
    }

    pub(super) fn resolve(&self, handle: Handle) -> Option<u32> {
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

    pub(super) fn mark(&mut self, slot: u32) {
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

    /// The peer has closed, or its socket has failed.
    pub(crate) fn eof(&mut self, slot: u32, now: Now, exec: &mut impl Execute) {
        if self.state(slot) == State::Open {
            self.with(slot, now, |session, cx| session.close(cx, DisconnectCode::CONNECTION_CLOSED));
            self.settle(slot, now, exec);
        }
        self.out.clear();
        self.gone(slot);
    }

    pub(super) fn gone(&mut self, slot: u32) {
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
        let weight = entry.weight();
        match entry {
            Entry::Accept(_) => debug_assert!(false, "the mover accepts"),
            Entry::Publication { channel, delivery } => self.deliver(channel, &delivery, now, exec),
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
        if weight > 0 {
            self.hub.inboxes[usize::from(self.shard)].done(weight);
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
    pub(super) fn resume(&mut self, slot: u32, now: Now, exec: &mut impl Execute) {
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

    pub(super) fn is_meant(&self, handle: Handle, client: Option<&str>, except: Option<&[String]>) -> bool {
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

    pub(super) fn control(&mut self, handle: Handle, control: Control, now: Now, exec: &mut impl Execute) {
        let Some(slot) = self.resolve(handle) else { return };
        let was_busy = self.is_busy(slot);
        // Who waits for it hears of it once the calls are made.
        let taken = if let Control::Subscribe { taken, .. } = &control { taken.clone() } else { None };
        self.with(slot, now, |session, cx| session.on_control(cx, control));
        self.settle(slot, now, exec);
        drop(taken);
        if was_busy {
            self.resume(slot, now, exec);
        }
        self.settle_event(slot, now);
    }

    pub(super) fn is_busy(&self, slot: u32) -> bool {
        self.slots[slot as usize].session.as_ref().is_some_and(|session| session.is_busy())
    }

    pub(super) fn shutdown(&mut self, now: Now, exec: &mut impl Execute) {
        self.shutting_down = true;
        for slot in 0..self.slots.len() as u32 {
            if self.state(slot) == State::Open {
                self.end(slot, DisconnectCode::SHUTDOWN, now, exec, None);
            }
        }
    }

    /// Runs the timers that are due.
    pub(crate) fn tick(&mut self, now: Now, exec: &mut impl Execute) {
        self.follow_steps(now);
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

    /// Expiry is told by the wall clock, and its timer runs on the other: once the one was set against the other
    /// (a correction, a machine that slept), every timer is set anew, so that what is over by now ends now.
    fn follow_steps(&mut self, now: Now) {
        let ahead = ahead(now);
        if ahead.abs_diff(self.ahead) < STEP_MS {
            return;
        }
        self.ahead = ahead;
        #[cfg(feature = "planted-faults")]
        if crate::sim::planted::holds(crate::sim::planted::Fault::StepUnseen) {
            return;
        }
        for slot in 0..self.slots.len() as u32 {
            if self.state(slot) == State::Open && self.rearm(slot, now) <= now.mono {
                self.wheel.set(slot, u64::MAX);
                self.due.push(slot);
            }
        }
    }

    /// When to call [`Core::tick`] next, on the monotonic clock.
    pub(crate) fn next_deadline(&self) -> Option<u64> {
        self.wheel.next_deadline().into_iter().chain(self.probes.next_deadline()).min()
    }

    /// Lets a session handle something.
    pub(super) fn with(&mut self, slot: u32, now: Now, f: impl FnOnce(&mut Session, &mut Cx<'_>)) {
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
    pub(super) fn settle(&mut self, slot: u32, now: Now, exec: &mut impl Execute) {
        while let Some(called) = self.calls.pop_front() {
            let token = called.token;
            if let Some(outcome) = exec.execute(called) {
                self.with(slot, now, |session, cx| session.on_outcome(cx, token, outcome));
            }
        }
    }

    /// An event is handled: what it gave to send goes to the outbox, and the timer is set anew.
    pub(super) fn settle_event(&mut self, slot: u32, now: Now) {
        self.emit(slot);
        if self.state(slot) == State::Open {
            self.release_held(slot);
            self.rearm(slot, now);
        }
    }

    /// Sets the timer of a session, and says when it is due.
    pub(super) fn rearm(&mut self, slot: u32, now: Now) -> u64 {
        let mut deadline = u64::MAX;
        if self.slots[slot as usize].session.is_some() {
            self.with(slot, now, |session, cx| deadline = session.deadline(cx));
            self.wheel.set(slot, deadline);
        }
        deadline
    }

    /// A client did something against the protocol: the log says what.
    pub(super) fn report(&mut self, slot: u32, cause: &dyn std::fmt::Display, code: u32, now: Now) {
        if let Some(session) = &self.slots[slot as usize].session {
            self.breaches.log(session.id(), cause, code, now);
        }
    }

    pub(super) fn metrics(&self) -> &crate::metrics::ShardMetrics {
        &self.hub.metrics.shards[usize::from(self.shard)]
    }

    /// Connections of this shard, for placing new ones.
    pub(crate) fn connections(&self) -> usize {
        self.slots.len() - self.free.len()
    }
}

const fn ahead(now: Now) -> i64 {
    now.wall.saturating_sub_unsigned(now.mono)
}
