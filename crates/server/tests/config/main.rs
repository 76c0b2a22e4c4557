//! The configuration: every rule as a row of a table.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails here")]

mod catalogue;
mod files;
mod legacy;
mod outside;
mod rules;
mod tls;
mod versions;

use serde_json::{Map, Value};
use spinward_server::config::{self, Error, Level, Loaded, Vars};

/// A key that nothing is to be said about.
pub const KEY: &str = "3b1f0c7d9e5a48261f7c0d3b9a6e5f418c2d7b0a4e9f6153";

/// Loads a file given as JSON, without an environment.
pub fn load(file: &Value) -> Result<Loaded, Error> {
    load_with(file, &[], &[])
}

/// Loads a file given as JSON, with variables and flags.
pub fn load_with(file: &Value, vars: &[(&str, &str)], flags: &[(&str, &str)]) -> Result<Loaded, Error> {
    let owned = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        pairs.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
    };
    config::from_tree(object(file), &Vars::from_iter(owned(vars)), &owned(flags))
}

/// The object that a JSON value is.
pub fn object(value: &Value) -> Map<String, Value> {
    value.as_object().unwrap_or_else(|| panic!("not an object: {value}")).clone()
}

/// The names of options that a file is refused for.
pub fn refused(file: &Value) -> Vec<String> {
    match load(file) {
        Ok(_) => Vec::new(),
        Err(Error::Options(invalid)) => invalid.problems.into_iter().map(|problem| problem.option).collect(),
        Err(other) => panic!("{file}: {other}"),
    }
}

/// The options that warnings of one level name.
pub fn warned(loaded: &Loaded, level: Level) -> Vec<String> {
    loaded
        .warnings
        .iter()
        .filter(|warning| warning.level == level)
        .map(|warning| warning.option.clone())
        .collect()
}
