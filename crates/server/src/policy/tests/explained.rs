//! Decisions in words.

use super::explain::explain;
use super::*;

fn explained(rules: &Rules, request: &Request<'_>) -> Explanation {
    explain(rules, request, &decide_after(rules, request, &Reply::NoProxy))
}

#[test]
fn a_refusal_says_what_to_change() {
    let rules = rules(json!({"max_length": 30, "namespaces": [
        {"name": "news"},
        {"name": "half", "allow_subscribe_for_client": true, "allow_publish_for_subscriber": true},
        {"name": "list", "allow_user_limited_channels": true, "allow_subscribe_for_client": true},
        {"name": "re", "channel_regex": "^[a-z]+$"},
        {"name": "ask", "subscribe_proxy_enabled": true},
    ]}));
    let change = |channel: &str, user: &str, action: Action<'_>| {
        explained(&rules, &Request::new(action, channel, user, NOW)).change
    };
    let has = |changes: Vec<String>, wanted: &str| {
        assert!(changes.iter().any(|change| change.contains(wanted)), "{wanted:?} is not in {changes:?}");
    };
    has(change("news:x", "u", plain()), "set channel.namespaces[news].allow_subscribe_for_client to true");
    has(change("news:x", "", plain()), "channel.namespaces[news].allow_subscribe_for_anonymous to true");
    has(
        change("half:x", "", plain()),
        "log in, or set channel.namespaces[half].allow_subscribe_for_anonymous",
    );
    has(change("half:x", "u", publish(b"1")), "subscribe to the channel first");
    has(change("news:x", "u", publish(b"1")), "channel.namespaces[news].allow_publish_for_client to true");
    has(change("news:x", "u", publish(b"")), "change channel.namespaces[news].publication_data_format");
    has(change("list:x#v", "u", plain()), "use a channel whose name lists the user");
    has(change("list:x#", "", plain()), "log in: the anonymous user is in no user-limited channel");
    has(change("news:x#u", "u", plain()), "set channel.namespaces[news].allow_user_limited_channels to true");
    has(change("x", "u", plain()), "set channel.without_namespace.allow_subscribe_for_client to true");
    has(change("nope:x", "u", plain()), "add a namespace \"nope\" to channel.namespaces");
    has(change("re:A", "u", plain()), "change channel.namespaces[re].channel_regex");
    has(change("ask:x", "u", plain()), "set channel.namespaces[ask].subscribe_proxy_enabled to false");
    has(change("news:x", "u", Action::History), "set channel.namespaces[news].history_size");
    has(change("news:x", "u", Action::PresenceStats), "set channel.namespaces[news].presence to true");
    has(change("$news:x", "u", plain()), "make a subscription token for this channel and user");
    has(change("news:0123456789012345678901234567890", "u", plain()), "raise channel.max_length");
    // What would not help is not proposed.
    let changes = change("list:x#v", "u", plain());
    assert!(!changes.iter().any(|change| change.contains("allow_subscribe_for_client")), "{changes:?}");
}

#[test]
fn a_token_for_another_is_named_and_not_shown() {
    let rules = one(json!({}));
    let claims = TokenClaims::new("v", "ns:x");
    let action = subscribe(SubscriptionToken::Verified(claims), Wishes::default());
    let explanation = explained(&rules, &Request::new(action, "ns:x", "u", NOW));
    assert_eq!((explanation.rule.as_ref(), explanation.code), ("subscription_token_user", Some(3500)));
    assert_eq!(explanation.reason, "the subscription token is for user \"v\"");
    assert_eq!(explanation.change, ["make a subscription token with sub \"u\""]);
}

#[test]
fn text_and_json_say_the_same() {
    let rules = one(json!({"allow_subscribe_for_client": true, "presence": true}));
    let explanation = explained(&rules, &Request::new(plain(), "ns:x", "", NOW));
    let json = serde_json::to_value(&explanation).unwrap();
    assert_eq!(json["verdict"], "error");
    assert_eq!(json["code"], 103);
    assert_eq!(json["message"], "permission denied");
    assert_eq!(json["rule"], "nothing_allows");
    assert_eq!(json["namespace"], "channel.namespaces[ns]");
    let steps = json["trail"].as_array().unwrap();
    assert!(
        steps.contains(&json!({"rule": "allow_subscribe_for_client", "outcome": "anonymous"})),
        "{steps:?}"
    );
    let text = explanation.to_string();
    assert!(
        text.starts_with("subscribe in \"ns:x\" by the anonymous user: error 103 (permission denied)"),
        "{text}"
    );
    assert!(
        text.contains("to allow it: ") && text.contains("allow_subscribe_for_anonymous to true"),
        "{text}"
    );

    let allowed = explained(&rules, &Request::new(plain(), "ns:x", "u", NOW));
    let json = serde_json::to_value(&allowed).unwrap();
    assert_eq!((&json["verdict"], &json["rule"]), (&json!("allow"), &json!("allow_subscribe_for_client")));
    assert_eq!(json["granted"], json!(["presence"]));
    assert!(json.get("code").is_none() && json.get("change").is_none());
}

#[test]
fn following_the_advice_helps() {
    // Each option that is proposed, switched on alone (or with its partner), allows it.
    for action in [plain(), publish(b"{}"), Action::Presence, Action::History] {
        for user in ["u", ""] {
            let base = json!({"presence": true, "history_size": 1, "history_ttl": "1s"});
            let request = Request {
                subscribed: !matches!(action, Action::Subscribe(_)),
                ..Request::new(action.clone(), "ns:x", user, NOW)
            };
            let changes = explained(&one(base.clone()), &request).change;
            let mut followed = 0;
            for change in changes.iter().filter(|change| change.starts_with("set ")) {
                let mut options = base.clone();
                for word in change.split_whitespace() {
                    if let Some(option) = word.strip_prefix("channel.namespaces[ns].") {
                        options[option] = json!(true);
                    }
                }
                let rules = one(options);
                assert_eq!(decide(&rules, &request).code(), None, "{change}");
                followed += 1;
            }
            assert!(followed > 0, "{changes:?}");
        }
    }
}

#[test]
fn ids_are_unique() {
    let mut ids: Vec<&str> = Rule::ALL.iter().map(|rule| rule.id()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), Rule::ALL.len());
}
