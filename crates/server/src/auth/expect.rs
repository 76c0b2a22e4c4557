//! Expected values of `iss` and `aud`.

use super::settings::Expect;
use crate::quote::quoted;
use crate::regex::translate;
use regex::Regex;
use std::fmt;
use thiserror::Error;

/// An expectation, ready to be compared with.
#[derive(Clone, Debug)]
pub(super) enum Matcher {
    Any,
    Exact(String),
    /// The expression as written, and compiled to match whole texts.
    Regex(String, Regex),
}

/// An expression that is invalid.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{option}: {message}")]
pub struct ExpectError {
    /// The option to change.
    pub option: String,
    /// The fault.
    pub message: String,
}

/// Named groups of an expression, with what they matched.
pub(super) type Captures = Vec<(String, String)>;

impl Matcher {
    pub(super) fn new(expect: &Expect, option: &str) -> Result<Self, ExpectError> {
        Ok(match expect {
            Expect::Any => Self::Any,
            Expect::Exact(text) => Self::Exact(text.clone()),
            Expect::Regex(source) => {
                let error = |error: regex::Error| ExpectError {
                    option: option.to_owned(),
                    message: error.to_string(),
                };
                // Alone first, so that an unbalanced parenthesis cannot reach out of the group.
                Regex::new(&translate(source)).map_err(error)?;
                let whole = format!("\\A(?:{})\\z", translate(source));
                Self::Regex(source.clone(), Regex::new(&whole).map_err(error)?)
            }
        })
    }

    /// Returns true if the value is as expected.
    pub(super) fn accepts(&self, value: Option<&str>) -> bool {
        matches!(self, Self::Any) || self.is_named(value)
    }

    /// Returns true if the value is as expected, and something is expected at all.
    pub(super) fn is_named(&self, value: Option<&str>) -> bool {
        match self {
            Self::Any => false,
            Self::Exact(text) => value == Some(text),
            Self::Regex(_, regex) => regex.is_match(value.unwrap_or_default()),
        }
    }

    /// Returns true if one of the values is as expected.
    pub(super) fn accepts_one(&self, values: &[String]) -> bool {
        matches!(self, Self::Any) || values.iter().any(|value| self.is_named(Some(value)))
    }

    /// The named groups that a value fills.
    pub(super) fn captures(&self, value: Option<&str>) -> Captures {
        let Self::Regex(_, regex) = self else { return Vec::new() };
        let Some(found) = regex.captures(value.unwrap_or_default()) else { return Vec::new() };
        regex
            .capture_names()
            .flatten()
            .filter_map(|name| Some((name.to_owned(), found.name(name)?.as_str().to_owned())))
            .collect()
    }

    /// The named groups that the first fitting value fills.
    pub(super) fn captures_one(&self, values: &[String]) -> Captures {
        values
            .iter()
            .find(|value| self.is_named(Some(value)))
            .map_or_else(Vec::new, |v| self.captures(Some(v)))
    }

    /// The expression, if it is one.
    pub(super) fn expression(&self) -> Option<String> {
        match self {
            Self::Regex(source, _) => Some(translate(source)),
            _ => None,
        }
    }
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("anything"),
            Self::Exact(text) => f.write_str(&quoted(text)),
            Self::Regex(source, _) => write!(f, "a match of {}", quoted(source)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_match_whole_texts() {
        let matcher =
            Matcher::new(&Expect::Regex("https://(?P<realm>good|better)\\.example".into()), "o").unwrap();
        assert!(matcher.accepts(Some("https://good.example")));
        for no in ["https://good.example.evil", "xhttps://good.example", "https://good.example\n", "", "good"]
        {
            assert!(!matcher.accepts(Some(no)), "{no:?}");
        }
        assert!(!matcher.accepts(None));
        assert_eq!(
            matcher.captures(Some("https://better.example")),
            vec![("realm".to_owned(), "better".to_owned())]
        );
        // Alternatives at the top are one group, and a later alternative may be the longer one.
        let matcher = Matcher::new(&Expect::Regex("a|ab".into()), "o").unwrap();
        assert!(matcher.accepts(Some("ab")) && !matcher.accepts(Some("abc")));
        for bad in ["(", "a)|(b", "[z-a]"] {
            assert_eq!(
                Matcher::new(&Expect::Regex(bad.into()), "the.option").unwrap_err().option,
                "the.option"
            );
        }
    }

    #[test]
    fn one_of_several_audiences_is_enough() {
        let matcher = Matcher::new(&Expect::Exact("b".into()), "o").unwrap();
        assert!(matcher.accepts_one(&["a".into(), "b".into()]));
        assert!(!matcher.accepts_one(&["a".into()]));
        assert!(!matcher.accepts_one(&[]));
        assert!(Matcher::Any.accepts_one(&[]));
    }
}
