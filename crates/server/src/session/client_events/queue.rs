//! The queue of client events: those that the back end has not confirmed.
//!
//! A pure state machine. `now` is milliseconds of the monotonic clock, and times of events are Unix milliseconds.
//!
//! One request is under way at a time, and is repeated until it is confirmed, so that events arrive in their order and at
//! least once. An event that finds no room is dropped; its number is given to no other, so the back end sees the gap.

use crate::session::reporting::pause;
use spinward::id::ClientId;
use spinward::identity::{Application, Transport};
use spinward::publication::Tags;
use spinward::wire::Protocol;
use std::collections::VecDeque;
use std::sync::Arc;

/// Kind of a client event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A client logged in.
    Connected,
    /// A connection ended.
    Disconnected,
    /// A subscription began.
    Subscribed,
    /// A subscription ended.
    Unsubscribed,
}

impl Kind {
    /// All of them.
    pub(crate) const ALL: [Self; 4] =
        [Self::Connected, Self::Disconnected, Self::Subscribed, Self::Unsubscribed];

    /// Its name in options, requests and metrics.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Disconnected => "disconnected",
            Self::Subscribed => "subscribed",
            Self::Unsubscribed => "unsubscribed",
        }
    }

    pub(super) const fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// An event of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientEvent {
    /// Increases with every event of this process. A repeated event keeps its number.
    pub seq: u64,
    /// Time at which it happened.
    pub time_ms: i64,
    /// Its kind.
    pub kind: Kind,
    /// The connection.
    pub client: ClientId,
    /// Its user; empty is an anonymous one.
    pub user: Arc<str>,
    /// The channel of a subscription.
    pub channel: Option<Box<str>>,
    /// Code and reason of an end.
    pub end: Option<(u32, Box<str>)>,
    /// Description of the connection, of a login alone.
    pub login: Option<Box<Login>>,
}

/// Description of a connection that logs in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// Transport that it came in on.
    pub transport: Transport,
    /// Encoding that it speaks.
    pub protocol: Protocol,
    /// Name and version that the client application gives.
    pub application: Option<Box<Application>>,
    /// Labels that it was given.
    pub labels: Option<Arc<Tags>>,
}

/// Limits of the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Events that wait, at most.
    pub max_waiting: usize,
    /// Events of a request, at most.
    pub max_events: usize,
}

/// Counts since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Confirmed events, in the order of [`Kind::ALL`].
    pub(crate) confirmed: [u64; Kind::ALL.len()],
    /// Events that were dropped because too many waited.
    pub(crate) dropped: u64,
    /// Events that wait or are under way.
    pub(crate) waiting: usize,
}

/// The queue.
#[derive(Debug)]
pub(super) struct Queue {
    limits: Limits,
    events: VecDeque<ClientEvent>,
    /// Events at the front that are in the request.
    sent: usize,
    in_flight: bool,
    failures: u32,
    retry_at: u64,
    seq: u64,
    confirmed: [u64; Kind::ALL.len()],
    dropped: u64,
}

impl Queue {
    pub(super) const fn new(limits: Limits) -> Self {
        Self {
            limits,
            events: VecDeque::new(),
            sent: 0,
            in_flight: false,
            failures: 0,
            retry_at: 0,
            seq: 0,
            confirmed: [0; Kind::ALL.len()],
            dropped: 0,
        }
    }

    pub(super) const fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    pub(super) fn counts(&self) -> Counts {
        Counts { confirmed: self.confirmed, dropped: self.dropped, waiting: self.events.len() }
    }

    /// Returns true if an event waits or is under way.
    pub(super) fn is_busy(&self) -> bool {
        !self.events.is_empty()
    }

    /// Adds an event, and numbers it. False where there is no room.
    pub(super) fn push(&mut self, event: ClientEvent) -> bool {
        self.seq += 1;
        let room = self.events.len() < self.limits.max_waiting;
        if room {
            self.events.push_back(ClientEvent { seq: self.seq, ..event });
        } else {
            self.dropped += 1;
        }
        room
    }

    /// Takes the request to make now, if there is one. A request that failed is repeated as it was.
    pub(super) fn take(&mut self, now: u64) -> Option<Vec<ClientEvent>> {
        if self.in_flight || now < self.retry_at || self.events.is_empty() {
            return None;
        }
        if self.sent == 0 {
            self.sent = self.events.len().min(self.limits.max_events.max(1));
        }
        self.in_flight = true;
        Some(self.events.iter().take(self.sent).cloned().collect())
    }

    /// Takes up the end of the request. `random` is for the pause after a failure.
    pub(super) fn finished(&mut self, confirmed: bool, now: u64, random: u64) {
        self.in_flight = false;
        if !confirmed {
            self.retry_at = now.saturating_add(pause(self.failures, random));
            self.failures = self.failures.saturating_add(1);
            return;
        }
        (self.failures, self.retry_at) = (0, 0);
        for event in self.events.drain(..std::mem::take(&mut self.sent)) {
            self.confirmed[event.kind as usize] += 1;
        }
        if self.events.is_empty() {
            // A backlog is over: its memory is given back.
            self.events.shrink_to(self.limits.max_events);
        }
    }

    /// Returns the time at which [`Queue::take`] has something to do, unless something happens before.
    pub(super) fn next(&self) -> Option<u64> {
        (!self.in_flight && !self.events.is_empty()).then_some(self.retry_at)
    }

    /// Ends the pause after a failure.
    pub(super) const fn hurry(&mut self) {
        self.retry_at = 0;
    }

    /// Forgets what waits: nobody asks about it any longer.
    pub(super) fn clear(&mut self) {
        self.events = VecDeque::new();
        (self.sent, self.failures, self.retry_at) = (0, 0, 0);
    }
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
