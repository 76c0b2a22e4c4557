//! Subscriptions that the application makes.

use super::server_side::{PersonalFault, ServerSide, personal, requested, server_side};
use super::*;
use bytes::Bytes;

#[test]
fn the_application_needs_no_permission_but_a_namespace() {
    let rules = rules(json!({"namespaces": [{"name": "deny"}, {"name": "map", "subscription_type": "map"}]}));
    for (channel, code) in [
        ("deny:x", None),
        ("$deny:x", None),
        ("deny:é", None),
        ("x", None),
        ("deny:a#someone", None),
        ("nope:x", Some(102)),
        ("", Some(107)),
        ("map:x", Some(107)),
    ] {
        for source in [Source::ConnectionToken, Source::ServerApi] {
            let decided = server_side(&rules, channel, &ServerSide::new(source));
            assert_eq!(super::code(&decided), code, "{channel}");
            if let Ok(grant) = decided {
                assert_eq!(grant.source, source);
            }
        }
    }
}

#[test]
fn overrides_hold_over_the_namespace() {
    let rules = one(json!({
        "presence": true, "history_size": 1, "history_ttl": "1s", "force_recovery": true,
        "force_recovery_mode": "cache", "auto_cache_recover": true, "allowed_delta_types": ["fossil"],
        "allow_tags_filter": true,
    }));
    let (info, data) = (Bytes::from_static(b"1"), Bytes::from_static(b"2"));
    let wanted = ServerSide {
        overrides: Override {
            presence: Some(false.into()),
            force_push_join_leave: Some(true.into()),
            ..Override::NONE
        },
        expire_at: NOW + 1,
        info: Some(&info),
        data: Some(&data),
        ..ServerSide::new(Source::ConnectionToken)
    };
    let grant = server_side(&rules, "ns:x", &wanted).unwrap();
    assert!(!grant.presence && grant.push_join_leave && grant.recovery && grant.auto_cache_recover);
    assert_eq!((grant.expire_at, grant.info, grant.data), (NOW + 1, Some(&info), Some(&data)));
    // A connect may ask for deltas; for a filter there is no place.
    assert!(grant.delta && !grant.tags_filter);
    let by_api = server_side(&rules, "ns:x", &ServerSide::new(Source::ServerApi)).unwrap();
    assert!(by_api.recovery && !by_api.auto_cache_recover);
    let overrides = Override { force_recovery: Some(false.into()), ..Override::NONE };
    let off = ServerSide { overrides, ..ServerSide::new(Source::ConnectionToken) };
    let grant = server_side(&rules, "ns:x", &off).unwrap();
    assert!(!grant.recovery && !grant.auto_cache_recover);
}

#[test]
fn personal_channels() {
    let rules = one(json!({"presence": true}));
    let made = |namespace, user| personal(&rules, namespace, user).unwrap().unwrap();
    let (channel, decision) = made("ns", "42");
    assert_eq!(channel, "ns:#42");
    let grant = decision.unwrap();
    assert!(grant.presence);
    assert_eq!(grant.source, Source::UserPersonal);
    assert_eq!(made("", "42").0, "#42");
    assert_eq!(code(&made("nope", "42").1), Some(102));
    assert_eq!(personal(&rules, "ns", ""), Ok(None));
}

#[test]
fn a_personal_channel_is_of_one_user() {
    let rules = rules(json!({"namespaces": [
        {"name": "limited", "allow_user_limited_channels": true}, {"name": "plain"},
    ], "without_namespace": {"allow_user_limited_channels": true}}));
    let made =
        |namespace, user| personal(&rules, namespace, user).map(|made| made.map(|(channel, _)| channel));
    let ok = |channel: &str| Ok(Some(channel.to_owned()));
    // Other users may subscribe to a name that lists them.
    for user in ["bob#1234", "a,b", ",", "bob#", "#"] {
        assert_eq!(made("limited", user), Err(PersonalFault::Users), "{user}");
        assert_eq!(made("", user), Err(PersonalFault::Users), "{user}");
        assert_eq!(made("plain", user), ok(&format!("plain:#{user}")), "nobody can be listed there");
    }
    // The namespace goes to the first boundary.
    for user in ["did:plc:abc", "a:b", ":"] {
        assert_eq!(made("", user), Err(PersonalFault::Namespace), "{user}");
        assert_eq!(made("limited", user), ok(&format!("limited:#{user}")));
    }
    for user in ["bob@example.com", "auth0|1", "$1", "/x", " ", "\u{e9}"] {
        assert_eq!(made("", user), ok(&format!("#{user}")));
    }
}

#[test]
fn other_marks_are_looked_at_as_well() {
    let channels = |marks: Value| {
        let mut all = json!({"without_namespace": {"allow_user_limited_channels": true}});
        all.as_object_mut().unwrap().extend(marks.as_object().unwrap().clone());
        rules(all)
    };
    let fault = |rules: &Rules, user| personal(rules, "", user).err();
    let doubled = channels(json!({"user_boundary": "##"}));
    assert_eq!(fault(&doubled, "#x"), Some(PersonalFault::Users), "the last two marks are taken");
    assert_eq!(fault(&doubled, "x#y"), None);
    let unseparated = channels(json!({"user_separator": ""}));
    assert_eq!(fault(&unseparated, "a,b"), None);
    let unbounded = channels(json!({"user_boundary": ""}));
    assert_eq!(fault(&unbounded, "news"), Some(PersonalFault::Boundary), "it could be any channel");
}

#[test]
fn a_unidirectional_client_gets_what_it_could_subscribe_to() {
    let rules = rules(json!({"namespaces": [
        {"name": "open", "allow_subscribe_for_client": true, "allowed_delta_types": ["fossil"],
         "allow_tags_filter": true},
        {"name": "list", "allow_user_limited_channels": true}, {"name": "deny"},
    ]}));
    for (channel, user, code) in [
        ("open:x", "u", None),
        ("open:x", "", Some(103)),
        ("list:x#u", "u", None),
        ("list:x#", "", Some(103)),
        ("deny:x", "u", Some(103)),
        ("$open:x", "u", Some(103)),
        ("open:é", "u", Some(107)),
        ("nope:x", "u", Some(3501)),
        ("", "u", Some(3501)),
    ] {
        let request = Request::new(SubscribeFacts::default(), channel, user, NOW);
        let decision = requested(decide(&rules, &request));
        assert_eq!(decision.code(), code, "{channel} {user}");
        if let Some(grant) = decision.grant() {
            assert_eq!((grant.source, grant.tags_filter), (Source::UniConnect, false));
        }
    }
}

#[test]
fn api_grants_follow_the_parameters() {
    let rules = one(json!({"history_size": 3, "history_ttl": "1s"}));
    let grant = |skip_history, delta| {
        api::check(&rules, "ns:x", api::Publish { data: b"{}", skip_history, delta }).unwrap()
    };
    assert_eq!((grant(false, false).history.size, grant(false, false).delta), (3, false));
    assert_eq!((grant(true, true).history.size, grant(true, true).delta), (0, true));
    assert!(grant(true, false).history.ttl.is_zero());
}

#[test]
fn the_server_api_publishes_into_streams_alone() {
    let rules = one(json!({"subscription_type": "shared_poll"}));
    let call = api::Publish { data: b"1", skip_history: false, delta: false };
    assert_eq!(code(&api::check(&rules, "ns:x", call)), Some(107));
}
