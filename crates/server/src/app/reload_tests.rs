use super::*;
use crate::config::catalogue::{Field, Kind, each, find};
use crate::config::from_tree;
use serde_json::json;

fn config(tree: Value) -> Config {
    from_tree(tree.as_object().unwrap().clone(), &Vars::default(), &[]).unwrap().config
}

fn merged(old: Value, new: Value) -> (Config, Changes) {
    let (running, changes) = merge(config(old).to_section(), &config(new).to_section());
    (serde_json::from_value(Value::Object(running)).unwrap(), changes)
}

fn names(list: &[&str]) -> Vec<String> {
    list.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn what_is_named_exists() {
    for path in LIVE.iter().chain(FIXED) {
        assert!(find(Config::fields(), path).is_some(), "{path}");
    }
    assert!(FIXED.iter().all(|path| !is_live(path)));
}

#[test]
fn what_can_be_exchanged_is_and_the_rest_stays_and_is_named() {
    let old = json!({
        "http_server": { "port": 8000 },
        "client": { "token": { "hmac_secret_key": "old" }, "ping_interval": "25s" },
        "channel": { "history_meta_ttl": "1h" },
        "http_api": { "key": "old", "handler_prefix": "/api" },
    });
    let new = json!({
        "http_server": { "port": 9000 },
        "client": {
            "token": { "hmac_secret_key": "new", "jwks_headers": { "a": "b" } }, "ping_interval": "30s",
            "channel_limit": 5, "allowed_origins": ["https://a.example"],
        },
        "channel": { "history_meta_ttl": "2h", "namespaces": [{ "name": "chat" }] },
        "http_api": { "key": "new", "handler_prefix": "/other" },
    });
    let (running, changes) = merged(old, new);
    let expected = [
        "channel.namespaces",
        "client.allowed_origins",
        "client.token.hmac_secret_key",
        "client.token.jwks_headers",
        "http_api.key",
    ];
    let fixed = [
        "channel.history_meta_ttl",
        "client.channel_limit",
        "client.ping_interval",
        "http_api.handler_prefix",
        "http_server.port",
    ];
    assert_eq!(sorted(changes.live), names(&expected));
    assert_eq!(sorted(changes.fixed), names(&fixed));
    let new = config(json!({
        "http_server": { "port": 8000 },
        "client": {
            "token": { "hmac_secret_key": "new", "jwks_headers": { "a": "b" } }, "ping_interval": "25s",
            "allowed_origins": ["https://a.example"],
        },
        "channel": { "history_meta_ttl": "1h", "namespaces": [{ "name": "chat" }] },
        "http_api": { "key": "new", "handler_prefix": "/api" },
    }));
    assert_eq!(running, new);
}

fn sorted(mut list: Vec<String>) -> Vec<String> {
    list.sort();
    list
}

#[test]
fn nothing_new_is_no_change() {
    let tree = json!({ "client": { "token": { "hmac_secret_key": "old" } }, "proxies": [] });
    let (running, changes) = merged(tree.clone(), tree.clone());
    assert_eq!((running, changes), (config(tree), Changes::default()));
}

/// Every configuration survives the way through its tree, lists and maps and flattened sections included.
#[test]
fn a_configuration_is_its_tree() {
    fn sections(fields: &'static [Field], path: &str, seen: &mut Vec<String>) {
        for field in each(fields) {
            let path = if path.is_empty() { field.name.to_owned() } else { format!("{path}.{}", field.name) };
            if let Kind::Section(inner) = field.kind {
                sections(inner(), &path, seen);
                seen.push(path);
            }
        }
    }
    let whole = config(json!({
        "client": { "token": { "issuers": [{ "name": "one", "issuer": "https://one", "hmac_secret_key": "k" }] },
            "revocation": { "max_entries": 5 } },
        "channel": { "namespaces": [{ "name": "chat", "history_size": 1, "history_ttl": "90s" }] },
    }));
    assert_eq!(serde_json::from_value::<Config>(Value::Object(whole.to_section())).unwrap(), whole);
    let mut seen = Vec::new();
    sections(Config::fields(), "", &mut seen);
    assert!(seen.len() > 50 && seen.iter().all(|path| is_section(path)));
}

#[test]
fn another_engine_of_a_namespace_is_named() {
    let tree = |outside: &str, chat: &str, more: Value| {
        let mut namespaces = vec![json!({ "name": "chat", "broker_name": chat })];
        namespaces.extend(more.as_array().cloned().unwrap_or_default());
        config(json!({
            "brokers": [{ "name": "n", "enabled": true, "type": "nats" }],
            "channel": { "without_namespace": { "presence_manager_name": outside }, "namespaces": namespaces },
            "presence_managers": [{ "name": "r", "enabled": true, "type": "redis" }],
        }))
        .channel
    };
    let before = tree("", "", json!([]));
    assert_eq!(moved(&before, &before), names(&[]));
    let after = tree("r", "n", json!([{ "name": "a1" }, { "name": "a2", "broker_name": "n" }]));
    let expected = [
        "channel.without_namespace.presence_manager_name",
        "channel.namespaces[chat].broker_name",
        "channel.namespaces[a2].broker_name",
    ];
    assert_eq!(moved(&before, &after), names(&expected));
}
