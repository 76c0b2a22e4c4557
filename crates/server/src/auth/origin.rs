//! Origins that browsers may connect from.

use crate::config::origin::is_name;
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use parking_lot::Mutex;
use std::collections::BTreeSet;
use thiserror::Error;

/// A pattern of `client.allowed_origins` is invalid.
#[derive(Debug, Error)]
#[error("client.allowed_origins: {pattern:?} is not a pattern: {source}")]
pub struct OriginError {
    pattern: String,
    #[source]
    source: globset::Error,
}

/// Origins that are logged as refused, each once.
const REMEMBERED: usize = 1_000;

/// Checks the `Origin` of requests, by the patterns of `client.allowed_origins`.
pub struct Origins {
    patterns: GlobSet,
    /// Those of them that [`is_name`] holds for.
    names: GlobSet,
    any: bool,
    refused: Mutex<BTreeSet<String>>,
}

impl Origins {
    /// Compiles patterns; matching ignores case, as origins do.
    ///
    /// # Errors
    /// A pattern is invalid.
    pub fn new<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Result<Self, OriginError> {
        let (mut set, mut names) = (GlobSetBuilder::new(), GlobSetBuilder::new());
        let mut any = false;
        for pattern in patterns {
            any |= pattern == "*";
            let lower = pattern.to_lowercase();
            let glob = GlobBuilder::new(&lower).literal_separator(false).backslash_escape(true).build();
            let glob = glob.map_err(|source| OriginError { pattern: pattern.to_owned(), source })?;
            if is_name(&lower) {
                names.add(glob.clone());
            }
            set.add(glob);
        }
        let built = |set: GlobSetBuilder| {
            set.build().map_err(|source| OriginError { pattern: String::new(), source })
        };
        Ok(Self { patterns: built(set)?, names: built(names)?, any, refused: Mutex::default() })
    }

    /// Returns true if a request may go on. One without an origin is not from a browser, and may.
    #[must_use]
    pub fn admit(&self, headers: &http::HeaderMap) -> bool {
        let Some(origin) = headers.get(http::header::ORIGIN) else { return true };
        let admitted = match origin.to_str() {
            Ok("") => true,
            Ok(origin) => self.any || self.patterns.is_match(origin.to_lowercase()),
            Err(_) => false,
        };
        if !admitted {
            self.explain(&String::from_utf8_lossy(origin.as_bytes()));
        }
        admitted
    }

    /// Returns true if a request says its origin and a pattern names that origin: credentials that browsers add by
    /// themselves, such as a cookie, may then be used.
    #[must_use]
    pub fn name(&self, headers: &http::HeaderMap) -> bool {
        let mut said = headers.get_all(http::header::ORIGIN).iter();
        let (Some(origin), None) = (said.next(), said.next()) else { return false };
        origin.to_str().is_ok_and(|origin| self.names.is_match(origin.to_lowercase()))
    }

    /// Says once for each origin what to add to let it in.
    fn explain(&self, origin: &str) {
        let shown: String = origin.chars().take(200).filter(|c| !c.is_control()).collect();
        let mut refused = self.refused.lock();
        if refused.len() < REMEMBERED && refused.insert(shown.clone()) {
            tracing::warn!(
                origin = %shown,
                change = %format!("\"client\": {{\"allowed_origins\": [{shown:?}]}}"),
                "browser refused: origin not allowed"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderMap, HeaderValue};

    fn admits(patterns: &[&str], origin: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(http::header::ORIGIN, HeaderValue::from_str(origin).unwrap());
        Origins::new(patterns.iter().copied()).unwrap().admit(&headers)
    }

    #[test]
    fn patterns_decide() {
        let ours = ["https://ok.example", "https://*.wild.example"];
        for origin in
            ["https://ok.example", "HTTPS://OK.example", "https://a.wild.example", "https://a.b.wild.example"]
        {
            assert!(admits(&ours, origin), "{origin}");
        }
        for origin in [
            "http://ok.example",
            "https://ok.example.evil",
            "https://wild.example",
            "null",
            "https://ok.example:444",
        ] {
            assert!(!admits(&ours, origin), "{origin}");
        }
        assert!(admits(&["*"], "null"));
        assert!(!admits(&[], "https://ok.example"));
    }

    #[test]
    fn no_origin_passes() {
        assert!(Origins::new([]).unwrap().admit(&HeaderMap::new()));
    }

    #[test]
    fn a_bad_pattern_is_named() {
        let error = Origins::new(["https://[a"]).err().expect("refused");
        assert!(error.to_string().contains("https://[a"), "{error}");
    }
}
