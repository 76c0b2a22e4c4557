//! Settings of a Kafka consumer, and its errors.

use std::fmt;
use std::time::Duration;
use thiserror::Error as ThisError;

/// Settings of a [`Topics`](super::Topics) source.
#[derive(Clone, Debug)]
pub struct Config {
    /// Addresses of brokers, each a host and a port. One that answers names the others.
    pub brokers: Vec<String>,
    /// The topics.
    pub topics: Vec<String>,
    /// The consumer group. Nodes with the same group share the partitions.
    pub group: String,
    /// Most records of one poll. No more than fit into a queue are taken.
    pub max_poll_records: u32,
    /// Most bytes of one response; 0 is the default of the client library.
    pub fetch_max_bytes: i32,
    /// Time that a broker waits for new records before it answers, up to 10 s.
    pub fetch_max_wait: Duration,
    /// Reads records of transactions that are not committed.
    pub read_uncommitted: bool,
    /// Most records that wait for their turn in one partition.
    pub partition_queue: u32,
    /// Time that a connection may take, up to 30 s.
    pub dial_timeout: Duration,
    /// TLS. `None` connects without.
    pub tls: Option<Tls>,
    /// Login. `None` sends no credentials.
    pub sasl: Option<Sasl>,
    /// Name of a static member, different for each node. Such a member keeps its partitions over a restart. Empty is
    /// none.
    pub instance: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            brokers: Vec::new(),
            topics: Vec::new(),
            group: String::new(),
            max_poll_records: 100,
            fetch_max_bytes: 0,
            fetch_max_wait: Duration::from_millis(500),
            read_uncommitted: false,
            partition_queue: 1_000,
            dial_timeout: Duration::from_secs(3),
            tls: None,
            sasl: None,
            instance: String::new(),
        }
    }
}

/// TLS towards brokers. All material is PEM.
#[derive(Clone, Default)]
pub struct Tls {
    /// Authorities that may have issued a broker's certificate. `None` trusts those of the system.
    pub authorities: Option<Vec<u8>>,
    /// Certificate chain and private key of this client.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
    /// Name that a broker's certificate must have; empty is the host.
    pub server_name: String,
    /// Checks no certificate.
    pub insecure: bool,
}

/// Shows no key.
impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("server_name", &self.server_name)
            .field("insecure", &self.insecure)
            .finish_non_exhaustive()
    }
}

/// Login by SASL.
#[derive(Clone)]
pub struct Sasl {
    /// The mechanism.
    pub mechanism: Mechanism,
    /// User name.
    pub user: String,
    /// Password.
    pub password: String,
}

/// Shows no credentials.
impl fmt::Debug for Sasl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sasl").field("mechanism", &self.mechanism).finish_non_exhaustive()
    }
}

/// A mechanism of SASL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// PLAIN: the password is sent as it is, so TLS belongs to it.
    Plain,
    /// SCRAM-SHA-256.
    ScramSha256,
    /// SCRAM-SHA-512.
    ScramSha512,
}

impl Mechanism {
    /// The mechanism of this name, as Centrifugo writes it.
    ///
    /// # Errors
    /// The name is unknown, or its mechanism is not built.
    pub fn by_name(name: &str) -> Result<Self, Error> {
        match name {
            "plain" => Ok(Self::Plain),
            "scram-sha-256" => Ok(Self::ScramSha256),
            "scram-sha-512" => Ok(Self::ScramSha512),
            _ => Err(Error::Mechanism(name.to_owned())),
        }
    }
}

/// Errors of a Kafka source. None shows a credential.
#[derive(Debug, ThisError)]
#[non_exhaustive]
pub enum Error {
    /// An option is missing.
    #[error("{0} must be set")]
    Unset(&'static str),
    /// A topic is there twice.
    #[error("topics has {0:?} twice")]
    Twice(String),
    /// An address cannot be used.
    #[error("brokers: {0:?} is not of the form host:port")]
    Broker(String),
    /// An option is out of its range.
    #[error("{option} must be {range}")]
    Range {
        /// The option.
        option: &'static str,
        /// Its range.
        range: &'static str,
    },
    /// The mechanism cannot be used.
    #[error("sasl_mechanism {0:?} is not built: use \"plain\", \"scram-sha-256\" or \"scram-sha-512\"")]
    Mechanism(String),
    /// Brokers answer, and the group cannot be joined.
    #[error("the group of consumer_group has not been joined yet")]
    NotJoined,
    /// The client library failed.
    #[error("Kafka: {error}")]
    Kafka {
        /// The failure.
        error: Box<dyn std::error::Error + Send + Sync>,
        /// A new connection is needed.
        fatal: bool,
    },
}

impl Config {
    /// Checks everything that can be checked without a connection.
    ///
    /// # Errors
    /// Names the option to change.
    pub fn check(&self) -> Result<(), Error> {
        for (option, list) in [("brokers", &self.brokers), ("topics", &self.topics)] {
            if list.is_empty() || list.iter().any(String::is_empty) {
                return Err(Error::Unset(option));
            }
        }
        if let Some(wrong) = self.brokers.iter().find(|broker| !is_address(broker)) {
            return Err(Error::Broker(wrong.clone()));
        }
        for (at, topic) in self.topics.iter().enumerate() {
            if self.topics[..at].contains(topic) {
                return Err(Error::Twice(topic.clone()));
            }
        }
        if self.group.is_empty() {
            return Err(Error::Unset("consumer_group"));
        }
        if let Some(sasl) = &self.sasl
            && sasl.user.is_empty()
        {
            return Err(Error::Unset("sasl_user"));
        }
        let seconds = |least, most, time: Duration| {
            (Duration::from_millis(least)..=Duration::from_secs(most)).contains(&time)
        };
        for (option, range, fits) in [
            ("max_poll_records", "from 1 to 100000", (1..=100_000).contains(&self.max_poll_records)),
            (
                "partition_queue_max_size",
                "from 1 to 1000000",
                (1..=1_000_000).contains(&self.partition_queue),
            ),
            ("fetch_max_bytes", "0 or more", self.fetch_max_bytes >= 0),
            ("fetch_max_wait", "from 1ms to 10s", seconds(1, 10, self.fetch_max_wait)),
            ("dial_timeout", "from 1ms to 30s", seconds(1, 30, self.dial_timeout)),
        ] {
            if !fits {
                return Err(Error::Range { option, range });
            }
        }
        Ok(())
    }

    /// Most records of one poll: as many as fit into the empty queue of one partition.
    pub(super) fn batch(&self) -> usize {
        usize::try_from(self.max_poll_records.min(self.partition_queue)).unwrap_or(1)
    }
}

/// Returns true for a host and a port. The list of brokers is joined by commas for the client library.
fn is_address(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let wrong = |c: char| c.is_whitespace() || c.is_control() || matches!(c, ',' | '/' | '@');
    !host.is_empty() && !host.contains(wrong) && port.parse::<u16>().is_ok_and(|port| port > 0)
}

#[cfg(test)]
#[path = "config/tests.rs"]
mod tests;
