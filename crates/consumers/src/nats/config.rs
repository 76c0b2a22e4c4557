//! Settings of a JetStream consumer, and its errors.

use spinward_engines::nats;
use thiserror::Error as ThisError;

/// Settings of a [`JetStream`](super::JetStream) source.
#[derive(Clone, Debug)]
pub struct Config {
    /// The connection. Its `prefix` does not count.
    pub connection: nats::Config,
    /// Name of the stream.
    pub stream: String,
    /// Name of the durable consumer. Nodes with the same name share its messages.
    pub durable: String,
    /// Uses a consumer as it is, and never creates or changes one.
    pub existing: bool,
    /// Subjects within the stream; all of them if empty.
    pub subjects: Vec<String>,
    /// Messages that a new consumer begins with.
    pub deliver: DeliverPolicy,
    /// Most messages that are delivered and not acknowledged, over all nodes; 1 to 10,000.
    pub max_ack_pending: u32,
}

/// Messages that a new consumer begins with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeliverPolicy {
    /// Those that come after it was created.
    #[default]
    New,
    /// All that the stream has.
    All,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            connection: nats::Config::default(),
            stream: String::new(),
            durable: String::new(),
            existing: false,
            subjects: Vec::new(),
            deliver: DeliverPolicy::default(),
            max_ack_pending: 100,
        }
    }
}

/// Errors of a JetStream source. None shows a credential.
#[derive(Debug, ThisError)]
#[non_exhaustive]
pub enum Error {
    /// An option is missing.
    #[error("{0} must be set")]
    Unset(&'static str),
    /// An option is no name.
    #[error("{0} may not contain spaces, dots, wildcards or slashes")]
    Name(&'static str),
    /// An option is out of its range.
    #[error("max_ack_pending must be from 1 to 10000")]
    Pending,
    /// The connection.
    #[error(transparent)]
    Connection(#[from] nats::ConfigError),
    /// NATS failed.
    #[error(transparent)]
    Nats(#[from] nats::NatsError),
    /// The consumer does not acknowledge each message.
    #[error(
        "consumer {0:?} has another acknowledgement policy than explicit: create it so, or name another durable_consumer_name"
    )]
    Policy(String),
    /// A request failed.
    #[error("JetStream: {0}")]
    JetStream(Box<dyn std::error::Error + Send + Sync>),
    /// The connection is lost.
    #[error("the connection to NATS is lost")]
    Lost,
}

impl Error {
    pub(super) fn jetstream(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::JetStream(error.into())
    }
}

impl Config {
    /// Checks everything that can be checked without a connection.
    ///
    /// # Errors
    /// Names the option to change.
    pub fn check(&self) -> Result<(), Error> {
        self.connection.check()?;
        for (option, name) in [("stream_name", &self.stream), ("durable_consumer_name", &self.durable)] {
            if name.is_empty() {
                return Err(Error::Unset(option));
            }
            let wrong =
                |c: char| c.is_whitespace() || c.is_control() || matches!(c, '.' | '*' | '>' | '/' | '\\');
            if name.contains(wrong) {
                return Err(Error::Name(option));
            }
        }
        if !(1..=10_000).contains(&self.max_ack_pending) {
            return Err(Error::Pending);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_that_cannot_be_used_are_named() {
        let right = Config { stream: "S".to_owned(), durable: "d".to_owned(), ..Config::default() };
        right.check().unwrap();
        for (name, wrong) in [
            ("stream_name", Config { stream: String::new(), ..right.clone() }),
            ("stream_name", Config { stream: "a.b".to_owned(), ..right.clone() }),
            ("durable_consumer_name", Config { durable: String::new(), ..right.clone() }),
            ("durable_consumer_name", Config { durable: "a b".to_owned(), ..right.clone() }),
            ("max_ack_pending", Config { max_ack_pending: 0, ..right.clone() }),
        ] {
            let error = wrong.check().unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
        let mut wrong = right;
        wrong.connection.urls = vec!["http://ann:canary@host".to_owned()];
        let error = wrong.check().unwrap_err().to_string();
        assert!(error.contains("url") && !error.contains("canary"), "{error}");
    }
}
