//! Options from the environment and from flags.
//!
//! `SPINWARD_` or `CENTRIFUGO_`, then the option's name in upper case with `_` for each dot. An empty variable is
//! not set. Lists are separated by spaces; maps and lists of objects are JSON. Where objects have names, a list of
//! names adds objects, and each option has a variable: `…_CHANNEL_NAMESPACES_<NAME>_PRESENCE`. Where both prefixes
//! set an option, `SPINWARD_` wins.

use super::catalogue::{Field, Fields, Kind, Section as _, each};
use super::normalise::{self, join};
use super::report::{Level, Report};
use super::typed::Config;
use super::{Vars, legacy, suggest};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// The prefixes, the stronger one last.
pub const PREFIXES: [&str; 2] = ["CENTRIFUGO_", "SPINWARD_"];

/// Puts what the environment says over a tree in catalogue form.
pub(super) fn apply(report: &mut Report<'_>, vars: &Vars, tree: &mut Map<String, Value>) {
    if !vars.iter().any(|(name, _)| PREFIXES.iter().any(|prefix| name.starts_with(prefix))) {
        return;
    }
    let mut known = BTreeSet::new();
    let plain = names(Config::fields);
    for prefix in PREFIXES {
        for (suffix, option) in &plain {
            let name = format!("{prefix}{suffix}");
            let Some(text) = vars.get(&name).filter(|text| !text.is_empty()) else { continue };
            known.insert(name.clone());
            if is_service_address(text) && matches!(option.field.kind, Kind::Int(..)) {
                report.note(&name, "looks like a variable that Kubernetes made for a service; ignored");
                continue;
            }
            set(report, tree, &option.path, option.field, &format!("{} ({name})", option.path), text);
        }
    }
    // After the plain ones, because those may have brought the lists.
    for prefix in PREFIXES {
        for (suffix, option) in &plain {
            if let Kind::List(inner) = option.field.kind {
                named(report, vars, tree, &format!("{prefix}{suffix}_"), &option.path, inner, &mut known);
            }
        }
    }
    unknown(report, vars, &known, &plain);
}

/// Puts one option over a tree, given as text: from a flag.
pub(super) fn apply_flag(report: &mut Report<'_>, tree: &mut Map<String, Value>, path: &str, text: &str) {
    match super::catalogue::find(Config::fields(), path) {
        Some(field) => set(report, tree, path, field, &format!("{path} (flag)"), text),
        None => report.problem(path, "unknown option"),
    }
}

/// The options of a section that the environment can set, by the end of the variable's name.
pub(super) fn names(fields: Fields) -> BTreeMap<String, Named> {
    let mut names = BTreeMap::new();
    collect(fields, "", &mut names);
    names
}

/// An option with its full name.
pub(super) struct Named {
    pub(super) path: String,
    pub(super) field: &'static Field,
}

fn collect(fields: Fields, path: &str, names: &mut BTreeMap<String, Named>) {
    for field in each(fields()) {
        let path = join(path, field.name);
        match field.kind {
            Kind::Section(inner) => collect(inner, &path, names),
            _ => {
                names.insert(upper(&path), Named { path, field });
            }
        }
    }
}

/// A name as it is written in a variable.
pub(crate) fn upper(name: &str) -> String {
    name.replace(['.', '-'], "_").to_uppercase()
}

/// Options of the named objects of a list.
fn named(
    report: &mut Report<'_>,
    vars: &Vars,
    tree: &mut Map<String, Value>,
    prefix: &str,
    path: &str,
    inner: Fields,
    known: &mut BTreeSet<String>,
) {
    // Most environments name no object at all: look before building the names of every option.
    if !vars.iter().any(|(name, text)| name.starts_with(prefix) && !text.is_empty()) {
        return;
    }
    let Some(items) = at(tree, path).and_then(Value::as_array_mut) else { return };
    let names = names(inner);
    for item in items {
        let Some(item) = item.as_object_mut() else { continue };
        let Some(name) = item.get("name").and_then(Value::as_str).map(str::to_owned) else { continue };
        for (suffix, option) in &names {
            let var = format!("{prefix}{}_{suffix}", upper(&name));
            let Some(text) = vars.get(&var).filter(|text| !text.is_empty()) else { continue };
            set(
                report,
                item,
                &option.path,
                option.field,
                &format!("{path}[{name}].{} ({var})", option.path),
                text,
            );
            known.insert(var);
        }
    }
}

fn set(
    report: &mut Report<'_>,
    tree: &mut Map<String, Value>,
    path: &str,
    field: &Field,
    label: &str,
    text: &str,
) {
    let given = match field.kind {
        Kind::List(inner) if has_names(inner) && !text.trim_start().starts_with(['[', '{']) => {
            add_names(tree, path, text);
            return;
        }
        Kind::List(_) | Kind::Map => match serde_json::from_str(text) {
            Ok(value) => value,
            Err(_) => return report.problem(label, "this is not JSON"),
        },
        Kind::Texts => {
            if text.contains([',', '"', '\'', '[']) {
                let note = "a list in a variable is separated by spaces, without commas, quotes or brackets around it";
                report.note(label, note);
            }
            text.split_whitespace().map(Value::from).collect()
        }
        _ => Value::from(text),
    };
    if let Some(value) = normalise::option(report, field, label, given) {
        put(tree, path, value);
    }
}

/// Returns whether the objects of a list have names.
fn has_names(fields: Fields) -> bool {
    each(fields()).iter().any(|field| field.name == "name")
}

/// Adds to a list an object for each name of a text that it does not have yet; their options are in other variables.
fn add_names(tree: &mut Map<String, Value>, path: &str, text: &str) {
    if at(tree, path).is_none_or(|list| !list.is_array()) {
        put(tree, path, Value::Array(Vec::new()));
    }
    let Some(list) = at(tree, path).and_then(Value::as_array_mut) else { return };
    for name in text.split_whitespace() {
        if list.iter().all(|item| item.get("name").and_then(Value::as_str) != Some(name)) {
            list.push(Value::Object(Map::from_iter([("name".to_owned(), Value::from(name))])));
        }
    }
}

/// Puts a value into a tree under a dotted name.
pub(super) fn put(tree: &mut Map<String, Value>, path: &str, value: Value) {
    match path.split_once('.') {
        None => {
            tree.insert(path.to_owned(), value);
        }
        Some((head, rest)) => {
            let inner = tree.entry(head.to_owned()).or_insert_with(|| Value::Object(Map::new()));
            if !inner.is_object() {
                *inner = Value::Object(Map::new());
            }
            if let Value::Object(inner) = inner {
                put(inner, rest, value);
            }
        }
    }
}

/// The value under a dotted name.
pub(super) fn at<'a>(tree: &'a mut Map<String, Value>, path: &str) -> Option<&'a mut Value> {
    match path.split_once('.') {
        None => tree.get_mut(path),
        Some((head, rest)) => at(tree.get_mut(head)?.as_object_mut()?, rest),
    }
}

fn unknown(report: &mut Report<'_>, vars: &Vars, known: &BTreeSet<String>, plain: &BTreeMap<String, Named>) {
    for (name, text) in vars.iter() {
        let Some((prefix, suffix)) =
            PREFIXES.iter().find_map(|prefix| Some((*prefix, name.strip_prefix(prefix)?)))
        else {
            continue;
        };
        let empty_but_known = text.is_empty() && plain.contains_key(suffix);
        if known.contains(name) || empty_but_known || suffix.starts_with("VAR_") || kubernetes(suffix, text) {
            continue;
        }
        report.warn(Level::Unknown, name, unknown_text(prefix, suffix, plain));
    }
}

/// The words for a variable that sets nothing: what it is called today, or what was perhaps meant.
fn unknown_text(prefix: &str, suffix: &str, plain: &BTreeMap<String, Named>) -> String {
    if let Some(today) = old(suffix) {
        let variables: Vec<String> =
            today.options.iter().map(|option| format!("{prefix}{}", upper(option))).collect();
        return match variables.is_empty() {
            true => format!("an old variable, ignored; {}", today.said),
            false => format!("an old variable, ignored; since v6 it is called {}", variables.join(" or ")),
        };
    }
    if let Some(today) = old_consumer(suffix) {
        return format!("an old variable, ignored; since v6 it is called {prefix}{today}");
    }
    let names = || plain.keys().map(String::as_str);
    let near = suggest::misspelt(suffix, names())
        .or_else(|| suggest::longer(suffix, names()))
        .or_else(|| suggest::closest(suffix, names()));
    match near {
        Some(near) => format!("no option has this variable, ignored; did you mean {prefix}{near}?"),
        None => "no option has this variable, ignored".to_owned(),
    }
}

/// The key of an older version that a variable was for.
fn old(suffix: &str) -> Option<legacy::Today> {
    let name = suffix.to_lowercase();
    // A dot of a key is a `_` here too.
    let dotted = |(at, _): (usize, char)| format!("{}.{}", &name[..at], &name[at + 1..]);
    legacy::today(&name)
        .or_else(|| name.char_indices().filter(|(_, c)| *c == '_').find_map(|at| legacy::today(&dotted(at))))
}

/// v5 had variables for some options of consumers: `CONSUMERS_KAFKA_<NAME>_BROKERS`.
fn old_consumer(suffix: &str) -> Option<String> {
    let rest = suffix.strip_prefix("CONSUMERS_")?;
    [("POSTGRESQL", &["DSN"][..]), ("KAFKA", &["BROKERS", "SASL_USER", "SASL_PASSWORD"])]
        .into_iter()
        .find_map(|(kind, options)| {
            let rest = rest.strip_prefix(kind)?.strip_prefix('_')?;
            options.iter().find_map(|option| {
                let name = rest.strip_suffix(option)?.strip_suffix('_')?;
                Some(format!("CONSUMERS_{name}_{kind}_{option}"))
            })
        })
}

/// Returns whether Kubernetes made a variable for a service: by its value, or by a name that no option ever had.
///
/// `…_PORT` is `tcp://10.0.0.1:8000`; `…_PORT_8000_TCP` and `…_SERVICE_HOST` say so themselves, and so does
/// `…_SERVICE_PORT` with a number. `CENTRIFUGO_PORT=9000` is not one of them: somebody wants that port.
fn kubernetes(suffix: &str, text: &str) -> bool {
    let words: Vec<&str> = suffix.split('_').collect();
    let number = |text: &str| text.parse::<u16>().is_ok();
    let port = words.iter().position(|word| *word == "PORT").map(|at| (&words[..at], &words[at + 1..]));
    match port {
        Some(([.., "SERVICE"], _)) => number(text),
        Some((_, [])) => is_service_address(text),
        Some((_, [port, "TCP" | "UDP" | "SCTP"])) => number(port),
        Some((_, [port, "TCP" | "UDP" | "SCTP", "PROTO" | "PORT" | "ADDR"])) => number(port),
        _ => matches!(words[..], [.., "SERVICE", "HOST"]),
    }
}

/// Returns whether a text is the address of a service, as Kubernetes writes it.
fn is_service_address(text: &str) -> bool {
    ["tcp://", "udp://", "sctp://"].iter().any(|scheme| text.starts_with(scheme))
}
