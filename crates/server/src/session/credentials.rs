//! The token of a login: from its connect command, or where an option says so from a header or a cookie of the
//! upgrade request.
//!
//! A browser sends a cookie no matter which page asks for the connection, so a cookie counts only for pages of an
//! origin that `client.allowed_origins` names. The same holds for a header in a request that says its origin: the
//! page has not set it, so something on the way has, perhaps because of a cookie.

use super::ActiveConfig;
use crate::auth::reason::{Reason, Refusal};
use http::header::{COOKIE, HeaderMap, ORIGIN};

/// A token, and where it was.
pub(super) struct Credential {
    pub(super) token: String,
    from: From,
    name: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum From {
    Command,
    Header,
    Cookie,
}

impl From {
    const fn name(self) -> &'static str {
        match self {
            Self::Command => "connect command",
            Self::Header => "header",
            Self::Cookie => "cookie",
        }
    }
}

impl Credential {
    /// Returns true if the client itself does not have the token, so that it cannot renew it.
    pub(super) fn is_ambient(&self) -> bool {
        self.from != From::Command
    }

    /// Says where the token was, where that is not what everybody expects.
    pub(super) fn place(&self, refusal: Refusal) -> Refusal {
        match self.from {
            From::Command => refusal,
            from => Refusal {
                detail: format!("{} (the token of the {} {:?})", refusal.detail, from.name(), self.name),
                ..refusal
            },
        }
    }
}

/// The token of a login; `None` if there is nothing that could be one.
///
/// # Errors
/// Something is there that cannot be used. That is not a login without a token.
pub(super) fn credential(
    active: &ActiveConfig,
    command: &str,
    headers: &HeaderMap,
) -> Result<Option<Credential>, Refusal> {
    if !command.is_empty() {
        return Ok(Some(Credential { token: command.to_owned(), from: From::Command, name: String::new() }));
    }
    let settings = &active.settings;
    for (from, name) in [(From::Header, &settings.token_header), (From::Cookie, &settings.token_cookie)] {
        let values = match from {
            _ if name.is_empty() => continue,
            From::Cookie => cookies(headers, name),
            _ => headers.get_all(name).iter().map(|value| bearer(value.as_bytes())).collect(),
        };
        let Some(first) = values.first() else { continue };
        let what = from.name();
        // The origin first: a client that may not use the token is told nothing about it.
        let trusted = match from {
            From::Header => !headers.contains_key(ORIGIN) || active.origins.name(headers),
            _ => active.origins.name(headers),
        };
        if !trusted {
            return Err(Refusal::new(
                Reason::OriginNotNamed,
                format!(
                    "the {what} {name:?} came with {}, and counts only for pages of a named origin",
                    if headers.contains_key(ORIGIN) { "an origin that no option names" } else { "no origin" }
                ),
                "name the page's origin in client.allowed_origins without a * but for subdomains; a client that is \
                 no browser sends the token in its connect command",
            ));
        }
        if values.iter().any(|value| value != first) {
            return Err(Refusal::new(
                Reason::TokenAmbiguous,
                format!("the {what} {name:?} is there several times with different values"),
                format!("see to it that one {what} of this name is sent, for one path and domain"),
            ));
        }
        if first.is_empty() {
            return Err(Refusal::new(
                Reason::TokenMissing,
                format!("the {what} {name:?} is there and empty"),
                format!("put a token into the {what}, or leave the {what} out"),
            ));
        }
        let Ok(token) = String::from_utf8(first.to_vec()) else {
            return Err(Refusal::new(
                Reason::Malformed(crate::auth::reason::Part::Token),
                format!("the {what} {name:?} holds no text"),
                format!("put a token into the {what}"),
            ));
        };
        return Ok(Some(Credential { token, from, name: name.clone() }));
    }
    Ok(None)
}

/// A header's value without the scheme `Bearer`.
fn bearer(value: &[u8]) -> &[u8] {
    let value = value.trim_ascii();
    match value.split_at_checked(6) {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case(b"bearer") => match rest.first() {
            None | Some(b' ') => rest.trim_ascii(),
            Some(_) => value,
        },
        _ => value,
    }
}

/// The values of a cookie (RFC 6265, section 4.2), without the quotes that may surround them.
fn cookies<'a>(headers: &'a HeaderMap, name: &str) -> Vec<&'a [u8]> {
    let pairs =
        headers.get_all(COOKIE).iter().flat_map(|header| header.as_bytes().split(|byte| *byte == b';'));
    pairs
        .filter_map(|pair| {
            let at = pair.iter().position(|byte| *byte == b'=')?;
            let (named, value) = (pair[..at].trim_ascii(), pair[at + 1..].trim_ascii());
            let bare = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
            (named == name.as_bytes()).then(|| bare.unwrap_or(value))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};

    fn of(pairs: &[(&str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&str, &str)| {
            (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap())
        };
        pairs.iter().map(pair).collect()
    }

    /// Returns the token of a request, or the reason why there is none.
    fn ask(command: &str, pairs: &[(&str, &str)]) -> Result<Option<String>, String> {
        let config = crate::config::from_tree(
            serde_json::json!({ "client": {
                "allowed_origins": ["https://app.example"],
                "connect_token_cookie": "jwt", "connect_token_http_header": "X-Token",
            } })
            .as_object()
            .unwrap()
            .clone(),
            &crate::config::Vars::default(),
            &[],
        )
        .unwrap()
        .config;
        let active = crate::app::active_config(&config, &crate::auth::jwks::Jwks::offline()).unwrap();
        credential(&active, command, &of(pairs))
            .map(|credential| credential.map(|credential| credential.token))
            .map_err(|refusal| refusal.reason.code().into_owned())
    }

    const OURS: (&str, &str) = ("Origin", "https://app.example");
    const OTHERS: (&str, &str) = ("Origin", "https://evil.example");

    fn token(text: &str) -> Result<Option<String>, String> {
        Ok(Some(text.to_owned()))
    }

    fn refused(reason: &str) -> Result<Option<String>, String> {
        Err(reason.to_owned())
    }

    #[test]
    fn the_token_of_the_command_goes_before_all_others() {
        assert_eq!(ask("c", &[OURS, ("Cookie", "jwt=k"), ("X-Token", "h")]), token("c"));
        assert_eq!(ask("c", &[OTHERS, ("Cookie", "jwt=")]), token("c"));
        assert_eq!(ask("", &[OURS, ("Cookie", "jwt=k"), ("X-Token", "h")]), token("h"));
        assert_eq!(ask("", &[OURS, ("Cookie", "jwt=k")]), token("k"));
    }

    #[test]
    fn nothing_is_nothing() {
        assert_eq!(ask("", &[]), Ok(None));
        assert_eq!(ask("", &[OTHERS, ("Cookie", "jwt2=k; JWT=k; xjwt=k; jwt")]), Ok(None));
    }

    #[test]
    fn a_cookie_counts_only_for_a_named_origin() {
        let cookie = ("Cookie", "a=b; jwt=k; c=d");
        assert_eq!(ask("", &[OURS, cookie]), token("k"));
        assert_eq!(ask("", &[("Origin", "HTTPS://APP.example"), cookie]), token("k"));
        for origin in
            ["https://evil.example", "null", "", "https://app.example.evil", "https://app.example:8"]
        {
            assert_eq!(ask("", &[("Origin", origin), cookie]), refused("origin_not_named"), "{origin}");
        }
        assert_eq!(
            ask("", &[cookie]),
            refused("origin_not_named"),
            "no browser sends a cookie without origin"
        );
        assert_eq!(ask("", &[OURS, OTHERS, cookie]), refused("origin_not_named"), "two origins");
    }

    #[test]
    fn a_header_counts_without_an_origin_too() {
        assert_eq!(ask("", &[("X-Token", "h")]), token("h"));
        assert_eq!(ask("", &[OURS, ("X-Token", "Bearer h")]), token("h"));
        assert_eq!(ask("", &[OTHERS, ("X-Token", "h")]), refused("origin_not_named"));
    }

    #[test]
    fn what_is_there_and_no_token_is_a_refusal() {
        for pair in [("Cookie", "jwt="), ("Cookie", "jwt=\"\""), ("X-Token", ""), ("X-Token", "Bearer ")] {
            assert_eq!(ask("", &[OURS, pair]), refused("token_missing"), "{pair:?}");
        }
        assert_eq!(ask("", &[OURS, ("Cookie", "jwt=a; jwt=b")]), refused("token_ambiguous"));
        assert_eq!(ask("", &[OURS, ("Cookie", "jwt=a"), ("Cookie", "jwt=b")]), refused("token_ambiguous"));
        assert_eq!(ask("", &[OURS, ("Cookie", "jwt=a; jwt=\"a\"")]), token("a"));
        assert_eq!(ask("", &[OURS, ("X-Token", "a"), ("X-Token", "b")]), refused("token_ambiguous"));
    }
}
