use super::*;
use crate::channel::params::Recover;
use crate::engine::broker::Since;
use proptest::prelude::*;
use spinward_wire::filter::Filter;
use spinward_wire::message::FilterNode;
use std::num::NonZeroUsize;

const HISTORY: HistoryOptions =
    HistoryOptions { size: 10, ttl: Duration::from_secs(60), meta_ttl: Duration::from_secs(600) };
const BEGUN: u64 = 1_000;

fn publication(offset: u64) -> Arc<Publication> {
    Arc::new(Publication { offset, ..Publication::default() })
}

fn at(offset: u64) -> Position {
    Position { offset, epoch: "e".into() }
}

fn after(offset: u64, limit: usize) -> Read {
    let limit = NonZeroUsize::new(limit).map_or(Limit::All, Limit::Most);
    Read::After { since: Since { offset, epoch: None }, limit }
}

/// The answer of a store that keeps these.
fn answer(read: &Read, kept: std::ops::RangeInclusive<u64>) -> History {
    let top = *kept.end();
    let publications: Vec<_> = match read {
        Read::After { since, limit } => {
            kept.filter(|one| *one > since.offset).take(limit.count()).map(publication).collect()
        }
        Read::Latest { limit } => kept.rev().take(limit.count()).map(publication).collect(),
        _ => Vec::new(),
    };
    History { publications, top: at(top) }
}

fn slice() -> RecentSlice {
    RecentSlice::new(1, BEGUN, HISTORY)
}

fn deliver(slice: &mut RecentSlice, offsets: std::ops::RangeInclusive<u64>) -> bool {
    offsets.into_iter().all(|offset| slice.keep(&publication(offset), Some(&"e".into())))
}

/// A slice after such a read, of a store that keeps these.
fn ready(read: &Read, kept: std::ops::RangeInclusive<u64>) -> RecentSlice {
    let mut slice = slice();
    assert!(slice.answered(read, &answer(read, kept)));
    slice
}

fn params(since: u64, limit: usize) -> SubscribeParams {
    let recover = Some(Recover { since: at(since), cache: false, limit, over: false });
    SubscribeParams { positioned: true, history: HISTORY, recover, filter: None }
}

fn now(age: u64) -> Now {
    Now { mono: BEGUN + age, wall: 1_700_000_000_000 }
}

/// The answer to a subscriber at this offset: the top, and the offsets of publications.
fn given(slice: &RecentSlice, params: &SubscribeParams) -> Option<(u64, Vec<u64>)> {
    let history = slice.read(params, HISTORY, now(0))?;
    assert_eq!(&*history.top.epoch, "e");
    Some((history.top.offset, history.publications.iter().map(|one| one.offset).collect()))
}

#[test]
fn what_was_read_is_continued_by_what_is_delivered() {
    let mut slice = slice();
    assert!(deliver(&mut slice, 6..=8), "while the read is under way");
    assert_eq!(given(&slice, &params(4, 0)), None, "nothing was read yet");
    assert!(slice.answered(&after(4, 0), &answer(&after(4, 0), 1..=7)));
    assert_eq!(given(&slice, &params(4, 0)), Some((8, vec![5, 6, 7, 8])));
    assert!(deliver(&mut slice, 7..=9), "7 and 8 for a second time");
    assert_eq!(given(&slice, &params(6, 0)), Some((9, vec![7, 8, 9])));
    assert_eq!(given(&slice, &params(9, 0)), Some((9, vec![])));
    assert_eq!(given(&slice, &params(3, 0)), None, "it was not read from there");
    assert_eq!(given(&slice, &params(10, 0)), None, "the client has seen more than this node");
}

#[test]
fn doubt_ends_a_slice() {
    let mut missing = ready(&after(4, 0), 1..=7);
    assert!(!deliver(&mut missing, 9..=9), "8 was lost");
    let mut other = ready(&after(4, 0), 1..=7);
    assert!(!other.keep(&publication(8), Some(&"f".into())), "another epoch");
    assert!(!other.keep(&publication(8), None));
    let mut before = slice();
    assert!(deliver(&mut before, 9..=9));
    assert!(!before.answered(&after(4, 0), &answer(&after(4, 0), 1..=7)), "8 was lost in the meantime");
    let mut renamed = ready(&after(4, 0), 1..=7);
    let top = Position { offset: 7, epoch: "f".into() };
    assert!(!renamed.answered(&after(4, 0), &History { publications: Vec::new(), top }));
    let slice = ready(&after(4, 0), 1..=7);
    assert!(slice.has_reached(&at(7)) && !slice.has_reached(&at(8)));
    assert!(!slice.has_reached(&Position { offset: 7, epoch: "f".into() }));
}

#[test]
fn a_publication_without_room_is_not_taken_for_none() {
    let large = Publication { offset: 8, data: vec![b' '; CHANNEL_BYTES].into(), ..Publication::default() };
    let large = Arc::new(large);
    assert!(!slice().keep(&large, Some(&"e".into())), "the read may end before it");
    let mut slice = ready(&after(4, 0), 1..=7);
    assert!(slice.keep(&large, Some(&"e".into())));
    assert_eq!((slice.bytes(), given(&slice, &params(7, 0))), (0, None));
    assert_eq!(given(&slice, &params(8, 0)), Some((8, vec![])));
}

#[test]
fn only_what_a_read_would_give_is_given() {
    let slice = ready(&after(4, 0), 1..=9);
    let with = |history| slice.read(&params(5, 0), history, now(0)).is_some();
    assert!(with(HISTORY));
    assert!(!with(HistoryOptions { size: 3, ..HISTORY }) && !with(HistoryOptions::default()));
    for (age, served) in [(4_999, true), (5_000, false)] {
        assert_eq!(slice.read(&params(5, 0), HISTORY, now(age)).is_some(), served, "after {age} ms");
    }
    let short = HistoryOptions { ttl: Duration::from_millis(100), ..HISTORY };
    let mut expiring = RecentSlice::new(1, BEGUN, short);
    assert!(expiring.answered(&after(4, 0), &answer(&after(4, 0), 1..=9)));
    assert!(expiring.read(&params(5, 0), short, now(99)).is_some());
    assert!(expiring.read(&params(5, 0), short, now(100)).is_none());
    let mut other = params(5, 0);
    other.recover.as_mut().unwrap().since.epoch = "f".into();
    assert!(slice.read(&other, HISTORY, now(0)).is_none());
    let mut trimmed = ready(&after(4, 0), 1..=9);
    assert!(deliver(&mut trimmed, 10..=15));
    assert_eq!(given(&trimmed, &params(4, 0)), None, "the store keeps ten, and eleven were missed");
    let old = Arc::new(Publication { offset: 10, time: now(0).wall - 60_000, ..Publication::default() });
    let mut expired = ready(&after(4, 0), 1..=9);
    assert!(expired.keep(&old, Some(&"e".into())));
    assert_eq!(given(&expired, &params(8, 0)), None, "the store has dropped them");
}

#[test]
fn those_who_cannot_be_recovered_need_no_read_either() {
    let slice = ready(&after(4, 0), 21..=30);
    assert_eq!(given(&slice, &params(4, 0)), Some((30, vec![])), "5 to 20 are gone");
    assert_eq!(given(&slice, &params(20, 0)).map(|(_, publications)| publications.len()), Some(10));
    assert_eq!(given(&slice, &params(25, 3)), Some((30, vec![])), "more than the limit");
    let cut = ready(&after(4, 3), 1..=9);
    assert_eq!(given(&cut, &params(9, 0)), Some((9, vec![])));
    assert_eq!(given(&cut, &params(8, 0)), None, "the read did not reach the top");
    let mut emptied = ready(&after(4, 0), 1..=9);
    assert!(emptied.answered(&after(7, 0), &History { publications: Vec::new(), top: at(9) }));
    assert_eq!(given(&emptied, &params(5, 0)), Some((9, vec![])), "a later read found less");
}

#[test]
fn a_planned_read_is_served_if_all_its_subscribers_are() {
    let slice = ready(&after(4, 0), 1..=9);
    let cover = |read: &Read, epoch: &str, newest: u64| {
        let found = slice.cover(read, &Origin { epoch: epoch.into(), newest }, HISTORY, now(0))?;
        Some((found.top.offset, found.publications.iter().map(|one| one.offset).collect::<Vec<_>>()))
    };
    assert_eq!(cover(&after(6, 5), "e", 9), Some((9, vec![7, 8, 9])));
    assert_eq!(cover(&after(9, 5), "e", 9), Some((9, vec![])));
    assert_eq!(cover(&after(6, 5), "e", 10), None, "one is ahead of it");
    assert_eq!(cover(&after(6, 5), "f", 9), None);
    assert_eq!(cover(&after(3, 0), "e", 9), None);
    assert_eq!(cover(&after(5, 3), "e", 9), None, "more than the read would give");
    assert_eq!(cover(&Read::Top, "e", 9), None);
    assert!(
        slice.cover(&after(6, 5), &Origin { epoch: "e".into(), newest: 9 }, HISTORY, now(5_000)).is_none()
    );
}

#[test]
fn the_latest_serves_caches_without_a_filter() {
    let latest = Read::Latest { limit: Limit::Most(NonZeroUsize::MIN) };
    let slice = ready(&latest, 1..=9);
    let mut cache = params(2, 0);
    cache.recover.as_mut().unwrap().cache = true;
    assert_eq!(given(&slice, &cache), Some((9, vec![9])));
    let node = FilterNode { key: "a".into(), cmp: "ex".into(), ..FilterNode::default() };
    cache.filter = Some(Filter::compile(&node).unwrap());
    assert_eq!(given(&slice, &cache), None);
}

proptest! {
    /// Whatever the order of reads and deliveries, what is served is consecutive, ends at the top, and was there.
    #[test]
    fn what_is_given_is_whole(
        start in 1_u64..20,
        steps in prop::collection::vec((0_u8..4, 0_u64..25, 0_usize..6), 1..30),
        since in 0_u64..40,
    ) {
        let (mut slice, mut stored, mut delivered) = (slice(), start, start);
        let mut waiting: Vec<(Read, History)> = Vec::new();
        for (step, offset, limit) in steps {
            let kept = |top: u64| top.saturating_sub(9).max(1)..=top;
            match step {
                0 => stored += 1,
                1 if delivered < stored => {
                    delivered += 1;
                    prop_assert!(deliver(&mut slice, delivered..=delivered));
                }
                2 => {
                    let read = after(offset, limit);
                    let answer = answer(&read, kept(stored));
                    waiting.push((read, answer));
                }
                3 if !waiting.is_empty() => {
                    let (read, answer) = waiting.swap_remove(offset as usize % waiting.len());
                    prop_assert!(slice.answered(&read, &answer));
                }
                _ => {}
            }
            if let Some((top, publications)) = given(&slice, &params(since, 0)) {
                prop_assert!(top >= since && top <= stored && top >= delivered);
                if !publications.is_empty() {
                    prop_assert_eq!(publications, (since + 1..=top).collect::<Vec<_>>());
                }
            }
        }
    }
}
