//! Capabilities: what a token allows beyond the options of the namespace.
//!
//! The claim `caps` of a connection token is a list of objects; what they allow adds up:
//!
//! ```json
//! [{"channels": ["news:*"], "match": "wildcard", "allow": ["sub", "hst"]}]
//! ```
//!
//! The claim `allow` of a subscription token has the letters alone, for the channel of that token.

use crate::quote::quoted;
use crate::regex::{Regex, RegexError};
use serde::{Deserialize, Deserializer};
use std::fmt;
use thiserror::Error;

/// A set of things that a token allows.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Allow(u8);

impl Allow {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// `sub`: subscribe.
    pub const SUBSCRIBE: Self = Self(1);
    /// `pub`: publish.
    pub const PUBLISH: Self = Self(2);
    /// `hst`: read history.
    pub const HISTORY: Self = Self(4);
    /// `prs`: see who is there.
    pub const PRESENCE: Self = Self(8);

    const NAMES: [(Self, &'static str); 4] =
        [(Self::SUBSCRIBE, "sub"), (Self::PUBLISH, "pub"), (Self::HISTORY, "hst"), (Self::PRESENCE, "prs")];

    /// Returns true if all of the other set is in this one.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both sets together.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The thing of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(_, known)| *known == name).map(|(allow, _)| *allow)
    }

    /// The set of these names. An unknown one is an error: a token must not mean less than its maker thinks.
    fn from_names(names: &[String]) -> Result<Self, String> {
        names.iter().try_fold(Self::NONE, |set, name| {
            Self::from_name(name)
                .map(|allow| set.union(allow))
                .ok_or_else(|| format!("{} is not \"sub\", \"pub\", \"hst\" or \"prs\"", quoted(name)))
        })
    }

    /// The names of what is in the set.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES.into_iter().filter(move |(allow, _)| self.contains(*allow)).map(|(_, name)| name)
    }
}

impl fmt::Debug for Allow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}

/// Reads a list of names.
impl<'de> Deserialize<'de> for Allow {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_names(&Vec::<String>::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// Permissions of a connection token, and the channels that they apply to.
#[derive(Clone, Debug, Default)]
pub struct Capabilities {
    entries: Vec<Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    channels: Vec<Matcher>,
    allow: Allow,
}

#[derive(Clone, Debug)]
enum Matcher {
    Exact(String),
    Wildcard(String),
    Regex(Regex),
}

/// Reasons why capabilities cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CapabilityError {
    /// The claim has another form. It may be another application's.
    #[error("caps is not a list of objects with channels, match and allow")]
    Foreign,
    /// The claim has this form, and a word in it that does not exist.
    #[error("caps: {0}")]
    Word(String),
    /// An expression is invalid, or too large.
    #[error("caps.channels: {0}")]
    Regex(#[from] RegexError),
    /// There are more channels than one token may have.
    #[error("caps: more than {0} channels")]
    TooMany(usize),
}

#[derive(Deserialize)]
struct Written {
    #[serde(default)]
    channels: Vec<String>,
    #[serde(default, rename = "match")]
    kind: String,
    #[serde(default)]
    allow: Vec<String>,
}

#[derive(Clone, Copy)]
enum Kind {
    Exact,
    Wildcard,
    Regex,
}

impl Kind {
    fn from_name(name: &str) -> Result<Self, CapabilityError> {
        match name {
            "" | "exact" => Ok(Self::Exact),
            "wildcard" => Ok(Self::Wildcard),
            "regex" => Ok(Self::Regex),
            other => Err(CapabilityError::Word(format!(
                "match is {}, not \"exact\", \"wildcard\" or \"regex\"",
                quoted(other)
            ))),
        }
    }
}

impl Capabilities {
    /// Most channels in the capabilities of one token, all objects together: every decision walks them.
    pub const MAX_CHANNELS: usize = 1024;
    /// Most memory of one expression: each connection has its own.
    const REGEX_BYTES: usize = 64 << 10;

    /// Reads the claim `caps`.
    ///
    /// # Errors
    /// It has another form, or in this form an unknown word, a bad expression or too many channels.
    pub fn parse(json: &str) -> Result<Self, CapabilityError> {
        let written: Vec<Written> = serde_json::from_str(json).map_err(|_| CapabilityError::Foreign)?;
        if written.iter().map(|entry| entry.channels.len()).sum::<usize>() > Self::MAX_CHANNELS {
            return Err(CapabilityError::TooMany(Self::MAX_CHANNELS));
        }
        let entries = written
            .into_iter()
            .map(|Written { channels, kind, allow }| {
                let kind = Kind::from_name(&kind)?;
                let allow = Allow::from_names(&allow).map_err(CapabilityError::Word)?;
                let channels = channels.into_iter().map(|channel| Matcher::new(kind, channel));
                Ok(Entry { channels: channels.collect::<Result<_, RegexError>>()?, allow })
            })
            .collect::<Result<_, CapabilityError>>()?;
        Ok(Self { entries })
    }

    /// Returns true if something is allowed in a channel. The permissions of several objects add up.
    #[must_use]
    pub fn allow(&self, channel: &str, wanted: Allow) -> bool {
        self.entries
            .iter()
            .any(|entry| entry.allow.contains(wanted) && entry.channels.iter().any(|c| c.matches(channel)))
    }
}

impl Matcher {
    fn new(kind: Kind, channel: String) -> Result<Self, RegexError> {
        Ok(match kind {
            Kind::Exact => Self::Exact(channel),
            Kind::Wildcard => Self::Wildcard(channel),
            Kind::Regex => Self::Regex(Regex::with_limit(&channel, Capabilities::REGEX_BYTES)?),
        })
    }

    fn matches(&self, channel: &str) -> bool {
        match self {
            Self::Exact(exact) => exact == channel,
            Self::Wildcard(pattern) => wildcard(pattern, channel),
            Self::Regex(regex) => regex.is_match(channel),
        }
    }
}

/// Returns true if a text matches a pattern in which `*` matches any characters, or none. Work is bounded by the
/// product of the lengths.
fn wildcard(pattern: &str, text: &str) -> bool {
    let Some((head, tail)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut rest) = text.strip_prefix(head) else { return false };
    let mut parts = tail.split('*').peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        // The earliest place leaves the most for the parts to come.
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn caps(json: &str) -> Capabilities {
        Capabilities::parse(json).unwrap()
    }

    #[test]
    fn exact_is_the_default() {
        let caps = caps(r#"[{"channels":["a","b*"],"allow":["sub","pub"]}]"#);
        assert!(caps.allow("a", Allow::SUBSCRIBE));
        assert!(caps.allow("b*", Allow::PUBLISH));
        assert!(!caps.allow("bx", Allow::PUBLISH));
        assert!(!caps.allow("A", Allow::SUBSCRIBE));
        assert!(!caps.allow("a", Allow::HISTORY));
    }

    #[test]
    fn objects_add_up() {
        let caps = caps(
            r#"[{"channels":["news:*"],"match":"wildcard","allow":["sub"]},
                {"channels":["^news:\\d+$"],"match":"regex","allow":["hst","prs"]},
                {"channels":["x"]},{"allow":["sub","pub"]}]"#,
        );
        assert!(caps.allow("news:1", Allow::SUBSCRIBE));
        assert!(caps.allow("news:1", Allow::HISTORY));
        assert!(!caps.allow("news:a", Allow::HISTORY));
        assert!(!caps.allow("news:\u{661}", Allow::HISTORY));
        assert!(!caps.allow("x", Allow::SUBSCRIBE));
        assert!(!caps.allow("", Allow::SUBSCRIBE));
        assert!(!Capabilities::default().allow("x", Allow::SUBSCRIBE));
    }

    #[test]
    fn malformed_capabilities_are_errors() {
        for json in [
            r#"[{"channels":["a"],"allow":["subscribe"]}]"#,
            r#"[{"channels":["a"],"match":"glob"}]"#,
            r#"[{"channels":["("],"match":"regex"}]"#,
            r#"[{"channels":["(a|b){999}{999}"],"match":"regex"}]"#,
        ] {
            let error = Capabilities::parse(json).unwrap_err();
            assert_ne!(error, CapabilityError::Foreign, "{json}");
        }
        for json in [
            "{}",
            "null",
            "5",
            r#"{"admin":true}"#,
            r#"["sub"]"#,
            r#"[{"channels":"a"}]"#,
            r#"[{"channels":["a"],"allow":{"sub":true}}]"#,
            r#"[{"channels":["a"],"match":5}]"#,
        ] {
            assert_eq!(Capabilities::parse(json).unwrap_err(), CapabilityError::Foreign, "{json}");
        }
        let many = format!("[{{\"channels\":[{}]}}]", vec!["\"a\""; 1025].join(","));
        assert_eq!(Capabilities::parse(&many).unwrap_err(), CapabilityError::TooMany(1024));
    }

    #[test]
    fn wildcards_match_as_expected() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("*", "anything", true),
            ("a*", "a", true),
            ("a*", "ba", false),
            ("*a", "ba", true),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("a*b*c", "axbxc", true),
            ("a*b*c", "acb", false),
            ("a**b", "ab", true),
            ("", "", true),
        ] {
            assert_eq!(wildcard(pattern, text), expected, "{pattern} {text}");
        }
    }

    proptest! {
        #[test]
        fn wildcards_agree_with_an_expression(pattern in "[ab*]{0,8}", text in "[ab]{0,10}") {
            let expression = format!("^{}$", pattern.replace('*', ".*"));
            prop_assert_eq!(wildcard(&pattern, &text), Regex::new(&expression).unwrap().is_match(&text));
        }
    }
}
