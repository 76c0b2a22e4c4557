//! Settings of the engines on NATS.

use super::credentials::{Credentials, CredentialsError};
use rustls::ClientConfig;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;

/// Connection to NATS, and the names that are used there.
///
/// Its `Debug` output has neither URLs nor credentials.
#[derive(Clone)]
pub struct Config {
    /// Servers, such as `nats://127.0.0.1:4222`. One that fails is followed by the next. `nats://` may be left out,
    /// `tls://` demands TLS, and several may be in one text with commas between. A URL may contain credentials:
    /// `nats://user:password@host` or `nats://token@host`.
    pub urls: Vec<String>,
    /// User name, for servers whose URL has no credentials.
    pub user: String,
    /// Password of the user.
    pub password: String,
    /// Token in place of user and password.
    pub token: String,
    /// Credentials file, with the token of a user and the seed of its key, for servers with accounts of operators. It is
    /// read for each connection, so that it may be replaced.
    pub credentials_file: Option<PathBuf>,
    /// TLS. Set, the connection is encrypted even if the server does not demand it.
    pub tls: Option<Arc<ClientConfig>>,
    /// First token of every subject, and prefix of the names of JetStream streams. Nodes with the same prefix are one
    /// cluster.
    pub prefix: String,
    /// Time that one attempt to connect may take.
    pub dial_timeout: Duration,
    /// Time in which the connection has to take a message.
    pub write_timeout: Duration,
    /// Takes channels such as `a.*` and `a.>` as patterns of subjects. Of use to [`Broker`](super::Broker) only.
    pub allow_wildcards: bool,
    /// Subjects and payloads of other programs. Of use to [`Broker`](super::Broker) only.
    pub raw: Option<RawMode>,
}

/// Plain subjects and payloads, to exchange messages with other programs.
///
/// A publication is its payload alone: labels, publisher and delta are not carried, joins and leaves are not announced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RawMode {
    /// Replacements in channel names, such as `:` by `.`, made from left to right, the longest that matches first.
    pub channel_replacements: BTreeMap<String, String>,
    /// Text in front of every subject, taken as it is.
    pub prefix: String,
}

/// A setting that cannot be used.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigError {
    /// There is no server.
    #[error("`url` has no server: give at least one, such as nats://127.0.0.1:4222")]
    NoUrl,
    /// The server at this place cannot be understood. Its text is left out, since it may contain a password.
    #[error("`url` {place} of {count} is not of the form nats://host:port or tls://host:port")]
    Url {
        /// Place in the list, from 1.
        place: usize,
        /// Servers in the list.
        count: usize,
    },
    /// The credentials file cannot be used.
    #[error("`credentials_file`: {0}")]
    Credentials(#[from] CredentialsError),
    /// The prefix cannot be part of a subject and of a stream's name.
    #[error("`prefix` may contain letters, digits, `-` and `_` only, at least one: {0:?}")]
    Prefix(String),
    /// The prefix of raw mode cannot be part of a subject.
    #[error("`raw_mode.prefix` may not contain spaces, control characters or wildcards: {0:?}")]
    RawPrefix(String),
    /// The number of streams is out of range.
    #[error("`num_streams` has to be 1 to 256: {0}")]
    Streams(u16),
    /// The number of replicas is out of range.
    #[error("`replicas` has to be 1 to 5: {0}")]
    Replicas(u8),
    /// Entries of presence would expire too soon.
    #[error("`presence_ttl` has to be at least 2 seconds: {0:?}")]
    PresenceTtl(Duration),
    /// Connecting takes a runtime.
    #[error("presence in NATS has to be made once, within a Tokio runtime")]
    Runtime,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            urls: vec!["nats://localhost:4222".to_owned()],
            user: String::new(),
            password: String::new(),
            token: String::new(),
            credentials_file: None,
            tls: None,
            prefix: "centrifugo".to_owned(),
            dial_timeout: Duration::from_secs(1),
            write_timeout: Duration::from_secs(1),
            allow_wildcards: false,
            raw: None,
        }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("prefix", &self.prefix)
            .field("dial_timeout", &self.dial_timeout)
            .field("write_timeout", &self.write_timeout)
            .field("allow_wildcards", &self.allow_wildcards)
            .field("raw", &self.raw)
            .finish_non_exhaustive()
    }
}

/// A server, and how to log in there.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Address {
    /// URL without credentials.
    pub(super) url: String,
    pub(super) login: Login,
}

/// Credentials.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Login {
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
    pub(super) token: Option<String>,
}

impl Config {
    /// Checks the settings, and returns the servers.
    pub(super) fn addresses(&self) -> Result<Vec<Address>, ConfigError> {
        if let Some(path) = &self.credentials_file {
            Credentials::read(path)?;
        }
        let name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if self.prefix.is_empty() || !self.prefix.bytes().all(name) {
            return Err(ConfigError::Prefix(self.prefix.clone()));
        }
        if let Some(raw) = &self.raw
            && raw.prefix.bytes().any(|byte| byte <= b' ' || matches!(byte, b'*' | b'>' | 0x7f))
        {
            return Err(ConfigError::RawPrefix(raw.prefix.clone()));
        }
        let urls = self.urls.iter().flat_map(|url| url.split(',')).map(str::trim);
        let urls: Vec<_> = urls.filter(|url| !url.is_empty()).collect();
        if urls.is_empty() {
            return Err(ConfigError::NoUrl);
        }
        let count = urls.len();
        let address = |(index, url): (usize, &&str)| {
            self.address(url).ok_or(ConfigError::Url { place: index + 1, count })
        };
        urls.iter().enumerate().map(address).collect()
    }

    fn address(&self, url: &str) -> Option<Address> {
        let (scheme, rest) = url.split_once("://").unwrap_or(("nats", url));
        if scheme != "nats" && scheme != "tls" {
            return None;
        }
        let rest = rest.trim_end_matches('/');
        let (login, host) = match rest.rsplit_once('@') {
            Some((login, host)) => (from_url(login)?, host),
            None => (self.login(), rest),
        };
        let plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'/' | b'?' | b'#' | b'@');
        if host.is_empty() || !host.bytes().all(plain) {
            return None;
        }
        let url = format!("{scheme}://{host}");
        url.parse::<async_nats::ServerAddr>().is_ok().then_some(Address { url, login })
    }

    fn login(&self) -> Login {
        let given = |text: &String| (!text.is_empty()).then(|| text.clone());
        Login { user: given(&self.user), password: given(&self.password), token: given(&self.token) }
    }
}

/// Credentials of a URL: `user:password`, or a token.
fn from_url(text: &str) -> Option<Login> {
    Some(match text.split_once(':') {
        Some((user, password)) => {
            Login { user: Some(decoded(user)?), password: Some(decoded(password)?), token: None }
        }
        None => Login { token: Some(decoded(text)?), ..Login::default() },
    })
}

/// Text of a URL without its percent signs.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || char::from(rest.next()?).to_digit(16);
        let (high, low) = (digit()?, digit()?);
        bytes.push(u8::try_from(high * 16 + low).ok()?);
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(urls: &[&str]) -> Config {
        Config { urls: urls.iter().map(|url| (*url).to_owned()).collect(), ..Config::default() }
    }

    #[test]
    fn credentials_are_taken_out_of_urls() {
        let config = config(&["nats://ann:p%40ss%3A1@one:4222, tls://t0ken@two", "three"]);
        let config = Config { user: "bob".to_owned(), password: "b".to_owned(), ..config };
        let found = config.addresses().unwrap();
        let urls: Vec<_> = found.iter().map(|address| address.url.as_str()).collect();
        assert_eq!(urls, ["nats://one:4222", "tls://two", "nats://three"]);
        assert_eq!(found[0].login.user.as_deref(), Some("ann"));
        assert_eq!(found[0].login.password.as_deref(), Some("p@ss:1"));
        assert_eq!(found[1].login.token.as_deref(), Some("t0ken"));
        assert_eq!(found[2].login.user.as_deref(), Some("bob"));
    }

    #[test]
    fn mistakes_are_named_without_secrets() {
        assert_eq!(config(&[" , "]).addresses().err(), Some(ConfigError::NoUrl));
        for wrong in ["http://a:s3cret@h", "nats://a:s3cret@", "nats://a:s3cret%zz@h", "nats://h:port"] {
            let error = config(&["nats://h", wrong]).addresses().err().unwrap();
            assert_eq!(error, ConfigError::Url { place: 2, count: 2 }, "{wrong}");
            assert!(!error.to_string().contains("s3cret"));
        }
        for prefix in ["", "a.b", "a b", "a*", "\u{e4}"] {
            let wrong = Config { prefix: prefix.to_owned(), ..Config::default() };
            assert_eq!(wrong.addresses().err(), Some(ConfigError::Prefix(prefix.to_owned())));
        }
        let raw = Some(RawMode { prefix: "a b".to_owned(), ..RawMode::default() });
        let wrong = Config { raw, ..Config::default() };
        assert_eq!(wrong.addresses().err(), Some(ConfigError::RawPrefix("a b".to_owned())));
    }

    #[test]
    fn debug_output_has_no_secrets() {
        let config = Config {
            user: "s3cret".to_owned(),
            password: "s3cret".to_owned(),
            token: "s3cret".to_owned(),
            ..config(&["nats://a:s3cret@h"])
        };
        assert!(!format!("{config:?}").contains("s3cret"));
    }
}
