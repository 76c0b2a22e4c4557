//! What a file of v2 means without saying it. All that ever opens something because of a file's age is here.

use crate::config::env::{at, put};
use crate::config::report::Report;
use serde_json::{Map, Value};

/// Who may subscribe, and who may see presence and history.
pub(super) fn meaning(
    report: &mut Report<'_>,
    scope: &str,
    special: &Map<String, Value>,
    options: &mut Map<String, Value>,
) {
    if special.get("server_side").is_some_and(on) {
        report.note(
            &format!("{scope}.server_side"),
            "nobody may subscribe, which is what v6 does without options",
        );
        // `anonymous` meant nothing here, and must not begin to.
        options.remove("allow_subscribe_for_anonymous");
        return;
    }
    // Without this, `chat#42` would be a name like any other, and open to all by what follows.
    options.insert("allow_user_limited_channels".to_owned(), Value::Bool(true));
    let shown = line(scope, "allow_user_limited_channels", "true");
    let text = format!("a file of v2 limits `chat#42` to user 42; in v6 form: {shown}");
    report.note(&format!("{scope}.allow_user_limited_channels"), text);
    let proxied = at_bool(options, "subscribe_proxy_enabled");
    if !proxied {
        options.insert("allow_subscribe_for_client".to_owned(), Value::Bool(true));
        let shown = line(scope, "allow_subscribe_for_client", "true");
        let text = format!(
            "a file of v2 lets clients with a user subscribe to channels that are not private; in v6 form: {shown}"
        );
        report.insecure(&format!("{scope}.allow_subscribe_for_client"), text);
    }
    if at_bool(options, "allow_subscribe_for_anonymous") {
        let shown = line(scope, "allow_subscribe_for_anonymous", "true");
        let text = format!("`anonymous` lets anonymous clients subscribe too; in v6 form: {shown}");
        report.insecure(&format!("{scope}.allow_subscribe_for_anonymous"), text);
    }
    let history = options.contains_key("history_size") && options.contains_key("history_ttl");
    for (on, disabled, option, what) in [
        (
            at_bool(options, "presence"),
            "presence_disable_for_client",
            "allow_presence_for_subscriber",
            "presence",
        ),
        (history, "history_disable_for_client", "allow_history_for_subscriber", "history"),
    ] {
        if on && !at_bool(special, disabled) {
            options.insert(option.to_owned(), Value::Bool(true));
            let text = format!(
                "a file of v2 lets subscribers ask for {what}; in v6 form: {}",
                line(scope, option, "true")
            );
            report.insecure(&format!("{scope}.{option}"), text);
        }
    }
}

/// `publish` and `subscribe_to_publish`, which v2 and v3 share: said in so many words, so translated in either.
pub(super) fn publishing(
    report: &mut Report<'_>,
    scope: &str,
    old: &str,
    special: &Map<String, Value>,
    options: &mut Map<String, Value>,
) {
    let (publish, subscribed) = (at_bool(special, "publish"), at_bool(special, "subscribe_to_publish"));
    let option = match (publish, subscribed) {
        (true, true) => "allow_publish_for_subscriber",
        (true, false) => "allow_publish_for_client",
        (false, true) => {
            report.note(&format!("{old}subscribe_to_publish"), "does nothing without `publish`");
            return;
        }
        (false, false) => return,
    };
    options.insert(option.to_owned(), Value::Bool(true));
    report.note(&format!("{old}publish"), format!("an old name: since v6 it is called `{scope}.{option}`"));
}

/// No list of origins admits any.
pub(super) fn origins(report: &mut Report<'_>, tree: &mut Map<String, Value>) {
    if at(tree, "client.allowed_origins").is_some() {
        return;
    }
    put(tree, "client.allowed_origins", Value::Array(vec![Value::from("*")]));
    report.insecure(
        "client.allowed_origins",
        "a file of v2 without origins admits browsers from any; in v6 form: \"client\": {\"allowed_origins\": [\"*\"]}, or better the origins of your pages",
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

/// Whether a switch of an old file is on, in any way of writing that.
pub(super) fn on(value: &Value) -> bool {
    match value {
        Value::Bool(on) => *on,
        Value::Number(number) => number.as_i64() != Some(0),
        Value::String(text) => matches!(text.as_str(), "1" | "t" | "T" | "true" | "TRUE" | "True"),
        _ => false,
    }
}

fn at_bool(options: &Map<String, Value>, name: &str) -> bool {
    options.get(name).is_some_and(on)
}
