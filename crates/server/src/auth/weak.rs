//! Secrets that anyone can guess.
//!
//! They are accepted, because every tutorial and test suite uses one, and loudly warned about.

use std::fmt;

/// Why a secret does not protect anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Warning {
    /// It is in every list of known secrets.
    WellKnown,
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
            Self::Short(bytes) => {
                write!(f, "has {bytes} bytes: use at least 32, such as `openssl rand -hex 32`")
            }
            Self::Repetitive => f.write_str("repeats few characters: use random ones"),
            Self::LooksLikeKey => f.write_str("is the text of a key or certificate: use a random secret"),
        }
    }
}

/// Looks for reasons to warn about an HMAC secret. The worst one is given.
#[must_use]
pub fn weak_secret(secret: &str) -> Option<Warning> {
    let folded: String =
        secret.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    if !folded.is_empty() && WELL_KNOWN.contains(&folded.as_str()) {
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
    "none",
    "null",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weak_secrets_are_told_apart() {
        for known in ["secret", "SECRET", "your-256-bit-secret", "change_me", "test"] {
            assert_eq!(weak_secret(known), Some(Warning::WellKnown), "{known}");
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
