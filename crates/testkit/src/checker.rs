//! Judges a log: was every promise about delivery kept?
//!
//! A *segment* of a client in a channel begins with a subscription that starts fresh: not recovering, or told
//! that it was not recovered. Within it, and over every recovery, nothing may be missing, doubled or swapped.

mod control;
mod end;

use crate::log::{Event, Fault, Line, Seen};
use std::collections::BTreeMap;
use std::fmt;

/// Something that must not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Number of the line that shows it, from 0.
    pub line: usize,
    /// Violated promise.
    pub check: Check,
    /// In words.
    pub what: String,
}

/// The promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Check {
    /// A connection follows the protocol: a reply before the first push, nothing unasked.
    Protocol,
    /// In a segment offsets go up by one.
    Segment,
    /// One place in a stream holds one publication, for every observer.
    Fork,
    /// A publisher's numbers go up in the order of offsets, each once.
    PublisherOrder,
    /// Everything delivered was published, and is intact.
    Invention,
    /// `recovered: true` only with the same epoch, from the position that was asked for.
    Recovered,
    /// A failed recovery carries no publications: never a part.
    Partial,
    /// Acknowledged publications are kept, unless a fault removed them.
    Kept,
    /// At the end everybody is in and has everything.
    Liveness,
    /// `recovered: false` and "insufficient state" only where something was lost.
    Precision,
    /// A loss is told in time.
    Signal,
    /// An operation is applied on each node that it reaches, and confirmed only then.
    Applied,
    /// An operation is applied once.
    Once,
    /// A caller that waits for other nodes is told when the time is over.
    Deadline,
    /// In the end every node knows every other, and none that is gone.
    Registry,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {:?}: {}", self.line + 1, self.check, self.what)
    }
}

/// Number of events that were judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Publishes that were acknowledged.
    pub acked: usize,
    /// Publishes of which nobody knows.
    pub unknown: usize,
    /// Publications that clients were given, recovered ones included.
    pub delivered: usize,
    /// Subscriptions that were told that nothing is missing.
    pub recovered: usize,
    /// Of these, with publications.
    pub recovered_with_publications: usize,
    /// Subscriptions that were told that something is missing.
    pub not_recovered: usize,
    /// Subscriptions that ended because publications were lost.
    pub alarms: usize,
    /// Connections that ended.
    pub disconnects: usize,
    /// The longest time from a loss on the way to a node until a client of it was told, in milliseconds.
    pub slowest_signal: u64,
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.acked += other.acked;
        self.unknown += other.unknown;
        self.delivered += other.delivered;
        self.recovered += other.recovered;
        self.recovered_with_publications += other.recovered_with_publications;
        self.not_recovered += other.not_recovered;
        self.alarms += other.alarms;
        self.disconnects += other.disconnects;
        self.slowest_signal = self.slowest_signal.max(other.slowest_signal);
    }
}

/// Verdict on a log.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Everything that must not be.
    pub violations: Vec<Violation>,
    /// Number of events.
    pub counts: Counts,
}

/// Judges a whole log.
#[must_use]
pub fn check(lines: &[Line]) -> Report {
    check_within(lines, u64::MAX)
}

/// The same, and a loss must be told within so many milliseconds.
#[must_use]
pub fn check_within(lines: &[Line], signal_ms: u64) -> Report {
    let mut checker = Checker { signal_ms, ..Checker::default() };
    for (at, line) in lines.iter().enumerate() {
        checker.now = line.t;
        checker.line(at, &line.event);
    }
    checker.end(lines.len());
    checker.report
}

#[derive(Default)]
struct Checker<'a> {
    report: Report,
    channels: BTreeMap<&'a str, Rules>,
    /// By client and channel.
    views: BTreeMap<(u32, &'a str), View<'a>>,
    invoked: BTreeMap<(u32, &'a str, u64), Invoked>,
    /// Publication at a place: by channel, epoch and offset.
    places: BTreeMap<(&'a str, &'a str, u64), (u32, u64, u32)>,
    acked: Vec<Acked<'a>>,
    finals: BTreeMap<&'a str, Vec<Final<'a>>>,
    control: control::Control<'a>,
    failovers: Vec<usize>,
    disturbed: Disturbed,
    calm: Option<usize>,
    now: u64,
    signal_ms: u64,
}

#[derive(Default)]
struct Rules {
    history: usize,
    limit: usize,
    lossless: bool,
    trims: Vec<usize>,
    /// Number in progress.
    trimming: usize,
    resets: Vec<usize>,
    losses: Vec<usize>,
}

struct Invoked {
    line: usize,
    t: u64,
    n: u32,
    acked: bool,
}

/// Faults of real processes, of which nobody knows which publications they cost.
#[derive(Default)]
struct Disturbed {
    /// Faults in progress.
    open: usize,
    /// Time at which one of them last began or was undone.
    last: Option<u64>,
}

/// Time for which a fault of a real process may be the reason for an alarm.
const AFTERMATH_MS: u64 = 20_000;

/// Delay after which a publication may be taken for lost.
const LATE_MS: u64 = 1_000;

struct Acked<'a> {
    line: usize,
    p: u32,
    ch: &'a str,
    s: u64,
    epoch: &'a str,
    offset: u64,
}

struct Final<'a> {
    line: usize,
    epoch: &'a str,
    offset: u64,
    pubs: &'a [Seen],
}

/// View of one channel by one client.
#[derive(Default)]
struct View<'a> {
    on: bool,
    /// It has asked and was not answered yet.
    waits: bool,
    /// It left by its own wish.
    left: bool,
    position: Option<(&'a str, u64)>,
    asked: Option<(&'a str, u64)>,
    /// Line of the request that the present epoch came with.
    epoch_from: usize,
    asked_at: usize,
    subscribed_at: usize,
    /// Offsets that did not reach a node and may be missing here, and since when.
    missing: Vec<(u64, u64)>,
    /// Without history: the last number of each publisher, over all connections, and whether it is of this one.
    numbers: BTreeMap<u32, (u64, bool)>,
}

impl<'a> Checker<'a> {
    fn violation(&mut self, line: usize, check: Check, what: String) {
        self.report.violations.push(Violation { line, check, what });
    }

    fn line(&mut self, at: usize, event: &'a Event) {
        self.control(at, event);
        match event {
            Event::Channel { ch, history, limit, lossless } => {
                let rules =
                    Rules { history: *history, limit: *limit, lossless: *lossless, ..Rules::default() };
                self.channels.insert(ch, rules);
            }
            Event::Invoke { p, ch, s, n } => {
                if self
                    .invoked
                    .insert((*p, ch, *s), Invoked { line: at, t: self.now, n: *n, acked: false })
                    .is_some()
                {
                    self.violation(
                        at,
                        Check::Protocol,
                        format!("publisher {p} used number {s} twice in {ch}"),
                    );
                }
            }
            Event::Ok { p, ch, s, epoch, offset } => {
                self.report.counts.acked += 1;
                if let Some(invoked) = self.invoked.get_mut(&(*p, ch.as_str(), *s)) {
                    invoked.acked = true;
                }
                self.acked.push(Acked { line: at, p: *p, ch, s: *s, epoch, offset: *offset });
                if *offset > 0 {
                    let n = self.invoked.get(&(*p, ch, *s)).map_or(0, |invoked| invoked.n);
                    self.place(at, ch, epoch, &Seen { offset: *offset, p: *p, s: *s, n });
                }
            }
            Event::Unknown { .. } => self.report.counts.unknown += 1,
            Event::Connected { .. } => {}
            Event::Subscribing { c, ch, since } => {
                // Equal reads are shared: what it is told may have been read for one who asked before.
                let others = self.views.iter().filter(|((_, channel), view)| channel == ch && view.waits);
                let asked_at = others.map(|(_, view)| view.asked_at).min().unwrap_or(at);
                let view = self.views.entry((*c, ch)).or_default();
                view.asked = since.as_ref().map(|(epoch, offset)| (epoch.as_str(), *offset));
                view.asked_at = asked_at;
                view.waits = true;
                view.left = false;
            }
            Event::Subscribed { c, ch, was_recovering, recovered, epoch, offset, pubs } => {
                self.subscribed(at, *c, ch, (*was_recovering, *recovered), (epoch, *offset), pubs);
            }
            Event::Refused { c, ch, .. } => {
                let view = self.views.entry((*c, ch)).or_default();
                (view.on, view.waits) = (false, false);
            }
            Event::Pub { c, ch, seen } => self.publication(at, *c, ch, seen),
            Event::Unsubscribed { c, ch, code } => {
                let view = self.views.entry((*c, ch)).or_default();
                view.on = false;
                view.left = *code == 0;
                let missing = std::mem::take(&mut view.missing);
                if *code == 2500 {
                    self.told(at, *c, &missing);
                    self.alarm(at, *c, Some(ch));
                }
            }
            Event::Disconnected { c, code } => {
                self.report.counts.disconnects += 1;
                let mut missing = Vec::new();
                for (_, view) in self.views.iter_mut().filter(|((client, _), _)| client == c) {
                    (view.on, view.waits) = (false, false);
                    missing.append(&mut view.missing);
                }
                if *code == 3010 {
                    // Which of its channels it was is not said: the latest loss is the one.
                    missing.sort_by_key(|(_, since)| std::cmp::Reverse(*since));
                    missing.truncate(1);
                    self.told(at, *c, &missing);
                    self.alarm(at, *c, None);
                }
                // Who takes too long to log in may come again.
                if (3500..4000).contains(code) && *code != 3502 {
                    self.violation(at, Check::Protocol, format!("client {c} was sent away for good: {code}"));
                }
            }
            Event::Broken { c, what } => self.violation(at, Check::Protocol, format!("client {c}: {what}")),
            Event::Fault { fault } => match fault {
                Fault::Trimming { ch } => self.channels.entry(ch).or_default().trimming += 1,
                Fault::Trim { ch } => {
                    let rules = self.channels.entry(ch).or_default();
                    rules.trims.push(at);
                    rules.trimming = rules.trimming.saturating_sub(1);
                }
                Fault::Reset { ch } => self.channels.entry(ch).or_default().resets.push(at),
                Fault::Lost { ch, offset, .. } => {
                    self.channels.entry(ch).or_default().losses.push(at);
                    for (_, view) in
                        self.views.iter_mut().filter(|((_, channel), view)| channel == ch && view.on)
                    {
                        if view.position.is_some_and(|(_, position)| position < *offset) {
                            view.missing.push((*offset, self.now));
                        }
                    }
                }
                Fault::Failover => self.failovers.push(at),
                Fault::Begun { .. } => {
                    self.disturbed.open += 1;
                    self.disturbed.last = Some(self.now);
                }
                Fault::Over { .. } => {
                    self.disturbed.open = self.disturbed.open.saturating_sub(1);
                    self.disturbed.last = Some(self.now);
                }
                _ => {}
            },
            Event::Opened { .. }
            | Event::Issued { .. }
            | Event::Arrived { .. }
            | Event::Told { .. }
            | Event::Nodes { .. } => {}
            Event::Calm => self.calm = Some(at),
            Event::Final { ch, epoch, offset, pubs, .. } => {
                for seen in pubs {
                    self.place(at, ch, epoch, seen);
                }
                self.finals.entry(ch).or_default().push(Final { line: at, epoch, offset: *offset, pubs });
            }
        }
    }

    /// A client was told of a loss in a channel, or in one of its channels: was there one?
    fn alarm(&mut self, at: usize, c: u32, ch: Option<&'a str>) {
        self.report.counts.alarms += 1;
        let lost = |ch: &str| {
            self.channels.get(ch).is_some_and(|rules| !rules.losses.is_empty() || !rules.resets.is_empty())
        };
        let mut own = self
            .views
            .iter()
            .filter(|((client, channel), _)| *client == c && ch.is_none_or(|ch| *channel == ch));
        let disturbed = self.disturbed.open > 0
            || self.disturbed.last.is_some_and(|last| self.now <= last + AFTERMATH_MS);
        if disturbed
            || !self.failovers.is_empty()
            || own.any(|((_, ch), view)| lost(ch) || self.is_late(ch, view))
        {
            return;
        }
        let what = format!("client {c} was told of a loss in {} that was none", ch.unwrap_or("a channel"));
        self.violation(at, Check::Precision, what);
    }

    /// Returns true if the next publication of a channel is late enough to be taken for lost.
    fn is_late(&self, ch: &'a str, view: &View<'a>) -> bool {
        let Some((epoch, offset)) = view.position else { return false };
        if self.channels.get(ch).is_none_or(|rules| rules.lossless) {
            return false;
        }
        let late = |invoked: &Invoked| invoked.t + LATE_MS <= self.now;
        match self.places.get(&(ch, epoch, offset + 1)) {
            Some((p, s, _)) => self.invoked.get(&(*p, ch, *s)).is_some_and(late),
            // It has no known place before it is acknowledged.
            None => self
                .invoked
                .iter()
                .any(|((_, channel, _), invoked)| *channel == ch && !invoked.acked && late(invoked)),
        }
    }

    /// A client was told that it lost something.
    fn told(&mut self, at: usize, c: u32, missing: &[(u64, u64)]) {
        let Some(since) = missing.iter().map(|(_, since)| *since).min() else { return };
        let took = self.now.saturating_sub(since);
        self.report.counts.slowest_signal = self.report.counts.slowest_signal.max(took);
        if took > self.signal_ms {
            self.violation(at, Check::Signal, format!("client {c} was told of a loss after {took} ms"));
        }
    }

    /// Somebody saw a publication at a place.
    fn place(&mut self, at: usize, ch: &'a str, epoch: &'a str, seen: &Seen) {
        self.real(at, ch, seen);
        let here = (seen.p, seen.s, seen.n);
        let there = *self.places.entry((ch, epoch, seen.offset)).or_insert(here);
        if there != here {
            let what = format!("{ch} {epoch}/{} is {there:?} to one and {here:?} to another", seen.offset);
            self.violation(at, Check::Fork, what);
        }
    }

    /// It was published, and is unharmed.
    fn real(&mut self, at: usize, ch: &'a str, seen: &Seen) {
        if self.invoked.get(&(seen.p, ch, seen.s)).is_none_or(|invoked| invoked.n != seen.n) {
            self.violation(at, Check::Invention, format!("nobody published {seen:?} in {ch}"));
        }
    }

    fn subscribed(
        &mut self,
        at: usize,
        c: u32,
        ch: &'a str,
        (was_recovering, recovered): (bool, bool),
        (epoch, offset): (&'a str, u64),
        pubs: &'a [Seen],
    ) {
        self.report.counts.delivered += pubs.len();
        for seen in pubs {
            self.place(at, ch, epoch, seen);
        }
        let view = self.views.entry((c, ch)).or_default();
        let (held, asked, epoch_from, asked_at) =
            (view.position, view.asked.take(), view.epoch_from, view.asked_at);
        (view.on, view.waits) = (true, false);
        view.missing.clear();
        view.subscribed_at = at;
        for number in view.numbers.values_mut() {
            number.1 = false;
        }
        if held.is_none_or(|(held, _)| held != epoch) {
            view.epoch_from = asked_at;
        }
        view.position = Some((epoch, pubs.last().map_or(offset, |last| last.offset)));
        if was_recovering != asked.is_some() {
            self.violation(at, Check::Protocol, format!("client {c} in {ch}: was_recovering is wrong"));
        }
        if recovered {
            self.report.counts.recovered += 1;
            self.report.counts.recovered_with_publications += usize::from(!pubs.is_empty());
            self.recovered(at, c, ch, asked, (epoch, offset), pubs);
            return;
        }
        if !pubs.is_empty() {
            self.violation(
                at,
                Check::Partial,
                format!("client {c} was given a part of what it missed in {ch}"),
            );
        }
        if let Some(since) = asked {
            self.report.counts.not_recovered += 1;
            if let Some(why) = self.needless(ch, since, (epoch, offset), epoch_from) {
                self.violation(
                    at,
                    Check::Precision,
                    format!("client {c} in {ch} from {since:?} to {epoch}/{offset}: {why}"),
                );
            }
        }
    }

    fn recovered(
        &mut self,
        at: usize,
        c: u32,
        ch: &'a str,
        asked: Option<(&'a str, u64)>,
        (epoch, offset): (&'a str, u64),
        pubs: &'a [Seen],
    ) {
        let Some((held, since)) = asked else {
            return self.violation(at, Check::Recovered, format!("client {c} asked for no recovery in {ch}"));
        };
        if held != epoch && !(since == 0 && self.names_the_same_nothing(ch, held, epoch)) {
            let what = format!("client {c} in {ch} held epoch {held} and was recovered in {epoch}");
            self.violation(at, Check::Recovered, what);
        }
        let mut last = since;
        for seen in pubs {
            if seen.offset != last + 1 {
                let what = format!("client {c} in {ch}: recovered {} after {last}", seen.offset);
                self.violation(at, Check::Segment, what);
            }
            last = seen.offset;
        }
        if pubs.is_empty() && offset != since {
            let what = format!("client {c} in {ch}: recovered from {since} to {offset} without publications");
            self.violation(at, Check::Recovered, what);
        }
    }

    /// Returns true if both epochs are derived ones of the same incarnation and channel, and nothing was published in
    /// the one that the client held: a stream takes positions of earlier empty eras for its own, see ADR 16.
    fn names_the_same_nothing(&self, ch: &'a str, held: &'a str, epoch: &'a str) -> bool {
        let derived = |epoch: &'a str| epoch.rsplit_once('-').map(|(of, _era)| of);
        derived(held).is_some_and(|of| derived(epoch) == Some(of))
            && self.places.range((ch, held, 0)..=(ch, held, u64::MAX)).next().is_none()
    }

    /// Returns the reason why a recovery should have succeeded; `None` if its failure was justified.
    fn needless(&self, ch: &str, since: (&str, u64), top: (&str, u64), epoch_from: usize) -> Option<String> {
        let rules = self.channels.get(ch)?;
        let ended = |lines: &[usize]| lines.iter().any(|line| *line > epoch_from);
        if since.0 != top.0 {
            let told = ended(&rules.resets) || ended(&self.failovers);
            return (!told).then(|| "nothing ended the epoch".to_owned());
        }
        let Some(missed) = top.1.checked_sub(since.1) else {
            return Some("the top went back within an epoch".to_owned());
        };
        if rules.limit > 0 && missed > rules.limit as u64 || missed > rules.history as u64 {
            return None;
        }
        if missed == 0 {
            return Some("nothing was missed".to_owned());
        }
        // What was dropped was dropped from the old end: did that reach the first one missed?
        let first = self.places.get(&(ch, top.0, since.1 + 1));
        let published =
            first.and_then(|(p, s, _)| self.invoked.get(&(*p, ch, *s))).map_or(0, |invoked| invoked.line);
        let dropped = rules.trimming > 0 || rules.trims.iter().any(|line| *line > published);
        (!dropped).then(|| format!("{missed} were missed and all of them kept"))
    }

    fn publication(&mut self, at: usize, c: u32, ch: &'a str, seen: &'a Seen) {
        self.report.counts.delivered += 1;
        let (history, lossless) =
            self.channels.get(ch).map_or((0, false), |rules| (rules.history, rules.lossless));
        let view = self.views.entry((c, ch)).or_default();
        if !view.on {
            return self.violation(at, Check::Protocol, format!("client {c} is not in {ch}"));
        }
        if history == 0 {
            let (last, present) = view.numbers.insert(seen.p, (seen.s, true)).unwrap_or((0, false));
            self.real(at, ch, seen);
            if seen.s <= last || lossless && present && seen.s != last + 1 {
                let what =
                    format!("client {c} in {ch}: number {} of publisher {} after {last}", seen.s, seen.p);
                self.violation(at, Check::Segment, what);
            }
            return;
        }
        let Some((epoch, last)) = &mut view.position else {
            return self.violation(at, Check::Protocol, format!("client {c} has no position in {ch}"));
        };
        let (epoch, before) = (*epoch, std::mem::replace(last, seen.offset));
        // It was lost on the way to another node.
        view.missing.retain(|(offset, _)| *offset != seen.offset);
        if seen.offset != before + 1 {
            let what = format!("client {c} in {ch}: {} after {before}", seen.offset);
            self.violation(at, Check::Segment, what);
        }
        self.place(at, ch, epoch, seen);
    }
}

#[cfg(test)]
mod tests;
