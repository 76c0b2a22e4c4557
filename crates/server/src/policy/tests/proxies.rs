//! Decisions that a proxy has a part in.

use super::explain::explain;
use super::*;
use bytes::Bytes;
use spinward_wire::code::{DisconnectCode, ErrorCode};

const OPEN: [&str; 3] =
    ["allow_subscribe_for_client", "allow_publish_for_client", "allow_user_limited_channels"];

/// Rules by which everything is allowed, but for a proxy.
fn proxied(option: &str) -> Rules {
    let mut options = json!({ "allow_positioning": true, "allow_recovery": true, "join_leave": true,
        "allow_presence_for_client": true, "history_size": 3, "history_ttl": "1s",
        option: true, option.replace("_enabled", "_name"): "back" });
    for open in OPEN {
        options[open] = json!(true);
    }
    Rules { insecure: true, ..one(options) }
}

fn subscribing<'a>(channel: &'a str, wishes: Wishes<'a>) -> Request<'a, SubscribeFacts<'a>> {
    Request::new(SubscribeFacts { token: SubscriptionToken::None, wishes }, channel, "u", NOW)
}

fn publishing(data: &[u8]) -> Request<'_, PublishFacts<'_>> {
    Request::new(PublishFacts { kind: 0, data }, "ns:x", "u", NOW)
}

#[test]
fn a_namespace_has_its_proxy_asked_before_any_option_allows() {
    let wishes = Wishes::default();
    for (option, subscribe, publish) in [
        ("subscribe_proxy_enabled", Some(ProxyKind::Subscribe), None),
        ("subscribe_stream_proxy_enabled", Some(ProxyKind::SubscribeStream), None),
        ("publish_proxy_enabled", None, Some(ProxyKind::Publish)),
    ] {
        let rules = proxied(option);
        let asks = |verdict: &Verdict<SubscribeGrant<'_>>| match verdict {
            Verdict::Ask(ask) => {
                assert_eq!(ask.name(), "back");
                Some(ask.kind)
            }
            Verdict::Allow(_) => None,
            other => panic!("{option}: {other:?}"),
        };
        assert_eq!(asks(&decide(&rules, &subscribing("ns:x", wishes)).verdict), subscribe, "{option}");
        let decided = decide(&rules, &publishing(b"{}"));
        match (publish, &decided.verdict) {
            (Some(kind), Verdict::Ask(ask)) => assert_eq!((ask.kind, ask.name()), (kind, "back")),
            (None, Verdict::Allow(_)) => assert_ne!(option, "subscribe_stream_proxy_enabled"),
            // Nothing but the subscriber's own stream could take the publication.
            (None, Verdict::Error(code)) => {
                assert_eq!((option, code.code), ("subscribe_stream_proxy_enabled", 108));
            }
            other => panic!("{option}: {other:?}"),
        }
        // Without a proxy the answer is a refusal, and not what the options allow.
        let none = Reply::NoProxy;
        let code = decide_after(&rules, &subscribing("ns:x", wishes), &none).code();
        assert_eq!(code, subscribe.map(|_| 108), "{option}");
        let code = decide_after(&rules, &publishing(b"{}"), &Reply::NoProxy).code();
        assert_eq!(code, (option != "subscribe_proxy_enabled").then_some(108), "{option}");
        // Neither a listed user nor a token is a matter for the back end.
        assert_eq!(asks(&decide(&rules, &subscribing("ns:x#u", wishes)).verdict), None, "{option}");
        let token = SubscriptionToken::Verified(TokenClaims::new("u", "ns:x"));
        let request = Request::new(SubscribeFacts { token, wishes }, "ns:x", "u", NOW);
        assert_eq!(asks(&decide(&rules, &request).verdict), None, "{option}");
    }
}

#[test]
fn what_is_wrong_with_the_request_itself_is_refused_without_asking() {
    let rules = proxied("publish_proxy_enabled");
    assert_eq!(decide(&rules, &publishing(b"")).code(), Some(107));
    let rules = proxied("subscribe_proxy_enabled");
    assert_eq!(decide(&rules, &subscribing("ns:\u{e9}", Wishes::default())).code(), Some(107));
    let strict = Rules { insecure: false, ..rules.clone() };
    assert_eq!(decide(&strict, &subscribing("ns:x#v", Wishes::default())).code(), Some(103));
    let token = SubscribeFacts { token: SubscriptionToken::Invalid, wishes: Wishes::default() };
    assert_eq!(decide(&rules, &Request::new(token, "ns:x", "u", NOW)).code(), Some(103));
}

#[test]
fn a_refusal_of_a_proxy_is_the_answer() {
    let rules = proxied("subscribe_proxy_enabled");
    let request = subscribing("ns:x", Wishes::default());
    let error = Reply::Error(ErrorCode::LIMIT_EXCEEDED);
    let decided = decide_after(&rules, &request, &error);
    assert_eq!((decided.code(), decided.rule), (Some(106), Rule::SubscribeProxy));
    assert_eq!(decided.trail.outcome(Rule::SubscribeProxy), Some(Outcome::Refuse));
    let end = Reply::Disconnect(DisconnectCode::FORCE_DISCONNECT);
    assert_eq!(decide_after(&rules, &request, &end).code(), Some(3503));
}

#[test]
fn a_proxy_alone_says_what_its_subscriptions_have() {
    let (info, data) = (Bytes::from_static(b"1"), Bytes::from_static(b"2"));
    let overrides = Override { force_positioning: Some(true.into()), ..Override::NONE };
    let result = SubscribeResult { expire_at: NOW + 9, info: Some(info), data: Some(data), overrides };
    let wishes = Wishes { positioned: true, recoverable: true, join_leave: true, ..Wishes::default() };
    // The options allow all three wishes, were it not for the proxy.
    let open = Rules {
        insecure: true,
        ..one(json!({ "allow_positioning": true, "allow_recovery": true,
        "allow_subscribe_for_client": true, "join_leave": true, "allow_presence_for_client": true }))
    };
    let own =
        granted(&decide(&open, &Request::new(subscribe(SubscriptionToken::None, wishes), "ns:x", "u", NOW)));
    assert!(own.positioning && own.recovery && own.push_join_leave);
    for (option, source, positioning) in [
        ("subscribe_proxy_enabled", Source::SubscribeProxy, true),
        ("subscribe_stream_proxy_enabled", Source::StreamProxy, false),
    ] {
        let (rules, reply) = (proxied(option), Reply::Result(result.clone()));
        let request = subscribing("ns:x", wishes);
        let decided = decide_after(&rules, &request, &reply);
        let grant = decided.grant().unwrap();
        assert_eq!((grant.source, grant.expire_at), (source, NOW + 9));
        assert_eq!((grant.info, grant.data), (result.info.as_ref(), result.data.as_ref()));
        assert_eq!((grant.positioning, grant.recovery, grant.push_join_leave), (positioning, false, false));
        assert_eq!(decided.trail.outcome(decided.rule), Some(Outcome::Allow));
    }
}

#[test]
fn a_proxy_may_keep_a_publication_out_of_history() {
    let rules = proxied("publish_proxy_enabled");
    for (skip_history, size) in [(false, 3), (true, 0)] {
        let reply = Reply::Result(PublishResult { skip_history, ..PublishResult::default() });
        let request = publishing(b"{}");
        let decided = decide_after(&rules, &request, &reply);
        assert_eq!(decided.grant().unwrap().history.size, size);
    }
}

#[test]
fn an_explanation_names_the_proxy() {
    let rules = proxied("subscribe_proxy_enabled");
    let request = subscribing("ns:x", Wishes::default());
    let told = explain(&rules, &request, &decide(&rules, &request));
    assert_eq!((told.verdict, told.code, told.rule.as_ref()), ("ask", None, "subscribe_proxy"));
    assert_eq!(
        told.reason,
        "channel.namespaces[ns].subscribe_proxy_enabled is on: the server asks the proxy \"back\""
    );
    let told = explain(&rules, &request, &decide_after(&rules, &request, &Reply::NoProxy));
    assert_eq!((told.verdict, told.code), ("error", Some(108)));
    assert_eq!(told.change, ["set channel.namespaces[ns].subscribe_proxy_enabled to false"]);
}
