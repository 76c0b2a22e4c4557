//! Meanings that old files have by their age alone. Nothing outside of this module opens anything because of it.

use super::channels::Scope;
use super::keys::Versions;
use crate::config::env::{at, put};
use crate::config::report::Report;
use serde_json::{Map, Value};

/// Adds the options for subscribing, presence and history that versions up to v2 took for granted.
pub(super) fn of_v2(
    report: &mut Report<'_>,
    scope: &Scope<'_>,
    special: &Map<String, Value>,
    options: &mut Map<String, Value>,
) {
    let now = scope.now;
    if at_bool(special, "server_side") {
        // `anonymous` meant nothing here, and must not begin to.
        options.remove("allow_subscribe_for_anonymous");
        return;
    }
    // Without this, `chat#42` would be a name like any other, and open to all by what follows.
    options.insert("allow_user_limited_channels".to_owned(), Value::Bool(true));
    let shown = line(now, "allow_user_limited_channels", "true");
    let text = format!("versions up to v2 limit `chat#42` to user 42; in v6 form: {shown}");
    report.note(&format!("{now}.allow_user_limited_channels"), text);
    let proxied = at_bool(options, "subscribe_proxy_enabled");
    if !proxied {
        options.insert("allow_subscribe_for_client".to_owned(), Value::Bool(true));
        let shown = line(now, "allow_subscribe_for_client", "true");
        let text = format!(
            "versions up to v2 let clients with a user subscribe to channels that are not private; in v6 form: {shown}"
        );
        report.insecure(&format!("{now}.allow_subscribe_for_client"), text);
    }
    let anonymous = at_bool(options, "allow_subscribe_for_anonymous");
    if anonymous {
        let shown = line(now, "allow_subscribe_for_anonymous", "true");
        let text = format!("`anonymous` lets anonymous clients subscribe too; in v6 form: {shown}");
        report.insecure(&format!("{now}.allow_subscribe_for_anonymous"), text);
    }
    let history = options.contains_key("history_size") && options.contains_key("history_ttl");
    for (on, disabled, what) in [
        (at_bool(options, "presence"), "presence_disable_for_client", "presence"),
        (history, "history_disable_for_client", "history"),
    ] {
        if !on || at_bool(special, disabled) {
            continue;
        }
        let subscriber = format!("allow_{what}_for_subscriber");
        let text = format!(
            "versions up to v2 let subscribers ask for {what}; in v6 form: {}",
            line(now, &subscriber, "true")
        );
        report.insecure(&format!("{now}.{subscriber}"), text);
        options.insert(subscriber, Value::Bool(true));
        // Subscribers without a user were not an exception.
        options.insert(format!("allow_{what}_for_anonymous"), Value::Bool(true));
    }
}

/// Translates `publish` and `subscribe_to_publish`.
///
/// v1 let subscribers alone publish. Where the file may be of v1, that is how it is read.
pub(super) fn publishing(
    report: &mut Report<'_>,
    versions: Versions,
    scope: &Scope<'_>,
    special: &Map<String, Value>,
    options: &mut Map<String, Value>,
) {
    let now = scope.now;
    let (publish, subscribed) = (at_bool(special, "publish"), at_bool(special, "subscribe_to_publish"));
    if special.contains_key("subscribe_to_publish") {
        let text = match (publish, subscribed) {
            (true, true) => {
                format!("an old name: since v6 it is called `{now}.allow_publish_for_subscriber`")
            }
            (false, true) => "does nothing without `publish`".to_owned(),
            (_, false) => "is off, which needs no option".to_owned(),
        };
        report.note(&scope.key("subscribe_to_publish"), text);
    }
    if !publish {
        if special.contains_key("publish") {
            report.note(&scope.key("publish"), "is off, which needs no option");
        }
        return;
    }
    let strict = versions.meets(Versions::V1);
    let option =
        if subscribed || strict { "allow_publish_for_subscriber" } else { "allow_publish_for_client" };
    options.insert(option.to_owned(), Value::Bool(true));
    options.insert("allow_publish_for_anonymous".to_owned(), Value::Bool(true));
    let mut text = format!("an old name: since v6 it is called `{now}.{option}`");
    if strict && !versions.within(Versions::V1) {
        text.push_str(&format!(
            ". v1 let subscribers alone publish, v2 all clients; the file may be of either and is read the stricter \
             way. To let all publish: {}",
            line(now, "allow_publish_for_client", "true")
        ));
    }
    report.note(&scope.key("publish"), text);
    let shown = line(now, "allow_publish_for_anonymous", "true");
    let text = format!("`publish` lets anonymous clients publish too; in v6 form: {shown}");
    report.insecure(&format!("{now}.allow_publish_for_anonymous"), text);
}

/// `presence_disable_for_client` and `history_disable_for_client`: v6 has options that allow instead.
pub(super) fn disabled(report: &mut Report<'_>, scope: &Scope<'_>, special: &Map<String, Value>) {
    for what in ["presence", "history"] {
        let name = format!("{what}_disable_for_client");
        if special.contains_key(&name) {
            let text = format!(
                "removed in v4.0: clients see {what} only if an option such as `{}.allow_{what}_for_subscriber` is true",
                scope.now
            );
            report.note(&scope.key(&name), text);
        }
    }
}

/// Says that nothing is allowed that versions up to 3 allowed without an option, if the file may be of a later one.
pub(super) fn closed(report: &mut Report<'_>, versions: Versions) {
    let shown = line("channel.without_namespace", "allow_subscribe_for_client", "true");
    let verb = if versions.within(Versions::V3) { "is" } else { "may be" };
    let text = format!(
        "the file {verb} of {versions}. Versions up to v3 let clients with a user subscribe, and see presence and \
         history, without an option that says so; none of it is taken over. To allow it, here and in namespaces: {shown}"
    );
    report.note("channel.without_namespace.allow_subscribe_for_client", text);
}

/// No list of origins admits any.
pub(super) fn origins(report: &mut Report<'_>, tree: &mut Map<String, Value>) {
    if at(tree, "client.allowed_origins").is_some() {
        return;
    }
    put(tree, "client.allowed_origins", Value::Array(vec![Value::from("*")]));
    report.insecure(
        "client.allowed_origins",
        "versions up to v2 admit browsers from any origin if none is listed; in v6 form: \"client\": {\"allowed_origins\": [\"*\"]}, or better the origins of your pages",
    );
}

/// v1 had channels of one client, which nothing in v6 protects.
pub(super) fn client_channels(report: &mut Report<'_>) {
    report.insecure(
        "client_channel_boundary",
        "v1 admits to a channel such as `chat&<client>` this client alone; since v2 it is a name like any other, \
         and a client that may subscribe to `chat` may subscribe to it",
    );
}

/// The line that says the same in a v6 file.
pub(super) fn line(scope: &str, option: &str, value: &str) -> String {
    match scope.strip_prefix("channel.namespaces[").and_then(|rest| rest.strip_suffix(']')) {
        Some(name) => {
            format!("\"channel\": {{\"namespaces\": [{{\"name\": {name:?}, \"{option}\": {value}}}]}}")
        }
        None => format!("\"channel\": {{\"without_namespace\": {{\"{option}\": {value}}}}}"),
    }
}

/// Returns whether a switch of an old file is on, in any way of writing that.
pub(super) fn on(value: &Value) -> bool {
    match value {
        Value::Bool(on) => *on,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => matches!(text.as_str(), "1" | "t" | "T" | "true" | "TRUE" | "True"),
        _ => false,
    }
}

fn at_bool(options: &Map<String, Value>, name: &str) -> bool {
    options.get(name).is_some_and(on)
}
