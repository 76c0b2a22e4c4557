//! Tables of what Centrifugo v6.9 answers with its memory engine, and a comparison with a naive model.

use super::*;
use crate::engine::broker::HistoryOptions;
use bytes::Bytes;
use proptest::prelude::*;

/// As many cases as `PROPTEST_CASES` says, 2,000 by default.
pub(crate) fn config() -> ProptestConfig {
    if std::env::var_os("PROPTEST_CASES").is_some() {
        ProptestConfig::default()
    } else {
        ProptestConfig::with_cases(2_000)
    }
}

const MINUTE: u64 = 60_000;

fn options(size: usize) -> PublishOptions {
    let history = HistoryOptions { size, ttl: Duration::from_secs(300), meta_ttl: Duration::ZERO };
    PublishOptions { history, ..PublishOptions::default() }
}

fn versioned(version: u64, epoch: &str) -> PublishOptions {
    PublishOptions { version, version_epoch: epoch.to_owned(), ..options(10) }
}

fn payload(number: u64) -> Publication {
    Publication { data: Bytes::from(number.to_string()), ..Publication::default() }
}

/// A stream of `count` publications, at most `size` of them kept.
fn stream(count: u64, size: usize) -> Stream {
    let mut stream = Stream::new("E".into(), 0);
    for number in 1..=count {
        stream.publish(payload(number), &options(size), 0, 0);
    }
    stream
}

fn offsets(publications: &[Arc<Publication>]) -> Vec<u64> {
    publications.iter().map(|publication| publication.offset).collect()
}

fn read(
    stream: &mut Stream,
    since: Option<(u64, &str)>,
    reverse: bool,
    limit: i64,
) -> Result<Vec<u64>, BrokerError> {
    let since = since.map(|(offset, epoch)| Position { offset, epoch: epoch.into() });
    stream.read(&HistoryFilter { limit, since, reverse }, 0).map(|history| offsets(&history.publications))
}

fn recovered(stream: &mut Stream, offset: u64, epoch: &str, limit: usize, now_ms: u64) -> Option<Vec<u64>> {
    let recovery = stream.recover(offset, epoch, limit, now_ms);
    assert!(recovery.complete || recovery.publications.is_empty());
    recovery.complete.then(|| offsets(&recovery.publications))
}

#[test]
fn an_idle_stream_is_small() {
    assert!(size_of::<Stream>() <= 64, "{}", size_of::<Stream>());
    let mut stream = stream(3, 10);
    stream.remove_history();
    assert_eq!(stream.weight(), size_of::<Stream>());
}

#[test]
fn publications_get_offset_and_time() {
    let mut stream = Stream::new("E".into(), 0);
    assert_eq!(stream.top(), Position { offset: 0, epoch: "E".into() });
    for offset in 1..=2 {
        let Appended::Stored(stored) = stream.publish(payload(7), &options(10), 5, 1_700_000_000_000) else {
            panic!("unversioned publications are always stored")
        };
        assert_eq!((stored.offset, stored.time, &stored.data[..]), (offset, 1_700_000_000_000, &b"7"[..]));
    }
    assert_eq!(stream.top().offset, 2);
}

#[test]
fn slices_are_those_of_centrifugo() {
    // Offsets 3 to 12 are kept. Columns: since, forward, reverse.
    let mut stream = stream(12, 10);
    let all: Vec<u64> = (3..=12).collect();
    let down = |from: u64| (3..=from).rev().collect::<Vec<_>>();
    let table = [
        (0, all.clone(), vec![]),
        (1, all.clone(), vec![]),
        (2, all.clone(), vec![]),
        (3, (4..=12).collect(), vec![]),
        (4, (5..=12).collect(), vec![3]),
        (7, (8..=12).collect(), down(6)),
        (11, vec![12], down(10)),
        (12, vec![], down(11)),
        (13, vec![], down(12)),
        (14, vec![], vec![]),
        (50, vec![], vec![]),
        (u64::MAX, all.clone(), vec![]),
    ];
    for (since, forward, reverse) in table {
        for epoch in ["E", ""] {
            for (limit, most) in [(0, 0), (2, 2), (-1, 99), (-5, 99), (i64::MAX, 99), (i64::MIN, 99)] {
                let first = |all: &[u64]| all.iter().copied().take(most).collect::<Vec<_>>();
                let since = Some((since, epoch));
                assert_eq!(
                    read(&mut stream, since, false, limit).unwrap(),
                    first(&forward),
                    "{since:?} {limit}"
                );
                assert_eq!(
                    read(&mut stream, since, true, limit).unwrap(),
                    first(&reverse),
                    "{since:?} {limit}"
                );
            }
        }
    }
    assert_eq!(read(&mut stream, None, false, -1).unwrap(), all);
    assert_eq!(read(&mut stream, None, false, 3).unwrap(), [3, 4, 5]);
    assert_eq!(read(&mut stream, None, true, 3).unwrap(), [12, 11, 10]);
    assert!(read(&mut stream, None, false, 0).unwrap().is_empty());
}

#[test]
fn a_position_of_another_epoch_is_unrecoverable() {
    for mut stream in [stream(12, 10), stream(0, 10)] {
        for (reverse, limit) in [(false, -1), (false, 0), (true, -1), (true, 0)] {
            let answer = read(&mut stream, Some((5, "zz")), reverse, limit);
            assert!(matches!(answer, Err(BrokerError::UnrecoverablePosition)));
        }
    }
}

#[test]
fn recovery_is_that_of_centrifugo() {
    // Named after the cases recover-NAME: published, kept at most, position, limit, outcome.
    let table = [
        ("ok", 3, 10, 1, "E", 5, Some(vec![2, 3])),
        ("none-missed", 3, 10, 3, "E", 5, Some(vec![])),
        ("from-0", 3, 10, 0, "E", 5, Some(vec![1, 2, 3])),
        ("from-0-empty-epoch", 3, 10, 0, "", 5, Some(vec![1, 2, 3])),
        ("future", 3, 10, 50, "E", 5, None),
        ("wrong-epoch", 3, 10, 3, "zzzz", 5, None),
        ("empty-epoch", 3, 10, 1, "", 5, Some(vec![2, 3])),
        ("empty-channel", 0, 10, 0, "", 5, Some(vec![])),
        ("empty-channel-position", 0, 10, 5, "zz", 5, None),
        ("too-old", 5, 2, 1, "E", 5, None),
        ("oldest-kept", 5, 2, 3, "E", 5, Some(vec![4, 5])),
        ("one-too-old", 5, 2, 2, "E", 5, None),
        ("limit-exact", 6, 10, 1, "E", 5, Some(vec![2, 3, 4, 5, 6])),
        ("limit-over", 7, 10, 1, "E", 5, None),
        ("limit-none", 7, 10, 0, "E", 0, Some(vec![1, 2, 3, 4, 5, 6, 7])),
        ("largest-offset", 3, 10, u64::MAX, "E", 0, None),
    ];
    for (name, count, size, offset, epoch, limit, expected) in table {
        assert_eq!(recovered(&mut stream(count, size), offset, epoch, limit, 0), expected, "{name}");
    }
}

#[test]
fn removed_and_expired_history_keeps_the_position() {
    let removed = {
        let mut stream = stream(3, 10);
        stream.remove_history();
        (stream, 0)
    };
    let expired = (stream(3, 10), 5 * MINUTE);
    for (mut stream, now_ms) in [removed, expired] {
        assert_eq!(recovered(&mut stream, 3, "E", 5, now_ms), Some(vec![]), "at top");
        assert_eq!(recovered(&mut stream, 1, "E", 5, now_ms), None, "missed some");
        assert_eq!(stream.latest(now_ms), None);
        assert_eq!(stream.entries_expire_at(), None);
        stream.publish(payload(4), &options(10), now_ms, 0);
        assert_eq!(stream.top(), Position { offset: 4, epoch: "E".into() });
        assert_eq!(recovered(&mut stream, 3, "E", 5, now_ms), Some(vec![4]));
        assert_eq!(recovered(&mut stream, 2, "E", 5, now_ms), None);
    }
}

#[test]
fn each_publish_prolongs_what_is_kept() {
    let mut stream = Stream::new("E".into(), 0);
    stream.publish(payload(1), &versioned(1, ""), 0, 0);
    stream.publish(payload(2), &versioned(2, ""), 4 * MINUTE, 0);
    assert_eq!(stream.entries_expire_at(), Some(9 * MINUTE));
    assert_eq!(recovered(&mut stream, 0, "E", 0, 9 * MINUTE - 1), Some(vec![1, 2]));
    // So does one that is suppressed, as in Centrifugo v6.9.
    let suppressed = stream.publish(payload(2), &versioned(2, ""), 9 * MINUTE - 1, 0);
    assert_eq!(suppressed, Appended::Suppressed(stream.top()));
    assert_eq!(stream.entries_expire_at(), Some(14 * MINUTE - 1));
    assert_eq!(recovered(&mut stream, 0, "E", 0, 14 * MINUTE - 1), None);
}

#[test]
fn versions_are_those_of_centrifugo() {
    type Rows<'a> = &'a [(u64, &'a str, u64, bool)];
    // Version, version epoch, offset answered, stored.
    let sequence: Rows<'_> = &[
        (2, "", 1, true),
        (1, "", 1, false),
        (3, "", 2, true),
        (3, "", 2, false),
        (1, "e2", 3, true),
        (1, "e2", 3, false),
        (2, "e2", 4, true),
        (9, "", 5, true),
        (1, "e2", 6, true),
        (0, "", 7, true),
        (10, "", 8, true),
    ];
    let no_epoch_compares_with_any: Rows<'_> = &[
        (5, "a", 1, true),
        (5, "", 1, false),
        (4, "", 1, false),
        (6, "", 2, true),
        (3, "a", 3, true),
        (3, "", 3, false),
        (4, "", 4, true),
    ];
    let unversioned_forgets: Rows<'_> = &[(5, "", 1, true), (0, "", 2, true), (3, "", 3, true)];
    let largest: Rows<'_> = &[(u64::MAX, "", 1, true), (u64::MAX, "", 1, false)];
    for rows in [sequence, no_epoch_compares_with_any, unversioned_forgets, largest] {
        let mut stream = Stream::new("E".into(), 0);
        for &(version, epoch, offset, stored) in rows {
            let outcome = stream.publish(payload(0), &versioned(version, epoch), 0, 0);
            assert_eq!(matches!(outcome, Appended::Stored(_)), stored, "{version} {epoch}");
            assert_eq!(stream.top().offset, offset, "{version} {epoch}");
        }
    }
}

#[test]
fn versions_outlive_removal_and_expiry() {
    let mut stream = Stream::new("E".into(), 0);
    stream.publish(payload(1), &versioned(5, ""), 0, 0);
    stream.remove_history();
    assert_eq!(stream.publish(payload(1), &versioned(4, ""), 0, 0), Appended::Suppressed(stream.top()));
    assert_eq!(stream.entries_expire_at(), None, "a suppressed publish keeps nothing");
    assert_eq!(
        stream.publish(payload(1), &versioned(5, ""), 60 * MINUTE, 0),
        Appended::Suppressed(stream.top())
    );
}

#[test]
fn the_latest_match_is_looked_for_among_the_newest() {
    let mut stream = stream(5, 10);
    assert_eq!(stream.latest(0).map(|p| p.offset), Some(5));
    for (limit, expected) in [(1, None), (3, None), (4, Some(2)), (0, Some(2))] {
        let found = stream.latest_matching(limit, 0, |p| p.offset <= 2);
        assert_eq!(found.map(|p| p.offset), expected, "{limit}");
    }
}

#[test]
fn whatever_uses_the_position_prolongs_it() {
    type Use = fn(&mut Stream, u64);
    let uses: [(Use, bool); 6] = [
        (|s, now| drop(s.read(&HistoryFilter { limit: 0, since: None, reverse: false }, now)), true),
        (|s, now| drop(s.recover(9, "other", 0, now)), true),
        (|s, now| drop(s.latest(now)), true),
        (|s, now| s.touch(Duration::from_secs(60), now), true),
        (|s, _| s.remove_history(), false),
        (|s, now| s.expire_entries(now), false),
    ];
    for (i, (used, prolongs)) in uses.into_iter().enumerate() {
        let mut stream = Stream::new("E".into(), 0);
        assert_eq!(stream.expires_at(), NEVER);
        stream.touch(Duration::from_secs(60), 0);
        assert_eq!(stream.expires_at(), MINUTE);
        used(&mut stream, 7);
        assert_eq!(stream.expires_at(), if prolongs { MINUTE + 7 } else { MINUTE }, "use {i}");
    }
}

#[derive(Clone, Debug)]
enum Step {
    Wait(u64),
    Publish { size: usize, ttl: u64, meta: u64, version: u64, epoch: &'static str },
    Read { limit: i64, since: Option<(u64, &'static str)>, reverse: bool },
    Recover { back: u64, epoch: &'static str, limit: usize },
    Latest { limit: usize, modulus: u64 },
    Remove,
    Expire,
    Touch(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let epoch = || prop::sample::select(vec!["E", "E", "E", "", "zz"]);
    let limit = || prop_oneof![4 => -1_i64..8, 1 => Just(i64::MAX), 1 => Just(i64::MIN)];
    prop_oneof![
        2 => (0_u64..900).prop_map(Step::Wait),
        8 => (1_usize..9, 1_u64..2_000, 0_u64..3_000, 0_u64..5, prop::sample::select(vec!["", "", "a", "b"]))
            .prop_map(|(size, ttl, meta, version, epoch)| Step::Publish { size, ttl, meta, version, epoch }),
        4 => (limit(), prop::option::of((0_u64..16, epoch())), any::<bool>())
            .prop_map(|(limit, since, reverse)| Step::Read { limit, since, reverse }),
        4 => (0_u64..16, epoch(), 0_usize..8)
            .prop_map(|(back, epoch, limit)| Step::Recover { back, epoch, limit }),
        1 => (0_usize..6, 1_u64..4).prop_map(|(limit, modulus)| Step::Latest { limit, modulus }),
        1 => Just(Step::Remove),
        1 => Just(Step::Expire),
        1 => (0_u64..3_000).prop_map(Step::Touch),
    ]
}

/// Every publication ever stored, with a flag whether it is kept, and no cleverness.
#[derive(Default)]
struct Model {
    log: Vec<(u64, bool)>,
    entries_expire: u64,
    version: Option<(u64, &'static str)>,
    meta: u64,
    expires: Option<u64>,
}

impl Model {
    fn top(&self) -> u64 {
        self.log.len() as u64
    }

    fn kept(&self) -> Vec<u64> {
        (1..=self.top()).filter(|offset| self.log[*offset as usize - 1].1).collect()
    }

    fn drop_all(&mut self) {
        self.log.iter_mut().for_each(|entry| entry.1 = false);
    }

    fn expire(&mut self, now: u64) {
        if now >= self.entries_expire {
            self.drop_all();
        }
    }

    fn used(&mut self, now: u64) {
        self.expires = (self.meta > 0).then_some(now + self.meta);
        self.expire(now);
    }

    fn publish(
        &mut self,
        number: u64,
        size: usize,
        ttl: u64,
        version: u64,
        epoch: &'static str,
        now: u64,
    ) -> bool {
        self.used(now);
        self.entries_expire = now + ttl;
        if let Some((last, last_epoch)) = self.version
            && version > 0
            && version <= last
            && (epoch.is_empty() || epoch == last_epoch)
        {
            return false;
        }
        self.version = (version > 0).then_some((version, epoch));
        self.log.push((number, true));
        for old in 0..self.log.len().saturating_sub(size) {
            self.log[old].1 = false;
        }
        true
    }

    fn read(&self, since: Option<u64>, reverse: bool, limit: i64) -> Vec<u64> {
        let mut found = self.kept();
        if reverse {
            found.reverse();
            if let Some(since) = since {
                // Reading starts at the neighbour, which must be kept.
                let neighbour = since.checked_sub(1).filter(|offset| found.contains(offset));
                found.retain(|offset| neighbour.is_some_and(|n| *offset <= n));
            }
        } else if let Some(since) = since {
            found.retain(|offset| *offset > since);
        }
        if limit >= 0 {
            found.truncate(limit as usize);
        }
        found
    }

    fn recover(&self, since: u64, epoch: &str, limit: usize) -> Option<Vec<u64>> {
        let wanted: Vec<u64> = (since + 1..=self.top()).collect();
        let kept = self.kept();
        let all_kept = wanted.iter().all(|offset| kept.contains(offset));
        let few = limit == 0 || wanted.len() <= limit;
        let same = epoch.is_empty() || epoch == "E";
        (same && since <= self.top() && all_kept && few).then_some(wanted)
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_stream_does_what_the_model_does(steps in prop::collection::vec(step(), 1..80)) {
        let mut stream = Stream::new("E".into(), 0);
        let mut model = Model::default();
        let mut now = 1_000;
        // Positions are counted back from three beyond the top.
        let position = |model: &Model, back: u64| (model.top() + 3).saturating_sub(back);
        for (number, step) in steps.into_iter().enumerate() {
            let number = number as u64;
            match step {
                Step::Wait(millis) => now += millis,
                Step::Publish { size, ttl, meta, version, epoch } => {
                    let history = HistoryOptions {
                        size,
                        ttl: Duration::from_millis(ttl),
                        meta_ttl: Duration::from_millis(meta),
                    };
                    let said = PublishOptions {
                        history,
                        version,
                        version_epoch: epoch.to_owned(),
                        ..PublishOptions::default()
                    };
                    model.meta = meta;
                    let stored = model.publish(number, size, ttl, version, epoch, now);
                    match stream.publish(payload(number), &said, now, number as i64) {
                        Appended::Stored(publication) => {
                            prop_assert!(stored);
                            prop_assert_eq!(publication.offset, model.top());
                            prop_assert_eq!(publication.time, number as i64);
                        }
                        Appended::Suppressed(top) => {
                            prop_assert!(!stored);
                            prop_assert_eq!(top.offset, model.top());
                        }
                    }
                }
                Step::Read { limit, since, reverse } => {
                    model.used(now);
                    let since = since.map(|(back, epoch)| (position(&model, back), epoch));
                    let filter = HistoryFilter {
                        limit,
                        since: since.map(|(offset, epoch)| Position { offset, epoch: epoch.into() }),
                        reverse,
                    };
                    match stream.read(&filter, now) {
                        Ok(history) => {
                            prop_assert!(since.is_none_or(|(_, epoch)| epoch != "zz"));
                            let expected = model.read(since.map(|(offset, _)| offset), reverse, limit);
                            prop_assert_eq!(offsets(&history.publications), expected);
                            prop_assert_eq!(history.top.offset, model.top());
                            for publication in &history.publications {
                                let stored = model.log[publication.offset as usize - 1].0;
                                prop_assert_eq!(&publication.data, &stored.to_string());
                            }
                        }
                        Err(_) => prop_assert!(since.is_some_and(|(_, epoch)| epoch == "zz")),
                    }
                }
                Step::Recover { back, epoch, limit } => {
                    model.used(now);
                    let since = position(&model, back);
                    let expected = model.recover(since, epoch, limit);
                    prop_assert_eq!(recovered(&mut stream, since, epoch, limit, now), expected);
                }
                Step::Latest { limit, modulus } => {
                    model.used(now);
                    let limit_or_all = if limit == 0 { usize::MAX } else { limit };
                    let kept = model.kept();
                    let expected = kept.iter().rev().take(limit_or_all).find(|offset| *offset % modulus == 0);
                    let found = stream.latest_matching(limit, now, |p| p.offset % modulus == 0);
                    prop_assert_eq!(found.map(|p| p.offset), expected.copied());
                }
                Step::Remove => {
                    model.drop_all();
                    stream.remove_history();
                }
                Step::Expire => {
                    model.expire(now);
                    stream.expire_entries(now);
                }
                Step::Touch(meta) => {
                    model.meta = meta;
                    // To touch looks at the position alone.
                    model.expires = (meta > 0).then_some(now + meta);
                    stream.touch(Duration::from_millis(meta), now);
                }
            }
            let kept = model.kept();
            prop_assert_eq!(stream.top(), Position { offset: model.top(), epoch: "E".into() });
            prop_assert_eq!(stream.expires_at(), model.expires.unwrap_or(NEVER));
            prop_assert_eq!(stream.entries_expire_at(), (!kept.is_empty()).then_some(model.entries_expire));
            let payloads: usize =
                kept.iter().map(|offset| payload(model.log[*offset as usize - 1].0).weight()).sum();
            let overhead = stream.weight() - payloads;
            prop_assert!(overhead <= 64 + 64 + 32 + 8 * 4 * kept.len().max(8), "{} for {}", overhead, kept.len());
        }
    }
}
