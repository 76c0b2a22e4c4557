//! Results of loading: problems, warnings, unknown names.

use super::Vars;
use std::fmt;

/// Something wrong with one option. The configuration cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Full name of the option to change.
    pub option: String,
    /// The problem, without the value of a secret.
    pub reason: String,
}

impl Problem {
    /// The option without the variable or flag that set it.
    fn bare(&self) -> String {
        self.option.split(" (").next().unwrap_or_default().to_owned()
    }
}

/// Returns true if `option` is `section`, or in it.
fn within(section: &str, option: &str) -> bool {
    option.strip_prefix(section).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.option, self.reason)
    }
}

/// A key of a file that belongs to other versions than the rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clash {
    /// Its place in the file.
    pub key: String,
    /// The versions that had it.
    pub versions: String,
    /// Its form in v6; empty if it has that already.
    pub today: String,
}

impl fmt::Display for Clash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` ({})", self.key, self.versions)?;
        if self.today.is_empty() { Ok(()) } else { write!(f, ": {}", self.today) }
    }
}

/// Something that the operator should know. As a text it begins with the label of its level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// Severity.
    pub level: Level,
    /// Full name of the option, or of the environment variable.
    pub option: String,
    /// The warning, without the value of a secret.
    pub text: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.level.label(), self.option, self.text)
    }
}

/// Severity of a warning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Works as it is; there is a better way.
    Note,
    /// The option is known, but what it switches on is not built yet.
    Planned,
    /// A name that means nothing, and was perhaps misspelt. `checkconfig --strict` fails on these.
    Unknown,
    /// Access is open. `production` refuses these.
    Insecure,
}

impl Level {
    /// Returns the word that stands before a warning of this level.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Planned => "planned",
            Self::Unknown => "unknown",
            Self::Insecure => "INSECURE",
        }
    }
}

/// Collects what is found on the way.
pub(super) struct Report<'a> {
    vars: &'a Vars,
    /// Options that an old file sets, and the keys by which it does.
    renamed: Vec<(String, String)>,
    pub(super) problems: Vec<Problem>,
    pub(super) warnings: Vec<Warning>,
}

impl<'a> Report<'a> {
    pub(super) fn new(vars: &'a Vars) -> Self {
        Self { vars, renamed: Vec::new(), problems: Vec::new(), warnings: Vec::new() }
    }

    pub(super) fn problem(&mut self, option: &str, reason: impl Into<String>) {
        let mut reason = reason.into();
        let inside =
            |set: &str| set.strip_prefix(option).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
        let keys: Vec<String> =
            self.renamed.iter().filter(|(set, _)| inside(set)).map(|(_, key)| format!("`{key}`")).collect();
        if !keys.is_empty() {
            reason = format!("{reason} (set by {})", keys.join(", "));
        }
        self.problems.push(Problem { option: option.to_owned(), reason });
    }

    /// Remembers which key of an old file sets an option, to name it in problems of that option.
    pub(super) fn renamed(&mut self, option: &str, key: &str) {
        self.renamed.push((option.to_owned(), key.to_owned()));
    }

    /// The key of an old file that sets this option, or the option itself.
    pub(super) fn key<'b>(&'b self, option: &'b str) -> &'b str {
        self.renamed.iter().find(|(set, _)| set == option).map_or(option, |(_, key)| key)
    }

    /// A problem that several users of an option may find.
    pub(super) fn problem_once(&mut self, option: &str, reason: impl Into<String>) {
        if !self.problems.iter().any(|problem| problem.option == option) {
            self.problem(option, reason);
        }
    }

    /// Removes what follows from the first `unreadable` problems, whose options have their defaults in place of what was
    /// written: problems and warnings of the same options and sections, and those that name one of them.
    pub(super) fn forget_consequences(&mut self, unreadable: usize) {
        let later = self.problems.split_off(unreadable);
        let unread: Vec<String> = self.problems.iter().map(Problem::bare).collect();
        let follows = |option: &str, text: &str| {
            unread.iter().any(|unread| {
                within(unread, option) || within(option, unread) || text.contains(&format!("`{unread}`"))
            })
        };
        self.problems.extend(later.into_iter().filter(|problem| !follows(&problem.bare(), &problem.reason)));
        self.warnings.retain(|warning| !follows(&warning.option, &warning.text));
    }

    /// A report to throw away.
    pub(super) fn quiet(&self) -> Self {
        Self::new(self.vars)
    }

    pub(super) fn warn(&mut self, level: Level, option: &str, text: impl Into<String>) {
        let warning = Warning { level, option: option.to_owned(), text: text.into() };
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }

    pub(super) fn note(&mut self, option: &str, text: impl Into<String>) {
        self.warn(Level::Note, option, text);
    }

    pub(super) fn insecure(&mut self, option: &str, text: impl Into<String>) {
        self.warn(Level::Insecure, option, text);
    }

    pub(super) fn unknown(&mut self, option: &str, suggestion: Option<String>) {
        let text = match suggestion {
            Some(suggestion) => format!("no option has this name, ignored; {suggestion}"),
            None => "no option has this name, ignored".to_owned(),
        };
        self.warn(Level::Unknown, option, text);
    }

    /// Replaces `${CENTRIFUGO_VAR_…}` and `${SPINWARD_VAR_…}` by what the environment holds.
    pub(super) fn expand(&mut self, option: &str, text: String) -> String {
        let mut rest = text.as_str();
        let mut expanded = String::new();
        while let Some((before, after)) = rest.split_once("${") {
            expanded.push_str(before);
            // An opening without an end is plain text.
            let Some((name, tail)) = after.split_once('}') else {
                rest = &rest[before.len()..];
                break;
            };
            rest = tail;
            if !(name.starts_with("CENTRIFUGO_VAR_") || name.starts_with("SPINWARD_VAR_")) {
                expanded.push_str(&format!("${{{name}}}"));
            } else if let Some(value) = self.vars.get(name) {
                expanded.push_str(value);
            } else {
                self.problem(option, format!("the environment variable {name} is not set"));
            }
        }
        expanded.push_str(rest);
        expanded
    }
}
