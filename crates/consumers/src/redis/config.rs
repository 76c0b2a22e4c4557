//! Settings of a consumer of streams, and its errors.

use spinward_engines::redis;
use std::time::Duration;
use thiserror::Error as ThisError;

/// Settings of a [`Streams`](super::Streams) source.
#[derive(Clone, Debug)]
pub struct Config {
    /// The server or cluster. Its `prefix` does not count: streams are named in full.
    pub connection: redis::Config,
    /// Names of the streams.
    pub streams: Vec<String>,
    /// Name of the consumer group. It is created at the beginning of a stream where it does not exist.
    pub group: String,
    /// Name of this node in the group. It keeps its name over restarts.
    pub node: String,
    /// Time after which an entry that is not acknowledged is given to another consumer. At least a second.
    pub visibility_timeout: Duration,
    /// Workers of each stream, 1 to 64. More than one do not keep the order.
    pub workers: u32,
    /// Field with the payload.
    pub payload_field: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            connection: redis::Config::default(),
            streams: Vec::new(),
            group: String::new(),
            node: "spinward".to_owned(),
            visibility_timeout: Duration::from_secs(30),
            workers: 1,
            payload_field: "payload".to_owned(),
        }
    }
}

/// Errors of a source. None shows a password.
#[derive(Debug, ThisError)]
#[non_exhaustive]
pub enum Error {
    /// An option is missing.
    #[error("{0} must be set")]
    Unset(&'static str),
    /// A stream is there twice.
    #[error("streams has {0:?} twice")]
    Twice(String),
    /// An option is out of its range.
    #[error("{option} must be {range}")]
    Range {
        /// The option.
        option: &'static str,
        /// Its range.
        range: &'static str,
    },
    /// Several servers.
    #[error(
        "address names {0} servers: a consumer takes streams from one server or cluster, so make it several consumers"
    )]
    Shards(usize),
    /// The connection.
    #[error(transparent)]
    Connection(#[from] redis::ConfigError),
    /// The client cannot start.
    #[error(transparent)]
    Start(Box<dyn std::error::Error + Send + Sync>),
    /// A call failed.
    #[error(transparent)]
    Redis(#[from] redis::Error),
    /// An answer cannot be read.
    #[error("unexpected answer of Redis to {0}")]
    Answer(&'static str),
}

impl Config {
    /// Checks everything that can be checked without a connection.
    ///
    /// # Errors
    /// Names the option to change.
    pub fn check(&self) -> Result<(), Error> {
        let shards = self.connection.shards()?;
        if shards != 1 {
            return Err(Error::Shards(shards));
        }
        if self.streams.is_empty() || self.streams.iter().any(String::is_empty) {
            return Err(Error::Unset("streams"));
        }
        for (at, stream) in self.streams.iter().enumerate() {
            if self.streams[..at].contains(stream) {
                return Err(Error::Twice(stream.clone()));
            }
        }
        for (option, text) in [("consumer_group", &self.group), ("payload_value", &self.payload_field)] {
            if text.is_empty() {
                return Err(Error::Unset(option));
            }
        }
        if self.visibility_timeout < Duration::from_secs(1) {
            return Err(Error::Range { option: "visibility_timeout", range: "at least 1s" });
        }
        if !(1..=64).contains(&self.workers) {
            return Err(Error::Range { option: "num_workers", range: "from 1 to 64" });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_that_cannot_be_used_are_named() {
        let right = Config { streams: vec!["s".to_owned()], group: "g".to_owned(), ..Config::default() };
        right.check().unwrap();
        let two = vec!["redis://:canary@a".to_owned(), "b".to_owned()];
        let connection = redis::Config { address: two, ..redis::Config::default() };
        for (name, wrong) in [
            ("streams", Config { streams: Vec::new(), ..right.clone() }),
            ("streams", Config { streams: vec!["a".to_owned(), "a".to_owned()], ..right.clone() }),
            ("consumer_group", Config { group: String::new(), ..right.clone() }),
            ("payload_value", Config { payload_field: String::new(), ..right.clone() }),
            ("visibility_timeout", Config { visibility_timeout: Duration::ZERO, ..right.clone() }),
            ("num_workers", Config { workers: 0, ..right.clone() }),
            ("address", Config { connection, ..right }),
        ] {
            let error = wrong.check().unwrap_err().to_string();
            assert!(error.contains(name) && !error.contains("canary"), "{error}");
        }
    }
}
