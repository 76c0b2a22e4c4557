//! Patterns of `client.allowed_origins` that name their origins.

/// Returns true if a pattern names its origins: scheme, host and port without a wildcard, but for `*.` in front of
/// the host, so that every matching origin belongs to the owner of that domain.
pub(crate) fn is_name(pattern: &str) -> bool {
    let Some((scheme, host)) = pattern.split_once("://") else { return false };
    let host = host.strip_prefix("*.").unwrap_or(host);
    let plain = |text: &str| !text.is_empty() && !text.contains(['*', '?', '[', ']', '{', '}', '\\', '!']);
    // The brackets of an IPv6 address make a class of characters in a pattern: it has to be escaped, and is not a name.
    plain(scheme) && plain(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_no_wildcard_but_for_subdomains() {
        for name in ["https://a.example", "http://localhost:3000", "https://*.a.example:8443"] {
            assert!(is_name(name), "{name}");
        }
        for open in [
            "*",
            "null",
            "a.example",
            "*://a.example",
            "https://*",
            "https://*.",
            "https://*a.example",
            "https://a.*",
            "https://a.example:*",
            "https://a.example*",
            "http?://a.example",
            "https://{a,b}.example",
        ] {
            assert!(!is_name(open), "{open}");
        }
    }
}
