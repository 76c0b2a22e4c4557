//! Channel patterns: namespaces by the shape of a path.
//!
//! A pattern is a path such as `/users/:name` or `/rooms/room-:id/events`. In each segment there may be one
//! variable, with literal text before and after it. A variable takes one character or more, never a `/`.
//! Of several matching patterns, the leftmost segment in which they differ decides: literal text before a
//! variable, more literal text before less.

use std::cmp::Reverse;
use thiserror::Error;

/// A pattern of a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    source: String,
    segments: Vec<Segment>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Static(String),
    Variable { prefix: String, name: String, suffix: String },
}

/// Reasons why a pattern is invalid.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PatternError {
    /// It does not begin with a slash.
    #[error("a pattern begins with \"/\"")]
    NoSlash,
    /// It has characters outside of ASCII.
    #[error("a pattern is ASCII")]
    NotAscii,
    /// A colon is not followed by a name.
    #[error(
        "\":\" in {0:?} must be followed by a name of letters, digits and underscores that begins with no digit"
    )]
    NoName(String),
    /// A segment has two variables.
    #[error("{0:?} has two variables between slashes; one is allowed")]
    TwoVariables(String),
    /// A variable name is used twice.
    #[error("variable {0:?} is used twice")]
    Repeated(String),
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// The pattern is malformed: see [`PatternError`].
    pub fn parse(source: &str) -> Result<Self, PatternError> {
        let path = source.strip_prefix('/').ok_or(PatternError::NoSlash)?;
        if !source.is_ascii() {
            return Err(PatternError::NotAscii);
        }
        let segments = path.split('/').map(Segment::parse).collect::<Result<Vec<_>, _>>()?;
        let mut names: Vec<&str> = segments.iter().filter_map(Segment::name).collect();
        names.sort_unstable();
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(PatternError::Repeated(pair[0].to_owned()));
        }
        Ok(Self { source: source.to_owned(), segments })
    }

    /// The pattern as it is written.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Returns true if a path (a channel name without private prefix) matches.
    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        let Some(path) = path.strip_prefix('/') else { return false };
        let mut parts = path.split('/');
        self.segments.iter().all(|segment| parts.next().is_some_and(|part| segment.value(part).is_some()))
            && parts.next().is_none()
    }

    /// The variables of a path that matches, in order of appearance.
    pub fn variables<'a>(&'a self, path: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        let parts = path.strip_prefix('/').unwrap_or(path).split('/');
        self.segments
            .iter()
            .zip(parts)
            .filter_map(|(segment, part)| Some((segment.name()?, segment.value(part)?)))
    }

    /// Returns true if both match exactly the same paths.
    #[must_use]
    pub fn same_shape(&self, other: &Self) -> bool {
        self.segments.len() == other.segments.len()
            && self.segments.iter().zip(&other.segments).all(|(a, b)| match (a, b) {
                (Segment::Static(a), Segment::Static(b)) => a == b,
                (
                    Segment::Variable { prefix, suffix, .. },
                    Segment::Variable { prefix: other_prefix, suffix: other_suffix, .. },
                ) => prefix == other_prefix && suffix == other_suffix,
                _ => false,
            })
    }

    /// Sorts the patterns that win first to the front.
    pub fn precedence(&self) -> impl Ord + use<> {
        self.segments
            .iter()
            .map(|segment| match segment {
                Segment::Static(_) => Reverse((true, 0)),
                Segment::Variable { prefix, suffix, .. } => Reverse((false, prefix.len() + suffix.len())),
            })
            .collect::<Vec<_>>()
    }
}

impl Segment {
    fn parse(text: &str) -> Result<Self, PatternError> {
        let Some((prefix, rest)) = text.split_once(':') else { return Ok(Self::Static(text.to_owned())) };
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        let (name, suffix) = rest.split_at(end);
        if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(PatternError::NoName(text.to_owned()));
        }
        if suffix.contains(':') {
            return Err(PatternError::TwoVariables(text.to_owned()));
        }
        Ok(Self::Variable { prefix: prefix.to_owned(), name: name.to_owned(), suffix: suffix.to_owned() })
    }

    fn name(&self) -> Option<&str> {
        match self {
            Self::Static(_) => None,
            Self::Variable { name, .. } => Some(name),
        }
    }

    /// Returns the variable's value in this part of a path; for literal text, the text; `None` without a match.
    fn value<'a>(&self, part: &'a str) -> Option<&'a str> {
        match self {
            Self::Static(text) => (text == part).then_some(part),
            Self::Variable { prefix, suffix, .. } => part
                .strip_prefix(prefix.as_str())?
                .strip_suffix(suffix.as_str())
                .filter(|value| !value.is_empty()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(source: &str) -> Pattern {
        Pattern::parse(source).unwrap()
    }

    #[test]
    fn variables_take_one_segment() {
        let users = pattern("/users/:name");
        for (path, expected) in [
            ("/users/ann", true),
            ("/users/", false),
            ("/users", false),
            ("/users/ann/x", false),
            ("/Users/ann", false),
            ("users/ann", false),
            ("/users/:name", true),
        ] {
            assert_eq!(users.matches(path), expected, "{path}");
        }
        assert_eq!(users.variables("/users/ann").collect::<Vec<_>>(), [("name", "ann")]);
    }

    #[test]
    fn variables_stand_within_a_segment() {
        let rooms = pattern("/rooms/room-:id.v1/:kind");
        assert!(rooms.matches("/rooms/room-7.v1/events"));
        assert!(!rooms.matches("/rooms/room-.v1/events"));
        assert!(!rooms.matches("/rooms/room-7.v2/events"));
        assert_eq!(rooms.variables("/rooms/room-7.v1/x").collect::<Vec<_>>(), [("id", "7"), ("kind", "x")]);
        // Prefix and suffix may not share characters.
        assert!(!pattern("/aa-:x-a").matches("/aa-a"));
    }

    #[test]
    fn bad_patterns_are_named() {
        assert_eq!(Pattern::parse("users/:a"), Err(PatternError::NoSlash));
        assert_eq!(Pattern::parse("/é"), Err(PatternError::NotAscii));
        assert_eq!(Pattern::parse("/a/:"), Err(PatternError::NoName(":".to_owned())));
        assert_eq!(Pattern::parse("/a/:1x"), Err(PatternError::NoName(":1x".to_owned())));
        assert_eq!(Pattern::parse("/:a-:b"), Err(PatternError::TwoVariables(":a-:b".to_owned())));
        assert_eq!(Pattern::parse("/:a/x/:a"), Err(PatternError::Repeated("a".to_owned())));
    }

    #[test]
    fn literal_text_wins_from_the_left() {
        let mut all =
            ["/:a/:b", "/x/:b", "/:a/y", "/x/y", "/x/pre-:b", "/x/pre-long-:b"].map(pattern).to_vec();
        all.sort_by_key(Pattern::precedence);
        let order: Vec<&str> = all.iter().map(Pattern::source).collect();
        assert_eq!(order, ["/x/y", "/x/pre-long-:b", "/x/pre-:b", "/x/:b", "/:a/y", "/:a/:b"]);
        assert!(pattern("/a/:x").same_shape(&pattern("/a/:y")));
        assert!(!pattern("/a/:x").same_shape(&pattern("/a/x")));
    }
}
