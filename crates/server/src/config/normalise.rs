//! From the tree of a file to the tree of the catalogue: known options alone, each in the one form of its kind.
//!
//! Everything a value can be wrong about is found here or in `check`, with the full name of the option.

use super::catalogue::{Field, Fields, Kind, each};
use super::duration::{Duration, DurationError};
use super::report::Report;
use super::suggest;
use serde_json::{Map, Value};

/// Reads a file. What is unknown, null or wrong is left out and reported.
pub(super) fn file(
    report: &mut Report<'_>,
    fields: Fields,
    zeros: Zeros,
    given: Map<String, Value>,
) -> Map<String, Value> {
    section(report, fields, "", zeros, given)
}

/// Meaning of an empty text, a zero or `"0s"` in a file, for an option whose default is another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Zeros {
    /// Not set, as in files of Centrifugo v6: its loader cannot tell such a value from an option that is missing.
    Unset,
    /// A value as any other: in files of older versions, and in sections that Centrifugo does not have.
    Values,
}

impl Zeros {
    /// The meaning within a section, or of one option.
    const fn within(self, field: &Field) -> Self {
        if field.ours { Self::Values } else { self }
    }

    /// Returns true if a value, which has the form of its kind, is as good as none.
    fn leave_out(self, field: &Field, value: &Value) -> bool {
        let kind = matches!(field.kind, Kind::Int(..) | Kind::Text | Kind::Duration);
        self.within(field) == Self::Unset && kind && is_zero(value) && !is_zero(&field.default)
    }
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::String(text) => text.is_empty() || text == "0s",
        Value::Number(number) => number.as_i64() == Some(0),
        _ => false,
    }
}

fn section(
    report: &mut Report<'_>,
    fields: Fields,
    path: &str,
    zeros: Zeros,
    given: Map<String, Value>,
) -> Map<String, Value> {
    let known = each(fields());
    let mut section = Map::new();
    for (name, value) in nested(&known, given) {
        // Centrifugo's loader does not mind upper case in names.
        let lower = name.to_ascii_lowercase();
        let Some(field) = known.iter().find(|field| field.name == lower) else {
            report.unknown(&join(path, &name), suggest::field(&lower, &known, path));
            continue;
        };
        let path = join(path, field.name);
        if section.contains_key(field.name) {
            report.problem(&path, "is set twice: keep one");
        } else if zeros.leave_out(field, &value) {
            // An empty text need not be one of the choices.
            report.note(&path, format!("an empty text means the default, {}", field.default));
        } else if let Some(value) = read(report, field, &path, zeros, value) {
            if zeros.leave_out(field, &value) {
                let default = &field.default;
                report.note(
                    &path,
                    format!("zero means the default, {default}; a variable or flag can set zero"),
                );
                continue;
            }
            section.insert(field.name.to_owned(), value);
        }
    }
    section
}

/// Puts an option that is written with its section, `"log.level"`, into that section, as Centrifugo's loader does.
fn nested(known: &[&Field], given: Map<String, Value>) -> Map<String, Value> {
    let is_section = |head: &str| {
        let found = known.iter().find(|field| field.name.eq_ignore_ascii_case(head));
        found.is_some_and(|field| matches!(field.kind, Kind::Section(_)))
    };
    let (dotted, mut given): (Map<_, _>, Map<_, _>) = given
        .into_iter()
        .partition(|(name, _)| name.split_once('.').is_some_and(|(head, _)| is_section(head)));
    for (name, value) in dotted {
        let Some((head, rest)) = name.split_once('.') else { continue };
        let there = given.keys().find(|key| key.eq_ignore_ascii_case(head)).cloned();
        let entry = given.entry(there.unwrap_or_else(|| head.to_owned())).or_insert(Value::Null);
        if entry.is_null() {
            *entry = Value::Object(Map::new());
        }
        // What is no section is told as such.
        if let Value::Object(section) = entry {
            section.insert(free(section, rest), value);
        }
    }
    given
}

/// A spelling of a name that a section does not have yet, so that two of one name are noticed.
fn free(section: &Map<String, Value>, name: &str) -> String {
    if section.contains_key(name) { name.to_ascii_uppercase() } else { name.to_owned() }
}

/// Reads one option of a variable or flag. `None` is a value that is null or wrong.
pub(super) fn option(report: &mut Report<'_>, field: &Field, path: &str, given: Value) -> Option<Value> {
    read(report, field, path, Zeros::Unset, given)
}

fn read(report: &mut Report<'_>, field: &Field, path: &str, zeros: Zeros, given: Value) -> Option<Value> {
    let zeros = zeros.within(field);
    if given.is_null() {
        return None;
    }
    let read = match (field.kind, given) {
        (Kind::Section(inner), Value::Object(given)) => {
            Ok(Value::Object(section(report, inner, path, zeros, given)))
        }
        (Kind::List(inner), Value::Array(given)) => Ok(list(report, inner, path, zeros, given)),
        (Kind::Section(_), given) => Err(wrong("an object", &given)),
        (Kind::List(_), given) => Err(wrong("a list of objects", &given)),
        (_, given) => scalar(report, field, path, given),
    };
    match read {
        Ok(value) => Some(value),
        Err(reason) => {
            report.problem(path, reason);
            None
        }
    }
}

fn list(report: &mut Report<'_>, inner: Fields, path: &str, zeros: Zeros, given: Vec<Value>) -> Value {
    let mut items = Vec::with_capacity(given.len());
    for (index, item) in given.into_iter().enumerate() {
        let name = item.get("name").and_then(Value::as_str).map(str::to_owned);
        let path = match name {
            Some(name) if !name.is_empty() => format!("{path}[{name}]"),
            _ => format!("{path}[{index}]"),
        };
        match item {
            Value::Object(item) => items.push(Value::Object(section(report, inner, &path, zeros, item))),
            other => report.problem(&path, wrong("an object", &other)),
        }
    }
    Value::Array(items)
}

fn scalar(report: &mut Report<'_>, field: &Field, path: &str, given: Value) -> Result<Value, String> {
    let value = match field.kind {
        Kind::Bool => boolean(&given)?,
        Kind::Int(low, high) => integer(field, low, high, &given)?,
        Kind::Duration => duration(report, path, &given)?,
        Kind::Text | Kind::Pem => Value::String(report.expand(path, text(given)?)),
        Kind::Texts => match given {
            Value::Array(items) => {
                let mut texts = Vec::with_capacity(items.len());
                for item in items {
                    texts.push(Value::String(report.expand(path, text(item)?)));
                }
                Value::Array(texts)
            }
            one => Value::Array(vec![Value::String(report.expand(path, text(one)?))]),
        },
        Kind::Map => map(report, path, given)?,
        Kind::Section(_) | Kind::Flat(_) | Kind::List(_) => given,
    };
    if !field.choices.is_empty() {
        let texts = match &value {
            Value::Array(texts) => texts.as_slice(),
            one => std::slice::from_ref(one),
        };
        for text in texts.iter().filter_map(Value::as_str) {
            if !field.choices.contains(&text) {
                return Err(format!("{text:?} is not one of {}", choices(field.choices)));
            }
        }
    }
    Ok(value)
}

/// Reads a map of texts, either as an object or as a list of `{key, value}`.
fn map(report: &mut Report<'_>, path: &str, given: Value) -> Result<Value, String> {
    let pairs: Vec<(String, Value)> = match given {
        Value::Object(map) => map.into_iter().collect(),
        Value::Array(items) => {
            let mut pairs = Vec::with_capacity(items.len());
            for mut item in items {
                match (item["key"].take(), item["value"].take()) {
                    (Value::String(key), value @ Value::String(_)) => pairs.push((key, value)),
                    _ => {
                        return Err("each item must be an object with the texts `key` and `value`".to_owned());
                    }
                }
            }
            pairs
        }
        other => return Err(wrong("an object", &other)),
    };
    let mut map = Map::new();
    for (key, value) in pairs {
        let value = Value::String(report.expand(path, text(value)?));
        if map.insert(key.to_lowercase(), value).is_some() {
            return Err(format!("{key:?} is set twice"));
        }
    }
    Ok(Value::Object(map))
}

fn text(given: Value) -> Result<String, String> {
    match given {
        Value::String(text) => Ok(text),
        // Centrifugo accepts a number for a text.
        Value::Number(number) if !number.is_f64() => Ok(number.to_string()),
        Value::Number(_) => {
            Err("this text is written as a number that may be read as another: put it in quotes".to_owned())
        }
        other => Err(wrong("a text", &other)),
    }
}

fn boolean(given: &Value) -> Result<Value, String> {
    let truth = match given {
        Value::Bool(truth) => Some(*truth),
        Value::Number(number) => number.as_i64().map(|number| number != 0),
        Value::String(text) => match text.as_str() {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
            "" | "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
            _ => None,
        },
        _ => None,
    };
    truth.map(Value::from).ok_or_else(|| wrong("true or false", given))
}

fn integer(field: &Field, low: i64, high: i64, given: &Value) -> Result<Value, String> {
    let (low, high) = field.range.unwrap_or((low, high));
    // A float that is whole, as in `8000.0`, is a whole number. A cast of one out of range saturates.
    let whole = |float: f64| (float.fract() == 0.0).then_some(float as i128);
    let number = match given {
        Value::Number(number) => number.as_i128().or_else(|| number.as_f64().and_then(whole)),
        Value::String(text) if text.is_empty() => Some(0),
        Value::String(text) => whole_number(text).or_else(|| text.parse().ok().and_then(whole)),
        _ => None,
    };
    let number = number.ok_or_else(|| wrong("a whole number", given))?;
    match i64::try_from(number) {
        Ok(number) if (low..=high).contains(&number) => Ok(Value::from(number)),
        _ => Err(format!("the number is not between {low} and {high}")),
    }
}

/// A whole number as YAML writes them: decimal, `0x1f`, `0o17` or `0b1`, with `_` between digits.
fn whole_number(text: &str) -> Option<i128> {
    let digits = text.replace('_', "");
    let (sign, bare) = match digits.strip_prefix('-') {
        Some(bare) => (-1, bare),
        None => (1, digits.strip_prefix('+').unwrap_or(&digits)),
    };
    for (prefix, radix) in [("0x", 16), ("0o", 8), ("0b", 2)] {
        if let Some(bare) = bare.strip_prefix(prefix) {
            return i128::from_str_radix(bare, radix).ok().map(|number| sign * number);
        }
    }
    bare.parse::<i128>().ok().map(|number| sign * number)
}

fn duration(report: &mut Report<'_>, path: &str, given: &Value) -> Result<Value, String> {
    let duration = match given {
        Value::String(text) if text.is_empty() => Duration::default(),
        Value::String(text) => {
            Duration::parse(text).map_err(|error| format!("{text:?} is not right: {error}"))?
        }
        Value::Number(number) => match number.as_u64() {
            Some(0) => Duration::default(),
            Some(nanos) => {
                let duration = Duration::nanos(nanos);
                report.note(path, format!("a bare number is nanoseconds; write {:?}", duration.to_string()));
                duration
            }
            None if number.as_i64().is_some() => return Err(DurationError::Negative.to_string()),
            None => return Err(DurationError::Form.to_string()),
        },
        other => return Err(wrong("a duration", other)),
    };
    Ok(Value::from(duration.to_string()))
}

/// Describes what was expected and the kind of value found. Never the value, which may be a secret.
fn wrong(expected: &str, given: &Value) -> String {
    let found = match given {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    match (expected, found) {
        (_, "a text") | ("a whole number", "a number") => format!("this is not {expected}"),
        _ => format!("expected {expected}, found {found}"),
    }
}

fn choices(choices: &[&str]) -> String {
    let quoted: Vec<String> = choices.iter().map(|choice| format!("{choice:?}")).collect();
    quoted.join(", ")
}

/// The name of an option within a section.
pub(super) fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}
