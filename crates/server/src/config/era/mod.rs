//! Files of versions 2 to 5 in v6 form. The rules stand at the head of `config`.

mod table;
mod v2;

use super::Error;
use super::catalogue::{Field, Kind, Section as _, each, find};
use super::env::{at, put};
use super::report::Report;
use super::typed::{ChannelNamespace, ChannelOptions, Config};
use serde_json::{Map, Value};
use table::{Becomes, CHANNEL, Old, TLS, TLS_PARTS, TOP};

/// Turns a file of any era into one of v6, and says whether it had to.
///
/// # Errors
/// Keys of the file exist in no common version.
pub(super) fn translate(
    report: &mut Report<'_>,
    tree: Map<String, Value>,
) -> Result<(Map<String, Value>, bool), Error> {
    // Null is "not set", here as in every section.
    let tree: Map<String, Value> = tree.into_iter().filter(|(_, value)| !value.is_null()).collect();
    let Some(last) = last_version(&tree)? else { return Ok((tree, false)) };
    let file = Translation { report, last, tree: Map::new(), set_by: Vec::new(), proxies: Vec::new() };
    Ok((file.run(tree), true))
}

/// What a key of an older version is called today.
pub(super) fn current_name(name: &str) -> Option<&'static str> {
    match lookup(name)?.becomes {
        Becomes::Moved(path) | Becomes::Endpoint(path, _) if name.contains('_') || name == "secret" => {
            Some(path)
        }
        _ => None,
    }
}

/// The last major version in which every key of a file existed; `None` for a file of v6.
fn last_version(tree: &Map<String, Value>) -> Result<Option<u8>, Error> {
    let seen = sightings(tree);
    let Some(older) = seen.iter().min_by_key(|key| key.to) else { return Ok(None) };
    let Some(newer) = seen.iter().max_by_key(|key| key.from) else { return Ok(None) };
    if older.to >= newer.from {
        return Ok((older.to < 6).then_some(older.to));
    }
    let name = older.path.rsplit('.').next().unwrap_or_default();
    let becomes = CHANNEL.iter().find(|old| old.name == name).copied().or_else(|| lookup(name));
    let advice = match becomes.map(|old| old.becomes) {
        Some(Becomes::Moved(path) | Becomes::Endpoint(path, _)) => {
            format!("Since v6 `{}` is called `{path}`.", older.path)
        }
        _ => format!("`checkconfig` on a file without `{}` shows its v6 form.", newer.path),
    };
    Err(Error::Eras {
        older: older.path.clone(),
        older_era: era(older),
        newer: newer.path.clone(),
        newer_era: era(newer),
        advice,
    })
}

/// A key of the file and the versions that had it.
struct Sighting {
    path: String,
    from: u8,
    to: u8,
}

fn era(key: &Sighting) -> String {
    match (key.from, key.to) {
        (_, 2) => "of v2 and before".to_owned(),
        (from, 6) => format!("of v{from} and later"),
        (from, to) if from == to => format!("of v{from}"),
        (from, to) => format!("of v{from} to v{to}"),
    }
}

/// Every key that tells something about the version of its file.
fn sightings(tree: &Map<String, Value>) -> Vec<Sighting> {
    let mut seen = Vec::new();
    for (name, value) in tree {
        let lower = name.to_ascii_lowercase();
        match key(&lower, value) {
            Key::Current => {
                seen.push(Sighting { path: lower.clone(), from: 6, to: 6 });
                if lower == "channel" {
                    let scope = value.get("without_namespace");
                    options_seen(&mut seen, scope, "channel.without_namespace", 6);
                    namespaces_seen(&mut seen, value.get("namespaces"), "channel.namespaces", 6);
                }
            }
            Key::Old(old) => {
                seen.push(Sighting { path: lower.clone(), from: old.from, to: old.to });
                if lower == "namespaces" {
                    namespaces_seen(&mut seen, Some(value), "namespaces", 5);
                }
            }
            Key::ChannelOption(from, to) => seen.push(Sighting { path: lower, from, to: to.min(5) }),
            Key::AnyVersion => {}
        }
    }
    seen
}

fn namespaces_seen(seen: &mut Vec<Sighting>, list: Option<&Value>, path: &str, newest: u8) {
    for (index, item) in list.and_then(Value::as_array).into_iter().flatten().enumerate() {
        let name = item.get("name").and_then(Value::as_str).map_or_else(|| index.to_string(), str::to_owned);
        options_seen(seen, Some(item), &format!("{path}[{name}]"), newest);
    }
}

fn options_seen(seen: &mut Vec<Sighting>, scope: Option<&Value>, path: &str, newest: u8) {
    for (name, value) in scope.and_then(Value::as_object).into_iter().flatten() {
        let lower = name.to_ascii_lowercase();
        if value.is_null() {
            continue;
        }
        if let Some((from, to)) = channel_option(&lower) {
            seen.push(Sighting { path: format!("{path}.{lower}"), from, to: to.min(newest) });
        }
    }
}

/// What a key at the top of a file is.
enum Key {
    /// A section of v6.
    Current,
    /// A key with another name since v6.
    Old(Old),
    /// A channel option outside of any namespace, as before v6.
    ChannelOption(u8, u8),
    /// A key that every version has, or none.
    AnyVersion,
}

fn key(name: &str, value: &Value) -> Key {
    let section = find(Config::fields(), name).filter(|field| matches!(field.kind, Kind::Section(_)));
    if section.is_some() && value.is_object() {
        return Key::Current;
    }
    // The table before the options: `name` is a node's, and a channel's proxies are in both.
    if let Some((from, to)) = channel_option(name) {
        return Key::ChannelOption(from, to);
    }
    lookup(name).map_or(Key::AnyVersion, Key::Old)
}

/// The versions that had a channel option of this name.
fn channel_option(name: &str) -> Option<(u8, u8)> {
    if let Some(old) = CHANNEL.iter().find(|old| old.name == name) {
        return Some((old.from, old.to));
    }
    ChannelOptions::fields()
        .iter()
        .any(|field| field.name == name)
        .then(|| (table::channel_option_from(name), 6))
}

/// An old key at the top of a file.
fn lookup(name: &str) -> Option<Old> {
    if let Some(old) = TOP.iter().find(|old| old.name == name) {
        return Some(*old);
    }
    TLS.iter().find_map(|(prefix, object)| {
        let part = name.strip_prefix(prefix)?;
        let (_, option) = TLS_PARTS.iter().find(|(known, _)| *known == part)?;
        let path = tls_path(object, option)?;
        Some(Old { name: "tls", from: 2, to: 5, becomes: Becomes::Moved(path) })
    })
}

/// The full name of an option of a TLS object, which has to live as long as the table.
fn tls_path(object: &str, option: &str) -> Option<&'static str> {
    use std::sync::OnceLock;
    static PATHS: OnceLock<Vec<String>> = OnceLock::new();
    let paths = PATHS.get_or_init(|| {
        TLS.iter()
            .flat_map(|(_, object)| TLS_PARTS.iter().map(move |(_, option)| format!("{object}.{option}")))
            .collect()
    });
    let path = format!("{object}.{option}");
    paths.iter().find(|known| **known == path).map(String::as_str)
}

/// A file on its way to v6.
struct Translation<'r, 'v> {
    report: &'r mut Report<'v>,
    /// The last version that had all of the file's keys.
    last: u8,
    /// The file in v6 form.
    tree: Map<String, Value>,
    /// Which key set which option, to name both when two disagree.
    set_by: Vec<(String, String)>,
    /// Proxy objects that the file uses.
    proxies: Vec<&'static str>,
}

impl Translation<'_, '_> {
    fn run(mut self, tree: Map<String, Value>) -> Map<String, Value> {
        let mut without_namespace = Map::new();
        let mut namespaces = None;
        let mut each_proxy = Vec::new();
        let mut special = Map::new();
        for (name, value) in tree {
            let lower = name.to_ascii_lowercase();
            match key(&lower, &value) {
                Key::ChannelOption(..) => {
                    without_namespace.insert(lower, value);
                }
                Key::Old(_) if lower == "namespaces" => namespaces = Some(value),
                Key::Old(old) => match old.becomes {
                    Becomes::Moved(path) => self.moved(&lower, path, value),
                    Becomes::Endpoint(path, enabled) => self.endpoint(&lower, path, enabled, value),
                    Becomes::EachProxy(option) => each_proxy.push((lower, option, value)),
                    Becomes::Gone(reason) => self.report.note(&lower, format!("gone since v6: {reason}")),
                    Becomes::Refused(reason) => self.report.problem(&lower, reason),
                    Becomes::Special => {
                        special.insert(lower, value);
                    }
                },
                Key::Current | Key::AnyVersion => {
                    self.tree.insert(name, value);
                }
            }
        }
        self.special(special);
        for (name, option, value) in each_proxy {
            for proxy in self.proxies.clone() {
                self.moved(&name, &format!("{proxy}.{option}"), value.clone());
            }
        }
        self.channels(without_namespace, namespaces);
        self.tree
    }

    /// Puts the value of an old key where it belongs.
    fn moved(&mut self, name: &str, path: &str, value: Value) {
        let Some(field) = find(Config::fields(), path) else {
            return self.report.problem(name, format!("there is no `{path}`"));
        };
        // Zero is "keep for ever" in v2, where v6 wants a length.
        if path == "channel.history_meta_ttl" && value.as_i64() == Some(0) {
            return self.report.note(name, "without a length, that of v6 is used: 720h");
        }
        let Some(value) = self.value(name, field, value) else { return };
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

    /// A value in the form of v6: bare numbers of v2 are seconds, its lists may be texts with commas.
    fn value(&mut self, name: &str, field: &Field, value: Value) -> Option<Value> {
        match (field.kind, value) {
            (Kind::Duration, Value::Number(number)) if self.last == 2 => {
                let millis = number.as_f64().map(|seconds| seconds * 1000.0).filter(|millis| *millis >= 0.0);
                match millis {
                    Some(millis) => Some(Value::from(format!("{}ms", millis.round() as u64))),
                    None => {
                        self.report.problem(name, "a duration cannot be negative");
                        None
                    }
                }
            }
            (Kind::Duration, Value::Number(number)) if number.as_i64() != Some(0) => {
                self.report.problem(name, "a unit is missing; write for example \"5s\"");
                None
            }
            (Kind::Texts, Value::String(text)) => {
                let items = text.split([',', ' ']).filter(|item| !item.is_empty());
                Some(items.map(Value::from).collect())
            }
            (_, value) => Some(value),
        }
    }

    /// Keys that go together.
    fn special(&mut self, mut keys: Map<String, Value>) {
        if let Some(broker) = keys.remove("broker").filter(|broker| broker.as_str() != Some("")) {
            self.moved("broker", "broker.type", broker);
            self.set("broker", "broker.enabled", Value::Bool(true));
        }
        if let Some(streams) = keys.remove("redis_streams") {
            let lists = !v2::on(&streams);
            self.moved("redis_streams", "engine.redis.history_use_lists", Value::Bool(lists));
        }
        let (host, port) = (keys.remove("redis_host"), keys.remove("redis_port"));
        if host.is_some() || port.is_some() {
            let name = if host.is_some() { "redis_host" } else { "redis_port" };
            let text = |value: Option<Value>, default: &str| match value {
                Some(Value::String(text)) => text,
                Some(other) => other.to_string(),
                None => default.to_owned(),
            };
            let (hosts, port) = (text(host, "127.0.0.1"), text(port, "6379"));
            let addresses = hosts.split(',').map(|host| format!("redis://{}:{port}", host.trim()));
            self.moved(name, "engine.redis.address", addresses.map(Value::from).collect());
        }
    }

    fn channels(&mut self, without_namespace: Map<String, Value>, namespaces: Option<Value>) {
        let scope = "channel.without_namespace";
        let options = self.options(scope, "", without_namespace);
        if !options.is_empty() {
            put(&mut self.tree, scope, Value::Object(options));
        }
        match namespaces {
            None => {}
            Some(Value::Array(items)) => {
                self.report.note("namespaces", "an old name: since v6 it is called `channel.namespaces`");
                let mut translated = Vec::with_capacity(items.len());
                for (index, item) in items.into_iter().enumerate() {
                    let Value::Object(item) = item else {
                        translated.push(item);
                        continue;
                    };
                    let name = item.get("name").and_then(Value::as_str);
                    let name = name.map_or_else(|| index.to_string(), str::to_owned);
                    let old = format!("namespaces[{name}].");
                    let item = self.options(&format!("channel.namespaces[{name}]"), &old, item);
                    translated.push(Value::Object(item));
                }
                put(&mut self.tree, "channel.namespaces", Value::Array(translated));
            }
            Some(other) => put(&mut self.tree, "channel.namespaces", other),
        }
        if self.last == 2 {
            v2::origins(self.report, &mut self.tree);
        }
    }

    /// The options of one namespace, or of channels without one. `old` is where they stand in the file.
    fn options(&mut self, scope: &str, old: &str, given: Map<String, Value>) -> Map<String, Value> {
        let known = each(ChannelNamespace::fields());
        let mut options = Map::new();
        let mut special = Map::new();
        for (name, value) in given {
            let lower = name.to_ascii_lowercase();
            if value.is_null() {
                continue;
            }
            let name_in_file = format!("{old}{lower}");
            let entry = CHANNEL.iter().find(|entry| entry.name == lower);
            let target = match entry.map(|entry| entry.becomes) {
                Some(Becomes::Moved(target)) => {
                    let text = format!("an old name: since v6 it is called `{scope}.{target}`");
                    self.report.note(&name_in_file, text);
                    target
                }
                Some(Becomes::Gone(reason)) => {
                    self.report.note(&name_in_file, format!("gone since v6: {reason}"));
                    continue;
                }
                Some(_) => {
                    special.insert(lower, value);
                    continue;
                }
                None => {
                    if old.is_empty() {
                        let text = format!("an old place: since v6 it is `{scope}.{lower}`");
                        self.report.note(&name_in_file, text);
                    }
                    lower.as_str()
                }
            };
            let value = match known.iter().find(|field| field.name == target) {
                Some(field) => self.value(&name_in_file, field, value),
                None => Some(value),
            };
            if let Some(value) = value {
                let before = options.insert(target.to_owned(), value.clone());
                if before.is_some_and(|before| before != value) {
                    let reason =
                        format!("another key sets `{scope}.{target}` to something else: keep one of the two");
                    self.report.problem(&name_in_file, reason);
                }
            }
        }
        v2::publishing(self.report, scope, old, &special, &mut options);
        if self.last <= 3 && options.get("join_leave").is_some_and(v2::on) {
            options.insert("force_push_join_leave".to_owned(), Value::Bool(true));
            let text = format!(
                "v{} sends these events to every subscriber; in v6 form: {}",
                self.last,
                v2::line(scope, "force_push_join_leave", "true")
            );
            self.report.note(&format!("{scope}.join_leave"), text);
        }
        if self.last == 2 {
            v2::meaning(self.report, scope, &special, &mut options);
        }
        options
    }
}
