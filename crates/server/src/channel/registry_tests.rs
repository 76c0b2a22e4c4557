use super::*;

fn registry(json: serde_json::Value) -> Result<Registry, BuildError> {
    Registry::new(&serde_json::from_value(json).unwrap())
}

#[test]
fn names_resolve_to_their_namespace() {
    let registry = registry(
        serde_json::json!({"namespaces": [{"name": "news", "presence": true}, {"name": "a.b-c_1"}]}),
    )
    .unwrap();
    let found = |channel: &str| registry.resolve(channel).namespace.map(|n| n.name().to_owned());
    assert_eq!(found("news:x"), Some("news".to_owned()));
    assert_eq!(found("$news:x"), Some("news".to_owned()));
    assert_eq!(found("news:a:b"), Some("news".to_owned()));
    assert_eq!(found("a.b-c_1:"), Some("a.b-c_1".to_owned()));
    assert_eq!(found("x"), Some(String::new()));
    assert_eq!(found(":x"), Some(String::new()));
    assert_eq!(found(""), Some(String::new()));
    assert_eq!(found("News:x"), None);
    assert_eq!(found("$$news:x"), None);
    assert_eq!(found("a#b:x"), None);
    assert!(registry.named("news").unwrap().options().presence);
    assert_eq!(registry.iter().count(), 3);
}

#[test]
fn what_a_namespace_does_not_say_comes_from_the_section() {
    let registry = registry(serde_json::json!({
        "history_meta_ttl": "2h", "publication_data_format": "json_object", "max_length": 0,
        "namespaces": [{"name": "own", "history_meta_ttl": "1h", "publication_data_format": "binary"}, {"name": "none"}],
    }))
    .unwrap();
    let own = registry.named("own").unwrap().options();
    assert_eq!(
        (own.history_meta_ttl.get().as_secs(), own.publication_data_format),
        (3600, PublicationFormat::Binary)
    );
    let none = registry.named("none").unwrap().options();
    assert_eq!(
        (none.history_meta_ttl.get().as_secs(), none.publication_data_format),
        (7200, PublicationFormat::JsonObject)
    );
    assert_eq!(registry.syntax().max_length, 255);
}

#[test]
fn contradictions_name_the_option() {
    for (json, expected) in [
        (serde_json::json!({"namespaces": [{"name": "x"}]}), "channel.namespaces"),
        (serde_json::json!({"namespaces": [{"name": "a b"}]}), "channel.namespaces"),
        (
            serde_json::json!({"namespaces": [{"name": "aa"}, {"name": "bb"}, {"name": "aa"}]}),
            "is there twice",
        ),
        (
            serde_json::json!({"without_namespace": {"history_size": 1}}),
            "channel.without_namespace.history_ttl must be set",
        ),
        (
            serde_json::json!({"without_namespace": {"history_ttl": "1s"}}),
            "channel.without_namespace.history_size",
        ),
        (
            serde_json::json!({"namespaces": [{"name": "aa", "history_size": 1, "history_ttl": "2s", "history_meta_ttl": "1s"}]}),
            "channel.namespaces[aa].history_ttl",
        ),
        (
            serde_json::json!({"namespaces": [{"name": "aa", "force_recovery": true}]}),
            "aa].force_recovery needs",
        ),
        (
            serde_json::json!({"namespaces": [{"name": "aa", "auto_cache_recover": true}]}),
            "aa].auto_cache_recover",
        ),
        (
            serde_json::json!({"namespaces": [{"name": "aa", "subscribe_stream_proxy_enabled": true, "publish_proxy_enabled": true}]}),
            "aa].subscribe_stream_proxy_enabled",
        ),
        (
            serde_json::json!({"namespaces": [{"name": "aa", "pattern": "/a"}]}),
            "aa].pattern needs channel.patterns",
        ),
        (
            serde_json::json!({"namespaces": [{"name": "aa", "channel_regex": "("}]}),
            "channel.namespaces[aa].channel_regex: \"(\" is not a regular expression",
        ),
        (
            serde_json::json!({"patterns": true, "namespaces": [{"name": "aa", "pattern": "a"}]}),
            "aa].pattern: ",
        ),
        (
            serde_json::json!({"patterns": true, "namespaces": [{"name": "aa", "pattern": "/:a"}, {"name": "bb", "pattern": "/:b"}]}),
            "channel.namespaces[bb].pattern matches the same channels as channel.namespaces[aa]",
        ),
    ] {
        let error = registry(json.clone()).expect_err(&json.to_string()).to_string();
        assert!(error.contains(expected), "{json}: {error}");
    }
}

#[test]
fn paths_resolve_by_pattern_alone() {
    let registry = registry(serde_json::json!({
        "patterns": true,
        "without_namespace": {"presence": true},
        "namespaces": [
            {"name": "any", "pattern": "/users/:name"}, {"name": "me", "pattern": "/users/me"},
            {"name": "bot", "pattern": "/users/bot-:id"}, {"name": "plain"},
        ],
    }))
    .unwrap();
    let found = |channel: &str| registry.resolve(channel).namespace.map(|n| n.name().to_owned());
    assert_eq!(found("/users/me").as_deref(), Some("me"));
    assert_eq!(found("/users/bot-7").as_deref(), Some("bot"));
    assert_eq!(found("/users/bot-").as_deref(), Some("any"));
    assert_eq!(found("$/users/ann").as_deref(), Some("any"));
    // A colon in a path is not a namespace boundary, and a pattern that does not match falls to nothing else.
    assert_eq!(found("/plain:x"), None);
    assert_eq!(found("/users/a/b"), None);
    assert_eq!(found("plain:/users/me").as_deref(), Some("plain"));
    // A namespace with a pattern is not reached by its name.
    assert_eq!(found("any:x"), None);
    let resolved = registry.resolve("/users/é");
    assert_eq!(resolved.namespace.unwrap().check_form(&resolved.name), Err(NameFault::NotAscii));
}

#[test]
fn a_regex_sees_the_rest_and_decides_alone() {
    let registry = registry(serde_json::json!({
        "without_namespace": {"channel_regex": "^[a-z]+$"},
        "namespaces": [{"name": "re", "channel_regex": "^[a-zé]+$"}, {"name": "plain"}],
    }))
    .unwrap();
    let check = |channel: &str| {
        let resolved = registry.resolve(channel);
        resolved.namespace.unwrap().check_form(&resolved.name)
    };
    assert_eq!(check("re:é"), Ok(()));
    assert_eq!(check("$re:é"), Ok(()));
    assert_eq!(check("re:A"), Err(NameFault::Regex));
    assert_eq!(check("plain:é"), Err(NameFault::NotAscii));
    assert_eq!(check("plain:A b\u{1}"), Ok(()));
    // Without a namespace the private prefix is part of what the expression sees.
    assert_eq!(check("abc"), Ok(()));
    assert_eq!(check("$abc"), Err(NameFault::Regex));
}

#[test]
fn length_is_counted_in_bytes() {
    let registry = registry(serde_json::json!({"max_length": 4})).unwrap();
    assert_eq!(registry.check_length(""), Err(NameFault::Empty));
    assert_eq!(registry.check_length("abcd"), Ok(()));
    assert_eq!(registry.check_length("éé"), Ok(()));
    assert_eq!(registry.check_length("éée"), Err(NameFault::TooLong));
}
