//! The ledger of channel events: which channels the back end believes to be occupied, and what it is to be told next.
//!
//! A pure state machine. `now` is milliseconds of the monotonic clock, and times of events are Unix milliseconds.
//!
//! A channel has one entry at most, and an entry one event at most: the difference between the state that the back end
//! has confirmed and the present one. So the events of a channel alternate. One that was not sent yet disappears
//! together with its opposite. One that was sent is repeated until it is confirmed, and comes before the next.
//!
//! With too many events waiting, the back end is told neither that a channel becomes occupied nor that it is vacated.
//! A channel that it believes to be occupied is kept until it can be told: there are no more of these than the back end
//! has confirmed.

use crate::session::reporting::pause;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// Limits of the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Time that a channel is empty before it is reported as vacated.
    pub vacated_delay_ms: u64,
    /// Channels with an event that waits, at most.
    pub max_waiting: usize,
    /// Events of a request, at most.
    pub max_events: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { vacated_delay_ms: 5_000, max_waiting: 100_000, max_events: 100 }
    }
}

/// Kinds of events that a namespace wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kinds {
    pub(super) occupied: bool,
    pub(super) vacated: bool,
}

impl Kinds {
    pub(super) const fn want(self, occupied: bool) -> bool {
        if occupied { self.occupied } else { self.vacated }
    }
}

/// An event of a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelEvent {
    /// The channel.
    pub channel: Arc<str>,
    /// Occupied, or vacated.
    pub occupied: bool,
    /// Time of the change.
    pub time_ms: i64,
    /// Increases with every event of this process. A repeated event keeps its number.
    pub seq: u64,
}

/// Counts since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Confirmed events: occupied, and vacated.
    pub(crate) confirmed: [u64; 2],
    /// Events that were dropped because too many waited.
    pub(crate) dropped: u64,
    /// Events that disappeared together with their opposite before they were sent.
    pub(crate) merged: u64,
    /// Channels with an event that waits or is under way, those that wait for room included.
    pub(crate) waiting: usize,
    /// Channels that have an entry.
    pub(crate) channels: usize,
}

/// Place of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// The back end knows the present state.
    Settled,
    /// Empty, and reported as vacated at this time.
    Delayed(u64),
    /// To be reported as vacated as soon as there is room, with this ticket.
    Owed(u64),
    /// In the queue of its proxy, with this ticket.
    Queued(u64),
    /// In the batch of its proxy.
    Sent,
}

#[derive(Debug)]
struct Entry {
    proxy: Arc<str>,
    kinds: Kinds,
    /// The present state, and the time of its last change.
    occupied: bool,
    changed_ms: i64,
    /// The time of that change on the monotonic clock.
    changed: u64,
    /// The state that the back end has confirmed.
    told: bool,
    place: Place,
}

/// The events of one proxy. One request is under way at a time, which keeps their order.
#[derive(Debug, Default)]
struct Line {
    queue: BTreeMap<u64, Arc<str>>,
    /// Sent, and not confirmed.
    batch: Vec<ChannelEvent>,
    in_flight: bool,
    failures: u32,
    retry_at: u64,
}

impl Line {
    fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.batch.is_empty()
    }
}

/// The ledger.
#[derive(Debug)]
pub(super) struct Ledger {
    limits: Limits,
    channels: HashMap<Arc<str>, Entry>,
    delayed: BTreeSet<(u64, Arc<str>)>,
    owed: BTreeMap<u64, Arc<str>>,
    lines: BTreeMap<Arc<str>, Line>,
    waiting: usize,
    tickets: u64,
    seq: u64,
    confirmed: [u64; 2],
    dropped: u64,
    merged: u64,
}

impl Ledger {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            channels: HashMap::new(),
            delayed: BTreeSet::new(),
            owed: BTreeMap::new(),
            lines: BTreeMap::new(),
            waiting: 0,
            tickets: 0,
            seq: 0,
            confirmed: [0; 2],
            dropped: 0,
            merged: 0,
        }
    }

    /// Sets other limits. Delays that have begun keep their end.
    pub(super) fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
        self.settle_owed();
    }

    pub(super) fn counts(&self) -> Counts {
        Counts {
            confirmed: self.confirmed,
            dropped: self.dropped,
            merged: self.merged,
            waiting: self.waiting + self.owed.len(),
            channels: self.channels.len(),
        }
    }

    /// Returns true if an event waits, is under way or is delayed.
    pub(super) fn is_busy(&self) -> bool {
        self.waiting > 0 || !self.owed.is_empty() || !self.delayed.is_empty()
    }

    /// Takes up the state of a channel. The same state again changes nothing.
    pub(super) fn set(
        &mut self,
        channel: &str,
        occupied: bool,
        (proxy, kinds): (&str, Kinds),
        (now, time_ms): (u64, i64),
    ) {
        let Some(entry) = self.channels.get_mut(channel) else {
            if occupied {
                let channel: Arc<str> = channel.into();
                let entry = Entry {
                    proxy: self
                        .lines
                        .get_key_value(proxy)
                        .map_or_else(|| proxy.into(), |(name, _)| name.clone()),
                    kinds,
                    occupied,
                    changed_ms: time_ms,
                    changed: now,
                    told: false,
                    place: Place::Settled,
                };
                self.channels.insert(Arc::clone(&channel), entry);
                self.advance(&channel);
            }
            return;
        };
        if entry.occupied == occupied {
            return;
        }
        (entry.occupied, entry.changed_ms, entry.changed) = (occupied, time_ms, now);
        let Some((channel, _)) = self.channels.get_key_value(channel) else { return };
        let channel = Arc::clone(channel);
        self.advance(&channel);
    }

    /// Moves an entry to the place that its state asks for.
    fn advance(&mut self, channel: &Arc<str>) {
        let Some(entry) = self.channels.get_mut(channel) else { return };
        match entry.place {
            // What was sent comes first.
            Place::Sent => return,
            Place::Delayed(due) => {
                self.delayed.remove(&(due, Arc::clone(channel)));
            }
            Place::Owed(ticket) => {
                self.owed.remove(&ticket);
                self.merged += 2;
            }
            Place::Queued(ticket) => {
                if let Some(line) = self.lines.get_mut(&entry.proxy) {
                    line.queue.remove(&ticket);
                }
                self.waiting -= 1;
                self.merged += 2;
            }
            Place::Settled => {}
        }
        entry.place = Place::Settled;
        match (entry.told, entry.occupied) {
            (true, true) => {}
            (false, false) => {
                self.channels.remove(channel);
            }
            (false, true) => self.enqueue(channel),
            (true, false) => {
                let due = entry.changed.saturating_add(self.limits.vacated_delay_ms);
                entry.place = Place::Delayed(due);
                self.delayed.insert((due, Arc::clone(channel)));
            }
        }
        self.settle_owed();
    }

    /// Has the back end told of the present state of a settled entry.
    fn enqueue(&mut self, channel: &Arc<str>) {
        let Some(entry) = self.channels.get_mut(channel) else { return };
        if !entry.kinds.want(entry.occupied) {
            entry.told = entry.occupied;
            if !entry.occupied {
                self.channels.remove(channel);
            }
        } else if self.waiting >= self.limits.max_waiting && entry.told && entry.kinds.occupied {
            self.tickets += 1;
            entry.place = Place::Owed(self.tickets);
            self.owed.insert(self.tickets, Arc::clone(channel));
        } else if self.waiting >= self.limits.max_waiting {
            // Without an entry its opposite is not sent either, so that events go on to alternate.
            self.dropped += 1;
            self.channels.remove(channel);
        } else {
            self.tickets += 1;
            self.waiting += 1;
            entry.place = Place::Queued(self.tickets);
            let line = self.lines.entry(Arc::clone(&entry.proxy)).or_default();
            line.queue.insert(self.tickets, Arc::clone(channel));
        }
    }

    /// Queues the events that wait for room, as far as there is some.
    fn settle_owed(&mut self) {
        while self.waiting < self.limits.max_waiting
            && let Some((_, channel)) = self.owed.pop_first()
        {
            if let Some(entry) = self.channels.get_mut(&channel) {
                entry.place = Place::Settled;
            }
            self.enqueue(&channel);
        }
    }

    /// Queues the events whose delay is over.
    fn expire(&mut self, now: u64) {
        while let Some((due, _)) = self.delayed.first()
            && *due <= now
            && let Some((_, channel)) = self.delayed.pop_first()
        {
            if let Some(entry) = self.channels.get_mut(&channel) {
                entry.place = Place::Settled;
            }
            self.enqueue(&channel);
        }
    }

    /// Ends every delay: nothing is going to come back.
    pub(super) fn hurry(&mut self) {
        self.limits.vacated_delay_ms = 0;
        self.expire(u64::MAX);
        for line in self.lines.values_mut() {
            line.retry_at = 0;
        }
    }

    /// Takes the requests to make now: a proxy and its events, in their order.
    pub(super) fn take(&mut self, now: u64) -> Vec<(Arc<str>, Vec<ChannelEvent>)> {
        self.expire(now);
        let mut requests = Vec::new();
        for (proxy, line) in &mut self.lines {
            if line.in_flight || now < line.retry_at {
                continue;
            }
            while line.batch.len() < self.limits.max_events.max(1)
                && line.failures == 0
                && let Some((_, channel)) = line.queue.pop_first()
            {
                let Some(entry) = self.channels.get_mut(&channel) else { continue };
                self.seq += 1;
                entry.place = Place::Sent;
                let (occupied, time_ms) = (entry.occupied, entry.changed_ms);
                line.batch.push(ChannelEvent { channel, occupied, time_ms, seq: self.seq });
            }
            if line.batch.is_empty() {
                continue;
            }
            line.in_flight = true;
            requests.push((Arc::clone(proxy), line.batch.clone()));
        }
        requests
    }

    /// Takes up the end of a request. `random` is for the pause after a failure.
    pub(super) fn finished(&mut self, proxy: &str, confirmed: bool, now: u64, random: u64) {
        let Some(line) = self.lines.get_mut(proxy) else { return };
        line.in_flight = false;
        if !confirmed {
            line.retry_at = now.saturating_add(pause(line.failures, random));
            line.failures = line.failures.saturating_add(1);
            return;
        }
        (line.failures, line.retry_at) = (0, 0);
        let batch = std::mem::take(&mut line.batch);
        self.waiting -= batch.len();
        // Before the opposites of these, which come now: those have waited longer.
        self.settle_owed();
        for event in batch {
            self.confirmed[usize::from(!event.occupied)] += 1;
            // An entry that was made since, after this one was forgotten, has an event of its own.
            if let Some(entry) = self.channels.get_mut(&event.channel)
                && entry.place == Place::Sent
                && *entry.proxy == *proxy
            {
                (entry.told, entry.place) = (event.occupied, Place::Settled);
                self.advance(&event.channel);
            }
        }
    }

    /// Returns the time at which [`Ledger::take`] has something to do, unless something happens before.
    pub(super) fn next(&self) -> Option<u64> {
        let delayed = self.delayed.first().map(|(due, _)| *due);
        let idle = self.lines.values().filter(|line| !line.in_flight && !line.is_empty());
        delayed.into_iter().chain(idle.map(|line| line.retry_at)).min()
    }

    /// Forgets channels for which the answer is false, by name, proxy and kinds of events. What was sent is still repeated
    /// until it is confirmed.
    pub(super) fn retain(&mut self, wanted: impl Fn(&str, &str, Kinds) -> bool) {
        let unwanted =
            self.channels.iter().filter(|(channel, entry)| !wanted(channel, &entry.proxy, entry.kinds));
        let unwanted: Vec<_> = unwanted.map(|(channel, _)| Arc::clone(channel)).collect();
        for channel in unwanted {
            let Some(entry) = self.channels.remove(&channel) else { continue };
            match entry.place {
                Place::Delayed(due) => {
                    self.delayed.remove(&(due, channel));
                }
                Place::Owed(ticket) => {
                    self.owed.remove(&ticket);
                }
                Place::Queued(ticket) => {
                    if let Some(line) = self.lines.get_mut(&entry.proxy) {
                        line.queue.remove(&ticket);
                    }
                    self.waiting -= 1;
                }
                Place::Settled | Place::Sent => {}
            }
        }
        self.settle_owed();
    }
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
