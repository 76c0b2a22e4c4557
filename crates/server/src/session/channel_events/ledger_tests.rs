//! The ledger against a model of a node and of back ends that fail.

use super::*;
use proptest::prelude::*;

const DELAY: u64 = 50;
const BOTH: Kinds = Kinds { occupied: true, vacated: true };
const CHANNELS: [&str; 4] = ["a1", "a2", "b1", "b2"];

fn limits(max_waiting: usize) -> Limits {
    Limits { vacated_delay_ms: DELAY, max_waiting, max_events: 3 }
}

/// Channels that begin with `a` go to one proxy, and the others to another.
fn proxy(channel: &str) -> &'static str {
    if channel.starts_with('a') { "a" } else { "b" }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    /// A hook is called, for a channel that is in this state now.
    Set(usize, bool),
    Pass(u64),
    Take,
    /// A request ends: it was confirmed, or failed with or without having reached the back end.
    End(bool, Result<(), bool>),
    Forget(usize),
}

/// A node, and the back ends of two proxies.
struct Model {
    ledger: Ledger,
    now: u64,
    /// State of each channel, and the time since when.
    node: BTreeMap<&'static str, (bool, u64)>,
    in_flight: BTreeMap<Arc<str>, Vec<ChannelEvent>>,
    failed: BTreeMap<Arc<str>, Vec<ChannelEvent>>,
    /// Events that back ends have seen, repetitions included.
    seen: Vec<ChannelEvent>,
    confirmed: Vec<ChannelEvent>,
}

impl Model {
    fn new(max_waiting: usize) -> Self {
        Self {
            ledger: Ledger::new(limits(max_waiting)),
            now: 1_000,
            node: CHANNELS.iter().map(|channel| (*channel, (false, 0))).collect(),
            in_flight: BTreeMap::new(),
            failed: BTreeMap::new(),
            seen: Vec::new(),
            confirmed: Vec::new(),
        }
    }

    fn set(&mut self, channel: &'static str, occupied: bool) {
        if self.node[channel].0 != occupied {
            self.node.insert(channel, (occupied, self.now));
        }
        self.ledger.set(channel, occupied, (proxy(channel), BOTH), (self.now, self.now as i64));
    }

    fn take(&mut self) {
        for (to, events) in self.ledger.take(self.now) {
            assert!(!events.is_empty() && events.len() <= 3, "{events:?}");
            match self.failed.remove(&to) {
                Some(failed) => assert_eq!(events, failed, "another request than the one that failed"),
                None => {
                    for event in events.iter().filter(|event| !event.occupied) {
                        let since = self.now - event.time_ms as u64;
                        assert!(since >= DELAY, "vacated for {since} ms only");
                    }
                }
            }
            assert!(events.iter().all(|event| proxy(&event.channel) == &*to));
            assert_eq!(self.in_flight.insert(to, events), None, "a second request under way");
        }
    }

    fn end(&mut self, to: &str, outcome: Result<(), bool>) {
        let Some(events) = self.in_flight.remove(to) else { return };
        if outcome != Err(false) {
            self.seen.extend(events.iter().cloned());
        }
        self.ledger.finished(to, outcome.is_ok(), self.now, 7);
        match outcome {
            Ok(()) => self.confirmed.extend(events),
            Err(_) => {
                self.failed.insert(to.into(), events);
            }
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Set(at, occupied) => self.set(CHANNELS[at], occupied),
            Step::Pass(time) => self.now += time,
            Step::Take => self.take(),
            Step::End(first, outcome) => self.end(if first { "a" } else { "b" }, outcome),
            Step::Forget(at) => self.ledger.retain(|channel, _, _| channel != CHANNELS[at]),
        }
        self.check();
    }

    fn check(&self) {
        let ledger = &self.ledger;
        let queued: usize = ledger.lines.values().map(|line| line.queue.len() + line.batch.len()).sum();
        assert_eq!(ledger.waiting, queued);
        assert!(ledger.waiting <= ledger.limits.max_waiting);
        let delayed = ledger.channels.values().filter(|entry| matches!(entry.place, Place::Delayed(_)));
        assert_eq!(delayed.count(), ledger.delayed.len());
        let owed = ledger.channels.values().filter(|entry| matches!(entry.place, Place::Owed(_)));
        assert_eq!(owed.count(), ledger.owed.len());
        assert!(ledger.owed.is_empty() || ledger.waiting == ledger.limits.max_waiting);
    }

    /// Has everything come to rest, with back ends that are well.
    fn rest(&mut self) {
        for _ in 0..20 {
            self.now += 30_000;
            self.take();
            for to in ["a", "b"] {
                self.end(to, Ok(()));
            }
            self.check();
        }
        assert!(!self.ledger.is_busy() && self.ledger.next().is_none());
    }

    fn of<'a>(events: &'a [ChannelEvent], channel: &str) -> Vec<&'a ChannelEvent> {
        events.iter().filter(|event| *event.channel == *channel).collect()
    }
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..CHANNELS.len(), any::<bool>()).prop_map(|(at, occupied)| Step::Set(at, occupied)),
        3 => (0_u64..2 * DELAY).prop_map(Step::Pass),
        4 => Just(Step::Take),
        4 => (any::<bool>(), prop_oneof![
            2 => Just(Ok(())),
            1 => any::<bool>().prop_map(Err),
        ]).prop_map(|(first, outcome)| Step::End(first, outcome)),
    ]
}

/// Like `step`, but that channels are forgotten at times.
fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![12 => step(), 1 => (0..CHANNELS.len()).prop_map(Step::Forget)]
}

proptest! {
    #[test]
    fn events_of_a_channel_alternate_and_end_with_its_state(steps in prop::collection::vec(step(), 0..120)) {
        let mut model = Model::new(1_000);
        steps.into_iter().for_each(|step| model.step(step));
        model.rest();
        for (channel, (occupied, _)) in model.node.clone() {
            let confirmed = Model::of(&model.confirmed, channel);
            for (at, event) in confirmed.iter().enumerate() {
                prop_assert_eq!(event.occupied, at % 2 == 0, "{:?}", confirmed);
            }
            prop_assert!(confirmed.windows(2).all(|two| two[0].seq < two[1].seq && two[0].time_ms <= two[1].time_ms));
            prop_assert_eq!(confirmed.last().is_some_and(|event| event.occupied), occupied);
            // Repetitions aside, the back end has seen just that, in this order.
            let mut seen = Model::of(&model.seen, channel);
            seen.dedup();
            prop_assert_eq!(seen, confirmed);
        }
        let occupied = model.node.values().filter(|(occupied, _)| *occupied).count();
        prop_assert_eq!(model.ledger.counts().channels, occupied, "nothing is kept of the others");
        prop_assert_eq!(model.ledger.counts().confirmed.iter().sum::<u64>(), model.confirmed.len() as u64);
    }

    /// However few may wait, no back end goes on to believe that a channel is occupied that is not.
    #[test]
    fn no_channel_stays_occupied_for_the_back_end(steps in prop::collection::vec(step(), 0..120)) {
        let mut model = Model::new(1);
        steps.into_iter().for_each(|step| model.step(step));
        model.rest();
        for (channel, (occupied, _)) in model.node.clone() {
            let confirmed = Model::of(&model.confirmed, channel);
            for (at, event) in confirmed.iter().enumerate() {
                prop_assert_eq!(event.occupied, at % 2 == 0, "{:?}", confirmed);
            }
            let believed = confirmed.last().is_some_and(|event| event.occupied);
            prop_assert!(occupied || !believed, "{} is not occupied", channel);
        }
    }

    #[test]
    fn no_more_wait_than_may(steps in prop::collection::vec(any_step(), 0..120)) {
        let mut model = Model::new(2);
        steps.into_iter().for_each(|step| model.step(step));
        model.rest();
    }
}

/// The requests that are due, as text.
fn taken(ledger: &mut Ledger, now: u64) -> Vec<String> {
    let text = |event: &ChannelEvent| format!("{}{}", if event.occupied { '+' } else { '-' }, event.channel);
    let requests = ledger.take(now).into_iter();
    requests.map(|(_, events)| events.iter().map(text).collect::<Vec<_>>().join(" ")).collect()
}

fn set(ledger: &mut Ledger, channel: &str, occupied: bool, now: u64) {
    ledger.set(channel, occupied, ("p", BOTH), (now, now as i64));
}

#[test]
fn a_short_absence_is_no_event() {
    let mut ledger = Ledger::new(limits(10));
    set(&mut ledger, "c", true, 0);
    assert_eq!(taken(&mut ledger, 0), ["+c"]);
    ledger.finished("p", true, 0, 0);
    set(&mut ledger, "c", false, 10);
    assert_eq!(ledger.next(), Some(10 + DELAY));
    set(&mut ledger, "c", true, 9 + DELAY);
    assert_eq!((ledger.next(), taken(&mut ledger, 10 + DELAY)), (None, vec![]));
    set(&mut ledger, "c", false, 100);
    assert_eq!(taken(&mut ledger, 99 + DELAY), [""; 0]);
    assert_eq!(taken(&mut ledger, 100 + DELAY), ["-c"]);
}

#[test]
fn what_was_not_sent_disappears_with_its_opposite_and_what_was_sent_is_repeated() {
    let mut ledger = Ledger::new(limits(10));
    set(&mut ledger, "a", true, 0);
    assert_eq!(taken(&mut ledger, 0), ["+a"]);
    set(&mut ledger, "b", true, 0);
    set(&mut ledger, "b", false, 0);
    set(&mut ledger, "a", false, 0);
    ledger.finished("p", false, 0, 0);
    assert_eq!((ledger.counts().merged, ledger.counts().waiting), (2, 1));
    assert_eq!(taken(&mut ledger, 49), [""; 0], "the pause after a failure");
    assert_eq!(taken(&mut ledger, 50), ["+a"]);
    ledger.finished("p", true, 50, 0);
    assert_eq!(taken(&mut ledger, 50), ["-a"]);
}

#[test]
fn events_that_find_no_room_are_dropped_in_pairs() {
    let mut ledger = Ledger::new(limits(1));
    set(&mut ledger, "a", true, 0);
    set(&mut ledger, "b", true, 0);
    set(&mut ledger, "b", false, 0);
    assert_eq!(taken(&mut ledger, 1_000), ["+a"]);
    ledger.finished("p", true, 1_000, 0);
    assert_eq!((taken(&mut ledger, 10_000), ledger.counts().dropped), (vec![], 1));
}

#[test]
fn a_vacated_channel_that_finds_no_room_is_reported_later() {
    let mut ledger = Ledger::new(limits(1));
    set(&mut ledger, "a", true, 0);
    assert_eq!(taken(&mut ledger, 0), ["+a"]);
    ledger.finished("p", true, 0, 0);
    set(&mut ledger, "b", true, 1);
    set(&mut ledger, "a", false, 1);
    assert_eq!(taken(&mut ledger, 1_000), ["+b"]);
    assert_eq!((ledger.counts().waiting, ledger.counts().dropped), (2, 0));
    assert!(ledger.is_busy());
    ledger.finished("p", true, 1_000, 0);
    assert_eq!(taken(&mut ledger, 1_000), ["-a"]);
    ledger.finished("p", true, 1_000, 0);
    assert_eq!((ledger.counts().channels, ledger.counts().waiting), (1, 0));
}

/// A back end that is told of vacated channels only has confirmed nothing, so that these have no bound of their own.
#[test]
fn vacated_channels_alone_are_dropped_where_there_is_no_room() {
    let mut ledger = Ledger::new(limits(1));
    let only = Kinds { occupied: false, vacated: true };
    for channel in ["a", "b"] {
        ledger.set(channel, true, ("p", only), (0, 0));
        ledger.set(channel, false, ("p", only), (0, 0));
    }
    assert_eq!(taken(&mut ledger, DELAY), ["-a"]);
    assert_eq!((ledger.counts().channels, ledger.counts().dropped), (1, 1));
}

#[test]
fn a_namespace_is_told_of_the_kinds_that_it_wants() {
    let mut ledger = Ledger::new(limits(10));
    let only = |occupied| ("p", Kinds { occupied, vacated: !occupied });
    ledger.set("a", true, only(true), (0, 0));
    ledger.set("b", true, only(false), (0, 0));
    assert_eq!(taken(&mut ledger, 0), ["+a"]);
    ledger.finished("p", true, 0, 0);
    ledger.set("a", false, only(true), (0, 0));
    ledger.set("b", false, only(false), (0, 0));
    assert_eq!(taken(&mut ledger, DELAY), ["-b"]);
    ledger.finished("p", true, DELAY, 0);
    assert_eq!(ledger.counts().channels, 0);
}

#[test]
fn a_stop_ends_delays() {
    let mut ledger = Ledger::new(limits(10));
    for channel in ["a", "b"] {
        set(&mut ledger, channel, true, 0);
    }
    assert_eq!(taken(&mut ledger, 0), ["+a +b"]);
    ledger.finished("p", true, 0, 0);
    set(&mut ledger, "a", false, 1);
    ledger.hurry();
    set(&mut ledger, "b", false, 2);
    assert_eq!(taken(&mut ledger, 2), ["-a -b"]);
    assert!(ledger.is_busy());
    ledger.finished("p", true, 2, 0);
    assert!(!ledger.is_busy());
}
