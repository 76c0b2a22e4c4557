//! The pure part of a shard: sessions, local channels, timers and outboxes.
//!
//! Bytes, inbox entries and the time come in; bytes per slot come out, and calls to the outside, which go to
//! the executor that is passed along. No I/O, no clock: a simulation steps several of these on one thread.

use crate::backend::Channels;
use crate::channel::local::table::LocalTable;
use crate::clock::Now;
use crate::config::Config;
use crate::fault::{self, Fault};
use crate::handle::{CallToken, Handle};
use crate::hub::Hub;
use crate::mailbox::call::{Called, Outcome, SessionCall, ShardCall};
use crate::mailbox::inbox::{Control, Entry};
use crate::mailbox::walk::Walk;
use crate::session::extras::Extras;
use crate::session::{Cx, Session};
use crate::shard::probe::Probes;
use crate::shard::rates::Rates;
use crate::shard::refresh::Refresh;
use crate::shard::slots::{Slot, SlotState};
use crate::shard::unsent::Unsent;
use crate::shard::violations::ViolationLog;
use crate::shard::wheel::Wheel;
use spinward_wire::Framing;
use spinward_wire::code::DisconnectCode;
use spinward_wire::ws::{Deflater, Inflater, Limits};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// Makes the calls of a shard. An outcome that is there at once is returned; any other comes through the inbox.
pub(crate) trait Execute {
    fn execute(&mut self, call: SessionCall) -> Option<Outcome>;
    /// Makes a call that no connection waits for.
    fn run(&mut self, call: ShardCall);
}

impl<T: Execute + ?Sized> Execute for Box<T> {
    fn execute(&mut self, call: SessionCall) -> Option<Outcome> {
        (**self).execute(call)
    }

    fn run(&mut self, call: ShardCall) {
        (**self).run(call);
    }
}

/// Time that a closing connection has to complete the closing handshake.
pub(super) const CLOSE_MS: u64 = 2_000;
/// Change of the wall clock against the monotonic one above which timers that follow it are set again.
const STEP_MS: u64 = 1_000;
/// Replies of one input message are sent in one frame up to about this size.
pub(super) const FRAME_BYTES: usize = 32 << 10;

/// The pure part of a shard.
///
/// # Order of calls
///
/// Every event takes the same steps:
///
/// 1. *Input.* [`Core::input`] takes bytes, [`Core::entry`] something from the inbox, [`Core::tick`] the time. Each
///    finds a session and lends it a [`Cx`] ([`Core::with`]). The session leaves replies in `out` and calls in
///    `calls`.
/// 2. *Settle.* [`Core::settle`] makes the calls. An outcome that is there at once goes to the session, which may
///    call again; this ends when no call is left. Other outcomes come through the inbox, as input.
/// 3. *Emit.* [`Core::settle_event`] puts the replies into the outbox in one frame, after it what waited for them, and
///    sets the timer. So a reply precedes the first push of the subscription that it begins.
/// 4. *Take.* The mover takes slots with something to send ([`Core::take_express`], [`Core::take_bulk`]) and slots that
///    may read again ([`Core::take_resumed`]).
/// 5. *Outbox.* The mover writes [`Core::outbox`], and calls [`Core::release`] for a connection that is over.
///
/// Between 1 and the outcome of its call a session is busy: its further commands wait. [`Core::resume`] emits the reply
/// and gives them their turn.
pub(crate) struct Core {
    pub(super) shard: u8,
    pub(super) hub: Arc<Hub>,
    pub(super) config: Arc<Config>,
    pub(super) slots: Vec<Slot>,
    pub(super) free: Vec<u32>,
    pub(super) channels: Arc<Channels>,
    pub(super) local: LocalTable,
    pub(super) wheel: Wheel,
    /// Lead of the wall clock over the monotonic one when timers were last set by it.
    ahead: i64,
    pub(super) calls: VecDeque<Called>,
    /// Replies of the event that is being handled, still without a frame.
    pub(super) out: Vec<u8>,
    /// Pings and pongs of the framing itself, of the event that is being handled, which go before the replies in `out`.
    pub(super) control: Vec<u8>,
    /// Work that was done for the connection that is being served, or the entry that is being handled.
    pub(crate) spent: usize,
    /// Above this, a connection's output pauses it.
    pub(super) high_water: usize,
    pub(super) due: Vec<u32>,
    /// Slots that a fan-out has given something to send, in its time.
    pub(super) given: Vec<u32>,
    /// Slots with something to send.
    pub(super) express: VecDeque<u32>,
    /// Slots with something of a large fan-out to send. They have their own queue, so replies do not wait for all of
    /// them.
    pub(super) bulk: VecDeque<u32>,
    /// Slots to be served, in turn.
    pub(super) runnable: VecDeque<u32>,
    /// Slots that may read again.
    pub(super) resumed: Vec<u32>,
    pub(super) limits: Limits,
    /// Limits of byte streams in another framing than WebSocket.
    pub(super) stream_limits: Limits,
    /// The limits of connections in one direction.
    pub(super) uni_limits: Limits,
    /// The limits of messages that come by requests.
    pub(super) request_limits: Limits,
    /// Compresses what goes out, and inflates what comes in: for all connections of the shard, one message at a time.
    pub(super) deflater: RefCell<Deflater>,
    pub(super) inflater: Inflater,
    /// Rate limits of connections, if there are any.
    pub(super) rates: Option<Rates>,
    pub(super) violations: ViolationLog,
    pub(super) probes: Probes,
    pub(super) refresh: Option<Refresh>,
    /// Walks over many connections, each with its weight in the inbox. The first is under way.
    pub(super) walks: VecDeque<(Walk, usize)>,
    pub(super) unsent: Unsent,
    pub(super) extras: Extras,
    pub(super) shutting_down: bool,
}

impl Core {
    pub(crate) fn new(
        shard: u8,
        channels: Arc<Channels>,
        presence_refresh: Option<Duration>,
        now: Now,
    ) -> Self {
        let hub = Arc::clone(&channels.hub);
        let config = Arc::clone(&hub.config);
        Self {
            shard,
            slots: Vec::new(),
            free: Vec::new(),
            local: LocalTable::new(hub.directory.names.clone()),
            channels,
            wheel: Wheel::new(now.mono),
            ahead: ahead(now),
            calls: VecDeque::new(),
            out: Vec::new(),
            control: Vec::new(),
            spent: 0,
            high_water: config.queue_max_size / 2,
            due: Vec::new(),
            given: Vec::new(),
            express: VecDeque::new(),
            bulk: VecDeque::new(),
            runnable: VecDeque::new(),
            resumed: Vec::new(),
            limits: config.compression.limits(config.message_size_limit),
            stream_limits: Limits::of(config.stream_message_size_limit),
            uni_limits: config.uni_compression.limits(config.uni_websocket.message_size_limit),
            request_limits: Limits::of(config.request_size_limit),
            deflater: RefCell::new(Deflater::new(config.compression.terms(), config.uni_compression.terms())),
            inflater: Inflater::default(),
            rates: Rates::new(&config.rate_limits),
            violations: ViolationLog::default(),
            probes: Probes::default(),
            refresh: presence_refresh.map(|interval| Refresh::new(interval, now)),
            walks: VecDeque::new(),
            unsent: Unsent::default(),
            extras: Extras::default(),
            shutting_down: false,
            hub,
            config,
        }
    }

    /// Something from the inbox.
    pub(crate) fn entry(&mut self, entry: Entry, now: Now, exec: &mut impl Execute) {
        // A walk counts until its last slice.
        let weight = if let Entry::Walk(_) = entry { 0 } else { entry.weight() };
        let share = entry.share();
        match entry {
            Entry::Input { handle, secret, message } => self.request(handle, &secret, &message, now, exec),
            Entry::Publication { channel, delivery, share } => {
                let way = self.deliver(channel.id, &delivery, now, exec);
                self.hand_over(channel, share.lots, way);
            }
            Entry::JoinLeave { channel, info, join, share } => {
                let way = self.tell_join_leave(channel.id, &info, join, now, exec);
                self.hand_over(channel, share.lots, way);
            }
            Entry::Outcome { handle, token, outcome } => self.outcome(handle, token, *outcome, now, exec),
            Entry::Interest { channel, ok } => self.interest(channel, ok, now, exec),
            Entry::Position { channel, top } => self.position_told(channel, top, now),
            Entry::Incarnation { channel, incarnation } => {
                self.incarnation_told(channel, &incarnation, now, exec);
            }
            Entry::Slice { channel, read, slice } => self.slice(channel, read, &slice, now, exec),
            Entry::Control { handle, control } => self.control(handle, *control, now, exec),
            Entry::Walk(walk) => self.walk(*walk, now, exec),
            Entry::WalkOn => self.walk_on(now, exec),
            Entry::Shutdown => self.shutdown(now, exec),
        }
        if weight > 0 {
            self.hub.inboxes[usize::from(self.shard)].done(weight, share);
            if self.hub.admission.is_waiting() {
                self.hub.admission.shard_has_room(usize::from(self.shard));
            }
        }
    }

    /// An outcome that was not there at once.
    pub(crate) fn outcome(
        &mut self,
        handle: Handle,
        token: CallToken,
        outcome: Outcome,
        now: Now,
        exec: &mut impl Execute,
    ) {
        let Some(slot) = self.resolve(handle).filter(|slot| self.slots[*slot as usize].session.is_some())
        else {
            // The connection is gone. What the outcome holds is given back.
            if let Some(call) = outcome.undo(handle) {
                exec.execute(call);
            }
            return;
        };
        self.with(slot, now, |session, cx| session.on_outcome(cx, token, outcome));
        self.settle(slot, now, exec);
        self.resume(slot, now, exec);
        self.settle_event(slot, now, exec);
    }

    /// The command under way is done: what was received since is next, in its turn.
    pub(super) fn resume(&mut self, slot: u32, now: Now, exec: &mut impl Execute) {
        if self.config.subscribe_batch > 1 && self.extras.has_ahead(slot) {
            self.go_ahead(slot, now, exec);
        }
        // The order matters. The reply goes out first. Frames that were held for it follow: they came before the next
        // command was taken, so they go before its reply too. Only then may that command be served.
        self.emit(slot);
        self.release_held(slot);
        self.go_on(slot);
    }

    /// Subscribe commands that were decided ahead of their turn are taken up.
    #[cold]
    fn go_ahead(&mut self, slot: u32, now: Now, exec: &mut impl Execute) {
        loop {
            let mut decided = false;
            self.with(slot, now, |session, cx| decided = session.next_ahead(cx));
            if !decided {
                return;
            }
            self.settle(slot, now, exec);
        }
    }

    pub(super) fn control(&mut self, handle: Handle, control: Control, now: Now, exec: &mut impl Execute) {
        let Some(slot) = self.resolve(handle) else { return };
        let control = match control {
            Control::Deliver(delivering) if self.is_paused(slot) => {
                return self.extras.delay(slot, *delivering);
            }
            control => control,
        };
        let was_busy = self.is_busy(slot);
        // The waiter is notified once the calls are made.
        let taken = if let Control::Subscribe { taken, .. } = &control { taken.clone() } else { None };
        self.with(slot, now, |session, cx| session.on_control(cx, control));
        self.settle(slot, now, exec);
        drop(taken);
        if was_busy {
            self.resume(slot, now, exec);
        }
        self.settle_event(slot, now, exec);
    }

    pub(super) fn is_refused(&self, slot: u32) -> bool {
        self.slots[slot as usize].session.as_ref().is_some_and(|session| session.is_refused())
    }

    pub(super) fn is_busy(&self, slot: u32) -> bool {
        self.slots[slot as usize].session.as_ref().is_some_and(|session| session.is_busy())
    }

    pub(super) fn shutdown(&mut self, now: Now, exec: &mut impl Execute) {
        self.shutting_down = true;
        for slot in 0..self.slots.len() as u32 {
            if self.state(slot) == SlotState::Open {
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
                SlotState::Open if self.end_stalled(slot, now, exec) => {}
                SlotState::Open => {
                    let was_busy = self.is_busy(slot);
                    self.end_throttle(slot, now);
                    let behind = self.is_behind(slot);
                    self.with(slot, now, |session, cx| session.on_timer(cx, behind));
                    self.settle(slot, now, exec);
                    if was_busy {
                        self.resume(slot, now, exec);
                    }
                    self.settle_event(slot, now, exec);
                }
                SlotState::Closing => self.gone(slot),
                SlotState::Free | SlotState::Gone => {}
            }
        }
        self.due = due;
        self.probe(now, exec);
        self.refresh_presence(now, exec);
    }

    /// Expiry follows the wall clock, and its timer runs on the monotonic one: once the one was set against the other
    /// (a correction, a machine that slept), every timer is set again, so that what has expired by then ends at once.
    fn follow_steps(&mut self, now: Now) {
        let ahead = ahead(now);
        if ahead.abs_diff(self.ahead) < STEP_MS {
            return;
        }
        self.ahead = ahead;
        if fault::holds(Fault::StepUnseen) {
            return;
        }
        for slot in 0..self.slots.len() as u32 {
            if self.state(slot) == SlotState::Open && self.rearm(slot, now) <= now.mono {
                self.wheel.set(slot, u64::MAX);
                self.due.push(slot);
            }
        }
    }

    /// Returns the time to call [`Core::tick`] next, on the monotonic clock.
    pub(crate) fn next_deadline(&self) -> Option<u64> {
        let refresh = self.refresh.as_ref().map(Refresh::due);
        self.wheel.next_deadline().into_iter().chain(self.probes.next_deadline()).chain(refresh).min()
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
            channels: &self.channels,
            local: &mut self.local,
            calls: &mut self.calls,
            out: &mut self.out,
            metrics: &self.hub.metrics.shards[usize::from(self.shard)],
            extras: &mut self.extras,
            cost: 0,
            closed: None,
            violation: None,
            ping: false,
            errors: 0,
        };
        let before = cx.out.len();
        f(&mut session, &mut cx);
        if cx.errors > 0
            && let Some(rates) = &mut self.rates
            && !rates.admits_errors(slot, cx.errors, now)
        {
            session.close(&mut cx, DisconnectCode::TOO_MANY_ERRORS);
        }
        let (closed, violation, ping) = (cx.closed.take(), cx.violation, cx.ping);
        self.spent += cx.cost + cx.out.len() - before;
        self.slots[slot as usize].session = Some(session);
        if ping {
            self.send_control(slot, Framing::append_ping);
        }
        if let Some(code) = closed {
            if let Some(cause) = violation {
                self.report(slot, &cause, code.code, now);
            }
            if let Some(asks) = self.extras.get(slot).and_then(|extra| extra.close_code.as_ref()) {
                asks.set(&code);
            }
            let says = self.state(slot) == SlotState::Open && !self.is_silent(slot, &code);
            let goodbye = says.then(|| self.goodbye(slot, &code));
            self.start_closing(slot, goodbye, code == DisconnectCode::SLOW, now);
        }
    }

    /// Makes the calls that came up, and lets the session handle the outcomes that are there at once.
    pub(super) fn settle(&mut self, slot: u32, now: Now, exec: &mut impl Execute) {
        while let Some(called) = self.calls.pop_front() {
            match called {
                Called::Session(call) => {
                    let token = call.token;
                    if let Some(outcome) = exec.execute(call) {
                        self.with(slot, now, |session, cx| session.on_outcome(cx, token, outcome));
                    }
                }
                Called::Shard(call) => self.run(call, now, exec),
            }
        }
    }

    /// An event is handled: its output goes to the outbox, and the timer is set again. If that is too much for one that
    /// does not read, the connection ends.
    pub(super) fn settle_event(&mut self, slot: u32, now: Now, exec: &mut impl Execute) {
        self.emit(slot);
        if self.state(slot) == SlotState::Open {
            self.release_held(slot);
            self.rearm(slot, now);
            self.close_if_slow(slot, now, exec);
        }
    }

    /// Sets the timer of a session, and returns its due time.
    pub(super) fn rearm(&mut self, slot: u32, now: Now) -> u64 {
        let mut deadline = u64::MAX;
        if self.slots[slot as usize].session.is_some() {
            self.with(slot, now, |session, cx| deadline = session.deadline(cx));
            deadline = deadline.min(self.throttled_until(slot)).min(self.stalled_until(slot));
            self.wheel.set(slot, deadline);
        }
        deadline
    }

    /// Logs a protocol violation of a client.
    pub(super) fn report(&mut self, slot: u32, cause: &dyn std::fmt::Display, code: u32, now: Now) {
        if let Some(session) = &self.slots[slot as usize].session {
            self.violations.log(session.id(), cause, code, now);
        }
    }

    pub(super) fn metrics(&self) -> &crate::metrics::ShardMetrics {
        &self.hub.metrics.shards[usize::from(self.shard)]
    }

    pub(super) fn traffic(&self, slot: u32) -> &crate::metrics::Traffic {
        let transport = self.slots[slot as usize].transport;
        &self.metrics().traffic[transport.index()]
    }
}

const fn ahead(now: Now) -> i64 {
    now.wall.saturating_sub_unsigned(now.mono)
}
