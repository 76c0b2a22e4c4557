//! Options that are set although what they switch on does not exist yet.

use crate::config::catalogue::{Field, Kind, Section as _, Status, each};
use crate::config::normalise::join;
use crate::config::report::{Level, Report};
use crate::config::typed::Config;
use serde_json::{Map, Value};

pub(super) fn check(report: &mut Report<'_>, config: &Config) {
    section(report, Config::fields(), "", &config.to_section());
}

fn section(report: &mut Report<'_>, fields: &'static [Field], path: &str, values: &Map<String, Value>) {
    for field in each(fields) {
        let Some(value) = values.get(field.name) else { continue };
        // What is off needs no warning, whatever else is set in it.
        if *value == field.default || value.get("enabled") == Some(&Value::Bool(false)) {
            continue;
        }
        let path = join(path, field.name);
        match field.status {
            Status::Planned => report.warn(Level::Planned, &path, "set, but not built yet: it has no effect"),
            Status::Essential => {
                report.problem(&path, "is not built yet, and going on without it would not be safe");
            }
            Status::Built => inner(report, field, &path, value),
        }
    }
}

fn inner(report: &mut Report<'_>, field: &Field, path: &str, value: &Value) {
    match (field.kind, value) {
        (Kind::Section(fields), Value::Object(values)) => section(report, fields(), path, values),
        (Kind::List(fields), Value::Array(items)) => {
            for (index, item) in items.iter().enumerate() {
                let Some(values) = item.as_object() else { continue };
                let path = match values.get("name").and_then(Value::as_str) {
                    Some(name) => format!("{path}[{name}]"),
                    None => format!("{path}[{index}]"),
                };
                section(report, fields(), &path, values);
            }
        }
        _ => {}
    }
}
