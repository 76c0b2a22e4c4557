//! Options of channels, at the top of an old file and in its namespaces.

use super::becomes::{self, Becomes};
use super::keys::{self, Versions};
use super::versions::place;
use super::{Translation, meaning};
use crate::config::catalogue::{Section as _, each};
use crate::config::duration::Duration;
use crate::config::env::{at, put};
use crate::config::typed::{Channel, ChannelNamespace};
use serde_json::{Map, Value};

/// Options that name a proxy, and by that use it, and the switches that v6 has for this.
const NAMED_PROXIES: &[(&str, &str)] = &[
    ("subscribe_proxy_name", "subscribe_proxy_enabled"),
    ("publish_proxy_name", "publish_proxy_enabled"),
    ("sub_refresh_proxy_name", "sub_refresh_proxy_enabled"),
    ("subscribe_stream_proxy_name", "subscribe_stream_proxy_enabled"),
];

/// Options of channels in one place of the file.
pub(super) struct Scope<'a> {
    /// Their section in v6.
    pub(super) now: &'a str,
    /// The beginning of their names in the file.
    pub(super) old: &'a str,
}

impl Scope<'_> {
    /// The name of a key in the file.
    pub(super) fn key(&self, name: &str) -> String {
        format!("{}{name}", self.old)
    }
}

impl Translation<'_, '_> {
    /// Options of channels without a namespace, and namespaces.
    pub(super) fn channels(&mut self, without_namespace: Map<String, Value>, namespaces: Option<Value>) {
        let top = Scope { now: "channel.without_namespace", old: "" };
        let closed = self.versions.meets(Versions::UP_TO_V3) && !self.versions.within(Versions::UP_TO_V2);
        let options = self.options(&top, without_namespace);
        if !options.is_empty() {
            put(&mut self.tree, top.now, Value::Object(options));
        }
        match namespaces {
            None => {}
            Some(Value::Array(items)) => {
                self.report.note("namespaces", "an old name: since v6 it is called `channel.namespaces`");
                let mut translated = Vec::with_capacity(items.len());
                for (index, item) in items.into_iter().enumerate() {
                    let old = place("namespaces", index, &item);
                    let Value::Object(item) = item else {
                        translated.push(item);
                        continue;
                    };
                    let scope = Scope { now: &format!("channel.{old}"), old: &format!("{old}.") };
                    translated.push(Value::Object(self.options(&scope, item)));
                }
                put(&mut self.tree, "channel.namespaces", Value::Array(translated));
            }
            Some(other) => put(&mut self.tree, "channel.namespaces", other),
        }
        if closed {
            meaning::closed(self.report, self.versions);
        }
        if self.versions.within(Versions::UP_TO_V2) {
            meaning::origins(self.report, &mut self.tree);
        }
        if self.versions == Versions::V1 {
            meaning::client_channels(self.report);
        }
        self.long_histories();
    }

    /// The options of one namespace, or of channels without one.
    fn options(&mut self, scope: &Scope<'_>, given: Map<String, Value>) -> Map<String, Value> {
        let known = each(ChannelNamespace::fields());
        let mut options = Map::new();
        let mut special = Map::new();
        for (name, value) in given {
            let name = name.to_ascii_lowercase();
            if value.is_null() {
                continue;
            }
            let in_file = scope.key(&name);
            let target = match becomes::channel(&name) {
                Some(Becomes::Channel(target)) if target == name => {
                    if scope.old.is_empty() {
                        let text = format!("an old place: since v6 it is `{}.{name}`", scope.now);
                        self.report.note(&in_file, text);
                    }
                    target
                }
                Some(Becomes::Channel(target)) => {
                    let text = format!("an old name: since v6 it is called `{}.{target}`", scope.now);
                    self.report.note(&in_file, text);
                    target
                }
                Some(Becomes::Gone(reason)) => {
                    let had = keys::find(&format!("namespaces[].{name}")).or_else(|| keys::find(&name));
                    if let Some(key) = had {
                        self.gone(&in_file, key.versions, reason);
                    }
                    special.insert(name, value);
                    continue;
                }
                Some(_) => {
                    special.insert(name, value);
                    continue;
                }
                None => name.as_str(),
            };
            let value = match known.iter().find(|field| field.name == target) {
                Some(field) => self.value(&in_file, field, value),
                None => Some(value),
            };
            if let Some(value) = value {
                if in_file != format!("{}.{target}", scope.now) {
                    self.report.renamed(&format!("{}.{target}", scope.now), &in_file);
                }
                let before = options.insert(target.to_owned(), value.clone());
                if before.is_some_and(|before| before != value) {
                    let now = scope.now;
                    let reason =
                        format!("another key sets `{now}.{target}` to something else: keep one of the two");
                    self.report.problem(&in_file, reason);
                }
            }
        }
        self.named_proxies(scope, &mut options);
        meaning::publishing(self.report, self.versions, scope, &special, &mut options);
        meaning::disabled(self.report, scope, &special);
        if self.versions.within(Versions::UP_TO_V3) && options.get("join_leave").is_some_and(meaning::on) {
            options.insert("force_push_join_leave".to_owned(), Value::Bool(true));
            let text = format!(
                "versions up to v3 send these events to every subscriber; in v6 form: {}",
                meaning::line(scope.now, "force_push_join_leave", "true")
            );
            self.report.note(&format!("{}.join_leave", scope.now), text);
        }
        // Later versions do not start with half a history.
        if self.versions.meets(Versions::UP_TO_V2) {
            self.half_histories(scope, &mut options);
        }
        if self.versions.within(Versions::UP_TO_V2) {
            meaning::of_v2(self.report, scope, &special, &mut options);
        }
        options
    }

    /// A proxy that is named was used. Without its switch it would no longer be asked.
    fn named_proxies(&mut self, scope: &Scope<'_>, options: &mut Map<String, Value>) {
        for (name, switch) in NAMED_PROXIES {
            if options.get(*name).is_none_or(|name| name == "") {
                continue;
            }
            options.insert((*switch).to_owned(), Value::Bool(true));
            self.report.renamed(&format!("{}.{switch}", scope.now), &scope.key(name));
            let text = format!("a proxy that is named was used; since v6 `{}.{switch}` says so", scope.now);
            self.report.note(&scope.key(name), text);
        }
    }

    /// v2 and before kept no history where only one of size and time was set; v6 refuses that.
    fn half_histories(&mut self, scope: &Scope<'_>, options: &mut Map<String, Value>) {
        let set = |name: &str, options: &Map<String, Value>| {
            options.get(name).is_some_and(|value| {
                meaning::on(value) || value.as_str().is_some_and(|text| !text.is_empty())
            })
        };
        if set("history_size", options) && set("history_ttl", options) {
            return;
        }
        for option in ["history_size", "history_ttl", "force_recovery"] {
            if options.remove(option).as_ref().is_some_and(|value| meaning::on(value) || value.is_string()) {
                let text = "has no effect: history needs both a size and a time";
                self.report.note(&format!("{}.{option}", scope.now), text);
            }
        }
    }

    /// Before v5 history could be kept for longer than the position in it, with which v5 does not start.
    fn long_histories(&mut self) {
        const META_TTL: &str = "channel.history_meta_ttl";
        if self.versions.within(Versions::V5) {
            return;
        }
        let read = |value: &Value| Duration::parse(value.as_str()?).ok();
        let given = at(&mut self.tree, META_TTL).and_then(|value| read(value));
        let limit = given.unwrap_or(Channel::default().history_meta_ttl);
        let Some(channel) = self.tree.get("channel") else { return };
        let namespaces = channel.get("namespaces").and_then(Value::as_array).into_iter().flatten();
        let times = namespaces
            .chain(channel.get("without_namespace"))
            .filter_map(|scope| read(scope.get("history_ttl")?));
        let Some(longest) = times.max().filter(|longest| *longest > limit) else { return };
        put(&mut self.tree, META_TTL, Value::from(longest.to_string()));
        self.report.note(META_TTL, format!("is {longest}, because history is kept for so long"));
    }
}
