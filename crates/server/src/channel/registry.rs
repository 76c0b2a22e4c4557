//! From a channel name to the options that hold for it.

use super::name::{ChannelName, NameFault, Syntax};
use super::pattern::{Pattern, PatternError};
use crate::config::OptionFault;
use crate::config::typed::{Channel, ChannelNamespace, ChannelOptions, PublicationFormat};
use crate::regex::{Regex, RegexError};
use std::sync::Arc;
use thiserror::Error;

/// Reasons why the options do not make a registry. Each text begins with the option to change.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BuildError {
    /// A namespace has a bad name.
    #[error(
        "channel.namespaces: {0:?} is not a namespace name: two or more of a-z, A-Z, 0-9, \"-\", \"_\", \".\""
    )]
    Name(String),
    /// Two namespaces have the same name.
    #[error("channel.namespaces: {0:?} is there twice")]
    NameTwice(String),
    /// An option contradicts others of its namespace.
    #[error("{0}.{fault} {reason}", fault = .1.option, reason = .1.reason)]
    Options(String, OptionFault),
    /// A pattern is invalid.
    #[error("{0}.pattern: {1}")]
    Pattern(String, PatternError),
    /// An expression is invalid, or too large.
    #[error("{0}.channel_regex: {1}")]
    Regex(String, RegexError),
    /// Patterns are switched off.
    #[error("{0}.pattern needs channel.patterns")]
    PatternOff(String),
    /// Two patterns match the same names.
    #[error("{0}.pattern matches the same channels as {1}.pattern")]
    PatternTwice(String, String),
}

/// A namespace, ready to be decided by.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    options: ChannelOptions,
    pattern: Option<Pattern>,
    regex: Option<Regex>,
}

impl Namespace {
    /// Its name; empty for `channel.without_namespace`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its options. `history_meta_ttl` and `publication_data_format` are the effective values.
    #[must_use]
    pub const fn options(&self) -> &ChannelOptions {
        &self.options
    }

    /// Its pattern.
    #[must_use]
    pub const fn pattern(&self) -> Option<&Pattern> {
        self.pattern.as_ref()
    }

    /// Returns the place of its options in the configuration, for people.
    #[must_use]
    pub fn path(&self) -> String {
        path(&self.name)
    }

    /// Checks the form of a name that resolved to this namespace. It does not check the length: see
    /// [`Registry::check_length`].
    ///
    /// # Errors
    /// The fault of the name.
    pub fn check_form(&self, name: &ChannelName<'_>) -> Result<(), NameFault> {
        if self.pattern.is_some() && !name.full.is_ascii() {
            return Err(NameFault::NotAscii);
        }
        match &self.regex {
            Some(regex) if regex.is_match(name.rest) => Ok(()),
            Some(_) => Err(NameFault::Regex),
            None if name.full.is_ascii() => Ok(()),
            None => Err(NameFault::NotAscii),
        }
    }
}

/// A name and what it resolves to.
#[derive(Clone, Copy, Debug)]
pub struct Resolved<'a> {
    /// The name, taken apart.
    pub name: ChannelName<'a>,
    /// Its namespace; `None` if there is no such namespace, or no pattern that matches.
    pub namespace: Option<&'a Arc<Namespace>>,
}

/// Every namespace. An immutable value: a reload makes another.
#[derive(Debug)]
pub struct Registry {
    syntax: Syntax,
    without_namespace: Arc<Namespace>,
    /// Reached by name; sorted by it.
    named: Box<[Arc<Namespace>]>,
    /// Reached by pattern; those that win first come first.
    patterned: Box<[Arc<Namespace>]>,
}

impl Registry {
    /// Makes a registry.
    ///
    /// # Errors
    /// Options that contradict each other, by their names.
    pub fn new(channel: &Channel) -> Result<Self, BuildError> {
        let mut syntax = Syntax::of(channel);
        if syntax.max_length == 0 {
            syntax.max_length = Syntax::default().max_length;
        }
        let without_namespace = Arc::new(namespace(channel, String::new(), &channel.without_namespace, "")?);
        let mut named = Vec::new();
        let mut patterned: Vec<Arc<Namespace>> = Vec::new();
        for ChannelNamespace { name, pattern, options } in &channel.namespaces {
            if !is_namespace_name(name) {
                return Err(BuildError::Name(name.clone()));
            }
            let namespace = Arc::new(namespace(channel, name.clone(), options, pattern)?);
            if let Some(pattern) = namespace.pattern() {
                let twin =
                    patterned.iter().find(|other| other.pattern().is_some_and(|p| p.same_shape(pattern)));
                if let Some(twin) = twin {
                    return Err(BuildError::PatternTwice(namespace.path(), twin.path()));
                }
                patterned.push(namespace);
            } else {
                named.push(namespace);
            }
        }
        let mut names: Vec<&str> = named.iter().chain(&patterned).map(|namespace| namespace.name()).collect();
        names.sort_unstable();
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(BuildError::NameTwice(pair[0].to_owned()));
        }
        named.sort_by(|a, b| a.name.cmp(&b.name));
        patterned.sort_by_cached_key(|namespace| namespace.pattern().map(Pattern::precedence));
        Ok(Self { syntax, without_namespace, named: named.into(), patterned: patterned.into() })
    }

    /// The grammar of names.
    #[must_use]
    pub const fn syntax(&self) -> &Syntax {
        &self.syntax
    }

    /// Takes a name apart and finds its namespace.
    #[must_use]
    pub fn resolve<'a>(&'a self, channel: &'a str) -> Resolved<'a> {
        let name = self.syntax.parse(channel);
        let namespace = if name.pattern {
            let path = if name.private { &channel[self.syntax.private_prefix.len()..] } else { channel };
            self.patterned
                .iter()
                .find(|namespace| namespace.pattern().is_some_and(|pattern| pattern.matches(path)))
        } else {
            match name.namespace {
                None => Some(&self.without_namespace),
                Some(wanted) => self.named(wanted),
            }
        };
        Resolved { name, namespace }
    }

    /// The namespace of this name, patterns aside.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&Arc<Namespace>> {
        let at = self.named.binary_search_by(|namespace| namespace.name.as_str().cmp(name)).ok()?;
        self.named.get(at)
    }

    /// Every namespace, `channel.without_namespace` first.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Namespace>> {
        std::iter::once(&self.without_namespace).chain(&self.named).chain(&self.patterned)
    }

    /// Checks the length of a name, counted in bytes.
    ///
    /// # Errors
    /// The name is empty or too long.
    pub const fn check_length(&self, channel: &str) -> Result<(), NameFault> {
        if channel.is_empty() {
            Err(NameFault::Empty)
        } else if channel.len() > self.syntax.max_length {
            Err(NameFault::TooLong)
        } else {
            Ok(())
        }
    }

    /// Most bytes of a name outside of subscribe commands.
    #[must_use]
    pub const fn longest_name(&self) -> usize {
        if self.syntax.max_length > LONGEST_NAME { self.syntax.max_length } else { LONGEST_NAME }
    }
}

/// Bytes of a name that are taken even where `channel.max_length` is less, except in subscribe commands.
///
/// Centrifugo v6.9 looks at the length of a name in subscribe commands alone, so that applications publish to
/// names that are longer. A node keeps names, so that there has to be an end.
pub const LONGEST_NAME: usize = 1024;

/// Makes a namespace. What its options do not say comes from the section.
fn namespace(
    channel: &Channel,
    name: String,
    options: &ChannelOptions,
    pattern: &str,
) -> Result<Namespace, BuildError> {
    let at = path(&name);
    let mut options = options.clone();
    if options.history_meta_ttl.is_zero() {
        options.history_meta_ttl = channel.history_meta_ttl;
    }
    if options.publication_data_format == PublicationFormat::NotEmpty {
        options.publication_data_format = channel.publication_data_format;
    }
    if let Some(fault) = options.faults(channel.history_meta_ttl).into_iter().next() {
        return Err(BuildError::Options(at, fault));
    }
    let regex = match options.channel_regex.as_str() {
        "" => None,
        source => Some(Regex::new(source).map_err(|error| BuildError::Regex(at.clone(), error))?),
    };
    let pattern = match pattern {
        "" => None,
        _ if !channel.patterns => return Err(BuildError::PatternOff(at)),
        source => Some(Pattern::parse(source).map_err(|error| BuildError::Pattern(at, error))?),
    };
    Ok(Namespace { name, options, pattern, regex })
}

fn path(name: &str) -> String {
    if name.is_empty() {
        "channel.without_namespace".to_owned()
    } else {
        format!("channel.namespaces[{name}]")
    }
}

/// Centrifugo v6.9: `^[-a-zA-Z0-9_.]{2,}$`.
fn is_namespace_name(name: &str) -> bool {
    name.len() >= 2 && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

#[cfg(test)]
#[path = "registry_tests.rs"]
mod tests;
