//! Output of the catalogue: the reference, the defaults, the environment, a file without its secrets.

use super::catalogue::{Field, Fields, Kind, Section as _, Status, each, find, status};
use super::env::{self, upper};
use super::normalise::join;
use super::read::Format;
use super::typed::Config;
use serde_json::{Map, Value};
use std::fmt::Write as _;

/// The reference in Markdown: every option, or those of one section.
///
/// # Errors
/// There is no such section.
pub fn markdown(section: Option<&str>) -> Result<String, String> {
    let mut text = String::new();
    match section {
        None => {
            text.push_str(INTRODUCTION);
            table(&mut text, "Top level", "", "", Status::Built, Config::fields);
            sections(&mut text, "", Status::Built, Config::fields);
        }
        Some(name) => {
            let field =
                find(Config::fields(), name).ok_or_else(|| format!("there is no section `{name}`"))?;
            let (Kind::Section(inner) | Kind::List(inner)) = field.kind else {
                return Err(format!("`{name}` is an option, not a section"));
            };
            let path =
                if matches!(field.kind, Kind::List(_)) { format!("{name}[]") } else { name.to_owned() };
            let status = status(Config::fields(), name);
            table(&mut text, &format!("`{path}`"), &path, field.doc, status, inner);
            sections(&mut text, &path, status, inner);
        }
    }
    Ok(text)
}

const INTRODUCTION: &str = "# Options\n\n\
    Names, types and defaults are those of Centrifugo v6 unless an option is marked *Spinward*. The environment \
    variable of an option is `SPINWARD_` and its name in upper case, with `_` for each dot; `CENTRIFUGO_` works \
    too. *Planned* options are accepted and do nothing yet; *refused* ones stop the server from starting until \
    they are built, because going on without them would not be safe. A *PEM* is the text itself, its base64, or the \
    path of a file; a *duration* is a text such as `300ms`, `25s` or `1m30s`.\n\n";

fn sections(text: &mut String, path: &str, around: Status, fields: Fields) {
    for field in each(fields()) {
        let (inner, path) = match field.kind {
            Kind::Section(inner) => (inner, join(path, field.name)),
            Kind::List(inner) => (inner, format!("{}[]", join(path, field.name))),
            _ => continue,
        };
        let status = inherited(field, around);
        table(text, &format!("`{path}`"), &path, field.doc, status, inner);
        sections(text, &path, status, inner);
    }
}

/// State of an option in a section of this state.
fn inherited(field: &Field, around: Status) -> Status {
    if around == Status::Built { field.status } else { around }
}

fn table(text: &mut String, title: &str, path: &str, about: &str, status: Status, fields: Fields) {
    let rows: Vec<&Field> =
        each(fields()).into_iter().filter(|field| !matches!(field.kind, Kind::Section(_))).collect();
    // Writing to a string cannot fail.
    let _ = match status {
        Status::Built => write!(text, "## {title}\n\n"),
        Status::Planned => {
            write!(text, "## {title} (planned)\n\n*Not built yet: accepted, without effect.* ")
        }
        Status::Essential => {
            write!(text, "## {title} (refused)\n\n*Not built yet: the server does not start with it.* ")
        }
    };
    if !about.is_empty() {
        let _ = write!(text, "{}", one_line(about));
    }
    if !about.is_empty() || status != Status::Built {
        text.push_str("\n\n");
    }
    if rows.is_empty() {
        return;
    }
    text.push_str("| option | type | default | |\n|---|---|---|---|\n");
    for field in rows {
        let name = join(path, field.name);
        let _ = writeln!(
            text,
            "| `{name}` | {} | {} | {} |",
            field.kind.label(),
            default(field),
            about_field(field, inherited(field, status))
        );
    }
    text.push('\n');
}

fn default(field: &Field) -> String {
    match &field.default {
        Value::String(text) if text.is_empty() => String::new(),
        Value::Array(items) if items.is_empty() => String::new(),
        Value::Object(map) if map.is_empty() => String::new(),
        Value::String(text) => format!("`{text}`"),
        other => format!("`{other}`"),
    }
}

fn about_field(field: &Field, status: Status) -> String {
    let mut text = one_line(field.doc);
    if !field.choices.is_empty() {
        let choices: Vec<String> = field
            .choices
            .iter()
            .filter(|choice| !choice.is_empty())
            .map(|choice| format!("`{choice}`"))
            .collect();
        let _ = write!(text, " One of {}.", choices.join(", "));
    }
    if field.secret {
        text.push_str(" Secret.");
    }
    if field.ours {
        text.push_str(" *Spinward.*");
    }
    if !field.since.is_empty() {
        let _ = write!(text, " Since v{}.", field.since);
    }
    match status {
        Status::Built => {}
        Status::Planned => text.push_str(" *Planned.*"),
        Status::Essential => text.push_str(" *Refused until built.*"),
    }
    text
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

/// Every option with its default, or with what a file sets, as a file.
///
/// # Errors
/// The values cannot be written in that format.
pub fn file(format: Format, values: Map<String, Value>) -> Result<String, String> {
    let values = Value::Object(values);
    match format {
        Format::Json => {
            serde_json::to_string_pretty(&values).map(|text| text + "\n").map_err(|e| e.to_string())
        }
        Format::Yaml => serde_saphyr::to_string(&values).map_err(|error| error.to_string()),
        Format::Toml => toml::to_string(&values).map_err(|error| error.to_string()),
    }
}

/// Every variable with its default, or with what a configuration sets; those of `only` alone, if given.
#[must_use]
pub fn variables(config: &Config, only: Option<&Map<String, Value>>) -> String {
    let mut values = config.to_section();
    let mut only = only.cloned();
    let mut text = String::new();
    for (name, option) in env::names(Config::fields) {
        if only.as_mut().is_some_and(|set| env::at(set, &option.path).is_none()) {
            continue;
        }
        let Some(value) = env::at(&mut values, &option.path) else { continue };
        let _ = writeln!(text, "SPINWARD_{name}={}", variable(option.field, value));
        let Kind::List(inner) = option.field.kind else { continue };
        for item in value.as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
            let Some(item_name) = item.get("name").and_then(Value::as_str).map(upper) else { continue };
            for (suffix, option) in env::names(inner) {
                let Some(value) = env::at(item, &option.path).map(|value| &*value) else { continue };
                let value = variable(option.field, value);
                let _ = writeln!(text, "SPINWARD_{name}_{item_name}_{suffix}={value}");
            }
        }
    }
    text
}

fn variable(field: &Field, value: &Value) -> String {
    match (field.kind, value) {
        (Kind::Duration, Value::String(text)) => text.clone(),
        (_, Value::String(text)) => Value::from(text.as_str()).to_string(),
        (Kind::Texts, Value::Array(items)) => {
            let texts: Vec<&str> = items.iter().filter_map(Value::as_str).collect();
            Value::from(texts.join(" ")).to_string()
        }
        (Kind::Map | Kind::List(_), other) => Value::from(other.to_string()).to_string(),
        (_, other) => other.to_string(),
    }
}

/// The same tree with `***` for every secret that is set.
#[must_use]
pub fn mask(values: &Map<String, Value>) -> Map<String, Value> {
    masked(Config::fields, values)
}

fn masked(fields: Fields, values: &Map<String, Value>) -> Map<String, Value> {
    let known = each(fields());
    let hidden = || Value::from("***");
    let mut out = Map::new();
    for (name, value) in values {
        let field = known.iter().find(|field| field.name == name);
        let value = match (field.map(|field| (field.kind, field.secret)), value) {
            (Some((Kind::Section(inner), _)), Value::Object(values)) => Value::Object(masked(inner, values)),
            (Some((Kind::List(inner), _)), Value::Array(items)) => items
                .iter()
                .map(|item| {
                    Value::Object(item.as_object().map(|item| masked(inner, item)).unwrap_or_default())
                })
                .collect(),
            (Some((_, false)), value) => value.clone(),
            (Some((_, true)), Value::Array(items)) => items.iter().map(|_| hidden()).collect(),
            (Some((_, true)), Value::Object(map)) => map.keys().map(|key| (key.clone(), hidden())).collect(),
            (Some((_, true)), Value::String(text)) if text.is_empty() => value.clone(),
            _ => hidden(),
        };
        out.insert(name.clone(), value);
    }
    out
}
