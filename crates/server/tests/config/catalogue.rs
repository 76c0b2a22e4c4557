//! The catalogue and the structs are two faces of one thing.

use crate::{load, object};
use serde_json::{Value, json};
use spinward_server::config::catalogue::{Field, Kind, Section as _, Status, each, find, status};
use spinward_server::config::typed::{ChannelOptions, Config};
use spinward_server::config::{Format, doc};

/// Every option with its full name.
fn all(fields: &'static [Field], path: &str, found: &mut Vec<(String, &'static Field)>) {
    for field in each(fields) {
        let name = if path.is_empty() { field.name.to_owned() } else { format!("{path}.{}", field.name) };
        found.push((name.clone(), field));
        match field.kind {
            Kind::Section(inner) => all(inner(), &name, found),
            Kind::List(inner) => all(inner(), &format!("{name}[]"), found),
            _ => {}
        }
    }
}

/// Every option of the catalogue; sections in lists have `[]` behind their name.
pub(crate) fn options() -> Vec<(String, &'static Field)> {
    let mut found = Vec::new();
    all(Config::fields(), "", &mut found);
    found
}

#[test]
fn defaults_survive_the_way_through_a_file() {
    for format in [Format::Json, Format::Yaml, Format::Toml] {
        let text = doc::file(format, Config::default().to_section()).unwrap();
        let tree = format.parse(&text).unwrap_or_else(|error| panic!("{format}: {error}"));
        let loaded = load(&Value::Object(tree)).unwrap_or_else(|error| panic!("{format}: {error}"));
        assert_eq!(loaded.config, Config::default(), "{format}");
        assert!(!loaded.translated);
    }
}

#[test]
fn an_empty_file_gives_the_defaults() {
    let loaded = load(&json!({})).unwrap();
    assert_eq!(loaded.config, Config::default());
    assert!(loaded.file.is_empty());
}

#[test]
fn every_option_has_a_line_of_documentation() {
    for (name, field) in options() {
        assert!(field.doc.len() > 3 && field.doc.ends_with('.'), "{name}: {:?}", field.doc);
    }
}

#[test]
fn no_name_is_there_twice() {
    let mut names: Vec<String> = options().into_iter().map(|(name, _)| name).collect();
    let count = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), count);
}

#[test]
fn whatever_sounds_secret_is_marked_secret() {
    // Public keys, names of things, labels among them, and the headers that carry no secret themselves.
    let open = [
        "rsa_public_key",
        "ecdsa_public_key",
        "ed25519_public_key",
        "credentials_key",
        "credentials_file",
        "credentials_profile",
        "idempotency_key_header",
        "idempotency_key_value",
        "idempotency_key_attribute",
        "idempotency_key_property",
        "client_key",
    ];
    for (name, field) in options() {
        let sounds = ["password", "secret", "dsn", "key_pem", "connection_string"]
            .iter()
            .any(|word| field.name.contains(word))
            || field.name.ends_with("_key")
            || field.name == "key"
            || field.name == "token" && matches!(field.kind, Kind::Text)
            || field.name.starts_with("credentials_");
        let text = matches!(field.kind, Kind::Text | Kind::Texts | Kind::Pem | Kind::Map);
        let label = name.ends_with("labels_from_claim[].key");
        if sounds && text && !label && !open.contains(&field.name) && field.name != "disable_query_key" {
            assert!(field.secret, "{name}");
        }
    }
}

#[test]
fn ours_are_marked_and_nothing_else_is() {
    let ours: Vec<String> =
        options().into_iter().filter(|(_, field)| field.ours).map(|(name, _)| name).collect();
    for name in ["client.token.leeway", "http_api.disable_query_key", "production", "shards"] {
        assert!(ours.iter().any(|found| found == name), "{name}");
    }
    for name in ["client.token.hmac_secret_key", "channel.without_namespace.presence", "websocket.disabled"] {
        assert!(!ours.iter().any(|found| found == name), "{name}");
    }
}

#[test]
fn defaults_are_those_of_centrifugo() {
    for (name, default) in [
        ("http_server.port", json!(8000)),
        ("http_server.tls_autocert.http_addr", json!(":80")),
        ("log.level", json!("info")),
        ("engine.type", json!("memory")),
        ("engine.redis.address", json!(["redis://127.0.0.1:6379"])),
        ("engine.redis.presence_ttl", json!("1m0s")),
        ("client.ping_interval", json!("25s")),
        ("client.pong_timeout", json!("8s")),
        ("client.expired_close_delay", json!("25s")),
        ("client.stale_close_delay", json!("10s")),
        ("client.channel_limit", json!(128)),
        ("client.queue_max_size", json!(1_048_576)),
        ("client.presence_update_interval", json!("27s")),
        ("client.channel_position_check_delay", json!("40s")),
        ("client.history_max_publication_limit", json!(300)),
        ("client.allowed_origins", json!([])),
        ("client.insecure", json!(false)),
        ("channel.history_meta_ttl", json!("720h0m0s")),
        ("channel.private_prefix", json!("$")),
        ("channel.namespace_boundary", json!(":")),
        ("channel.user_boundary", json!("#")),
        ("channel.user_separator", json!(",")),
        ("channel.max_length", json!(255)),
        ("http_api.handler_prefix", json!("/api")),
        ("websocket.handler_prefix", json!("/connection/websocket")),
        ("websocket.write_timeout", json!("1s")),
        ("websocket.message_size_limit", json!(65_536)),
        ("shutdown.timeout", json!("30s")),
    ] {
        let field = find(Config::fields(), name).unwrap_or_else(|| panic!("no {name}"));
        assert_eq!(field.default, default, "{name}");
    }
}

#[test]
fn nothing_is_open_by_default() {
    let options = ChannelOptions::default().to_section();
    for (name, value) in options {
        let opens = name.starts_with("allow_") || name.starts_with("force_") || name == "presence";
        if opens {
            assert!(
                matches!(value, Value::Bool(false)) || value == json!("") || value == json!([]),
                "{name}"
            );
        }
    }
    let config = Config::default();
    assert!(!config.client.insecure && !config.http_api.insecure && !config.admin.insecure);
    assert!(!config.client.allow_anonymous_connect_without_token);
    assert!(!config.client.insecure_skip_token_signature_verify);
}

#[test]
fn the_reference_names_every_option() {
    let text = doc::markdown(None).unwrap();
    for (name, field) in options() {
        let written = match field.kind {
            Kind::Section(_) => format!("## `{name}`"),
            _ => format!("| `{name}` |"),
        };
        assert!(text.contains(&written), "{written}");
    }
    let section = doc::markdown(Some("client.token")).unwrap();
    assert!(section.contains("`client.token.hmac_secret_key`") && !section.contains("`http_api.key`"));
    assert!(doc::markdown(Some("channel.namespaces")).unwrap().contains("`channel.namespaces[].presence`"));
    assert!(doc::markdown(Some("client.tokens")).is_err());
    assert!(doc::markdown(Some("shards")).is_err());
}

#[test]
fn the_reference_says_what_is_not_built() {
    let text = doc::markdown(None).unwrap();
    let mut unbuilt = 0;
    for (name, field) in options().into_iter().filter(|(name, _)| !name.contains('[')) {
        let (section, mark) = match status(Config::fields(), &name) {
            Status::Built => ("", ""),
            Status::Planned => (" (planned)", "*Planned.*"),
            Status::Essential => (" (refused)", "*Refused until built.*"),
        };
        unbuilt += usize::from(!mark.is_empty());
        match field.kind {
            Kind::Section(_) => assert!(text.contains(&format!("\n## `{name}`{section}\n")), "{name}"),
            _ => {
                let row = text.lines().find(|line| line.starts_with(&format!("| `{name}` |"))).unwrap();
                assert!(row.ends_with(&format!("{mark} |")), "{row}");
                assert_eq!(row.contains("*Planned.*"), mark == "*Planned.*", "{row}");
            }
        }
    }
    assert!(unbuilt > 50, "options of sections that are not built count: {unbuilt}");
    // A section by itself, within one that is not built.
    let one = doc::markdown(Some("opentelemetry")).unwrap();
    assert!(one.starts_with("## `opentelemetry` (planned)\n\n*Not built yet"), "{one}");
}

#[test]
fn no_secret_is_shown() {
    let file = json!({
        "client": {"token": {"hmac_secret_key": "hushhushhushhushhushhushhushhush-hush"}},
        "http_api": {"key": "hush-api"},
        "http_server": {"tls": {"key_pem": "hush-pem"}},
        "engine": {"redis": {"address": ["redis://:hush@h:1"], "password": "hush"}},
        "broker": {"nats": {"url": "nats://u:hush@h"}, "postgres": {"dsn": "hush"}},
        "proxies": [{"name": "one", "endpoint": "http://h", "http": {"static_headers": {"authorization": "hush"}}}],
        "consumers": [{"name": "c1", "type": "kafka", "kafka": {"sasl_password": "hush"}}],
    });
    let loaded = load(&file).unwrap();
    let shown = Value::Object(doc::mask(&loaded.file)).to_string();
    assert!(!shown.contains("hush"), "{shown}");
    assert!(shown.contains("authorization") && shown.contains("***"), "{shown}");
    assert!(!format!("{:?}", loaded.config).contains("hush"));
    assert!(loaded.warnings.iter().all(|warning| !warning.text.contains("hush")), "{:?}", loaded.warnings);
    assert!(object(&Value::Object(loaded.file))["http_api"]["key"] == "hush-api");
}

#[test]
fn the_environment_that_is_printed_can_be_read_back() {
    let file = json!({
        "client": {"allowed_origins": ["https://a", "https://b"], "ping_interval": "30s"},
        "channel": {"namespaces": [{"name": "chat.x-y", "presence": true, "history_size": 5, "history_ttl": "60s"}]},
    });
    let loaded = load(&file).unwrap();
    let text = doc::variables(&loaded.config, Some(&loaded.file));
    let vars: Vec<(String, String)> = text
        .lines()
        .map(|line| {
            let (name, value) = line.split_once('=').unwrap();
            let value = serde_json::from_str::<String>(value).unwrap_or_else(|_| value.to_owned());
            (name.to_owned(), value)
        })
        .collect();
    assert!(text.contains("SPINWARD_CHANNEL_NAMESPACES_CHAT_X_Y_PRESENCE=true"), "{text}");
    let vars: Vec<(&str, &str)> = vars.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let again = crate::load_with(&json!({}), &vars, &[]).unwrap();
    assert_eq!(again.config, loaded.config);
}
