//! Configuration: from file, environment and flags to typed structs, through one catalogue of options.
//!
//! Flags go over the environment, the environment over the file, the file over defaults. Names, types and
//! defaults are Centrifugo v6's; options of our own are marked `ours` in the catalogue.
//!
//! # Files of older versions
//!
//! `legacy/keys.txt` lists the keys of every minor version from 1.8 to 5.4. Each key of a file narrows the versions
//! that the file can be of:
//!
//! | the versions that had all keys | what happens |
//! |---|---|
//! | v6 is one of them | the file is read as it is |
//! | none | refused; the error names every key that is part of the conflict, its versions and its form in v6 |
//! | v2.8 and before | each key is translated, and the file keeps the meaning of v2, below |
//! | any others | each key is translated; what a version allowed without saying it is not taken over |
//!
//! A key that no version had is unknown and does not count. Every old key is translated, or a warning says why it
//! has no effect, or the start is refused because something that it protects would be open.
//!
//! Where versions that remain mean different things, the stricter one holds and a warning says so: `publish` is
//! for subscribers if the file may be of v1. Where one of them would not have started, the others hold: a duration
//! without a unit is seconds if the file may be of v2 or before.
//!
//! The meaning of v2, each part with a warning that shows the line to write in v6 form:
//!
//! - clients with a user may subscribe (`allow_subscribe_for_client`), save where `server_side` or a subscribe
//!   proxy prevented it;
//! - `anonymous: true` admits anonymous subscribers;
//! - `chat#42` stays limited to user 42 (`allow_user_limited_channels`): without this the line before would open it;
//! - subscribers may ask for presence and history where those were on and not disabled for clients;
//! - join and leave events go to every subscriber, in v3 too;
//! - no `allowed_origins` means any origin;
//! - bare numbers are seconds.
//!
//! Only the file can be of an older version. Variables and flags are those of v6, and an old name among them does nothing but
//! give a warning or an error with its name in v6.

pub mod catalogue;
mod check;
pub mod doc;
pub mod duration;
mod env;
mod env_file;
pub mod generate;
mod legacy;
mod normalise;
pub(crate) mod origin;
pub mod page;
pub mod pem;
mod read;
mod report;
mod rules;
mod suggest;
pub mod typed;
mod weak;

pub use duration::Duration;
pub use env::PREFIXES;
pub(crate) use env::upper;
pub use env_file::{EnvFileError, NAME as ENV_FILE};
pub(crate) use legacy::{Today, today};
pub use read::{Format, ReadError};
pub use report::{Clash, Level, Problem, Warning};
pub use rules::OptionFault;
pub use typed::Config;

use catalogue::Section as _;
use normalise::Zeros;
use report::Report;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

/// Source of a configuration.
#[derive(Debug, Default)]
pub struct Source<'a> {
    /// The file, if any.
    pub file: Option<&'a Path>,
    /// The environment.
    pub vars: Vars,
    /// Options set by flags: full name and text.
    pub flags: Vec<(String, String)>,
}

/// The variables of the environment. They hold secrets, so there is no way to print them.
#[derive(Clone, Default)]
pub struct Vars(BTreeMap<String, String>);

/// A configuration that can be used.
#[derive(Debug)]
pub struct Loaded {
    /// The options.
    pub config: Config,
    /// The file alone, in v6 form, with what is set in it. It holds secrets: print it through [`doc::mask`].
    pub file: Map<String, Value>,
    /// True if the file exists.
    pub found: bool,
    /// True if the file had to be translated.
    pub translated: bool,
    /// Warnings for the operator, the most severe last.
    pub warnings: Vec<Warning>,
}

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The variables of a file cannot be read.
    #[error(transparent)]
    EnvFile(#[from] EnvFileError),
    /// No version had all keys of the file.
    #[error("no version had all of these keys, so the file has no one meaning:{}\n{}", lines(.0), one_version(.0))]
    Eras(Vec<Clash>),
    /// Options are wrong.
    #[error("the configuration is not valid:{}", lines(&.0.problems))]
    Options(Box<Invalid>),
}

/// A configuration with wrong options.
#[derive(Debug)]
pub struct Invalid {
    /// All wrong options.
    pub problems: Vec<Problem>,
    /// Warnings about the others, the most severe last.
    pub warnings: Vec<Warning>,
    /// The configuration with defaults in place of values that cannot be read.
    pub rest: Config,
}

/// Loads a configuration.
///
/// # Errors
/// The file cannot be read, mixes versions, or an option is wrong. All wrong options are named at once.
pub fn load(source: &Source<'_>) -> Result<Loaded, Error> {
    let read = source.file.map(read::file).transpose()?.flatten();
    let found = read.is_some();
    let mut loaded = from_tree(read.unwrap_or_default(), &source.vars, &source.flags)?;
    loaded.found = found;
    Ok(loaded)
}

/// Loads a configuration whose file has been read already.
///
/// # Errors
/// As [`load`].
pub fn from_tree(tree: Map<String, Value>, vars: &Vars, flags: &[(String, String)]) -> Result<Loaded, Error> {
    let mut report = Report::new(vars);
    let (tree, translated) = legacy::translate(&mut report, tree)?;
    let zeros = if translated { Zeros::Values } else { Zeros::Unset };
    let file = normalise::file(&mut report, Config::fields, zeros, tree);
    let mut tree = file.clone();
    env::apply(&mut report, vars, &mut tree);
    for (path, text) in flags {
        env::apply_flag(&mut report, &mut tree, path, text);
    }
    let config: Config = serde_json::from_value(Value::Object(tree)).unwrap_or_else(|_| {
        // The tree is in catalogue form, so a failure is a disagreement of struct and catalogue. Tests rule it out.
        report.problem("(all)", "cannot be read");
        Config::default()
    });
    let unreadable = report.problems.len();
    check::check(&mut report, &config);
    report.forget_consequences(unreadable);
    let Report { problems, mut warnings, .. } = report;
    warnings.sort_by_key(|warning| warning.level);
    if !problems.is_empty() {
        return Err(Error::Options(Box::new(Invalid { problems, warnings, rest: config })));
    }
    Ok(Loaded { config, file, found: true, translated, warnings })
}

impl Vars {
    /// The variables of this process. What is not UTF-8 is left out.
    #[must_use]
    pub fn system() -> Self {
        std::env::vars_os()
            .filter_map(|(name, text)| Some((name.into_string().ok()?, text.into_string().ok()?)))
            .collect()
    }

    /// The text of a variable.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    fn iter(&self) -> impl Iterator<Item = (&String, &String)> {
        self.0.iter()
    }
}

impl FromIterator<(String, String)> for Vars {
    fn from_iter<T: IntoIterator<Item = (String, String)>>(vars: T) -> Self {
        Self(vars.into_iter().collect())
    }
}

impl std::fmt::Debug for Vars {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Vars({} variables)", self.0.len())
    }
}

/// Returns the way to a file of one version that says all that this one does.
fn one_version(clashes: &[Clash]) -> String {
    let today: Vec<String> = clashes
        .iter()
        .filter(|clash| clash.versions.contains("v6"))
        .map(|clash| format!("`{}`", clash.key))
        .collect();
    let print = "let `spinward checkconfig --show-secrets`";
    match today.as_slice() {
        [] => format!(
            "To keep all that it says, split it by version, {print} print each part in v6 form, and join what it prints"
        ),
        today => format!(
            "To keep all that it says, take {} out, {print} print the rest in v6 form, and add them to that",
            today.join(", ")
        ),
    }
}

fn lines<T: std::fmt::Display>(problems: &[T]) -> String {
    problems.iter().fold(String::new(), |mut text, problem| {
        // Writing to a string cannot fail.
        let _ = write!(text, "\n  {problem}");
        text
    })
}
