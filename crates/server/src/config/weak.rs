//! Secrets that anyone can guess.
//!
//! They are accepted, because every tutorial and test suite uses one, and loudly warned about.

use std::fmt;

/// Reasons why a secret does not protect anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Warning {
    /// It is in every list of known secrets, or made of the words of an example.
    WellKnown,
    /// It is the name of a secret in the language of some tool, which never put the secret in its place.
    Placeholder,
    /// It has so many bytes; a guess at a captured token is cheap below 32 (RFC 7518 §3.2).
    Short(usize),
    /// It is one character, or few, over and over.
    Repetitive,
    /// It is the text of a key, which may be public.
    LooksLikeKey,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WellKnown => f.write_str("is a well-known example: anyone can make tokens with it"),
            Self::Placeholder => f.write_str(
                "is a placeholder: the secret was not put in its place. In a file, write `${CENTRIFUGO_VAR_NAME}` to \
                 take it from the environment variable CENTRIFUGO_VAR_NAME",
            ),
            Self::Short(bytes) => {
                write!(f, "has {bytes} bytes: use at least 32, such as `openssl rand -hex 32`")
            }
            Self::Repetitive => f.write_str("repeats few characters: use random ones"),
            Self::LooksLikeKey => f.write_str("is the text of a key or certificate: use a random secret"),
        }
    }
}

/// Looks for reasons to warn about an HMAC secret. The worst one is given.
pub(crate) fn weak_secret(secret: &str) -> Option<Warning> {
    let folded: String =
        secret.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    if is_placeholder(secret) {
        return Some(Warning::Placeholder);
    }
    if !folded.is_empty() && WELL_KNOWN.contains(&folded.as_str()) || is_example(secret) {
        return Some(Warning::WellKnown);
    }
    if secret.contains("-----BEGIN ") {
        return Some(Warning::LooksLikeKey);
    }
    if secret.len() < 32 {
        return Some(Warning::Short(secret.len()));
    }
    let mut distinct: Vec<char> = secret.chars().collect();
    distinct.sort_unstable();
    distinct.dedup();
    (distinct.len() < 8).then_some(Warning::Repetitive)
}

/// Returns true if a text is a reference to a secret in one of the forms that configuration templates use.
fn is_placeholder(text: &str) -> bool {
    let text = text.trim();
    let name = |name: &str| {
        !name.is_empty()
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'))
    };
    let within = |open, close| text.strip_prefix(open).and_then(|rest: &str| rest.strip_suffix(close));
    let schemes = [
        "env:", "file:", "vault:", "secret:", "secrets:", "ssm:", "sops:", "aws:", "gcp:", "azure:", "op:",
        "ref+", "arn:",
    ];
    text.contains("${")
        || text.contains("{{")
        || text.contains("<%")
        || within("<", ">").is_some()
        || [
            ("__", "__"),
            ("%", "%"),
            ("@", "@"),
            ("#{", "}"),
            ("ENV[", "]"),
            ("[", "]"),
            ("$(", ")"),
            ("{", "}"),
        ]
        .into_iter()
        .any(|(open, close)| within(open, close).is_some_and(name))
        || text.strip_prefix('$').is_some_and(name)
        || schemes.iter().any(|scheme| {
            text.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
                && text[scheme.len()..].bytes().any(|byte| byte.is_ascii_alphabetic())
        })
}

/// Returns true if a text is words of an example: `your-secret-key`, `dev-secret-key-change-in-production`,
/// `CENTRIFUGO_TOKEN_HMAC_SECRET_KEY`.
fn is_example(text: &str) -> bool {
    let words: Vec<String> = text
        .split(|letter: char| !letter.is_ascii_alphanumeric())
        .map(|word| word.trim_end_matches(|letter: char| letter.is_ascii_digit()).to_ascii_lowercase())
        .filter(|word| !word.is_empty())
        .collect();
    words.len() > 1
        && (words.iter().any(|word| TO_REPLACE.contains(&word.as_str()))
            || words.iter().all(|word| COMMON.contains(&word.as_str())))
}

/// Words that ask for something else in their place. One of them, set apart, is enough.
const TO_REPLACE: &[&str] = &[
    "change",
    "changeme",
    "changeit",
    "dummy",
    "example",
    "fixme",
    "generate",
    "generated",
    "insert",
    "placeholder",
    "replace",
    "replaceme",
    "sample",
    "todo",
    "xxx",
    "xxxx",
    "your",
];

/// Words of which whole secrets are made in examples.
const COMMON: &[&str] = &[
    "a",
    "admin",
    "and",
    "api",
    "app",
    "at",
    "auth",
    "be",
    "bit",
    "bits",
    "bytes",
    "centrifuge",
    "centrifugo",
    "characters",
    "chars",
    "config",
    "default",
    "demo",
    "dev",
    "development",
    "env",
    "for",
    "hash",
    "here",
    "hmac",
    "hs",
    "in",
    "insecure",
    "is",
    "it",
    "jwt",
    "key",
    "keys",
    "least",
    "local",
    "long",
    "must",
    "my",
    "not",
    "of",
    "only",
    "or",
    "pass",
    "password",
    "private",
    "prod",
    "production",
    "random",
    "safe",
    "secret",
    "secrets",
    "secure",
    "shared",
    "sign",
    "signing",
    "spinward",
    "staging",
    "string",
    "strong",
    "super",
    "symmetric",
    "test",
    "testing",
    "that",
    "the",
    "this",
    "to",
    "token",
    "tokens",
    "use",
    "value",
    "very",
    "with",
];

/// Without punctuation and in lower case.
const WELL_KNOWN: &[&str] = &[
    "secret",
    "mysecret",
    "mysecretkey",
    "secretkey",
    "secret123",
    "supersecret",
    "supersecretkey",
    "verysecret",
    "verysecretkey",
    "topsecret",
    "thesecret",
    "yoursecret",
    "yoursecretkey",
    "yoursecrethere",
    "yoursecretkeyhere",
    "your256bitsecret",
    "your384bitsecret",
    "your512bitsecret",
    "yourhmacsecret",
    "yourjwtsecret",
    "jwtsecret",
    "jwtsecretkey",
    "jwtkey",
    "jwt",
    "tokensecret",
    "tokenhmacsecretkey",
    "hmacsecretkey",
    "hmacsecret",
    "hmackey",
    "appsecret",
    "apikey",
    "key",
    "privatekey",
    "sharedsecret",
    "password",
    "password1",
    "password123",
    "passw0rd",
    "changeme",
    "changethis",
    "changeit",
    "pleasechangeme",
    "default",
    "example",
    "examplekey",
    "test",
    "testing",
    "testsecret",
    "testkey",
    "demo",
    "dev",
    "development",
    "insecure",
    "admin",
    "root",
    "token",
    "centrifugo",
    "centrifuge",
    "spinward",
    "keyboardcat",
    "shhhhh",
    "shhhhhh",
    "qwerty",
    "qwertyuiop",
    "letmein",
    "foobar",
    "foo",
    "bar",
    "123456",
    "12345678",
    "123456789",
    "1234567890",
    "abc123",
    "asecretstringthatisatleast256bitslong",
    "asecretstringthatisatleast256bitslongtobesecure",
    "averysecretkey",
    "helloworld",
    "averylongsecretthatislongenoughtobesecure",
    "abcdefghijklmnopqrstuvwxyz123456",
    "00000000000000000000000000000000",
    "12345678901234567890123456789012",
    "thisisasecret",
    "thisisaverysecretkey",
    "mysupersecretkey",
    "mysupersecretpassword",
    "nosecret",
    // Secrets and keys that documentation and example repositories of Centrifugo print.
    "bbe7d157a2534094975906a8236543f9",
    "46b38493147e4e3f86e0dc5ec54f5133",
    "9c4a1a6474794c2c989514b0676c71d8",
    "none",
    "null",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weak_secrets_are_classified() {
        for known in ["secret", "SECRET", "your-256-bit-secret", "change_me", "test"] {
            assert_eq!(weak_secret(known), Some(Warning::WellKnown), "{known}");
        }
        for example in [
            "your-secret-key",
            "dev-secret-key-change-in-production",
            "REPLACE_WITH_CENTRIFUGO_TOKEN_HMAC_SECRET_KEY",
            "CENTRIFUGO_TOKEN_HMAC_SECRET_KEY",
            "very-long-secret-key-at-least-32-characters",
            "my_super_secret_key_2024_dev_only_string",
            "TODO generate one with openssl rand -hex 32",
            "bbe7d157-a253-4094-9759-06a8236543f9",
        ] {
            assert_eq!(weak_secret(example), Some(Warning::WellKnown), "{example}");
        }
        for placeholder in [
            "${CENTRIFUGO_TOKEN_HMAC_SECRET_KEY}",
            "${SECRET:-fallback-that-is-long-enough-to-look-real}",
            "$CENTRIFUGO_TOKEN_HMAC_SECRET_KEY",
            "$(CENTRIFUGO_TOKEN_HMAC_SECRET_KEY)",
            "env:CENTRIFUGO_TOKEN_HMAC_SECRET_KEY",
            "{{ centrifugo_token_hmac_secret_key }}",
            "<%= ENV['CENTRIFUGO_TOKEN_HMAC_SECRET_KEY'] %>",
            "<YOUR-STRONG-TOKEN-SECRET>",
            "__CENTRIFUGO_TOKEN_SECRET__",
            "%CENTRIFUGO_TOKEN_HMAC_SECRET_KEY%",
            "#{CENTRIFUGO_TOKEN_HMAC_SECRET_KEY}",
            "vault:secret/data/centrifugo#hmac_secret_key",
            "op://production/centrifugo/hmac-secret-key",
        ] {
            assert_eq!(weak_secret(placeholder), Some(Warning::Placeholder), "{placeholder}");
        }
        // Random ones, in the alphabets that generators use.
        for fine in [
            "6f1ed002ab5595859014ebf0951522d9f1d3f57f3a0f4c1d2b6e8f70a9c4e5d1",
            "0e7a6a5c-3b0e-4b6b-8f0e-5f0c7d9f8b11",
            "$2b$12$KIXQ4y1WqT9zq0mYv8o9uO2r6s1xYv72ol.pe.Unols",
            "f_7Zk-a-2Qe_in-Xy3mPq8Lr5TbVw0Nc1Jd6Hs9",
            "@K7gNU3sdo+OL0wNhqoVWhr3g6s1xYv72ol/pe@",
        ] {
            assert_eq!(weak_secret(fine), None, "{fine}");
        }
        assert_eq!(weak_secret("K7gNU3sdo-OL0wNhqo"), Some(Warning::Short(18)));
        assert_eq!(weak_secret(&"ab".repeat(20)), Some(Warning::Repetitive));
        assert_eq!(weak_secret("-----BEGIN PUBLIC KEY-----\nMFkw"), Some(Warning::LooksLikeKey));
        assert_eq!(weak_secret("K7gNU3sdo+OL0wNhqoVWhr3g6s1xYv72ol/pe/Unols="), None);
        assert_eq!(weak_secret("…………………………"), Some(Warning::Short(30)));
    }

    #[test]
    fn warnings_do_not_show_the_secret() {
        assert!(!weak_secret("hunter2").unwrap().to_string().contains("hunter2"));
    }
}
