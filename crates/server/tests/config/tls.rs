//! TLS options that mean nothing where they are.

use crate::catalogue::options;
use crate::{load, warned};
use serde_json::{Map, Value, json};
use spinward_server::config::Level;

/// TLS of the server's own ports.
const PORTS: [&str; 4] = ["http_server.tls", "http_server.internal_tls", "uni_grpc.tls", "grpc_api.tls"];

/// A file with one option, and its name in warnings. Sections in lists are called `it`.
fn file(option: &str, value: Value) -> (Value, String) {
    let mut file = value;
    for part in option.rsplit('.') {
        let Some(list) = part.strip_suffix("[]") else {
            file = json!({part: file});
            continue;
        };
        let mut item = file.as_object().cloned().unwrap_or_default();
        item.insert("name".into(), "it".into());
        let (needed, given) = match list {
            "consumers" => ("type", "postgresql"),
            "proxies" => ("endpoint", "https://h"),
            _ => ("type", "redis"),
        };
        item.insert(needed.into(), given.into());
        file = json!({list: [item]});
    }
    (file, option.replace("[]", "[it]"))
}

fn sections() -> Vec<String> {
    let names = options().into_iter().map(|(name, _)| name);
    names.filter_map(|name| name.strip_suffix(".client_ca_pem").map(str::to_owned)).collect()
}

#[test]
fn authorities_for_clients_are_told_where_the_server_is_the_client() {
    let mut told = Vec::new();
    for section in sections() {
        for authority in ["-----BEGIN CERTIFICATE-----", "/etc/ca.pem", "LS0tLS1CRUdJTg=="] {
            let (file, name) = file(&format!("{section}.client_ca_pem"), authority.into());
            let loaded = load(&file).unwrap_or_else(|error| panic!("{file}: {error}"));
            let warnings: Vec<_> = loaded.warnings.iter().filter(|warning| warning.option == name).collect();
            if PORTS.contains(&section.as_str()) {
                assert!(warnings.is_empty(), "{name}: {warnings:?}");
                continue;
            }
            let [warning] = warnings[..] else { panic!("{name}: {:?}", loaded.warnings) };
            let text = warning.to_string();
            assert!(text.starts_with(&format!("note: {name}: has no effect here")), "{text}");
            assert!(text.ends_with("use `server_ca_pem`"), "{text}");
            assert!(!text.contains(authority), "{text}");
            told.push(section.clone());
        }
    }
    for section in [
        "engine.redis.tls",
        "engine.redis.sentinel_tls",
        "engine.nats.tls",
        "engine.postgres.tls",
        "broker.redis.tls",
        "brokers[].nats.tls",
        "presence_manager.postgres.tls",
        "presence_managers[].redis.tls",
        "controller.nats.tls",
        "client.proxy.connect.http.tls",
        "client.proxy.connect.grpc.tls",
        "channel.proxy.subscribe.grpc.tls",
        "rpc.proxy.grpc.tls",
        "proxies[].grpc.tls",
        "consumers[].nats_jetstream.tls",
        "consumers[].redis_stream.tls",
        "consumers[].postgresql.tls",
    ] {
        assert!(told.iter().any(|told| told == section), "{section}: {told:?}");
    }
}

#[test]
fn other_options_of_a_connection_are_not_told() {
    for section in sections().iter().filter(|section| !PORTS.contains(&section.as_str())) {
        let options = json!({
            "cert_pem": "c", "key_pem": "k", "server_ca_pem": "a", "server_name": "h", "client_ca_pem": "",
        });
        let (file, name) = file(section, options);
        let loaded = load(&file).unwrap_or_else(|error| panic!("{file}: {error}"));
        let notes = warned(&loaded, Level::Note);
        assert!(!notes.iter().any(|note| note.starts_with(&name)), "{name}: {notes:?}");
    }
}

/// The forms of one option that Centrifugo had before v6, as 5.4 wrote them.
#[test]
fn authorities_in_the_forms_of_older_files_are_told() {
    for form in ["client_ca_pem", "client_ca_pem_b64", "client_ca_pem_file"] {
        let tls = Map::from_iter([(form.to_owned(), Value::from("it"))]);
        let loaded = load(&json!({"broker": "nats", "nats_tls": tls})).unwrap();
        assert!(loaded.translated);
        let notes = warned(&loaded, Level::Note);
        assert!(notes.iter().any(|note| note.ends_with("nats.tls.client_ca_pem")), "{form}: {notes:?}");
    }
}
