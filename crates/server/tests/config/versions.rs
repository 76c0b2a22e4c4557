//! Every key of every version from 1.8 to 5.4, alone and in random files of its version.
//!
//! The keys are read from the same list as the server's, but what they mean is written down here once more.

#![allow(clippy::unwrap_used, reason = "tables of a test")]

use crate::{load, warned};
use serde_json::{Map, Value, json};
use spinward_server::config::typed::ChannelOptions;
use spinward_server::config::{Error, Level, Loaded};
use std::collections::{BTreeMap, BTreeSet};

const VERSIONS: [&str; 20] = [
    "1.8", "2.0", "2.1", "2.2", "2.3", "2.4", "2.5", "2.6", "2.7", "2.8", "3.0", "3.1", "3.2", "4.0", "4.1",
    "5.0", "5.1", "5.2", "5.3", "5.4",
];
/// Random files of each version; `SPINWARD_FILES=10000` for so many.
const FILES: usize = 200;

/// A key, the versions that had it, and the kind of its value in each.
type Keys = BTreeMap<&'static str, BTreeMap<usize, &'static str>>;

fn keys() -> Keys {
    let mut keys = Keys::new();
    for line in include_str!("../../src/config/legacy/keys.txt").lines().filter(|line| !line.starts_with('#'))
    {
        let mut words = line.split_whitespace();
        let (name, spans, kind) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
        let index = |name| VERSIONS.iter().position(|known| *known == name).unwrap();
        for span in spans.split(',') {
            let (from, to) = span.split_once('-').unwrap_or((span, span));
            for version in index(from)..=index(to) {
                assert!(keys.entry(name).or_default().insert(version, kind).is_none(), "{name} {version}");
            }
        }
    }
    keys
}

/// A generator that a seed repeats.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((bits ^ bits >> 31) % end as u64) as usize
    }

    fn half(&mut self) -> bool {
        self.below(2) == 0
    }
}

/// Switches that ask for something which is refused because it is not built yet.
fn is_refused_on(name: &str) -> bool {
    let name = name.rsplit('.').next().unwrap_or(name);
    matches!(
        name,
        "tls"
            | "ssl"
            | "http3"
            | "webtransport"
            | "proxy_subscribe"
            | "proxy_publish"
            | "proxy_sub_refresh"
            | "proxy_subscribe_stream"
            | "proxy_stream_subscribe"
            | "production"
    )
}

/// A value that the version would have taken, and that nothing refuses.
fn plausible(name: &str, kind: &str, version: usize, chance: &mut Chance) -> Value {
    let key = name.rsplit(['.', ']']).next().unwrap();
    match key {
        "engine" => return json!("memory"),
        "broker"
        | "client_channel_boundary"
        | "subscribe_proxy_name"
        | "publish_proxy_name"
        | "sub_refresh_proxy_name"
        | "subscribe_stream_proxy_name"
        | "connect_proxy_name"
        | "refresh_proxy_name"
        | "rpc_proxy_name"
        | "user_personal_channel_namespace" => {
            return json!("");
        }
        "client_user_id_http_header" => return json!("X-User-Id"),
        "log_level" => return json!(["debug", "INFO", "error", "none"][chance.below(4)]),
        "port" => return json!(["8000", "9001"][chance.below(2)]),
        "api_port" | "admin_port" | "internal_port" => return json!("9100"),
        "api_error_mode" | "grpc_api_error_mode" => return json!("transport"),
        "force_recovery_mode" => return json!("cache"),
        "allowed_delta_types" => return json!(["fossil"]),
        "allowed_origins" => return json!(["https://app.example"]),
        "channel_private_prefix" | "private_channel_prefix" => return json!("$"),
        "channel_namespace_boundary" | "namespace_channel_boundary" | "rpc_namespace_boundary" => {
            return json!(":");
        }
        "channel_user_boundary" | "user_channel_boundary" => return json!("#"),
        "channel_user_separator" | "user_channel_separator" => return json!(","),
        "channel_regex" => return json!("^[a-z]+$"),
        "type" => return json!("kafka"),
        "user_id_claim" | "token_user_id_claim" | "subscription_token_user_id_claim" => return json!("uid"),
        "token_jwks_public_endpoint" | "subscription_token_jwks_public_endpoint" => {
            return json!("https://id.example/jwks");
        }
        "token_rsa_public_key"
        | "token_ecdsa_public_key"
        | "subscription_token_rsa_public_key"
        | "subscription_token_ecdsa_public_key" => return json!(""),
        "user_personal_single_connection" | "uni_grpc_tls" | "grpc_api_tls" => return json!(false),
        "ping_interval" | "client_ping_interval" | "websocket_ping_interval" => {
            return if kind == "seconds" { json!(30) } else { json!("30s") };
        }
        "http_prefix" => return json!("/alpha"),
        "pong_timeout" => return json!("5s"),
        "disabled" => return json!(chance.half()),
        "graphite_port" | "grpc_api_port" | "uni_grpc_port" => return json!(9000 + chance.below(90)),
        // Compression has levels.
        key if key.ends_with("compression_level") => return json!(chance.below(9)),
        key if key.ends_with("handler_prefix") => return json!(format!("/{}", key.replace('_', "-"))),
        key if key.ends_with("_endpoint") => return json!("http://back.example/x"),
        _ => {}
    }
    match kind {
        "bool" if is_refused_on(key) => json!(false),
        "bool" => match chance.below(4) {
            0 => json!("true"),
            1 => json!(false),
            _ => json!(true),
        },
        "int" => json!(1 + chance.below(500)),
        "seconds" if version < 10 && chance.half() => json!((1 + chance.below(300)).to_string()),
        "seconds" => json!(1 + chance.below(300)),
        "duration" => json!(["5s", "1m0s", "1h0m0s"][chance.below(3)]),
        "texts" if chance.half() => json!("alpha beta"),
        "texts" => json!(["alpha", "beta"]),
        "map" => json!({"x-key": "value"}),
        "object" => json!({}),
        "list" => json!([]),
        _ => json!("alpha"),
    }
}

/// The keys of one place that a version had: `""`, `namespaces[].` and so on.
fn place(keys: &Keys, version: usize, prefix: &str) -> Vec<(&'static str, &'static str)> {
    let inside = |name: &str| {
        name.strip_prefix(prefix).is_some_and(|rest| !rest.contains(['[', '.']) && rest != "name")
            || prefix.is_empty() && name == "name"
    };
    let had = |(name, kinds): (&&'static str, &BTreeMap<usize, &'static str>)| {
        kinds.get(&version).filter(|_| inside(name)).map(|kind| (*name, *kind))
    };
    keys.iter().filter_map(had).collect()
}

/// Some keys of one place.
fn object(keys: &Keys, version: usize, prefix: &str, most: usize, chance: &mut Chance) -> Map<String, Value> {
    let all = place(keys, version, prefix);
    let mut object = Map::new();
    for _ in 0..1 + chance.below(most) {
        let (name, kind) = all[chance.below(all.len())];
        let value = match name {
            "namespaces" | "rpc_namespaces" | "proxies" | "consumers" => {
                let inner = format!("{name}[].");
                let mut items = Vec::new();
                for item in ["alpha", "beta"].iter().take(1 + chance.below(2)) {
                    let mut object = self::object(keys, version, &inner, 6, chance);
                    object.insert("name".to_owned(), json!(item));
                    if name == "proxies" {
                        object.insert("endpoint".to_owned(), json!("http://back.example"));
                    }
                    if name == "consumers" {
                        object.insert("type".to_owned(), json!("kafka"));
                        // Without the feature `kafka`, one that runs is refused. 5.2 and 5.3 read `enabled` the wrong way round.
                        let disabled =
                            place(keys, version, &inner).iter().any(|(name, _)| name.ends_with("disabled"));
                        let switch = if disabled { "disabled" } else { "enabled" };
                        object.insert(switch.to_owned(), json!(true));
                    }
                    items.push(Value::Object(object));
                }
                Value::Array(items)
            }
            _ if kind == "object" => {
                let inner = format!("{name}.");
                Value::Object(self::object(keys, version, &inner, 4, chance))
            }
            _ => plausible(name, kind, version, chance),
        };
        object.insert(name.strip_prefix(prefix).unwrap().to_owned(), value);
    }
    settled(object, version)
}

/// Satisfies the rules of each version: history by size and time, one of two rules for a claim.
fn settled(mut object: Map<String, Value>, version: usize) -> Map<String, Value> {
    let time = if version < 10 { "history_lifetime" } else { "history_ttl" };
    let is_scope = ["history_size", time, "recover", "history_recover", "force_recovery"]
        .iter()
        .any(|key| object.contains_key(*key));
    if is_scope && version >= 10 {
        object.insert("history_size".to_owned(), json!(10));
        object.insert(time.to_owned(), json!("5s"));
    }
    for token in ["", "subscription_"] {
        for claim in ["audience", "issuer"] {
            if object.contains_key(&format!("{token}token_{claim}")) {
                object.remove(&format!("{token}token_{claim}_regex"));
            }
        }
    }
    // Two secrets in one file are refused: which one was meant cannot be known.
    if object.contains_key("secret") {
        object.remove("token_hmac_secret_key");
    }
    object
}

/// Asserts that every key of the file was translated or told.
fn nothing_is_lost(file: &Map<String, Value>, loaded: &Loaded) {
    let said: Vec<String> =
        loaded.warnings.iter().map(|warning| format!("{}: {}", warning.option, warning.text)).collect();
    let told = |name: &str| {
        said.iter().any(|text| text.starts_with(&format!("{name}:")))
            // An option of an object in a list keeps its name.
            || loaded.file.contains_key(name)
    };
    for (name, value) in file {
        assert!(told(name), "{name} of {file:?}: {said:#?}");
        for (index, item) in value.as_array().into_iter().flatten().enumerate() {
            let Some(item) = item.as_object() else { continue };
            for key in item.keys().filter(|key| *key != "name") {
                let place = format!("{name}[{}].{key}", item["name"].as_str().unwrap());
                let v6 = match name.as_str() {
                    "namespaces" => format!("/channel/namespaces/{index}/{key}"),
                    "rpc_namespaces" => format!("/rpc/namespaces/{index}/{key}"),
                    _ => format!("/{name}/{index}/{key}"),
                };
                let kept = Value::Object(loaded.file.clone()).pointer(&v6).is_some();
                let half = said.iter().any(|text| text.starts_with(&format!("channel.{place}:")));
                let nested = said.iter().any(|text| text.starts_with(&format!("{place}.")));
                assert!(told(&place) || kept || half || nested, "{place} of {file:?}: {said:#?}");
            }
        }
    }
}

/// The versions that had every key of a file, found in another way than the server's.
fn versions_of(keys: &Keys, file: &Map<String, Value>) -> BTreeSet<usize> {
    let mut versions: BTreeSet<usize> = (0..VERSIONS.len()).collect();
    let mut narrow = |name: &str, value: &Value| {
        let kinds = &keys[name];
        let unit = value.as_str().is_some_and(|text| text.ends_with(char::is_alphabetic));
        let timed = kinds.values().any(|kind| *kind == "duration");
        versions.retain(|version| match kinds.get(version) {
            Some(kind) => !(timed && unit && *kind == "seconds"),
            None => false,
        });
    };
    for (name, value) in file {
        narrow(name, value);
        for item in value.as_array().into_iter().flatten() {
            for (key, value) in item.as_object().into_iter().flatten() {
                narrow(&format!("{name}[].{key}"), value);
            }
        }
    }
    versions
}

fn on(file: &Map<String, Value>, name: &str) -> bool {
    file.get(name).is_some_and(|value| *value == json!(true) || value == "true")
}

/// Asserts that a scope of channels opens what the versions that the file can be of opened.
fn check_scope(
    versions: &BTreeSet<usize>,
    given: &Map<String, Value>,
    options: &ChannelOptions,
    file: &Map<String, Value>,
) {
    let up_to = |last: usize| versions.iter().all(|version| *version <= last);
    let (v2, v3, may_be_v1) = (up_to(9), up_to(12), versions.contains(&0));
    let admits = v2 && !on(given, "server_side");
    let set = |name: &str| given.get(name).is_some_and(|value| *value != json!(0) && value != "0");
    let history = v2 && set("history_size") && set("history_lifetime");
    let subscribed = on(given, "subscribe_to_publish") || may_be_v1;
    let publish = on(given, "publish");
    for (what, is, expected) in [
        (
            "allow_subscribe_for_client",
            options.allow_subscribe_for_client,
            admits || on(given, "allow_subscribe_for_client"),
        ),
        (
            "allow_subscribe_for_anonymous",
            options.allow_subscribe_for_anonymous,
            on(given, "anonymous") && (admits || !v2) || on(given, "allow_subscribe_for_anonymous"),
        ),
        (
            "allow_publish_for_client",
            options.allow_publish_for_client,
            publish && !subscribed || on(given, "allow_publish_for_client"),
        ),
        (
            "allow_publish_for_subscriber",
            options.allow_publish_for_subscriber,
            publish && subscribed || on(given, "allow_publish_for_subscriber"),
        ),
        (
            "allow_presence_for_subscriber",
            options.allow_presence_for_subscriber,
            admits && on(given, "presence") && !on(given, "presence_disable_for_client")
                || on(given, "allow_presence_for_subscriber"),
        ),
        (
            "allow_presence_for_client",
            options.allow_presence_for_client,
            on(given, "allow_presence_for_client"),
        ),
        (
            "allow_history_for_subscriber",
            options.allow_history_for_subscriber,
            admits && history && !on(given, "history_disable_for_client")
                || on(given, "allow_history_for_subscriber"),
        ),
        ("allow_history_for_client", options.allow_history_for_client, on(given, "allow_history_for_client")),
        (
            "allow_user_limited_channels",
            options.allow_user_limited_channels,
            admits || on(given, "allow_user_limited_channels"),
        ),
        (
            "force_push_join_leave",
            options.force_push_join_leave,
            v3 && on(given, "join_leave") || on(given, "force_push_join_leave"),
        ),
    ] {
        assert_eq!(is, expected, "{what} of {given:?} in {file:?}, of {versions:?}");
    }
}

/// Asserts that what protects, and what opens, means what it meant.
fn means_the_same(keys: &Keys, file: &Map<String, Value>, loaded: &Loaded) {
    let versions = versions_of(keys, file);
    let config = &loaded.config;
    let v2 = versions.iter().all(|version| *version <= 9);
    check_scope(&versions, file, &config.channel.without_namespace, file);
    for (item, namespace) in
        file.get("namespaces").and_then(Value::as_array).into_iter().flatten().zip(&config.channel.namespaces)
    {
        check_scope(&versions, item.as_object().unwrap(), &namespace.options, file);
    }
    let origins: &[&str] = match (file.contains_key("allowed_origins"), v2) {
        (true, _) => &["https://app.example"],
        (false, true) => &["*"],
        (false, false) => &[],
    };
    assert_eq!(config.client.allowed_origins, origins, "{file:?}");
    let no_token = on(file, "client_anonymous") || on(file, "allow_anonymous_connect_without_token");
    assert_eq!(config.client.allow_anonymous_connect_without_token, no_token, "{file:?}");
    assert_eq!(config.client.insecure, on(file, "client_insecure") || on(file, "insecure"), "{file:?}");
    assert_eq!(config.http_api.insecure, on(file, "api_insecure") || on(file, "insecure_api"), "{file:?}");
    let limited = file.contains_key("connection_lifetime");
    assert_eq!(config.client.token.require_exp, limited, "{file:?}");
    let number = |name: &str| file.get(name).and_then(Value::as_u64);
    for (is, given, otherwise) in [
        (config.client.connection_rate_limit, number("client_connection_rate_limit"), 0),
        (config.client.connection_limit, number("client_connection_limit"), 0),
        (
            config.client.user_connection_limit,
            number("client_user_connection_limit").or(number("user_connection_limit")),
            0,
        ),
        (config.client.channel_limit, number("client_channel_limit"), 128),
        (config.channel.max_length, number("channel_max_length").or(number("max_channel_length")), 255),
    ] {
        assert_eq!(u64::from(is), given.unwrap_or(otherwise), "{file:?}");
    }
    let internal = ["internal_port", "api_port", "admin_port"].iter().any(|name| file.contains_key(*name));
    assert_eq!(!config.http_server.internal_port.is_empty(), internal, "{file:?}");
}

#[test]
fn random_files_of_every_version_are_translated() {
    let keys = keys();
    let files = std::env::var("SPINWARD_FILES").ok().and_then(|files| files.parse().ok()).unwrap_or(FILES);
    for (version, name) in VERSIONS.iter().enumerate() {
        for seed in 0..files {
            let mut chance = Chance((version * 1_000_003 + seed) as u64);
            let most = 1 + chance.below(40);
            let file = object(&keys, version, "", most, &mut chance);
            let loaded = match load(&Value::Object(file.clone())) {
                Ok(loaded) => loaded,
                Err(error) => panic!("v{name}, seed {seed}: {}: {error}", Value::Object(file)),
            };
            assert_eq!(warned(&loaded, Level::Unknown), [""; 0], "v{name}, seed {seed}: {file:?}");
            nothing_is_lost(&file, &loaded);
            // A file of keys that v6 has too is one of v6, and means what it says.
            if loaded.translated {
                means_the_same(&keys, &file, &loaded);
            }
        }
    }
}

/// A setting of the file that the server cannot support is refused, naming the key of the file.
#[test]
fn what_is_refused_is_named_by_its_key() {
    let keys = keys();
    for (version, released) in VERSIONS.iter().enumerate() {
        for (name, _) in place(&keys, version, "") {
            let value = match name {
                "client_channel_boundary" => json!("&"),
                "engine" => json!("tarantool"),
                "broker" => json!("tarantool"),
                "subscribe_proxy_name" | "publish_proxy_name" | "sub_refresh_proxy_name" => json!("back"),
                name if is_refused_on(name) => json!(true),
                _ => continue,
            };
            let Err(error) = load(&json!({"pid_file": "/run/x.pid", (name): value})) else {
                panic!("{name} of v{released} is accepted");
            };
            assert!(matches!(error, Error::Options(_)), "{name}: {error}");
            assert!(
                error.to_string().contains(&format!("`{name}`"))
                    || error.to_string().contains(&format!("{name}: ")),
                "{name}: {error}"
            );
        }
    }
}

#[test]
fn every_key_of_every_version_is_known_with_its_versions() {
    let keys = keys();
    let mut chance = Chance(1);
    for (name, kinds) in keys.iter().filter(|(name, _)| !name.contains('.')) {
        for (version, kind) in kinds {
            let value = plausible(name, kind, *version, &mut chance);
            let file = settled(Map::from_iter([((*name).to_owned(), value.clone())]), *version);
            let loaded = load(&Value::Object(file.clone()))
                .unwrap_or_else(|error| panic!("{name} of v{}: {error}", VERSIONS[*version]));
            assert_eq!(warned(&loaded, Level::Unknown), [""; 0], "{name} of v{}", VERSIONS[*version]);
            nothing_is_lost(&file, &loaded);
        }
        // Beside a key of v6 alone it is told by its versions.
        let (version, kind) = kinds.iter().next().unwrap();
        let value = plausible(name, kind, *version, &mut chance);
        let mixed = json!({"http_server": {}, (*name): value});
        match load(&mixed) {
            Ok(loaded) => assert!(loaded.file.contains_key(*name), "{name}"),
            Err(Error::Eras(clashes)) => {
                let clash = clashes.iter().find(|clash| clash.key == *name).unwrap();
                assert_eq!(clash.versions, spans(kinds), "{name}");
                assert!(!clash.today.is_empty(), "{name}");
            }
            Err(other) => panic!("{mixed}: {other}"),
        }
    }
}

/// "v1.8 and v4.0 to v5.4"
fn spans(kinds: &BTreeMap<usize, &str>) -> String {
    let versions: Vec<usize> = kinds.keys().copied().collect();
    let runs = versions.chunk_by(|a, b| a + 1 == *b).map(|run| match run {
        [one] => format!("v{}", VERSIONS[*one]),
        run => format!("v{} to v{}", VERSIONS[run[0]], VERSIONS[run[run.len() - 1]]),
    });
    runs.collect::<Vec<_>>().join(" and ")
}
