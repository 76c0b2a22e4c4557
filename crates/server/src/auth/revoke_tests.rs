use super::*;
use proptest::prelude::*;

fn code(store: &Revocations, subject: &Subject<'_>, now: i64) -> &'static str {
    match store.check(subject, now).map_err(|refusal| refusal.reason) {
        Ok(()) => "ok",
        Err(Reason::Revoked) => "revoked",
        Err(Reason::Invalidated) => "invalidated",
        Err(Reason::UserBlocked) => "blocked",
        Err(other) => panic!("{other:?}"),
    }
}

fn token(uid: &str, expire_at: i64) -> Revocation {
    Revocation::Token { uid: uid.into(), expire_at }
}

fn block(user: &str, expire_at: i64) -> Revocation {
    Revocation::User { user: user.into(), expire_at }
}

fn invalidate(user: &str, issued_before: i64, channel: &str, expire_at: i64) -> Revocation {
    Revocation::UserTokens { user: user.into(), issued_before, channel: channel.into(), expire_at }
}

#[test]
fn a_token_is_revoked_by_its_jti_until_it_ends() {
    let mut store = Revocations::new(10);
    store.revoke(token("j", 100), 0).unwrap();
    let with = |jti| Subject { user: "u", jti, ..Subject::default() };
    assert_eq!(code(&store, &with(Some("j")), 99), "revoked");
    assert_eq!(code(&store, &Subject { jti: Some("j"), ..Subject::default() }, 99), "revoked");
    assert_eq!(code(&store, &with(Some("j")), 100), "ok");
    assert_eq!(code(&store, &with(Some("k")), 0), "ok");
    assert_eq!(code(&store, &with(None), 0), "ok");
    // The later end holds, and never is the latest.
    store.revoke(token("j", 50), 0).unwrap();
    assert_eq!(code(&store, &with(Some("j")), 99), "revoked");
    store.revoke(token("j", 0), 0).unwrap();
    assert_eq!(code(&store, &with(Some("j")), i64::MAX - 1), "revoked");
}

#[test]
fn a_user_is_blocked_and_unblocked() {
    let mut store = Revocations::new(10);
    store.revoke(block("u", 0), 0).unwrap();
    let subject = |user| Subject { user, ..Subject::default() };
    assert_eq!(code(&store, &subject("u"), 5), "blocked");
    assert_eq!(code(&store, &subject("v"), 5), "ok");
    assert_eq!(code(&store, &subject(""), 5), "ok");
    assert!(store.unblock_user("u"));
    assert!(!store.unblock_user("u"));
    assert_eq!(code(&store, &subject("u"), 5), "ok");
    assert!(store.is_empty());
}

#[test]
fn tokens_of_a_user_are_invalidated_by_their_time() {
    let mut store = Revocations::new(10);
    store.revoke(invalidate("u", 50, "", 1000), 60).unwrap();
    let at = |iat| Subject { user: "u", iat, ..Subject::default() };
    assert_eq!(code(&store, &at(Some(49)), 60), "invalidated");
    assert_eq!(code(&store, &at(Some(50)), 60), "ok");
    assert_eq!(code(&store, &at(None), 60), "invalidated", "who knows when it was issued");
    assert_eq!(code(&store, &Subject { user: "v", ..at(Some(1)) }, 60), "ok");
    assert_eq!(code(&store, &at(Some(1)), 1000), "ok");
    // Only for one channel.
    let mut store = Revocations::new(10);
    store.revoke(invalidate("u", 50, "c", 1000), 60).unwrap();
    assert_eq!(code(&store, &at(Some(1)), 60), "ok");
    assert_eq!(code(&store, &Subject { channel: Some("c"), ..at(Some(1)) }, 60), "invalidated");
    assert_eq!(code(&store, &Subject { channel: Some("d"), ..at(Some(1)) }, 60), "ok");
    // An earlier time takes nothing back.
    store.revoke(invalidate("u", 10, "c", 500), 60).unwrap();
    assert_eq!(code(&store, &Subject { channel: Some("c"), ..at(Some(49)) }, 999), "invalidated");
}

#[test]
fn memory_is_bounded_by_what_has_not_ended() {
    let mut store = Revocations::new(100);
    for n in 0..10_000 {
        store.revoke(token(&format!("j{n}"), n + 50), n).unwrap();
        assert!(store.len() <= 100);
    }
    let mut full = Revocations::new(2);
    full.revoke(token("a", 0), 0).unwrap();
    full.revoke(block("a", 0), 0).unwrap();
    assert_eq!(full.revoke(invalidate("a", 1, "", 0), 0), Err(StoreError::Full(2)));
    assert_eq!(full.revoke(token("b", 0), 0), Err(StoreError::Full(2)));
    full.revoke(token("a", 9), 0).unwrap();
    full.revoke(token("ended", 5), 5).unwrap();
    assert_eq!(full.len(), 2);
}

#[test]
fn names_are_bounded() {
    let mut store = Revocations::new(10);
    assert_eq!(store.revoke(token("", 0), 0), Err(StoreError::Name("uid")));
    assert_eq!(store.revoke(block("", 0), 0), Err(StoreError::Name("user")));
    assert_eq!(store.revoke(block(&"u".repeat(1025), 0), 0), Err(StoreError::Name("user")));
    assert_eq!(store.revoke(invalidate("u", 1, &"c".repeat(1025), 0), 0), Err(StoreError::Name("channel")));
}

fn any_revocation() -> impl Strategy<Value = Revocation> {
    let end = prop_oneof![Just(0i64), 1i64..200];
    (0u8..3, "[ab]", end, 0i64..100, prop_oneof![Just(""), Just("c")]).prop_map(
        |(kind, name, end, before, channel)| match kind {
            0 => token(&name, end),
            1 => block(&name, end),
            _ => invalidate(&name, before, channel, end),
        },
    )
}

proptest! {
    /// A snapshot that is read back decides as the store that it was taken of, at every later time.
    #[test]
    fn a_snapshot_is_the_whole_store(
        all in proptest::collection::vec(any_revocation(), 0..12),
        now in 0i64..150,
        later in 0i64..100,
        iat in proptest::option::of(0i64..100),
    ) {
        let mut store = Revocations::new(100);
        for revocation in all {
            store.revoke(revocation, 0).unwrap();
        }
        let text = serde_json::to_string(&store.snapshot(now)).unwrap();
        let mut read = Revocations::new(100);
        for revocation in serde_json::from_str::<Vec<Revocation>>(&text).unwrap() {
            read.revoke(revocation, now).unwrap();
        }
        for user in ["a", "b", ""] {
            for jti in [None, Some("a"), Some("b")] {
                for channel in [None, Some("c"), Some("d")] {
                    let subject = Subject { user, jti, iat, channel };
                    prop_assert_eq!(code(&store, &subject, now + later), code(&read, &subject, now + later));
                }
            }
        }
        prop_assert!(read.len() <= store.len());
    }
}
