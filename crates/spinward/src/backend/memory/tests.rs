use super::*;
use crate::backend::{Channels, Engine, Start};
use crate::channel::params::Recover;
use crate::clock::Clock;
use crate::config::Config;
use crate::engine::memory::stream::tests::config;
use proptest::prelude::*;
use std::time::Duration;

const KEPT: HistoryOptions =
    HistoryOptions { size: 8, ttl: Duration::from_millis(400), meta_ttl: Duration::from_secs(1) };
const READ: HistoryFilter = HistoryFilter { limit: -1, since: None, reverse: false };

/// A node with a memory engine.
struct Rig(Channels);

impl std::ops::Deref for Rig {
    type Target = Hub;

    fn deref(&self) -> &Hub {
        &self.0.hub
    }
}

fn rig(memory: impl FnOnce(&Hub) -> Memory) -> Rig {
    let clock = Clock::manual(Now { mono: 1_000, wall: 1_000 });
    let hub = Arc::new(Hub::new(Arc::new(Config::default()), clock, Entropy::seeded(7), 1));
    let engines = Box::new([Engine::Memory(Arc::new(memory(&hub)))]);
    Rig(Channels { hub, engines, choice: None })
}

fn hub() -> Rig {
    rig(|hub| Memory::new(EngineId::DEFAULT, &hub.entropy))
}

/// A node in which the ends of channels share `places` places.
fn crowded(places: usize) -> Rig {
    rig(|_| Memory::with_places(EngineId::DEFAULT, &Entropy::seeded(8), places))
}

impl Rig {
    fn memory(&self) -> &Memory {
        let Engine::Memory(memory) = &self.0.engines[0] else { unreachable!("it was made with one") };
        memory
    }

    fn put(&self, name: &str, history: HistoryOptions, key: &str) -> Published {
        let options =
            PublishOptions { history, idempotency_key: key.to_owned(), ..PublishOptions::default() };
        let data = Bytes::from_static(b"{}");
        self.memory().publish(self, name, data, options, None, self.clock.now()).ok().unwrap()
    }

    fn look(&self, name: &str) -> Position {
        self.memory().history(self, name, &READ, KEPT, self.clock.now()).unwrap().top
    }

    fn come(&self, name: &str, since: Option<Position>) -> (Arc<Channel>, StartState) {
        let recover = since.map(|since| Recover { since, cache: false, limit: 0, over: false });
        let params = SubscribeParams { positioned: true, history: KEPT, recover, filter: None };
        let entered = self.0.enter(name, 0, &params, self.clock.now());
        let Start::Now(start) = entered.start else { unreachable!("the memory engine answers at once") };
        (entered.record, start)
    }

    fn go(&self, record: &Arc<Channel>, last: bool) {
        let _ = self.0.leave(record, 0, last, self.clock.now());
    }

    /// Runs expiry as long as anything is due. Returns how many slices that took.
    fn catch_up(&self) -> usize {
        let now = self.clock.now();
        let more = || self.0.expire(now, 256).is_some_and(|next| next <= now.mono);
        (1..).find(|_| !more()).unwrap_or_default()
    }

    /// Channels in the expiry queues, and bytes of these.
    fn queued(&self) -> usize {
        self.memory().queues.iter().map(|queue| queue.lock().weight()).sum()
    }

    fn is_empty(&self) -> bool {
        self.directory.size().0 == 0
            && self.memory().queues.iter().all(|queue| queue.lock().next_due().is_none())
    }
}

#[test]
fn a_channel_that_never_had_a_publication_leaves_nothing_behind() {
    let hub = hub();
    let (_, tables) = hub.directory.size();
    for number in 0..20_000 {
        let top = hub.look(&format!("history:{number}"));
        assert!(top.offset == 0 && !top.epoch.is_empty());
    }
    assert!(hub.is_empty(), "{:?}", hub.directory.size());
    for number in 0..20_000 {
        let (record, start) = hub.come(&format!("subscription:{number}"), None);
        assert!(start.top.offset == 0 && !start.top.epoch.is_empty());
        hub.go(&record, true);
    }
    assert!(hub.is_empty(), "{:?}", hub.directory.size());
    assert!(hub.directory.size().1 <= tables + 256 * 512, "{:?}", hub.directory.size());
    assert_eq!(hub.queued(), 0);
}

#[test]
fn a_position_of_a_channel_without_publications_stays_good() {
    let hub = hub();
    let before = hub.look("c");
    hub.clock.advance(3 * 3_600_000);
    hub.catch_up();
    let (record, start) = hub.come("c", Some(before.clone()));
    assert!(start.recovered && start.publications.is_empty());
    hub.go(&record, true);
    // Of another hour, both are of the history that begins now.
    let after = start.top;
    assert_ne!(before.epoch, after.epoch);
    hub.put("c", KEPT, "");
    for since in [before, after, hub.look("c")] {
        let missed = 1 - since.offset;
        let (record, start) = hub.come("c", Some(since));
        assert!(start.recovered && start.publications.len() as u64 == missed);
        hub.go(&record, true);
    }
}

#[test]
fn a_position_of_one_channel_is_none_of_another() {
    let hub = hub();
    hub.put("written", KEPT, "");
    for (since, name) in
        [(hub.look("a"), "b"), (hub.look("a"), "written"), (hub.look("written"), "a"), (hub.look("a"), "c")]
    {
        let filter = HistoryFilter { since: Some(since.clone()), ..READ };
        let read = hub.memory().history(&hub, name, &filter, KEPT, hub.clock.now());
        assert!(matches!(read, Err(BrokerError::UnrecoverablePosition)), "{name}");
        let (record, start) = hub.come(name, Some(since));
        assert!(!start.recovered, "{name}");
        hub.go(&record, true);
    }
}

#[test]
fn a_history_that_is_over_is_not_taken_for_the_next_one() {
    let hub = hub();
    let before = hub.look("c");
    let first = hub.put("c", KEPT, "").position;
    assert_eq!(first.epoch, before.epoch);
    hub.clock.advance(2_000);
    hub.catch_up();
    assert!(hub.is_empty());
    // Two publications were lost for a returning client, though offset 0 looks as if nothing had happened.
    for since in [before.clone(), first.clone()] {
        let filter = HistoryFilter { since: Some(since.clone()), ..READ };
        let read = hub.memory().history(&hub, "c", &filter, KEPT, hub.clock.now());
        assert!(matches!(read, Err(BrokerError::UnrecoverablePosition)));
        let (record, start) = hub.come("c", Some(since));
        assert!(!start.recovered);
        hub.go(&record, true);
    }
    let again = hub.put("c", KEPT, "").position;
    assert_eq!(again.offset, 1);
    assert!(again.epoch != first.epoch);
    for since in [before, first] {
        let (record, start) = hub.come("c", Some(since));
        assert!(!start.recovered);
        hub.go(&record, true);
    }
}

#[test]
fn a_subscriber_whose_position_could_not_be_derived_again_may_come_back_for_a_minute() {
    let hub = crowded(1);
    let (record, start) = hub.come("c", None);
    // The end of another channel, which shares its place with all.
    hub.put("other", KEPT, "");
    hub.clock.advance(2_000);
    hub.catch_up();
    hub.go(&record, true);
    hub.clock.advance(900);
    hub.catch_up();
    let (record, start) = hub.come("c", Some(start.top));
    assert!(start.recovered);
    hub.go(&record, true);
    hub.clock.advance(61_000);
    hub.catch_up();
    assert!(hub.is_empty());
}

#[test]
fn a_key_keeps_no_record() {
    let hub = hub();
    let none = HistoryOptions::default();
    for number in 0..10_000 {
        assert!(!hub.put(&format!("c{number}"), none, "key").suppressed);
    }
    assert!(hub.is_empty(), "{:?}", hub.directory.size());
    assert!(hub.put("c77", none, "key").suppressed);
    assert!(!hub.put("c77", none, "other").suppressed);
    // One that is forgotten with the stream of its channel is known still.
    hub.put("kept", KEPT, "key");
    hub.clock.advance(2_000);
    hub.catch_up();
    assert!(hub.is_empty());
    assert_eq!(hub.put("kept", KEPT, "key").position.offset, 1);
    assert!(hub.put("kept", KEPT, "key").suppressed);
    hub.clock.advance(300_000);
    assert!(hub.catch_up() > 1, "keys are forgotten though nobody publishes");
    assert!(hub.memory().idempotency.iter().all(|keys| keys.lock().next_due().is_none()));
}

#[test]
fn a_crowd_of_channels_that_has_expired_gives_its_memory_back() {
    const COUNT: usize = 100_000;
    let hub = hub();
    let empty = hub.directory.size().1;
    let names = || (0..COUNT).map(|number| format!("c{number}"));
    names().for_each(|name| drop(hub.put(&name, KEPT, "")));
    assert_eq!(hub.directory.size().0, COUNT);
    assert!(hub.queued() < COUNT * 100, "{} bytes each", hub.queued() / COUNT);
    hub.clock.advance(400);
    let slices = hub.catch_up();
    assert!(slices <= COUNT / 256 + 2, "{slices} slices");
    hub.clock.advance(600);
    hub.catch_up();
    assert!(hub.is_empty());
    assert!(hub.directory.size().1 <= empty + 256 * 1024, "{:?}", hub.directory.size());
    assert!(hub.queued() <= QUEUES * 2048, "{} bytes", hub.queued());
}

/// A caller that adds channels drops expired ones: without any turn of expiry no backlog grows.
#[test]
fn publishers_pay_for_the_channels_that_they_bring() {
    let hub = hub();
    let mut most = 0;
    for number in 0..100_000 {
        hub.put(&format!("c{number}"), KEPT, "");
        if number % 10 == 0 {
            hub.clock.advance(1);
        }
        most = if number % 500 == 0 { most.max(hub.directory.size().0) } else { most };
    }
    // What is alive are those of one second.
    assert!(most < 12_000, "{most} channels");
}

/// While anyone is there, a stream outlives its time, and what is kept of it does not.
#[test]
fn a_channel_in_use_keeps_its_position_alone() {
    let hub = hub();
    let (record, _) = hub.come("c", None);
    let first = hub.put("c", KEPT, "").position;
    for _ in 0..5 {
        hub.clock.advance(1_000);
        hub.catch_up();
        assert!(record.lock().stream.as_ref().is_some_and(|stream| stream.entries_expire_at().is_none()));
    }
    assert_eq!(hub.look("c"), first);
    hub.go(&record, true);
    hub.clock.advance(1_000);
    hub.catch_up();
    assert!(hub.is_empty());
}

#[derive(Clone, Debug)]
enum Step {
    Wait(u64),
    Publish(usize),
    Look(usize),
    Come(usize, usize),
    Go(usize),
    Expire,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => prop_oneof![4 => 0_u64..700, 1 => 1_000_u64..4_000, 1 => Just(3_600_000)].prop_map(Step::Wait),
        3 => (0_usize..3).prop_map(Step::Publish),
        2 => (0_usize..3).prop_map(Step::Look),
        4 => (0_usize..3, 0_usize..100).prop_map(|(name, since)| Step::Come(name, since)),
        4 => (0_usize..3).prop_map(Step::Go),
        3 => Just(Step::Expire),
    ]
}

/// A position that somebody was given, and how many publications the channel had had by then.
#[derive(Clone)]
struct Given {
    name: usize,
    position: Position,
    published: u64,
}

proptest! {
    #![proptest_config(config())]

    /// A client that returns with a position is recovered with exactly what was published since, or not at all; and
    /// always if the channel had no publication when the position was given, and has none since.
    #[test]
    fn nobody_is_brought_up_to_date_by_another_history(
        places in prop::sample::select(vec![1_usize, 2, epochs::PLACES]),
        steps in prop::collection::vec(step(), 1..80),
    ) {
        let hub = crowded(places);
        let mut published = [0_u64; 3];
        let mut given: Vec<Given> = Vec::new();
        let mut inside: Vec<(usize, Arc<Channel>)> = Vec::new();
        for step in steps {
            match step {
                Step::Wait(millis) => hub.clock.advance(millis),
                Step::Publish(name) => {
                    published[name] += 1;
                    let position = hub.put(&name.to_string(), KEPT, "").position;
                    given.push(Given { name, position, published: published[name] });
                }
                Step::Look(name) => {
                    let position = hub.look(&name.to_string());
                    given.push(Given { name, position, published: published[name] });
                }
                Step::Come(name, since) => {
                    let own: Vec<_> = given.iter().filter(|given| given.name == name).cloned().collect();
                    let since = own.get(since % own.len().max(1));
                    let (record, start) = hub.come(&name.to_string(), since.map(|since| since.position.clone()));
                    if let Some(since) = since {
                        let missed = published[name] - since.published;
                        if start.recovered {
                            prop_assert_eq!(start.publications.len() as u64, missed);
                        } else {
                            let kept = since.position.offset == 0 && missed == 0 && places == epochs::PLACES;
                            prop_assert!(!kept, "a good position was refused");
                        }
                    }
                    given.push(Given { name, position: start.top, published: published[name] });
                    inside.push((name, record));
                }
                Step::Go(name) => {
                    if let Some(at) = inside.iter().position(|own| own.0 == name) {
                        let (_, record) = inside.swap_remove(at);
                        hub.go(&record, !inside.iter().any(|own| own.0 == name));
                    }
                }
                Step::Expire => { hub.catch_up(); }
            }
        }
        while let Some((name, record)) = inside.pop() {
            hub.go(&record, !inside.iter().any(|own| own.0 == name));
        }
        hub.clock.advance(60_000);
        hub.catch_up();
        prop_assert!(hub.is_empty());
    }
}
