//! Files of versions 1.8 to 5.4 in v6 form. The rules are at the head of `config`.

mod becomes;
mod channels;
mod defaults;
mod keys;
mod lists;
mod meaning;
mod proxies;
mod today;
mod versions;

pub(super) use today::closest;
pub(crate) use today::{Today, today};

use super::Error;
use super::catalogue::{Field, Kind, Section as _, find};
use super::env::{at, put};
use super::report::Report;
use super::typed::Config;
use becomes::{Becomes, YIELDS};
use keys::Versions;
use serde_json::{Map, Value};

/// Turns a file of any version into one of v6. The flag is whether it had to.
///
/// # Errors
/// No version had all keys of the file.
pub(super) fn translate(
    report: &mut Report<'_>,
    tree: Map<String, Value>,
) -> Result<(Map<String, Value>, bool), Error> {
    // Null is "not set", here as in every section.
    let mut tree: Map<String, Value> = tree.into_iter().filter(|(_, value)| !value.is_null()).collect();
    lists::from_text(&mut tree);
    let versions = versions::of(&tree)?;
    if versions.meets(Versions::V6) {
        return Ok((tree, false));
    }
    let file = Translation {
        report,
        versions,
        tree: Map::new(),
        set_by: Vec::new(),
        proxies: Vec::new(),
        granular: false,
        named: Vec::new(),
    };
    Ok((file.run(tree), true))
}

/// A file on its way to v6.
struct Translation<'r, 'v> {
    report: &'r mut Report<'v>,
    /// The versions that had all of the file's keys.
    versions: Versions,
    /// The file in v6 form.
    tree: Map<String, Value>,
    /// Options that were set and the keys that set them, to name both when two disagree.
    set_by: Vec<(String, String)>,
    /// Proxy objects that the file uses.
    proxies: Vec<&'static str>,
    /// The file turns `granular_proxy_mode` on.
    granular: bool,
    /// Proxies that it then names at the top: key, section of the option, name.
    named: Vec<(String, &'static str, Value)>,
}

impl Translation<'_, '_> {
    fn run(mut self, given: Map<String, Value>) -> Map<String, Value> {
        let mut keys = Map::new();
        for (name, value) in given {
            keys.insert(name.to_ascii_lowercase(), value);
        }
        self.yielding(&mut keys);
        self.granular = keys.get("granular_proxy_mode").is_some_and(meaning::on);
        let mut without_namespace = Map::new();
        let mut each_proxy = Vec::new();
        let mut together = Map::new();
        for (name, value) in keys {
            let Some(key) = keys::find(&name) else {
                self.tree.insert(name, value);
                continue;
            };
            match becomes::top(&name) {
                // Only as an option of a namespace does the reason matter.
                _ if self.is_channel_option(&name) => {
                    without_namespace.insert(name, value);
                }
                _ if self.granular && proxies::is_of_defaults(&name) => {
                    self.report.note(&name, "has no effect beside `granular_proxy_mode`");
                }
                Some(Becomes::Moved(path)) => self.moved(&name, path, value),
                Some(Becomes::Tls(object, option)) => self.moved(&name, &format!("{object}.{option}"), value),
                Some(Becomes::Endpoint(path, enabled)) => self.endpoint(&name, path, enabled, value),
                Some(Becomes::EachProxy(option)) => each_proxy.push((name, option, value)),
                Some(Becomes::Granular(path)) if self.granular => self.named.push((name, path, value)),
                Some(Becomes::Granular(_)) => {
                    self.gone(&name, key.versions, "has no effect without `granular_proxy_mode`");
                }
                Some(Becomes::Gone(reason)) => self.gone(&name, key.versions, reason),
                Some(Becomes::Refused(reason)) => self.refused(&name, key.versions, reason, &value),
                Some(Becomes::Together(_) | Becomes::Channel(_)) => {
                    together.insert(name, value);
                }
                // A key of v6 under the same name.
                None => {
                    self.tree.insert(name, value);
                }
            }
        }
        let namespaces = together.remove("namespaces");
        self.together(together);
        self.each_proxy(each_proxy);
        self.named_at_top();
        self.channels(without_namespace, namespaces);
        self.defaults();
        self.tree
    }

    /// An option of channels without a namespace. `history_meta_ttl` was one since v5; before, it was for all.
    fn is_channel_option(&self, name: &str) -> bool {
        match name {
            "history_meta_ttl" => self.versions.within(Versions::V5),
            _ => becomes::channel(name).is_some(),
        }
    }

    /// Takes away keys that others of the file put out of force.
    fn yielding(&mut self, keys: &mut Map<String, Value>) {
        if keys.contains_key("api_port") && keys.remove("admin_port").is_some() {
            let text = "since v2 the API and the admin interface share one port: that of `api_port` is used";
            self.report.note("admin_port", text);
        }
        let mut drop = |loser: &str, winner: &str, keys: &mut Map<String, Value>| {
            if keys.contains_key(loser) && keys.get(winner).is_some_and(|value| value != "") {
                keys.remove(loser);
                self.report.note(loser, format!("has no effect beside `{winner}`"));
            }
        };
        for (loser, winner) in YIELDS {
            drop(loser, winner, keys);
        }
        let names: Vec<String> = keys.keys().cloned().collect();
        for name in names {
            match name.strip_suffix("_pem") {
                Some(file) if name.contains("tls_") => drop(&name, file, keys),
                _ => {
                    if let Some(prefix) = name.strip_suffix("tls_skip_verify") {
                        drop(&name, &format!("{prefix}tls_insecure_skip_verify"), keys);
                    }
                }
            }
        }
    }

    fn gone(&mut self, name: &str, versions: Versions, reason: &str) {
        self.report.note(name, format!("removed in v{}: {reason}", versions.next()));
    }

    /// A key that is asked for something which there is not; switched off, it asks for nothing.
    fn refused(&mut self, name: &str, versions: Versions, reason: &str, value: &Value) {
        let off = value == "" || matches!(value, Value::Bool(_) | Value::Number(_)) && !meaning::on(value);
        if off {
            return self.report.note(name, format!("removed in v{}; it is switched off", versions.next()));
        }
        self.report.problem(name, format!("removed in v{}: {reason}", versions.next()));
    }

    /// Puts the value of an old key where it belongs.
    fn moved(&mut self, name: &str, path: &str, value: Value) {
        let Some(field) = find(Config::fields(), path) else {
            return self.report.problem(name, format!("there is no `{path}`"));
        };
        // Zero is "keep for ever" there, where v6 wants a length.
        if path == "channel.history_meta_ttl" && (value == "" || value.as_i64() == Some(0)) {
            return self.report.note(name, "without a length, that of v6 is used: 720h");
        }
        let value = match path {
            "log.level" => self.level(name, value),
            _ => self.value(name, field, value),
        };
        let Some(value) = value else { return };
        self.report.note(name, format!("an old name: since v6 it is called `{path}`"));
        self.set(name, path, value);
    }

    fn set(&mut self, name: &str, path: &str, value: Value) {
        if at(&mut self.tree, path).is_some_and(|before| *before != value) {
            let before = self.set_by.iter().find(|(set, _)| set == path).map_or("another key", |(_, by)| by);
            let reason = format!("`{before}` sets `{path}` to something else: keep one of the two");
            return self.report.problem(name, reason);
        }
        self.set_by.push((path.to_owned(), name.to_owned()));
        self.report.renamed(path, name);
        put(&mut self.tree, path, value);
    }

    fn endpoint(&mut self, name: &str, path: &'static str, enabled: &str, value: Value) {
        let set = value.as_str().is_some_and(|address| !address.is_empty());
        self.moved(name, path, value);
        if set {
            self.proxies.extend(path.strip_suffix(".endpoint"));
            if !enabled.is_empty() {
                self.set(name, enabled, Value::Bool(true));
            }
        }
    }

    /// Options that applied to every proxy.
    fn each_proxy(&mut self, options: Vec<(String, &str, Value)>) {
        for (name, option, value) in options {
            if self.proxies.is_empty() {
                self.report.note(&name, "has no effect: no proxy has an address");
            }
            for proxy in self.proxies.clone() {
                let value = if option == "grpc.tls" { lists::tls(value.clone()) } else { value.clone() };
                self.moved(&name, &format!("{proxy}.{option}"), value);
                if option == "grpc.tls.server_ca_pem" {
                    self.set(&name, &format!("{proxy}.grpc.tls.enabled"), Value::Bool(true));
                }
            }
        }
    }

    /// A value in the form of v6: bare numbers of v2 and before are seconds, lists may be texts with commas.
    fn value(&mut self, name: &str, field: &Field, value: Value) -> Option<Value> {
        match (field.kind, value) {
            (Kind::Duration, value) => self.duration(name, value),
            (Kind::Texts, Value::String(text)) => {
                let items = text.split([',', ' ']).filter(|item| !item.is_empty());
                Some(items.map(Value::from).collect())
            }
            (Kind::Section(_), value) if name == "nats_tls" => Some(lists::tls(value)),
            (_, value) => Some(value),
        }
    }

    fn duration(&mut self, name: &str, value: Value) -> Option<Value> {
        let number = match &value {
            Value::Number(number) => number.as_f64(),
            Value::String(text) => text.parse().ok(),
            _ => None,
        };
        match number {
            None | Some(0.0) => Some(value),
            Some(seconds) if seconds < 0.0 || !seconds.is_finite() => {
                self.report.problem(name, "a duration cannot be negative");
                None
            }
            // Later versions do not start with a number, so it can mean nothing else.
            Some(seconds) if self.versions.meets(Versions::UP_TO_V2) => {
                Some(Value::from(format!("{}ms", (seconds * 1000.0).round() as u64)))
            }
            Some(_) => {
                self.report.problem(name, "a unit is missing; write for example \"5s\"");
                None
            }
        }
    }

    /// Levels were read in any case, and what was none as `info`.
    fn level(&mut self, name: &str, value: Value) -> Option<Value> {
        let Some(text) = value.as_str() else { return Some(value) };
        let lower = text.to_ascii_lowercase();
        match lower.as_str() {
            "trace" | "debug" | "info" | "warn" | "error" | "fatal" | "none" => Some(Value::from(lower)),
            "critical" => Some(Value::from("fatal")),
            _ => {
                self.report.note(name, "is not a level; \"info\" is used, as before v6");
                None
            }
        }
    }

    /// Keys that depend on others or on the version.
    fn together(&mut self, mut keys: Map<String, Value>) {
        if let Some(web) = keys.remove("web") {
            // The interface brought the socket that `admin` switched on.
            if meaning::on(&web) {
                put(&mut self.tree, "admin.enabled", Value::Bool(true));
            }
            self.report.note("web", "an old name: since v6 it is called `admin.enabled`");
        }
        if let Some(broker) = keys.remove("broker") {
            if broker == "" {
                self.report.note("broker", "is empty, which is the broker of the engine");
            } else {
                self.moved("broker", "broker.type", broker);
                self.set("broker", "broker.enabled", Value::Bool(true));
            }
        }
        if let Some(streams) = keys.remove("redis_streams") {
            let lists = !meaning::on(&streams);
            self.moved("redis_streams", "engine.redis.history_use_lists", Value::Bool(lists));
        }
        if let Some(disable) = keys.remove("sockjs_disable") {
            let enabled = !meaning::on(&disable);
            self.moved("sockjs_disable", "sockjs.enabled", Value::Bool(enabled));
        }
        if let Some(disable) = keys.remove("disable_client_protocol_v1") {
            let legacy = !meaning::on(&disable);
            self.moved("disable_client_protocol_v1", "client.legacy", Value::Bool(legacy));
        }
        for name in ["history_meta_ttl", "websocket_ping_interval"] {
            let Some(value) = keys.remove(name) else { continue };
            let path =
                if name == "history_meta_ttl" { "channel.history_meta_ttl" } else { "client.ping_interval" };
            self.moved(name, path, value);
        }
        self.lifetime(keys.remove("connection_lifetime"));
        self.http_prefix(keys.remove("http_prefix"));
        self.redis_hosts(keys.remove("redis_host"), keys.remove("redis_port"));
        for list in ["rpc_namespaces", "proxies", "consumers"] {
            if let Some(value) = keys.remove(list) {
                self.list(list, value);
            }
        }
    }

    /// v1 ended connections after a time of its own; since v2 their tokens say when.
    fn lifetime(&mut self, lifetime: Option<Value>) {
        let Some(lifetime) = lifetime else { return };
        let limited =
            lifetime.as_i64().or_else(|| lifetime.as_str()?.parse().ok()).is_some_and(|time| time > 0);
        if limited {
            self.set("connection_lifetime", "client.token.require_exp", Value::Bool(true));
        }
        let text = match limited {
            true => {
                "removed in v2.0: a connection ends with the `exp` of its token, which `client.token.require_exp` now asks for"
            }
            false => "removed in v2.0: a connection ends with the `exp` of its token",
        };
        self.report.note("connection_lifetime", text);
    }

    /// The paths of v1 began with this.
    fn http_prefix(&mut self, prefix: Option<Value>) {
        let Some(Value::String(prefix)) = prefix else { return };
        let prefix = prefix.trim_end_matches('/');
        for (path, end) in [
            ("websocket.handler_prefix", "/connection/websocket"),
            ("http_api.handler_prefix", "/api"),
            ("admin.handler_prefix", ""),
        ] {
            self.set("http_prefix", path, Value::from(format!("{prefix}{end}")));
        }
        let text = "since v6 each endpoint has its own: `websocket.handler_prefix`, `http_api.handler_prefix`, \
                    `admin.handler_prefix`";
        self.report.note("http_prefix", text);
    }

    fn redis_hosts(&mut self, host: Option<Value>, port: Option<Value>) {
        let names: Vec<&str> = [("redis_host", &host), ("redis_port", &port)]
            .iter()
            .filter(|(_, value)| value.is_some())
            .map(|(name, _)| *name)
            .collect();
        let Some(name) = names.first() else { return };
        let text = |value: Option<Value>, default: &str| match value {
            Some(Value::String(text)) => text,
            Some(other) => other.to_string(),
            None => default.to_owned(),
        };
        let (hosts, ports) = (text(host, "127.0.0.1"), text(port, "6379"));
        let mut ports = ports.split(',').map(str::trim).cycle();
        let addresses = hosts
            .split(',')
            .map(|host| format!("redis://{}:{}", host.trim(), ports.next().unwrap_or("6379")));
        let addresses: Value = addresses.map(Value::from).collect();
        self.moved(name, "engine.redis.address", addresses);
        for name in names.iter().skip(1) {
            self.report.note(name, "an old name: since v6 it is part of `engine.redis.address`");
        }
    }
}
