//! Settings of a consumer of Pub/Sub, and its errors.

use crate::http::HttpError;
use std::fmt;
use thiserror::Error as ThisError;

/// Settings of a [`Subscriptions`](super::Subscriptions) source.
#[derive(Clone, Debug)]
pub struct Config {
    /// The project.
    pub project: String,
    /// Names of the subscriptions.
    pub subscriptions: Vec<String>,
    /// Most messages that are delivered and not acknowledged, for each subscription; 1 to 10,000.
    pub most: u32,
    /// Size in bytes of such messages at which no further ones are taken; at least 1. One request may go beyond.
    pub most_bytes: u32,
    /// Credentials. They are not used with an emulator.
    pub credentials: Credentials,
    /// Host and port of an emulator, which is spoken to without TLS. Empty is the service.
    pub emulator: String,
}

/// The place that credentials come from.
#[derive(Clone, Default)]
pub enum Credentials {
    /// The metadata server of the machine or container.
    #[default]
    Metadata,
    /// The key of a service account, as JSON.
    ServiceAccount(String),
}

/// Shows no key.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Metadata => "Metadata",
            Self::ServiceAccount(_) => "ServiceAccount(…)",
        })
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            project: String::new(),
            subscriptions: Vec::new(),
            most: 100,
            most_bytes: 1_000_000,
            credentials: Credentials::default(),
            emulator: String::new(),
        }
    }
}

/// Errors of a source. None shows a credential.
#[derive(Debug, ThisError)]
#[non_exhaustive]
pub enum Error {
    /// An option is missing.
    #[error("{0} must be set")]
    Unset(&'static str),
    /// An option is no name.
    #[error("{0}: {1:?} is not a name: leave out projects/…/ and everything else before it")]
    Name(&'static str, String),
    /// A subscription is there twice.
    #[error("subscriptions has {0:?} twice")]
    Twice(String),
    /// An option is out of its range.
    #[error("{option} must be {range}")]
    Range {
        /// The option.
        option: &'static str,
        /// Its range.
        range: &'static str,
    },
    /// The key cannot be used.
    #[error("credentials_file: {0}")]
    Key(&'static str),
    /// The address of the emulator cannot be used.
    #[error("PUBSUB_EMULATOR_HOST must be a host and a port")]
    Emulator,
    /// A request has no answer.
    #[error("Pub/Sub: {0}")]
    Http(#[from] HttpError),
    /// There is no token.
    #[error("Pub/Sub: no access token: {0}")]
    Token(String),
    /// A request was refused.
    #[error("Pub/Sub: {action} was refused with status {status}: {code}")]
    Refused {
        /// The action.
        action: &'static str,
        /// Status of the answer.
        status: u16,
        /// Code of the error.
        code: String,
    },
    /// An answer cannot be read.
    #[error("Pub/Sub: unexpected answer to {0}")]
    Answer(&'static str),
}

impl Config {
    /// Checks everything that can be checked without a connection.
    ///
    /// # Errors
    /// Names the option to change.
    pub fn check(&self) -> Result<(), Error> {
        if self.project.is_empty() {
            return Err(Error::Unset("project_id"));
        }
        if self.subscriptions.is_empty() || self.subscriptions.iter().any(String::is_empty) {
            return Err(Error::Unset("subscriptions"));
        }
        let name =
            |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%+:".contains(&byte));
        if !name(&self.project) {
            return Err(Error::Name("project_id", self.project.clone()));
        }
        for (at, one) in self.subscriptions.iter().enumerate() {
            if !name(one) || one.contains(':') {
                return Err(Error::Name("subscriptions", one.clone()));
            }
            if self.subscriptions[..at].contains(one) {
                return Err(Error::Twice(one.clone()));
            }
        }
        if !(1..=10_000).contains(&self.most) {
            return Err(Error::Range { option: "max_outstanding_messages", range: "from 1 to 10000" });
        }
        if self.most_bytes == 0 {
            return Err(Error::Range { option: "max_outstanding_bytes", range: "at least 1" });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_that_cannot_be_used_are_named() {
        let right = Config {
            project: "example.com:shop".to_owned(),
            subscriptions: vec!["events".to_owned()],
            ..Config::default()
        };
        right.check().unwrap();
        for (name, wrong) in [
            ("project_id", Config { project: String::new(), ..right.clone() }),
            ("project_id", Config { project: "a/b".to_owned(), ..right.clone() }),
            ("subscriptions", Config { subscriptions: Vec::new(), ..right.clone() }),
            ("subscriptions", Config { subscriptions: vec!["projects/p/x".to_owned()], ..right.clone() }),
            (
                "subscriptions",
                Config { subscriptions: vec!["a".to_owned(), "a".to_owned()], ..right.clone() },
            ),
            ("max_outstanding_messages", Config { most: 0, ..right.clone() }),
            ("max_outstanding_bytes", Config { most_bytes: 0, ..right.clone() }),
        ] {
            let error = wrong.check().unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
        let secret = Config { credentials: Credentials::ServiceAccount("canary".to_owned()), ..right };
        assert!(!format!("{secret:?}").contains("canary"));
    }
}
