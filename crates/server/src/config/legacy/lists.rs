//! Lists of objects and TLS objects of older versions in v6 form.

use super::becomes;
use super::keys::{self, Takes, Versions};
use super::versions::place;
use super::{Translation, meaning};
use crate::config::env::put;
use serde_json::{Map, Value};

/// Options of named proxies that have another name since v6.
const PROXY: &[(&str, &str)] = &[
    ("grpc_cert_file", "grpc.tls.server_ca_pem"),
    ("grpc_compression", "grpc.compression"),
    ("grpc_credentials_key", "grpc.credentials_key"),
    ("grpc_credentials_value", "grpc.credentials_value"),
    ("grpc_tls", "grpc.tls"),
    ("http_status_to_code_transforms", "http.status_to_code_transforms"),
    ("static_http_headers", "http.static_headers"),
];

/// Options of Kafka consumers that have another name since v6, those of TLS aside.
const KAFKA: &[(&str, &str)] =
    &[("partition_buffer_size", "partition_queue_max_size"), ("server_name", "tls.server_name")];

/// Reads lists that are given as a text of JSON, as versions since 2.8 allowed.
pub(super) fn from_text(tree: &mut Map<String, Value>) {
    for (name, value) in tree {
        let list = keys::find(&name.to_ascii_lowercase()).is_some_and(|key| key.takes == Takes::List);
        if let Some(text) = value.as_str().filter(|_| list) {
            match serde_json::from_str(text) {
                Ok(items @ Value::Array(_)) => *value = items,
                _ if text.trim().is_empty() => *value = Value::Array(Vec::new()),
                // What it is instead is said when it is read.
                _ => {}
            }
        }
    }
}

/// A TLS object: what v5 took from a file or as base64 had keys of their own, of which a file came first.
pub(super) fn tls(value: Value) -> Value {
    let Value::Object(given) = value else { return value };
    let mut object = Map::new();
    let rank = |name: &str| match name {
        name if name.ends_with("_file") => 2,
        name if name.ends_with("_b64") => 1,
        _ => 0,
    };
    let mut given: Vec<(String, Value)> = given.into_iter().filter(|(_, value)| *value != "").collect();
    given.sort_by_key(|(name, _)| rank(name));
    for (name, value) in given {
        object.insert(tls_part(&name.to_ascii_lowercase()).to_owned(), value);
    }
    Value::Object(object)
}

/// The option that a key of a named proxy became.
pub(super) fn proxy_option(key: &str) -> &str {
    PROXY.iter().find(|(old, _)| *old == key).map_or(key, |(_, option)| option)
}

/// The option that a key of a Kafka consumer became.
pub(super) fn kafka_option(key: &str) -> String {
    match becomes::tls_part(key) {
        Some(option) => format!("kafka.tls.{option}"),
        None => {
            let renamed = KAFKA.iter().find(|(old, _)| *old == key);
            format!("kafka.{}", renamed.map_or(key, |(_, option)| option))
        }
    }
}

/// The option that a key of a TLS object became.
pub(super) fn tls_part(name: &str) -> &str {
    name.strip_suffix("_file").or_else(|| name.strip_suffix("_b64")).unwrap_or(name)
}

impl Translation<'_, '_> {
    /// A list of objects other than namespaces of channels.
    pub(super) fn list(&mut self, name: &str, value: Value) {
        let path = if name == "rpc_namespaces" { "rpc.namespaces" } else { name };
        let value = match value {
            Value::Array(items) => {
                let items = items.into_iter().enumerate().map(|(index, item)| {
                    let place = place(name, index, &item);
                    match item {
                        Value::Object(item) => Value::Object(self.item(name, &place, item)),
                        other => other,
                    }
                });
                items.collect()
            }
            other => other,
        };
        if path != name {
            self.report.note(name, format!("an old name: since v6 it is called `{path}`"));
        }
        put(&mut self.tree, path, value);
    }

    fn item(&mut self, list: &str, place: &str, given: Map<String, Value>) -> Map<String, Value> {
        let mut item = Map::new();
        for (key, value) in given.into_iter().filter(|(_, value)| !value.is_null()) {
            let key = key.to_ascii_lowercase();
            match list {
                "rpc_namespaces" => self.rpc_option(place, &key, value, &mut item),
                "proxies" => self.proxy_option(place, &key, value, &mut item),
                _ => self.consumer_option(place, &key, value, &mut item),
            }
        }
        // Before v6 a consumer ran unless it was disabled.
        if list == "consumers" && !item.contains_key("enabled") {
            item.insert("enabled".to_owned(), Value::Bool(true));
            self.report.note(&format!("{place}.enabled"), "a consumer of the list runs, as before v6");
        }
        item
    }

    fn rpc_option(&mut self, place: &str, key: &str, value: Value, item: &mut Map<String, Value>) {
        if key != "rpc_proxy_name" {
            item.insert(key.to_owned(), value);
        } else if self.granular {
            let named = value.as_str().is_some_and(|name| !name.is_empty());
            self.option(place, key, "proxy_name", value, item);
            item.insert("proxy_enabled".to_owned(), Value::Bool(named));
        } else {
            let text = "has no effect without `granular_proxy_mode`; since v6 it is called `proxy_name`";
            self.report.note(&format!("{place}.{key}"), text);
        }
    }

    fn proxy_option(&mut self, place: &str, key: &str, value: Value, item: &mut Map<String, Value>) {
        let target = proxy_option(key);
        let value = if key == "grpc_tls" { tls(value) } else { value };
        let certificate = key == "grpc_cert_file" && value != "";
        self.option(place, key, target, value, item);
        if certificate {
            put(item, "grpc.tls.enabled", Value::Bool(true));
        }
    }

    fn consumer_option(&mut self, place: &str, key: &str, value: Value, item: &mut Map<String, Value>) {
        match (key, value) {
            ("disabled", value) => {
                let enabled = Value::Bool(!meaning::on(&value));
                self.option(place, key, "enabled", enabled, item);
            }
            // 5.2 and 5.3 read this the wrong way round.
            ("enabled", value) if self.versions.within(Versions::V5) => {
                let on = meaning::on(&value);
                let text = format!("v5.2 and v5.3 read it as the opposite: since v6 it is `enabled` {}", !on);
                self.report.note(&format!("{place}.{key}"), text);
                item.insert(key.to_owned(), Value::Bool(!on));
            }
            ("kafka", Value::Object(kafka)) => {
                for (key, value) in kafka {
                    let key = key.to_ascii_lowercase();
                    self.option(place, &format!("kafka.{key}"), &kafka_option(&key), value, item);
                }
            }
            (_, value) => {
                item.insert(key.to_owned(), value);
            }
        }
    }

    /// An option of an object, perhaps under another name.
    fn option(&mut self, place: &str, key: &str, target: &str, value: Value, item: &mut Map<String, Value>) {
        if key != target {
            let text = format!("an old name: since v6 it is called `{target}`");
            self.report.note(&format!("{place}.{key}"), text);
        }
        put(item, target, value);
    }
}
