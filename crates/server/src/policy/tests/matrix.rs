//! Every combination of options, subscription, login and action.

use super::*;

/// Every assignment of this many booleans.
fn every<const N: usize>() -> impl Iterator<Item = [bool; N]> {
    (0..1u32 << N).map(|bits| std::array::from_fn(|at| bits & (1 << at) != 0))
}

#[test]
fn publish_presence_and_history_by_every_option() {
    let caps = Capabilities::parse(r#"[{"channels":["ns:x"],"allow":["pub","hst","prs"]}]"#).unwrap();
    let others = Capabilities::parse(
        r#"[{"channels":["ns:y"],"allow":["pub","hst","prs"]},{"channels":["ns:x"],"allow":["sub"]}]"#,
    )
    .unwrap();
    let actions = [
        ("publish", publish(b"{}")),
        ("presence", Action::Presence),
        ("presence", Action::PresenceStats),
        ("history", Action::History),
    ];
    let mut cells = 0;
    for (name, action) in actions {
        for [client, subscriber, for_anonymous, insecure] in every() {
            let mut rules = one(json!({
                "presence": true, "history_size": 1, "history_ttl": "1s",
                format!("allow_{name}_for_client"): client,
                format!("allow_{name}_for_subscriber"): subscriber,
                format!("allow_{name}_for_anonymous"): for_anonymous,
            }));
            rules.insecure = insecure;
            for [subscribed, anonymous, capable, token] in every() {
                let allow = Allow::PUBLISH.union(Allow::HISTORY).union(Allow::PRESENCE);
                let request = Request {
                    subscribed,
                    capabilities: Some(if capable { &caps } else { &others }),
                    subscription_allow: if token { allow } else { Allow::SUBSCRIBE },
                    ..Request::new(action.clone(), "ns:x", if anonymous { "" } else { "u" }, NOW)
                };
                let decision = decide(&rules, &request);
                let known = !anonymous || for_anonymous;
                let expected = if client && known {
                    format!("allow_{name}_for_client")
                } else if subscriber && subscribed && known {
                    format!("allow_{name}_for_subscriber")
                } else if token && subscribed {
                    "subscription_token_allow".to_owned()
                } else if capable {
                    "connection_capability".to_owned()
                } else if insecure {
                    "client_insecure".to_owned()
                } else {
                    "nothing_allows".to_owned()
                };
                assert_eq!(decision.rule.id(), expected, "{request:?} {:?}", decision.trail);
                let code = (expected == "nothing_allows").then_some(103);
                assert_eq!(decision.code(), code);
                cells += 1;
            }
        }
    }
    assert_eq!(cells, 4 * 16 * 16);
}

#[test]
fn subscribe_by_every_option() {
    let caps = Capabilities::parse(r#"[{"channels":["*"],"match":"wildcard","allow":["sub"]}]"#).unwrap();
    let mut cells = 0;
    for [client, for_anonymous, user_limited, insecure] in every() {
        let mut rules = one(json!({
            "allow_subscribe_for_client": client,
            "allow_subscribe_for_anonymous": for_anonymous,
            "allow_user_limited_channels": user_limited,
        }));
        rules.insecure = insecure;
        for channel in ["ns:x", "ns:x#u", "ns:x#v", "ns:x#", "$ns:x", "$ns:x#u"] {
            for [anonymous, capable] in every() {
                for token in 0..4 {
                    let user = if anonymous { "" } else { "u" };
                    let facts = match token {
                        0 => SubscriptionToken::None,
                        1 => SubscriptionToken::Expired,
                        2 => SubscriptionToken::Invalid,
                        _ => SubscriptionToken::Verified(TokenClaims::new(user, channel)),
                    };
                    let request = Request {
                        capabilities: capable.then_some(&caps),
                        ..Request::new(subscribe(facts, Wishes::default()), channel, user, NOW)
                    };
                    let decision = decide(&rules, &request);
                    let limited = user_limited && channel.contains('#');
                    let expected = match token {
                        0 if channel.starts_with('$') => ("private_channel", Some(103)),
                        1 => ("subscription_token", Some(109)),
                        2 => ("subscription_token", Some(103)),
                        3 => ("subscription_token", None),
                        _ if limited && channel.ends_with("#u") && !anonymous => {
                            ("user_limited_channel", None)
                        }
                        _ if capable && !limited => ("connection_capability", None),
                        _ if client && !limited && (!anonymous || for_anonymous) => {
                            ("allow_subscribe_for_client", None)
                        }
                        _ if insecure => ("client_insecure", None),
                        _ => ("nothing_allows", Some(103)),
                    };
                    assert_eq!(
                        (decision.rule.id(), decision.code()),
                        expected,
                        "{request:?} {:?}",
                        decision.trail
                    );
                    cells += 1;
                }
            }
        }
    }
    assert_eq!(cells, 16 * 6 * 4 * 4);
}

#[test]
fn a_feature_that_is_off_is_told_before_the_permission() {
    for (allowed, on, code) in
        [(false, false, Some(108)), (true, false, Some(108)), (false, true, Some(103)), (true, true, None)]
    {
        let size = u32::from(on);
        let rules = one(json!({
            "presence": on, "history_size": size, "history_ttl": format!("{size}s"),
            "allow_presence_for_client": allowed, "allow_history_for_client": allowed,
        }));
        for action in [Action::Presence, Action::PresenceStats, Action::History] {
            let request = Request::new(action, "ns:x", "u", NOW);
            assert_eq!(decide(&rules, &request).code(), code, "{request:?}");
            let unknown = Request { channel: "other:x", ..request };
            assert_eq!(
                decide(&rules, &unknown).code(),
                Some(102),
                "an unknown namespace is told first of all"
            );
        }
    }
}

#[test]
fn what_is_granted_on_request() {
    for [force, allow, history_client, history_subscriber, history_anonymous, anonymous] in every() {
        let rules = one(json!({
            "allow_subscribe_for_client": true, "allow_subscribe_for_anonymous": true,
            "history_size": 1, "history_ttl": "1s",
            "force_positioning": force, "allow_positioning": allow,
            "force_recovery": force, "allow_recovery": allow,
            "allow_history_for_client": history_client, "allow_history_for_subscriber": history_subscriber,
            "allow_history_for_anonymous": history_anonymous,
        }));
        for [positioned, recoverable] in every() {
            let wishes = Wishes { positioned, recoverable, ..Wishes::default() };
            let action = subscribe(SubscriptionToken::None, wishes);
            let request = Request::new(action, "ns:x", if anonymous { "" } else { "u" }, NOW);
            let grant = granted(&decide(&rules, &request));
            let may = allow || (history_client || history_subscriber) && (!anonymous || history_anonymous);
            assert_eq!(grant.positioning, force || positioned && may, "{request:?}");
            assert_eq!(grant.recovery, force || recoverable && may, "{request:?}");
        }
    }
    for [made, forced, client, subscriber, for_anonymous, anonymous, asked] in every() {
        let rules = one(json!({
            "allow_subscribe_for_client": true, "allow_subscribe_for_anonymous": true,
            "join_leave": made, "force_push_join_leave": forced,
            "allow_presence_for_client": client, "allow_presence_for_subscriber": subscriber,
            "allow_presence_for_anonymous": for_anonymous,
        }));
        let wishes = Wishes { join_leave: asked, ..Wishes::default() };
        let action = subscribe(SubscriptionToken::None, wishes);
        let request = Request::new(action, "ns:x", if anonymous { "" } else { "u" }, NOW);
        let grant = granted(&decide(&rules, &request));
        let may = (client || subscriber) && (!anonymous || for_anonymous);
        assert_eq!(grant.push_join_leave, forced || asked && made && may, "{request:?}");
        assert_eq!(grant.join_leave, made);
    }
}

#[test]
fn tokens_and_capabilities_open_history_to_wishes() {
    let rules = one(json!({"history_size": 1, "history_ttl": "1s", "join_leave": true}));
    let wishes = Wishes { positioned: true, recoverable: true, join_leave: true, ..Wishes::default() };
    for (allow, history, presence) in
        [(Allow::NONE, false, false), (Allow::HISTORY, true, false), (Allow::PRESENCE, false, true)]
    {
        let claims = TokenClaims { allow, ..TokenClaims::new("u", "ns:x") };
        let request = Request::new(subscribe(SubscriptionToken::Verified(claims), wishes), "ns:x", "u", NOW);
        let grant = granted(&decide(&rules, &request));
        assert_eq!((grant.positioning, grant.recovery, grant.push_join_leave), (history, history, presence));
        assert_eq!(grant.allow, allow);
    }
    let caps = Capabilities::parse(r#"[{"channels":["ns:x"],"allow":["sub","hst"]}]"#).unwrap();
    let action = subscribe(SubscriptionToken::None, wishes);
    let request = Request { capabilities: Some(&caps), ..Request::new(action, "ns:x", "u", NOW) };
    let grant = granted(&decide(&rules, &request));
    assert_eq!(
        (grant.source, grant.recovery, grant.push_join_leave),
        (Source::ConnectionCapability, true, false)
    );
}

#[test]
fn grants_carry_what_the_namespace_says() {
    let rules = one(json!({
        "presence": true, "join_leave": true, "history_size": 7, "history_ttl": "60s", "history_meta_ttl": "2h",
        "force_recovery": true, "force_recovery_mode": "cache", "auto_cache_recover": true,
        "allowed_delta_types": ["fossil"], "delta_publish": true, "allow_tags_filter": true,
        "allow_subscribe_for_client": true, "allow_publish_for_client": true, "allow_history_for_client": true,
        "sub_refresh_proxy_enabled": true,
    }));
    let history = HistoryGrant {
        size: 7,
        ttl: std::time::Duration::from_secs(60),
        meta_ttl: std::time::Duration::from_secs(7200),
    };
    let grant = granted(&decide(&rules, &Request::new(plain(), "ns:x", "u", NOW)));
    assert!(grant.presence && grant.join_leave && grant.recovery && grant.auto_cache_recover);
    assert!(grant.delta && grant.tags_filter && grant.server_side_refresh);
    assert!(!grant.push_join_leave && !grant.positioning);
    assert_eq!((grant.history, grant.source, grant.expire_at), (history, Source::ClientAllowed, 0));
    assert_eq!(
        decide(&rules, &Request::new(publish(b"{}"), "ns:x", "u", NOW)).grant(),
        Some(&Grant::Publish(PublishGrant { history, delta: true }))
    );
    assert_eq!(
        decide(&rules, &Request::new(Action::History, "ns:x", "u", NOW)).grant(),
        Some(&Grant::History(history))
    );
    // Without recovery there is nothing to do by itself.
    let claims = TokenClaims {
        overrides: Override { force_recovery: Some(false.into()), ..Override::NONE },
        ..TokenClaims::new("u", "ns:x")
    };
    let action = subscribe(SubscriptionToken::Verified(claims), Wishes::default());
    assert!(!granted(&decide(&rules, &Request::new(action, "ns:x", "u", NOW))).auto_cache_recover);
}
