use super::super::set::KeySet;
use super::*;
use proptest::prelude::*;

fn settings() -> FetchSettings {
    FetchSettings {
        ttl: 100,
        refresh_before: 20,
        stale: 1000,
        burst: 2,
        interval: 10,
        negative_ttl: 30,
        ..FetchSettings::default()
    }
}

/// A set of Ed25519 keys with these names.
fn set(kids: &[&str]) -> KeySet {
    let key = |kid: &&str| {
        format!(
            r#"{{"kty":"OKP","crv":"Ed25519","kid":"{kid}","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}}"#
        )
    };
    let keys: Vec<String> = kids.iter().map(key).collect();
    KeySet::parse(format!(r#"{{"keys":[{}]}}"#, keys.join(",")).as_bytes()).unwrap()
}

fn failed() -> Result<KeySet, String> {
    Err("away".to_owned())
}

/// The answer in one word.
fn ask(cache: &mut Cache, kid: &str, now: i64, round: Round) -> &'static str {
    match cache.lookup(kid, now, round) {
        Lookup::Key { refresh: false, .. } => "key",
        Lookup::Key { refresh: true, .. } => "key and refresh",
        Lookup::Fetch => "fetch",
        Lookup::Join => "join",
        Lookup::Unknown => "unknown",
        Lookup::Unavailable(_) => "unavailable",
    }
}

fn filled(now: i64) -> Cache {
    let mut cache = Cache::new(&settings());
    assert_eq!(ask(&mut cache, "a", now, Round::First), "fetch");
    cache.fetched(now, Ok(set(&["a"])));
    cache
}

#[test]
fn the_first_asks_and_the_others_join() {
    let mut cache = Cache::new(&settings());
    assert_eq!(ask(&mut cache, "a", 0, Round::First), "fetch");
    assert_eq!(ask(&mut cache, "a", 0, Round::First), "join");
    assert_eq!(ask(&mut cache, "b", 0, Round::First), "join");
    cache.fetched(0, Ok(set(&["a"])));
    assert_eq!(ask(&mut cache, "a", 0, Round::Last), "key");
    assert_eq!(ask(&mut cache, "a", 79, Round::First), "key");
}

#[test]
fn a_set_is_fetched_anew_before_it_ends() {
    let mut cache = filled(0);
    assert_eq!(ask(&mut cache, "a", 80, Round::First), "key and refresh");
    assert_eq!(ask(&mut cache, "a", 81, Round::First), "key", "one fetch at a time");
    cache.fetched(80, Ok(set(&["a", "b"])));
    assert_eq!(ask(&mut cache, "b", 159, Round::First), "key");
    assert_eq!(ask(&mut cache, "b", 160, Round::First), "key and refresh");
}

#[test]
fn an_ended_set_is_asked_for_before_it_serves() {
    let mut cache = filled(0);
    assert_eq!(ask(&mut cache, "a", 100, Round::First), "fetch");
    assert_eq!(ask(&mut cache, "a", 100, Round::First), "join");
    cache.fetched(100, Ok(set(&["b"])));
    // The key was withdrawn.
    assert_eq!(ask(&mut cache, "a", 100, Round::Last), "unknown");
    assert_eq!(ask(&mut cache, "b", 100, Round::First), "key");
}

#[test]
fn known_keys_serve_through_an_outage() {
    let mut cache = filled(0);
    assert_eq!(ask(&mut cache, "a", 100, Round::First), "fetch");
    cache.fetched(100, failed());
    assert_eq!(ask(&mut cache, "a", 100, Round::Last), "key");
    let mut fetches = 0;
    for now in 101..1100 {
        // Nobody waits, and the endpoint is asked at the limited rate.
        match ask(&mut cache, "a", now, Round::First) {
            "key" => {}
            "key and refresh" => {
                fetches += 1;
                cache.fetched(now, failed());
            }
            other => panic!("{other} at {now}"),
        }
    }
    assert!((99..=102).contains(&fetches), "{fetches}");
    // The stale window is over.
    assert_eq!(ask(&mut cache, "a", 1100, Round::First), "fetch");
    cache.fetched(1100, failed());
    assert_eq!(ask(&mut cache, "a", 1100, Round::Last), "unavailable");
    assert_eq!(ask(&mut cache, "a", 1100, Round::First), "unavailable");
    // And the endpoint is back.
    assert_eq!(ask(&mut cache, "a", 1110, Round::First), "fetch");
    cache.fetched(1110, Ok(set(&["a"])));
    assert_eq!(ask(&mut cache, "a", 1110, Round::Last), "key");
}

#[test]
fn unknown_kids_are_asked_for_at_a_limited_rate() {
    let mut cache = filled(0);
    let mut fetches = 0;
    for n in 0..10_000 {
        let (now, kid) = (n / 100, format!("forged{n}"));
        match ask(&mut cache, &kid, now, Round::First) {
            "fetch" => {
                fetches += 1;
                cache.fetched(now, Ok(set(&["a"])));
                assert_eq!(ask(&mut cache, &kid, now, Round::Last), "unknown");
            }
            // It might be new: nobody could look.
            "unavailable" => {}
            other => panic!("{other}"),
        }
        assert!(ask(&mut cache, "a", now, Round::First).starts_with("key"));
    }
    // 100 seconds: the burst and one in ten seconds.
    assert!(fetches <= 12, "{fetches}");
    assert!(cache.unknown.len() <= MAX_UNKNOWN);
}

#[test]
fn an_unknown_kid_is_believed_for_a_while() {
    let mut cache = filled(0);
    assert_eq!(ask(&mut cache, "new", 20, Round::First), "fetch");
    cache.fetched(20, Ok(set(&["a"])));
    assert_eq!(ask(&mut cache, "new", 20, Round::Last), "unknown");
    assert_eq!(ask(&mut cache, "new", 49, Round::First), "unknown");
    assert_eq!(ask(&mut cache, "new", 50, Round::First), "fetch");
    cache.fetched(50, Ok(set(&["a", "new"])));
    assert_eq!(ask(&mut cache, "new", 50, Round::Last), "key");
}

#[test]
fn a_rotated_key_is_found_at_once() {
    let mut cache = filled(0);
    for (n, kid) in ["b", "c"].into_iter().enumerate() {
        let now = 50 + i64::try_from(n).unwrap();
        assert_eq!(ask(&mut cache, kid, now, Round::First), "fetch", "a burst covers two rotations in a row");
        cache.fetched(now, Ok(set(&["a", kid])));
        assert_eq!(ask(&mut cache, kid, now, Round::Last), "key");
    }
}

/// A fetch that began before the key was published brings an old set. A request that joined it asks once more.
#[test]
fn who_joined_an_old_fetch_asks_again() {
    let mut cache = filled(0);
    assert_eq!(ask(&mut cache, "x", 50, Round::First), "fetch");
    assert_eq!(ask(&mut cache, "new", 50, Round::First), "join");
    cache.fetched(50, Ok(set(&["a"])));
    assert_eq!(ask(&mut cache, "new", 50, Round::Joined), "fetch");
    cache.fetched(50, Ok(set(&["a", "new"])));
    assert_eq!(ask(&mut cache, "new", 50, Round::Last), "key");
}

#[test]
fn in_an_outage_an_unknown_kid_is_not_called_unknown() {
    let mut cache = filled(0);
    assert_eq!(ask(&mut cache, "new", 50, Round::First), "fetch");
    cache.fetched(50, failed());
    assert_eq!(ask(&mut cache, "new", 50, Round::Last), "unavailable");
    assert_eq!(ask(&mut cache, "a", 50, Round::First), "key");
}

proptest! {
    /// Whatever is asked and answered, and however the clock jumps: at most one fetch under way, no more fetches
    /// than the bucket allows in any stretch of time, no key that the last good set did not have, none beyond its
    /// stale time, and each question ends within two waits.
    #[test]
    fn the_rules_hold_in_every_order(
        steps in proptest::collection::vec((0i64..40, 0usize..4, any::<bool>(), 0usize..8), 1..200),
    ) {
        const KIDS: [&str; 4] = ["a", "b", "c", "d"];
        let mut cache = Cache::new(&settings());
        let (mut now, mut begun) = (0i64, Vec::<i64>::new());
        let mut in_flight: Option<i64> = None;
        let mut last: Option<(i64, Vec<&str>)> = None;
        for (wait, kid, good, mask) in steps {
            now += wait;
            let round = match mask % 3 { 0 => Round::First, 1 => Round::Joined, _ => Round::Last };
            match cache.lookup(KIDS[kid], now, round) {
                Lookup::Key { refresh, .. } => {
                    let (at, kids) = last.as_ref().unwrap();
                    prop_assert!(kids.contains(&KIDS[kid]) && now - at < 1100);
                    if refresh {
                        prop_assert!(in_flight.is_none());
                        begun.push(now);
                        in_flight = Some(now);
                    }
                }
                Lookup::Fetch => {
                    prop_assert!(in_flight.is_none() && round != Round::Last);
                    begun.push(now);
                    in_flight = Some(now);
                }
                Lookup::Join => prop_assert!(in_flight.is_some() && round != Round::Last),
                Lookup::Unknown => {
                    let (_, kids) = last.as_ref().unwrap();
                    prop_assert!(!kids.contains(&KIDS[kid]));
                }
                Lookup::Unavailable(_) => {}
            }
            if mask % 2 == 0 && let Some(began) = in_flight.take() {
                if good {
                    let kids: Vec<&str> = KIDS.into_iter().enumerate().filter(|(i, _)| mask >> i & 1 == 1).map(|(_, k)| k).collect();
                    cache.fetched(began, Ok(set(&kids)));
                    last = Some((began, kids));
                } else {
                    cache.fetched(began, failed());
                }
            }
        }
        for (at, first) in begun.iter().enumerate() {
            for (n, later) in begun[at..].iter().enumerate() {
                // So many fetches take at least so much time.
                prop_assert!(n as i64 <= 2 + (later - first) / 10);
            }
        }
    }

    #[test]
    fn a_clock_that_goes_back_locks_nothing_for_long(times in proptest::collection::vec(-1000i64..1000, 1..50)) {
        let mut bucket = Bucket::new(2, 10);
        for now in &times {
            bucket.take(*now);
        }
        let last = times.last().unwrap();
        prop_assert!(bucket.take(*last + 10));
    }
}
