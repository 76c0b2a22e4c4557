//! Every case of `compat/` that is a question of names or permissions, asked of [`decide()`].

use super::*;
use bytes::Bytes;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::path::Path;

/// Centrifugo v6.9's answer in a case: a code, or the body of a result.
#[derive(Debug, PartialEq)]
enum Answer {
    Code(u64),
    Result(Value),
}

struct Recorded {
    rules: Rules,
    /// By case. Some transcripts of others hold text that is not Unicode, so each is read when it is needed.
    transcripts: BTreeMap<String, Box<RawValue>>,
}

impl Recorded {
    fn load() -> Self {
        let read = |name: &str| {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../compat/cases").join(name);
            std::fs::read_to_string(path).unwrap()
        };
        let mut config: Value = serde_json::from_str(&read("config.json")).unwrap();
        let mut rules = rules(config["channel"].take());
        rules.channel_limit = usize::try_from(config["client"]["channel_limit"].as_u64().unwrap()).unwrap();
        Self { rules, transcripts: serde_json::from_str(&read("centrifugo-6.9.json")).unwrap() }
    }

    /// Returns the record of one lane of a case.
    fn lane(&self, case: &str, lane: &str) -> Vec<Value> {
        let transcript = self.transcripts.get(case).unwrap_or_else(|| panic!("no case {case}"));
        let lanes: BTreeMap<String, Vec<Value>> = serde_json::from_str(transcript.get()).unwrap();
        lanes.get(lane).unwrap_or_else(|| panic!("{case} has no lane {lane}")).clone()
    }

    /// The last answer that the first connection of a case got, pushes aside.
    fn answer(&self, case: &str) -> Answer {
        let events = self.lane(case, "A");
        let mut answers = events.iter().filter_map(|event| {
            if let Some(close) = event["close"].as_array() {
                return Some(Answer::Code(close[0].as_u64().unwrap()));
            }
            let reply = event["rx"].as_object()?;
            if let Some(error) = reply.get("error") {
                return Some(Answer::Code(error["code"].as_u64().unwrap()));
            }
            ["subscribe", "publish", "sub_refresh"]
                .iter()
                .find_map(|name| Some(Answer::Result(reply.get(*name)?.clone())))
        });
        answers.next_back().unwrap_or_else(|| panic!("{case} has no answer"))
    }

    fn check(&self, case: &str, request: &Request<'_>) {
        let decision = decide(&self.rules, request);
        match self.answer(case) {
            Answer::Code(code) => {
                assert_eq!(decision.code().map(u64::from), Some(code), "{case}: {:?}", decision.trail);
            }
            Answer::Result(result) => {
                assert_eq!(decision.code(), None, "{case}: {:?}", decision.trail);
                if let Some(Grant::Subscribe(grant)) = decision.grant() {
                    self.check_grant(case, request, grant, &result);
                }
            }
        }
    }

    fn check_grant(&self, case: &str, request: &Request<'_>, grant: &SubscribeGrant<'_>, result: &Value) {
        let is = |key: &str| result[key] == json!(true);
        assert_eq!(is("positioned"), grant.positioning || grant.recovery, "{case} positioned");
        assert_eq!(is("recoverable"), grant.recovery, "{case} recoverable");
        let Action::Subscribe(facts) = &request.action else { panic!("{case} is no subscribe") };
        assert_eq!(is("delta"), grant.delta && !facts.wishes.delta.is_empty(), "{case} delta");
        let ttl = if grant.expire_at == 0 { 0 } else { grant.expire_at - request.now };
        assert_eq!(result["ttl"].as_i64().unwrap_or(0), ttl, "{case} ttl");
        assert_eq!(result.get("data").is_some(), grant.data.is_some(), "{case} data");
    }
}

fn user(case: &str) -> String {
    format!("u-{case}-R")
}

fn channel(case: &str, namespace: &str) -> String {
    if namespace.is_empty() { format!("{case}-R") } else { format!("{namespace}:{case}-R") }
}

#[test]
fn names_and_permissions_of_subscribe() {
    let recorded = Recorded::load();
    // Case, channel (`@` stands for the case's own name in it, `~` for its user), anonymous.
    for (case, template, anonymous) in [
        ("sub-ok", "open:@", false),
        ("sub-no-namespace", "@", false),
        ("sub-unknown-ns", "nope:x", false),
        ("sub-ns-case", "Open:x", false),
        ("sub-empty", "", false),
        ("sub-only-ns", "open:", false),
        ("sub-leading-boundary", ":x", false),
        ("sub-two-boundaries", "open:deny:x", false),
        ("sub-closed", "deny:@", false),
        ("sub-len-255", "open:%250", false),
        ("sub-len-256", "open:%251", false),
        ("sub-len-256-unknown-ns", "nope:%251", false),
        ("sub-len-256-closed", "deny:%251", false),
        ("sub-nonascii", "open:é", false),
        ("sub-nonascii-unknown-ns", "nopé:x", false),
        ("sub-control", "open:a\u{1}b", false),
        ("sub-del", "open:a\u{7f}b", false),
        ("sub-space", "open:a b", false),
        ("sub-tab-newline", "open:a\tb\nc", false),
        ("sub-star", "open:*", false),
        ("sub-slash", "open:a/b", false),
        ("sub-amp", "open:a&b", false),
        ("sub-private-no-token", "$open:@", false),
        ("sub-private-unknown-ns", "$nope:x", false),
        ("sub-private-bare", "$", false),
        ("sub-private-double", "$$open:x", false),
        ("sub-private-empty-token", "$open:x", false),
        ("sub-userlimited-own", "user:a#~", false),
        ("sub-userlimited-bare", "user:#~", false),
        ("sub-userlimited-other", "user:a#other", false),
        ("sub-userlimited-list", "user:a#b,~", false),
        ("sub-userlimited-list-other", "user:a#b,c", false),
        ("sub-userlimited-empty", "user:a#", false),
        ("sub-userlimited-trailing", "user:a#~,", false),
        ("sub-userlimited-space", "user:a#b, ~", false),
        ("sub-userlimited-two-hash", "user:a#x#~", false),
        ("sub-userlimited-two-hash-first", "user:a#~#x", false),
        ("sub-userlimited-no-hash", "user:a", false),
        ("sub-userlimited-prefix", "user:a#u-sub-userlimited-prefix-", false),
        ("sub-userlimited-not-enabled", "open:a#~", false),
        ("sub-userlimited-not-enabled-other", "open:a#other", false),
        ("sub-userlimited-open-other", "useropen:a#other", false),
        ("sub-userlimited-private", "$user:a#~", false),
        ("sub-userlimited-hash-before-colon", "a#~:x", false),
        ("sub-userlimited-anon", "user:a#x", true),
        ("sub-anon-open", "open:@", true),
        ("sub-anon-users", "users:@", true),
        ("sub-regex-ok", "regex:abc12", false),
        ("sub-regex-bad", "regex:ABC", false),
        ("sub-regex-nonascii", "regex:é1", false),
        ("sub-regex-empty", "regex:", false),
    ] {
        let user = if anonymous { String::new() } else { user(case) };
        let channel = template
            .replace('@', &format!("{case}-R"))
            .replace('~', &user)
            .replace("%250", &"x".repeat(250))
            .replace("%251", &"x".repeat(251));
        recorded.check(case, &Request::new(plain(), &channel, &user, NOW));
    }
}

#[test]
fn subscriptions_that_are_one_too_many() {
    let recorded = Recorded::load();
    for (case, subscribed, subscriptions) in
        [("sub-twice", true, 1), ("sub-limit", false, 12), ("sub-ok", false, 11)]
    {
        let (channel, user) = (channel(case, "open"), user(case));
        let request = Request { subscribed, subscriptions, ..Request::new(plain(), &channel, &user, NOW) };
        recorded.check(case, &request);
    }
}

#[test]
fn options_of_subscribe() {
    let recorded = Recorded::load();
    let none = Wishes::default();
    let all = Wishes { positioned: true, recoverable: true, join_leave: true, ..none };
    let stay = Wishes { positioned: true, recoverable: true, ..none };
    let mut cases = vec![
        ("sub-option-type-1".to_owned(), "open", Wishes { kind: 1, ..none }, false),
        ("sub-option-type-4".to_owned(), "open", Wishes { kind: 4, ..none }, false),
        ("sub-option-positioned".to_owned(), "open", Wishes { positioned: true, ..none }, false),
        ("sub-option-recoverable".to_owned(), "open", Wishes { recoverable: true, ..none }, false),
        ("sub-option-join_leave".to_owned(), "open", Wishes { join_leave: true, ..none }, false),
        ("sub-option-delta".to_owned(), "open", Wishes { delta: "fossil", ..none }, false),
        ("sub-option-delta-unknown".to_owned(), "open", Wishes { delta: "zip", ..none }, false),
        ("sub-option-tf".to_owned(), "open", Wishes { tags_filter: true, ..none }, false),
        ("tags-not-allowed".to_owned(), "hist", Wishes { tags_filter: true, ..none }, false),
        ("delta-ok".to_owned(), "delta", Wishes { delta: "fossil", ..none }, false),
        ("delta-not-allowed".to_owned(), "recov", Wishes { delta: "fossil", ..none }, false),
        ("delta-no-positioning".to_owned(), "deltanp", Wishes { delta: "fossil", ..none }, false),
        (
            "delta-tags-filter".to_owned(),
            "deltatag",
            Wishes { delta: "fossil", tags_filter: true, ..none },
            false,
        ),
        ("positioned-apos-asked".to_owned(), "apos", Wishes { positioned: true, ..none }, false),
        ("positioned-apos-plain".to_owned(), "apos", none, false),
        ("positioned-hist-asked".to_owned(), "hist", Wishes { positioned: true, ..none }, false),
        ("positioned-open-asked".to_owned(), "open", Wishes { positioned: true, ..none }, false),
        ("positioned-pos-plain".to_owned(), "pos", none, false),
        ("positioned-recov-plain".to_owned(), "recov", none, false),
    ];
    for namespace in [
        "hist", "histno", "histsub", "arec", "apos", "recov", "pos", "cache", "auto", "pres", "presno",
        "jlforce", "delta", "tags",
    ] {
        cases.push((format!("sub-wish-{namespace}"), namespace, all, false));
    }
    for namespace in ["hist", "arec", "apos", "histno"] {
        cases.push((format!("sub-wish-anon-{namespace}"), namespace, stay, true));
        cases.push((format!("sub-wish-none-{namespace}"), namespace, none, false));
    }
    for (case, namespace, wishes, anonymous) in &cases {
        let user = if *anonymous { String::new() } else { user(case) };
        let channel = channel(case, namespace);
        recorded
            .check(case, &Request::new(subscribe(SubscriptionToken::None, *wishes), &channel, &user, NOW));
    }
    // A join is pushed to the client itself where joins were granted, and only there.
    for (namespace, expected) in [("pres", true), ("jlforce", true), ("presno", false)] {
        let action = subscribe(SubscriptionToken::None, all);
        let channel = format!("{namespace}:x");
        let request = Request::new(action, &channel, "u", NOW);
        assert_eq!(granted(&decide(&recorded.rules, &request)).push_join_leave, expected, "{namespace}");
        let events = recorded.lane(&format!("sub-wish-{namespace}"), "A");
        assert_eq!(events.iter().any(|event| !event["rx"]["push"].is_null()), expected, "{namespace}");
    }
}

#[test]
fn subscription_tokens() {
    let recorded = Recorded::load();
    let data = Bytes::from_static(br#"{"d":1}"#);
    // Case, namespace with its prefix, and what differs from a token that fits.
    type Change = fn(&mut TokenClaims<'_>);
    let same: Change = |_| {};
    let verified: [(&str, &str, Change); 20] = [
        ("subtok-ok", "$open", same),
        ("subtok-ok-closed", "deny", same),
        ("subtok-ok-open", "open", same),
        ("subtok-hs512", "$open", same),
        ("subtok-allow", "$open", same),
        ("subtok-exp-future", "$open", |claims| claims.expire_at = NOW + 3600),
        ("subtok-expire_at-future", "$open", |claims| claims.expire_at = NOW + 3600),
        ("subtok-expire_at-zero", "$open", same),
        ("subtok-expire_at-past", "$open", |claims| claims.expire_at = NOW - 60),
        ("subtok-expire_at-past-exp-future", "$open", |claims| claims.expire_at = NOW - 60),
        ("subtok-sub-other", "$open", |claims| claims.user = "other"),
        ("subtok-sub-missing", "$open", |claims| claims.user = ""),
        ("subtok-sub-empty", "$open", |claims| claims.user = ""),
        ("subtok-channel-other", "$open", |claims| claims.channel = "$open:other"),
        ("subtok-channel-without-prefix", "$open", |claims| claims.channel = &claims.channel[1..]),
        ("subtok-client-other", "$open", |claims| claims.client = "zzz"),
        ("subtok-client-empty", "$open", same),
        ("subtok-client-ok", "$open", |claims| claims.client = "c"),
        ("subtok-unknown-ns", "nope", same),
        ("subtok-regex", "regex", same),
    ];
    for (case, namespace, change) in verified {
        let (channel, user) = (channel(case, namespace), user(case));
        let mut claims = TokenClaims::new(&user, &channel);
        change(&mut claims);
        let action = subscribe(SubscriptionToken::Verified(claims), Wishes::default());
        recorded.check(case, &Request { client: Some("c"), ..Request::new(action, &channel, &user, NOW) });
    }
    for case in ["subtok-data", "subtok-b64data"] {
        let (channel, user) = (channel(case, "$open"), user(case));
        let claims = TokenClaims { data: Some(&data), ..TokenClaims::new(&user, &channel) };
        let action = subscribe(SubscriptionToken::Verified(claims), Wishes::default());
        recorded.check(case, &Request::new(action, &channel, &user, NOW));
    }
    for case in ["subtok-ok-anon", "subtok-no-sub-anon"] {
        let channel = channel(case, "$open");
        let action =
            subscribe(SubscriptionToken::Verified(TokenClaims::new("", &channel)), Wishes::default());
        recorded.check(case, &Request::new(action, &channel, "", NOW));
    }
    // The token was made for the namespace's channel plus `#z`, the request is without it.
    let (channel_asked, user_asking) =
        (channel("subtok-userlimited-other", "user"), user("subtok-userlimited-other"));
    let other = format!("{channel_asked}#z");
    let action =
        subscribe(SubscriptionToken::Verified(TokenClaims::new(&user_asking, &other)), Wishes::default());
    recorded.check("subtok-userlimited-other", &Request::new(action, &channel_asked, &user_asking, NOW));

    for (case, namespace, token) in [
        ("subtok-exp-past", "$open", SubscriptionToken::Expired),
        ("subtok-nbf-future", "$open", SubscriptionToken::Expired),
        ("subtok-expire_at-zero-exp-past", "$open", SubscriptionToken::Expired),
        ("subtok-exp-string", "$open", SubscriptionToken::Invalid),
        ("subtok-channel-missing", "$open", SubscriptionToken::Invalid),
        ("subtok-bad-signature", "$open", SubscriptionToken::Invalid),
        ("subtok-bad-signature-expired", "$open", SubscriptionToken::Invalid),
        ("subtok-alg-none", "$open", SubscriptionToken::Invalid),
        ("subtok-garbage", "$open", SubscriptionToken::Invalid),
        ("subtok-connection-token", "$open", SubscriptionToken::Invalid),
        ("subtok-garbage-on-open", "open", SubscriptionToken::Invalid),
        ("subtok-override-bad", "$open", SubscriptionToken::Invalid),
        ("subtok-b64info-bad", "$pres", SubscriptionToken::Invalid),
    ] {
        let (channel, user) = (channel(case, namespace), user(case));
        recorded.check(case, &Request::new(subscribe(token, Wishes::default()), &channel, &user, NOW));
    }
}

#[test]
fn overrides_of_subscription_tokens() {
    let recorded = Recorded::load();
    for option in ["presence", "join_leave", "force_recovery", "force_positioning", "force_push_join_leave"] {
        for value in [true, false] {
            let namespace = match (option, value) {
                ("presence" | "join_leave", false) => "pres",
                ("force_push_join_leave", false) => "jlforce",
                (_, false) => "recov",
                ("force_recovery" | "force_positioning", true) => "hist",
                (_, true) => "open",
            };
            let case = format!("subtok-override-{option}-{value}");
            let (channel, user) = (channel(&case, &format!("${namespace}")), user(&case));
            let mut claims = TokenClaims::new(&user, &channel);
            claims.overrides = Override::parse(&json!({option: {"value": value}}).to_string()).unwrap();
            let action = subscribe(SubscriptionToken::Verified(claims), Wishes::default());
            let request = Request::new(action, &channel, &user, NOW);
            recorded.check(&case, &request);
            let grant = granted(&decide(&recorded.rules, &request));
            let got = match option {
                "presence" => grant.presence,
                "join_leave" => grant.join_leave,
                "force_recovery" => grant.recovery,
                "force_positioning" => grant.positioning,
                _ => grant.push_join_leave,
            };
            assert_eq!(got, value, "{case}");
        }
    }
}

#[test]
fn prolongations() {
    let recorded = Recorded::load();
    let fits = |case: &str| (format!("$open:{case}-R"), user(case));
    for (case, subscribed, token) in [
        ("subrefresh-no-token", true, SubscriptionToken::None),
        ("subrefresh-expired", true, SubscriptionToken::Expired),
        ("subrefresh-bad-signature", true, SubscriptionToken::Invalid),
        ("subrefresh-garbage", true, SubscriptionToken::Invalid),
        ("subrefresh-not-subscribed", false, SubscriptionToken::Expired),
        (
            "subrefresh-other-user",
            true,
            SubscriptionToken::Verified(TokenClaims::new("zz", "$open:subrefresh-other-user-R")),
        ),
        (
            "subrefresh-other-channel",
            true,
            SubscriptionToken::Verified(TokenClaims::new("u-subrefresh-other-channel-R", "$open:zz")),
        ),
    ] {
        let (channel, user) = fits(case);
        let request = Request::new(Action::SubRefresh(token), &channel, &user, NOW);
        recorded.check(case, &Request { subscribed, ..request });
    }
    for (case, expire_at) in [
        ("subrefresh-ok", NOW + 7200),
        ("subrefresh-no-exp", 0),
        ("subrefresh-of-endless", NOW + 3600),
        ("subrefresh-expire_at-past", NOW - 60),
    ] {
        let (channel, user) = fits(case);
        let claims = TokenClaims { expire_at, ..TokenClaims::new(&user, &channel) };
        let request =
            Request::new(Action::SubRefresh(SubscriptionToken::Verified(claims)), &channel, &user, NOW);
        recorded.check(case, &Request { subscribed: true, ..request });
    }
    recorded.check(
        "subrefresh-no-channel",
        &Request::new(Action::SubRefresh(SubscriptionToken::Invalid), "", "u", NOW),
    );
}

#[test]
fn publishing() {
    let recorded = Recorded::load();
    for namespace in ["open", "pub", "pubsub", "pubanon", "pubboth"] {
        for subscribed in [false, true] {
            for anonymous in [false, true] {
                let case = format!(
                    "publish-{namespace}-{}-{}",
                    if subscribed { "sub" } else { "nosub" },
                    if anonymous { "anon" } else { "user" }
                );
                let user = if anonymous { String::new() } else { user(&case) };
                let channel = channel(&case, namespace);
                let request = Request::new(publish(br#"{"n":1}"#), &channel, &user, NOW);
                recorded.check(&case, &Request { subscribed, ..request });
            }
        }
    }
    for (case, template, kind) in [
        ("publish-unknown-ns", "nope:x", 0),
        ("publish-empty-channel", "", 0),
        ("publish-no-namespace", "@", 0),
        ("publish-len-256", "pub:%", 0),
        ("publish-nonascii", "pub:é", 0),
        ("publish-private", "$pub:@", 0),
        ("publish-unsubscribed-private", "$pubsub:@", 0),
        ("publish-userlimited", "user:a#zz", 0),
        ("publish-userlimited-own", "user:a#~", 0),
        ("publish-regex-bad", "regex:ABC", 0),
        ("publish-type-1", "pub:@", 1),
        ("publish-key", "pub:@", 0),
    ] {
        let user = user(case);
        let channel =
            template.replace('@', &format!("{case}-R")).replace('~', &user).replace('%', &"x".repeat(252));
        let action = Action::Publish(PublishFacts { kind, data: b"1" });
        recorded.check(case, &Request::new(action, &channel, &user, NOW));
    }
}

#[test]
fn formats_of_publications() {
    let recorded = Recorded::load();
    for namespace in ["pub", "fjson", "fobj", "fbin"] {
        for (name, data) in [
            ("object", &br#"{"a":1}"#[..]),
            ("string", br#""x""#),
            ("number", b"5"),
            ("array", b"[1]"),
            ("empty-string", br#""""#),
            ("null", b"null"),
        ] {
            let case = format!("publish-format-{namespace}-{name}");
            let (channel, user) = (channel(&case, namespace), user(&case));
            let request = Request::new(publish(data), &channel, &user, NOW);
            recorded.check(&case, &Request { subscribed: true, ..request });
        }
        // Those by Protobuf: the publisher is connection P.
        for (name, data) in [("binary", &b"\x00\x01hi"[..]), ("empty-bytes", b"")] {
            let case = format!("publish-format-{namespace}-{name}-pb");
            let refused =
                recorded.lane(&case, "P").iter().find_map(|event| event["rx"]["error"]["code"].as_u64());
            let channel = channel(&case, namespace);
            let request = Request::new(publish(data), &channel, "u", NOW);
            let decision = decide(&recorded.rules, &request);
            assert_eq!(decision.code().map(u64::from), refused, "{case}");
        }
    }
    let (channel, user) = (channel("publish-no-data", "pub"), user("publish-no-data"));
    recorded.check("publish-no-data", &Request::new(publish(b""), &channel, &user, NOW));
}

#[test]
fn where_spinward_differs_on_purpose() {
    let recorded = Recorded::load();
    // An empty list names nobody; there it lets the anonymous client in.
    assert_eq!(recorded.answer("sub-userlimited-anon-empty"), Answer::Result(json!({})));
    let decision_of = |request| {
        let decision = decide(&recorded.rules, &request);
        decision.code()
    };
    assert_eq!(decision_of(Request::new(plain(), "user:a#", "", NOW)), Some(103));
}

#[test]
fn subscription_types_that_do_not_exist() {
    let recorded = Recorded::load();
    let check = |case: &str, kind| {
        let action = subscribe(SubscriptionToken::None, Wishes { kind, ..Wishes::default() });
        recorded.check(case, &Request::new(action, "open:x", "u", NOW));
    };
    check("sub-option-type-99", 99);
    check("wire-fault-type-5", 5);
    check("wire-fault-type-minus", -1);
}

/// A call of the server API.
#[derive(Clone, Copy)]
enum Called {
    Publish(&'static [u8]),
    Presence,
    History,
    Unsubscribe,
}

#[test]
fn calls_of_the_server_api() {
    let recorded = Recorded::load();
    let recorded_code = |case: &str| {
        let answer = &recorded.lane(case, "api")[0]["http"];
        assert_eq!(answer["status"], 200, "{case}");
        answer["body"]["error"]["code"].as_u64()
    };
    let expect = |case: &str, code: Option<u32>| {
        assert_eq!(code.map(u64::from), recorded_code(case), "{case}");
    };
    let check = |call: Called, channel: &str| match call {
        Called::Publish(data) => {
            let publish = api::Publish { data, skip_history: false, delta: false };
            code(&api::check(&recorded.rules, channel, publish))
        }
        Called::Presence => code(&api::check(&recorded.rules, channel, api::Presence)),
        Called::History => code(&api::check(&recorded.rules, channel, api::History)),
        Called::Unsubscribe => code(&api::check(&recorded.rules, channel, api::Unsubscribe)),
    };
    for (case, channel, data) in [
        ("api-publish-channel-empty", "", &b"1"[..]),
        ("api-publish-no-channel", "", b"1"),
        ("api-publish-no-data", "open:x", b""),
        ("api-publish-no-namespace", "zz", b"1"),
        ("api-publish-private", "$open:x", b"1"),
        ("api-publish-unknown-ns", "nope:x", b"1"),
        ("api-publish-format-fbin-binary", "fbin:x", b"\x00"),
        ("api-publish-format-fbin-empty", "fbin:x", b""),
        ("api-publish-format-fjson-binary", "fjson:x", b"\x00"),
        ("api-publish-format-fjson-empty", "fjson:x", b""),
        ("api-publish-format-fjson-number", "fjson:x", b"5"),
        ("api-publish-format-fobj-number", "fobj:x", b"5"),
        ("api-publish-format-fobj-object", "fobj:x", b"{}"),
        ("api-publish-format-fobj-empty", "fobj:x", b""),
    ] {
        expect(case, check(Called::Publish(data), channel));
    }
    for (method, call, on) in [
        ("presence", Called::Presence, "pres"),
        ("presence_stats", Called::Presence, "pres"),
        ("history", Called::History, "hist"),
        ("history_remove", Called::History, "hist"),
    ] {
        expect(&format!("api-{method}-channel-empty"), check(call, ""));
        expect(&format!("api-{method}-unknown-ns"), check(call, "nope:x"));
        expect(&format!("api-{method}-off"), check(call, "open:x"));
        expect(&format!("api-{method}-no-namespace"), check(call, "zz"));
        expect(&format!("api-{method}-nobody"), check(call, &format!("{on}:x")));
        expect(&format!("api-{method}-private"), check(call, &format!("${on}:x")));
        expect(&format!("api-{method}-long"), check(call, &format!("{on}:{}", "x".repeat(300))));
    }
    expect("api-unsubscribe-unknown-ns", check(Called::Unsubscribe, "nope:x"));
    expect("api-unsubscribe-nobody", check(Called::Unsubscribe, "open:x"));
    for (case, channel) in [
        ("api-subscribe-channel-empty", ""),
        ("api-subscribe-unknown-ns", "nope:x"),
        ("api-subscribe-nobody", "open:x"),
    ] {
        let wanted = server_side::ServerSide::new(Source::ServerApi);
        expect(case, code(&server_side::server_side(&recorded.rules, channel, &wanted)));
    }
}
