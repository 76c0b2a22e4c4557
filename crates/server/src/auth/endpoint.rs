//! The address of a key set, which may have places that `iss` or `aud` fill.
//!
//! Their values are read before any signature is checked, so they must not lead anywhere new: each place is for a
//! named group that is a closed list of plain words, and all addresses are known when the settings are.

use super::expect::{Captures, Matcher};
use super::settings::{FetchSettings, JwksSettings};
use regex_syntax::hir::literal::Extractor;
use regex_syntax::hir::{Hir, HirKind};
use std::fmt;
use std::sync::Arc;
use thiserror::Error;

/// The address of a key set.
#[derive(Clone)]
pub(super) struct Endpoint {
    /// Texts and names of groups in turn; the first and the last are texts.
    parts: Vec<String>,
    fetch: Arc<FetchSettings>,
    option: String,
}

/// The address may have a password in it.
impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").finish_non_exhaustive()
    }
}

/// An address that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{option}: {fault}")]
pub struct EndpointError {
    /// The option to change.
    pub option: String,
    /// The fault.
    pub fault: EndpointFault,
}

/// Faults of an address.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EndpointFault {
    /// Another scheme.
    #[error("the address must begin with https:// or http://")]
    Scheme,
    /// No address at all, such as one with a space in the name of the host.
    #[error("this is not an address")]
    Form,
    /// Braces that do not pair.
    #[error("{{{{ and }}}} do not pair")]
    Braces,
    /// A place in the part of the address that says who is asked.
    #[error("{{{{{0}}}}} is in the scheme or has no name")]
    Place(String),
    /// No group of that name.
    #[error("{{{{{0}}}}} is not a named group of issuer_regex or audience_regex")]
    NoGroup(String),
    /// A group that can be anything.
    #[error(
        "the group {0:?} is not a closed list of words such as (?P<{0}>one|two): anyone could make the server fetch other addresses"
    )]
    Open(String),
    /// A group that can be more than a plain word.
    #[error("the group {group:?} may be {value:?}: only letters, digits and . _ - ~ are allowed")]
    Value {
        /// The name of the group.
        group: String,
        /// The value.
        value: String,
    },
}

impl Endpoint {
    pub(super) fn new(
        settings: &JwksSettings,
        issuer: &Matcher,
        audience: &Matcher,
    ) -> Result<Self, EndpointError> {
        let error = |fault| EndpointError { option: settings.option.clone(), fault };
        let parts = split(&settings.endpoint).map_err(error)?;
        if !["https://", "http://"].iter().any(|scheme| parts[0].starts_with(scheme)) {
            return Err(error(EndpointFault::Scheme));
        }
        let filled: String =
            parts.iter().enumerate().map(|(at, part)| if at % 2 == 0 { part } else { "x" }).collect();
        if reqwest::Url::parse(&filled).is_err() {
            return Err(error(EndpointFault::Form));
        }
        for name in parts.iter().skip(1).step_by(2) {
            check_group(name, settings.insecure_skip_endpoint_safety_check, &[issuer, audience])
                .map_err(error)?;
        }
        Ok(Self { parts, fetch: Arc::new(settings.fetch.clone()), option: settings.option.clone() })
    }

    /// Returns the option that names it.
    pub(super) fn option(&self) -> &str {
        &self.option
    }

    /// Returns the settings for fetching the set.
    pub(super) const fn fetch(&self) -> &Arc<FetchSettings> {
        &self.fetch
    }

    /// The address for these groups. `None` if one is missing or is not a plain word.
    pub(super) fn resolve(&self, issuer: &Captures, audience: &Captures) -> Option<String> {
        let mut url = String::new();
        for (at, part) in self.parts.iter().enumerate() {
            if at % 2 == 0 {
                url.push_str(part);
                continue;
            }
            let (_, value) = audience.iter().chain(issuer).find(|(name, _)| name == part)?;
            if !is_plain(value) {
                return None;
            }
            url.push_str(value);
        }
        Some(url)
    }
}

/// Texts and names in turn.
fn split(template: &str) -> Result<Vec<String>, EndpointFault> {
    let mut parts = Vec::new();
    let mut rest = template;
    while let Some((text, after)) = rest.split_once("{{") {
        let (name, after) = after.split_once("}}").ok_or(EndpointFault::Braces)?;
        if name.is_empty() || (parts.is_empty() && !text.contains("://")) {
            return Err(EndpointFault::Place(name.to_owned()));
        }
        parts.extend([text.to_owned(), name.to_owned()]);
        rest = after;
    }
    if rest.contains("}}") {
        return Err(EndpointFault::Braces);
    }
    parts.push(rest.to_owned());
    Ok(parts)
}

/// A word that stays within its place in an address.
fn is_plain(value: &str) -> bool {
    !value.is_empty()
        && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-~".contains(&byte))
        && !value.bytes().all(|byte| byte == b'.')
}

fn check_group(name: &str, open: bool, expressions: &[&Matcher]) -> Result<(), EndpointFault> {
    let mut known = false;
    for source in expressions.iter().filter_map(|matcher| matcher.expression()) {
        let Ok(hir) = regex_syntax::parse(&source) else { continue };
        let mut groups = Vec::new();
        named_groups(&hir, name, &mut groups);
        known |= !groups.is_empty();
        if open {
            continue;
        }
        for group in groups {
            for value in values(group).ok_or_else(|| EndpointFault::Open(name.to_owned()))? {
                if !is_plain(&value) {
                    return Err(EndpointFault::Value { group: name.to_owned(), value });
                }
            }
        }
    }
    if known { Ok(()) } else { Err(EndpointFault::NoGroup(name.to_owned())) }
}

fn named_groups<'a>(hir: &'a Hir, name: &str, out: &mut Vec<&'a Hir>) {
    match hir.kind() {
        HirKind::Capture(capture) => {
            if capture.name.as_deref() == Some(name) {
                out.push(&capture.sub);
            }
            named_groups(&capture.sub, name, out);
        }
        HirKind::Repetition(repetition) => named_groups(&repetition.sub, name, out),
        HirKind::Concat(subs) | HirKind::Alternation(subs) => {
            for sub in subs {
                named_groups(sub, name, out);
            }
        }
        _ => {}
    }
}

/// All texts that an expression matches, if they are few.
fn values(hir: &Hir) -> Option<Vec<String>> {
    const MOST: usize = 1000;
    let mut extractor = Extractor::new();
    extractor.limit_class(16).limit_repeat(8).limit_literal_len(128).limit_total(MOST);
    let found = extractor.extract(hir);
    if !found.is_exact() {
        return None;
    }
    let words = found.literals()?.iter();
    Some(words.map(|literal| String::from_utf8_lossy(literal.as_bytes()).into_owned()).collect())
}

#[cfg(test)]
mod tests {
    use super::super::settings::Expect;
    use super::*;

    fn endpoint(url: &str, issuer: &str, open: bool) -> Result<Endpoint, EndpointFault> {
        let issuer = Matcher::new(&Expect::Regex(issuer.into()), "o").unwrap();
        let settings = JwksSettings {
            option: "client.token.jwks_public_endpoint".into(),
            endpoint: url.into(),
            insecure_skip_endpoint_safety_check: open,
            fetch: FetchSettings::default(),
        };
        Endpoint::new(&settings, &issuer, &Matcher::Any).map_err(|error| error.fault)
    }

    fn captures(value: &str) -> Captures {
        vec![("realm".into(), value.into())]
    }

    const URL: &str = "https://sso.example/realms/{{realm}}/certs";

    #[test]
    fn closed_lists_fill_places() {
        let realms = endpoint(URL, "https://sso.example/realms/(?P<realm>one|two|on-[ab])", false).unwrap();
        assert_eq!(
            realms.resolve(&captures("two"), &Vec::new()).as_deref(),
            Some("https://sso.example/realms/two/certs")
        );
        assert_eq!(realms.resolve(&Vec::new(), &Vec::new()), None);
        let fixed = endpoint("https://sso.example/certs", ".*", false).unwrap();
        assert_eq!(fixed.resolve(&captures("x"), &Vec::new()).as_deref(), Some("https://sso.example/certs"));
    }

    #[test]
    fn open_groups_are_refused() {
        for open in [".+", "[^/]+", "a*", "\\w", "(a|b)+", "a|.*", "(?:x|y.)", "[a-z]{1,20}"] {
            let fault = endpoint(URL, &format!("https://(?P<realm>{open})"), false).unwrap_err();
            assert_eq!(fault, EndpointFault::Open("realm".into()), "{open}");
        }
        for path in ["\\.\\.", "a/b", "a\\?b", "x|", "a%2fb", "a@b", "a:1", "a#"] {
            let fault = endpoint(URL, &format!("https://(?P<realm>{path})"), false).unwrap_err();
            assert!(matches!(fault, EndpointFault::Value { .. }), "{path} {fault:?}");
        }
        // Every group of the name counts, and one in a repetition does too.
        let twice = "(?:https://(?P<realm>.*))?";
        assert_eq!(endpoint(URL, twice, false).unwrap_err(), EndpointFault::Open("realm".into()));
        assert_eq!(endpoint(URL, "x", false).unwrap_err(), EndpointFault::NoGroup("realm".into()));
    }

    #[test]
    fn the_escape_hatch_still_allows_plain_words_alone() {
        let open = endpoint(URL, "(?P<realm>.*)", true).unwrap();
        assert!(open.resolve(&captures("word"), &Vec::new()).is_some());
        for bad in
            ["..", ".", "", "a/../b", "x?y", "x#y", "%2e%2e", "a\\b", "ä", "a b", "a\0", "@evil.example"]
        {
            assert_eq!(open.resolve(&captures(bad), &Vec::new()), None, "{bad}");
        }
    }

    #[test]
    fn addresses_must_be_web_addresses() {
        for bad in ["", "file:///etc/passwd", "ftp://x", "sso.example/certs", "//x"] {
            assert_eq!(endpoint(bad, "x", false).unwrap_err(), EndpointFault::Scheme, "{bad}");
        }
        for bad in ["https://", "http://a b/keys", "https://x:port/keys"] {
            assert_eq!(endpoint(bad, "x", false).unwrap_err(), EndpointFault::Form, "{bad}");
        }
        assert!(matches!(endpoint("{{realm}}://x", "x", false), Err(EndpointFault::Place(_))));
        assert!(matches!(endpoint("https://x/{{}}", "x", false), Err(EndpointFault::Place(_))));
        for bad in ["https://x/{{realm", "https://x/}}"] {
            assert_eq!(endpoint(bad, "x", false).unwrap_err(), EndpointFault::Braces, "{bad}");
        }
    }
}
