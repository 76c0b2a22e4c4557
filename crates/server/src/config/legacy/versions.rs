//! The versions that a file can be of: those that had all of its keys.

use super::becomes::{self, Becomes};
use super::keys::{self, Key, Takes, Versions};
use crate::config::Error;
use crate::config::catalogue::{Field, Kind, Section as _, find};
use crate::config::report::Clash;
use crate::config::typed::{ChannelNamespace, ChannelOptions, Config, Consumer, NamedProxy};
use serde_json::{Map, Value};

/// A key of the file that some versions had and others did not.
struct Sighting {
    /// Its place in the file.
    path: String,
    /// Its fate, if it is an old one, and the section of its options.
    became: Option<(Becomes, String)>,
    versions: Versions,
}

/// The versions that had every key of a file. Keys that no version had do not count.
///
/// # Errors
/// No version had all of them. Every key that is part of the conflict is named.
pub(super) fn of(tree: &Map<String, Value>) -> Result<Versions, Error> {
    let mut seen = Vec::new();
    for (name, value) in tree {
        top(&mut seen, &name.to_ascii_lowercase(), value);
    }
    let common = seen.iter().fold(Versions::ALL, |common, key| common.and(key.versions));
    if common.is_empty() { Err(Error::Eras(clashes(&seen))) } else { Ok(common) }
}

fn clashes(seen: &[Sighting]) -> Vec<Clash> {
    let apart = |key: &&Sighting| seen.iter().any(|other| !other.versions.meets(key.versions));
    let mut clashing: Vec<&Sighting> = seen.iter().filter(apart).collect();
    // Any two may have a version in common though all together have none.
    if clashing.is_empty() {
        let any = seen.iter().fold(Versions::NONE, |any, key| any.or(key.versions));
        clashing = seen.iter().filter(|key| !any.within(key.versions)).collect();
    }
    clashing.sort_by_key(|key| !key.versions.meets(Versions::V6));
    clashing.into_iter().map(Sighting::clash).collect()
}

impl Sighting {
    fn clash(&self) -> Clash {
        let today = match &self.became {
            None => String::new(),
            Some((became, scope)) => said(*became, scope, self.versions),
        };
        let narrowed = keys::find(&self.path).is_some_and(|key| self.versions != key.versions);
        let value = if narrowed && !self.versions.meets(Versions::V6) { " with a unit" } else { "" };
        Clash { key: self.path.clone(), versions: format!("{}{value}", self.versions), today }
    }
}

/// The fate of a key, in words.
pub(super) fn said(became: Becomes, scope: &str, versions: Versions) -> String {
    if let Some(reason) = became.reason() {
        return format!("removed in v{}: {reason}", versions.next());
    }
    let options: Vec<String> =
        became.options(scope).into_iter().map(|option| format!("`{option}`")).collect();
    format!("since v6 it is called {}", options.join(" or "))
}

fn top(seen: &mut Vec<Sighting>, name: &str, value: &Value) {
    let now = match find(Config::fields(), name) {
        // An option of our own beside the sections can be added to a file of any version.
        Some(field) if field.ours && !matches!(field.kind, Kind::Section(_)) => return,
        _ => v6(Config::fields(), name, value),
    };
    let old = old(name, value);
    let became = || becomes::top(name).map(|became| (became, "channel.without_namespace".to_owned()));
    note(seen, name.to_owned(), old.or(now), if now.is_empty() { became() } else { None });
    match name {
        "namespaces" => items(seen, name, value, &|key, value, path| {
            let scope = format!("channel.{path}");
            (old_in("namespaces", key, value), becomes::channel(key).map(|became| (became, scope)))
        }),
        "rpc_namespaces" => {
            items(seen, name, value, &|key, value, _| (old_in("rpc_namespaces", key, value), None));
        }
        "proxies" => list(seen, name, value, NamedProxy::fields()),
        "consumers" => list(seen, name, value, Consumer::fields()),
        "channel" if !now.is_empty() => {
            channel_scope(seen, "channel.without_namespace", value.get("without_namespace"));
            items(
                seen,
                "channel.namespaces",
                value.get("namespaces").unwrap_or(&Value::Null),
                &|key, value, path| misplaced(ChannelNamespace::fields(), key, value, path),
            );
        }
        _ => {}
    }
}

/// Old keys in the section of v6 for channels without a namespace.
fn channel_scope(seen: &mut Vec<Sighting>, path: &str, scope: Option<&Value>) {
    for (key, value) in scope.and_then(Value::as_object).into_iter().flatten() {
        let key = key.to_ascii_lowercase();
        let (versions, became) = misplaced(ChannelOptions::fields(), &key, value, path);
        note(seen, format!("{path}.{key}"), versions, became);
    }
}

type Found = (Versions, Option<(Becomes, String)>);

/// An old option of channels in a place of v6.
fn misplaced(fields: &'static [Field], key: &str, value: &Value, scope: &str) -> Found {
    let now = v6(fields, key, value);
    if now.is_empty() {
        return (
            old_in("namespaces", key, value),
            becomes::channel(key).map(|became| (became, scope.to_owned())),
        );
    }
    (Versions::NONE, None)
}

/// Objects of a list that v6 has too.
fn list(seen: &mut Vec<Sighting>, name: &str, value: &Value, fields: &'static [Field]) {
    let any = |key: &str, value: &Value, _: &str| (old_in(name, key, value).or(v6(fields, key, value)), None);
    items(seen, name, value, &any);
    for (item, path) in named(name, value) {
        for (section, inner) in item {
            let section = section.to_ascii_lowercase();
            // What the versions before 6 had as an object of its own, and not as one of their options.
            for (key, value) in inner.as_object().into_iter().flatten() {
                let key = format!("{section}.{}", key.to_ascii_lowercase());
                let versions = old_in(name, &key, value).or(v6(fields, &key, value));
                note(seen, format!("{path}.{key}"), versions, None);
            }
        }
    }
}

fn items(seen: &mut Vec<Sighting>, name: &str, list: &Value, found: &dyn Fn(&str, &Value, &str) -> Found) {
    for (item, path) in named(name, list) {
        for (key, value) in item {
            let key = key.to_ascii_lowercase();
            if !value.is_null() {
                let (versions, became) = found(&key, value, &path);
                note(seen, format!("{path}.{key}"), versions, became);
            }
        }
    }
}

/// The objects of a list, each with its place: `namespaces[chat]`.
fn named<'a>(list: &str, value: &'a Value) -> impl Iterator<Item = (&'a Map<String, Value>, String)> {
    let items = value.as_array().into_iter().flatten().enumerate();
    items.filter_map(move |(index, item)| Some((item.as_object()?, place(list, index, item))))
}

/// The place of an object of a list.
pub(super) fn place(list: &str, index: usize, item: &Value) -> String {
    match item.get("name").and_then(Value::as_str) {
        Some(name) if !name.is_empty() => format!("{list}[{name}]"),
        _ => format!("{list}[{index}]"),
    }
}

fn note(seen: &mut Vec<Sighting>, path: String, versions: Versions, became: Option<(Becomes, String)>) {
    if !versions.is_empty() {
        seen.push(Sighting { path, became, versions });
    }
}

fn old_in(list: &str, key: &str, value: &Value) -> Versions {
    old(&format!("{list}[].{key}"), value)
}

/// The versions before 6 that had a key with a value like this one.
fn old(name: &str, value: &Value) -> Versions {
    match keys::find(name) {
        Some(key) if fits(key, value) => {
            let with_unit = key.versions.without(key.seconds);
            // Where every version wanted a number, the value is wrong, which is said when it is read.
            if has_unit(value) && !with_unit.is_empty() { with_unit } else { key.versions }
        }
        _ => Versions::NONE,
    }
}

/// Tells objects from the values of switches, numbers and texts.
fn fits(key: Key, value: &Value) -> bool {
    match key.takes {
        Takes::Object | Takes::Map => value.is_object() || value.is_array() || value.is_string(),
        Takes::List => value.is_array() || value.is_string(),
        _ => !value.is_object(),
    }
}

/// "25s": no version that took a number of seconds meant this.
fn has_unit(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.ends_with(|last: char| last.is_ascii_alphabetic()))
}

/// v6, if it has an option of this name for a value of this shape.
fn v6(fields: &'static [Field], path: &str, value: &Value) -> Versions {
    let Some(field) = find(fields, path) else { return Versions::NONE };
    match field.kind {
        Kind::Section(_) if value.is_object() => Versions::V6,
        Kind::Section(_) => Versions::NONE,
        _ => Versions::V6,
    }
}
