//! Regular expressions of the configuration, in the dialect that Centrifugo's are written in.
//!
//! Go's dialect and that of the `regex` crate are nearly one. Where they differ, ours would be wider, and an
//! expression that guards names must not become wider by moving house: `\d`, `\w`, `\s` and `\b` are ASCII
//! there, and within brackets `[`, `&&`, `--` and `~~` are plain characters.

use std::fmt;

/// A compiled expression that remembers how it was written.
#[derive(Clone)]
pub struct Regex {
    source: String,
    compiled: ::regex::Regex,
}

/// An expression that is invalid or too large.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{source_text:?} is not a regular expression: {message}")]
pub struct RegexError {
    source_text: String,
    message: String,
}

impl Regex {
    /// Most memory that one compiled expression may take.
    const SIZE_LIMIT: usize = 1 << 20;

    /// Compiles an expression.
    ///
    /// # Errors
    /// It is not an expression, or compiles to more than 1 MiB.
    pub fn new(source: &str) -> Result<Self, RegexError> {
        Self::with_limit(source, Self::SIZE_LIMIT)
    }

    /// Compiles an expression that may take no more than so many bytes.
    ///
    /// # Errors
    /// It is not an expression, or compiles to more than the limit.
    pub fn with_limit(source: &str, bytes: usize) -> Result<Self, RegexError> {
        let compiled = ::regex::RegexBuilder::new(&translate(source))
            .size_limit(bytes)
            .dfa_size_limit(bytes)
            .build()
            .map_err(|error| RegexError { source_text: source.to_owned(), message: error.to_string() })?;
        Ok(Self { source: source.to_owned(), compiled })
    }

    /// Returns true if the expression matches anywhere in the text.
    #[must_use]
    pub fn is_match(&self, text: &str) -> bool {
        self.compiled.is_match(text)
    }
}

impl fmt::Debug for Regex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}/", self.source)
    }
}

impl PartialEq for Regex {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Eq for Regex {}

/// Writes an expression of Go's dialect in that of the `regex` crate.
pub(crate) fn translate(source: &str) -> String {
    let mut out = String::with_capacity(source.len() + 16);
    let mut chars = source.chars().peekable();
    // Characters since the bracket opened: `]` is plain as the first one, after `^` or not.
    let mut bracket: Option<usize> = None;
    while let Some(c) = chars.next() {
        match (c, &mut bracket) {
            ('\\', _) => {
                if let Some(count) = &mut bracket {
                    *count += 1;
                }
                match chars.next() {
                    Some(class @ ('d' | 'D' | 'w' | 'W' | 's' | 'S')) => out.push_str(ascii_class(class)),
                    Some(edge @ ('b' | 'B')) if bracket.is_none() => {
                        out.push_str("(?-u:\\");
                        out.push(edge);
                        out.push(')');
                    }
                    // Plain text up to `\E`.
                    Some('Q') if bracket.is_none() => {
                        let rest: String = chars.clone().collect();
                        let plain = rest.split("\\E").next().unwrap_or_default();
                        out.push_str(&::regex::escape(plain));
                        chars.by_ref().take(plain.chars().count() + 2).for_each(drop);
                    }
                    Some(other) => {
                        out.push('\\');
                        out.push(other);
                        // The braces of a class or of a character by its number are no repetition.
                        if matches!(other, 'p' | 'P' | 'x') && chars.next_if_eq(&'{').is_some() {
                            out.push('{');
                            while let Some(named) = chars.next_if(|c| *c != '}') {
                                out.push(named);
                            }
                        }
                    }
                    None => out.push('\\'),
                }
            }
            ('[', None) => {
                bracket = Some(0);
                out.push('[');
                if chars.next_if_eq(&'^').is_some() {
                    out.push('^');
                }
            }
            ('[', Some(count)) => {
                *count += 1;
                if chars.peek() == Some(&':') {
                    // A named class such as [:alpha:] is ASCII in both; its end bracket is not ours.
                    out.push('[');
                    while let Some(named) = chars.next() {
                        out.push(named);
                        if named == ':' && chars.next_if_eq(&']').is_some() {
                            out.push(']');
                            break;
                        }
                    }
                } else {
                    out.push_str("\\[");
                }
            }
            (']', Some(count)) if *count > 0 => {
                bracket = None;
                out.push(']');
            }
            (']', Some(count)) => {
                *count += 1;
                out.push_str("\\]");
            }
            ('-', Some(count)) if out.ends_with('-') && *count > 0 => {
                *count += 1;
                out.push_str("\\-");
            }
            ('&' | '~', Some(count)) => {
                *count += 1;
                out.push('\\');
                out.push(c);
            }
            // Where no count of repetitions follows it is plain there.
            ('{', None) if !is_repetition(chars.clone()) => out.push_str("\\{"),
            (_, Some(count)) => {
                *count += 1;
                out.push(c);
            }
            (_, None) => out.push(c),
        }
    }
    out
}

/// Returns true for the rest of `{2}`, `{2,}` or `{2,5}`.
fn is_repetition(rest: impl Iterator<Item = char>) -> bool {
    let inner: String = rest.take_while(|c| *c != '}').collect();
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match inner.split_once(',') {
        Some((low, high)) => number(low) && (high.is_empty() || number(high)),
        None => number(&inner),
    }
}

fn ascii_class(class: char) -> &'static str {
    match class {
        'd' => "[0-9]",
        'D' => "[^0-9]",
        'w' => "[0-9A-Za-z_]",
        'W' => "[^0-9A-Za-z_]",
        's' => r"[\t\n\f\r ]",
        _ => r"[^\t\n\f\r ]",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_ascii() {
        for (expression, yes, no) in [
            (r"^\d+$", "12", "\u{661}\u{662}"),
            (r"^[\d-]+$", "1-2", "\u{661}"),
            (r"^[^\D]+$", "12", "\u{661}"),
            (r"^\w+$", "a_1", "é"),
            (r"^a\sb$", "a b", "a\u{a0}b"),
            (r"a\b", "éa!", "ab"),
            (r"^\S+$", "\u{a0}", " "),
            (r"^[[:alpha:]1]+$", "ab1", "é"),
            (r"^[[a]+$", "[a", "b"),
            (r"^[a&&b]+$", "a&b", "c"),
            (r"^[+--]+$", "+,-", "."),
            (r"^[]a]+$", "a]", "["),
            (r"^[^]a]+$", "bc", "]"),
            (r"^[\]\[]+$", "[]", "\\"),
            (r"^[a-zé]+$", "é", "É"),
            (r"^\pL+$", "é", "1"),
            (r"^.$", "é", "ab"),
            (r"^\p{L}+$", "é", "1"),
            (r"^\x{e9}$", "é", "e"),
            (r"^\Qa.b(\E[0-9]{2}$", "a.b(12", "axb(12"),
            (r"\Qa.", "a.", "ab"),
            (r"^\Q\E$", "", "\\"),
            // No count of repetitions: plain braces.
            (r"^a{,2}$", "a{,2}", "aa"),
            (r"^{id}$", "{id}", "id"),
            (r"^a{2,}$", "aaa", "a"),
        ] {
            let regex = Regex::new(expression).unwrap();
            assert!(regex.is_match(yes), "{expression} should match {yes:?}");
            assert!(!regex.is_match(no), "{expression} should not match {no:?}");
        }
    }

    #[test]
    fn a_bad_or_huge_expression_is_an_error() {
        for expression in ["(", "[", r"\", "(?P<x", "[z-a]", r"\pX"] {
            assert!(Regex::new(expression).is_err(), "{expression}");
        }
        assert!(Regex::new("(").unwrap_err().to_string().contains("\"(\""));
        assert!(Regex::new("a{1000}{1000}").is_err());
        assert!(Regex::with_limit("(a|b){100}", 64).is_err());
    }
}
