//! Settings of the engines on PostgreSQL.

use super::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio_postgres::config::{SslMode, TargetSessionAttrs};

/// The address of PostgreSQL, and the names that are used there.
#[derive(Clone)]
pub struct Connection {
    /// Connection string, as a URL (`postgres://user:password@host/database`) or of the form `host=… user=…`. Treated
    /// as a secret. Several hosts may be given: the one that takes writes is used.
    pub dsn: String,
    /// TLS. `sslmode` of the connection string says whether it may be left out.
    pub tls: Option<Arc<rustls::ClientConfig>>,
    /// Most connections for calls, 1 to 1,000. Readers have one more, and one for notifications.
    pub pool_size: usize,
    /// First part of the names of tables and functions: 1 to 30 lower-case letters, digits and underscores.
    pub table_prefix: String,
    /// Leaves it to somebody else to create tables and functions; see [`Config::schema`].
    pub skip_schema_init: bool,
    /// Wakes readers by LISTEN/NOTIFY in addition to polling. A commit that notifies waits for others that do.
    pub use_notify: bool,
    /// Connection string for LISTEN; empty means `dsn`. Treated as a secret.
    pub notify_dsn: String,
}

impl Default for Connection {
    fn default() -> Self {
        Self {
            dsn: String::new(),
            tls: None,
            pool_size: 16,
            table_prefix: "cf".to_owned(),
            skip_schema_init: false,
            use_notify: false,
            notify_dsn: String::new(),
        }
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("tls", &self.tls.is_some())
            .field("pool_size", &self.pool_size)
            .field("table_prefix", &self.table_prefix)
            .field("skip_schema_init", &self.skip_schema_init)
            .field("use_notify", &self.use_notify)
            .finish_non_exhaustive()
    }
}

/// Settings of a [`Broker`](super::Broker).
#[derive(Clone, Debug)]
pub struct Config {
    /// The server.
    pub connection: Connection,
    /// Number of shards that channels are distributed over, 1 to 1,024. Each is delivered on its own, so that a channel
    /// with busy subscribers holds back those of its shard alone. The number is fixed when the tables are created.
    pub num_shards: u32,
    /// The reader.
    pub outbox: Outbox,
    /// Longest time that publications are kept, whatever the channel says. At least a second.
    pub stream_retention: Duration,
    /// Time that idempotency keys are remembered. At least a second.
    pub idempotent_result_ttl: Duration,
    /// Accepts payloads that are not UTF-8. All payloads are stored as they are in either case.
    pub binary_data: bool,
    /// Days ahead for which partitions are created, up to 30.
    pub partition_lookahead_days: u32,
    /// Days that partitions are kept after their own, 1 to 3,650; longer if `stream_retention` is longer.
    pub partition_retention_days: u32,
    /// Interval between removals of what has expired. At least a second.
    pub cleanup_interval: Duration,
}

/// Settings of the reader of a [`Broker`](super::Broker).
#[derive(Clone, Debug)]
pub struct Outbox {
    /// Interval between two looks at the log, 1 ms to 1 min. With `use_notify` it is what delivery falls back to.
    pub poll_interval: Duration,
    /// Most rows per read of a shard, 1 to 100,000.
    pub batch_size: u32,
}

impl Default for Outbox {
    fn default() -> Self {
        Self { poll_interval: Duration::from_millis(100), batch_size: 1_000 }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            connection: Connection::default(),
            num_shards: 8,
            outbox: Outbox::default(),
            stream_retention: Duration::from_secs(24 * 3_600),
            idempotent_result_ttl: Duration::from_secs(300),
            binary_data: false,
            partition_lookahead_days: 2,
            partition_retention_days: 7,
            cleanup_interval: Duration::from_secs(60),
        }
    }
}

impl Config {
    /// The statements that create tables and functions in a schema, for somebody else to run in one transaction: see
    /// [`Connection::skip_schema_init`].
    ///
    /// # Errors
    /// An option is not valid.
    pub fn schema(&self, schema: &str) -> Result<String, Error> {
        self.check()?;
        Ok(super::schema::Part::stream(self.num_shards).script(schema, &self.connection.table_prefix))
    }

    pub(super) fn check(&self) -> Result<(), Error> {
        self.connection.check()?;
        range("num_shards", self.num_shards, 1, 1_024)?;
        interval("outbox.poll_interval", self.outbox.poll_interval, 1, 60_000)?;
        range("outbox.batch_size", self.outbox.batch_size, 1, 100_000)?;
        interval("stream_retention", self.stream_retention, 1_000, DECADE)?;
        interval("idempotent_result_ttl", self.idempotent_result_ttl, 1_000, DECADE)?;
        range("partition_lookahead_days", self.partition_lookahead_days, 0, 30)?;
        range("partition_retention_days", self.partition_retention_days, 1, 3_650)?;
        interval("cleanup_interval", self.cleanup_interval, 1_000, DECADE)
    }
}

/// Settings of a [`Presence`](super::Presence) store.
#[derive(Clone, Debug)]
pub struct PresenceConfig {
    /// The server.
    pub connection: Connection,
    /// Time that an entry lives without being refreshed, at least a second. It is refreshed three times as often.
    pub ttl: Duration,
    /// Interval between removals of entries that have expired. At least a second.
    pub cleanup_interval: Duration,
}

impl Default for PresenceConfig {
    fn default() -> Self {
        Self {
            connection: Connection::default(),
            ttl: Duration::from_secs(60),
            cleanup_interval: Duration::from_secs(60),
        }
    }
}

impl PresenceConfig {
    pub(super) fn check(&self) -> Result<(), Error> {
        self.connection.check()?;
        interval("ttl", self.ttl, 1_000, DECADE)?;
        interval("cleanup_interval", self.cleanup_interval, 1_000, DECADE)
    }
}

/// Settings of a [`Controller`](super::Controller).
#[derive(Clone, Debug)]
pub struct ControllerConfig {
    /// The server. 8 connections are the default here.
    pub connection: Connection,
    /// Interval between two looks for messages, 1 ms to 1 min.
    pub poll_interval: Duration,
    /// Most messages per read, 1 to 100,000.
    pub batch_size: u32,
    /// Days that partitions are kept after their own, 1 to 3,650.
    pub partition_retention_days: u32,
    /// Days ahead for which partitions are created, up to 30.
    pub partition_lookahead_days: u32,
    /// Interval between removals of old partitions. At least a second.
    pub partition_cleanup_interval: Duration,
}

impl Default for ControllerConfig {
    fn default() -> Self {
        Self {
            connection: Connection { pool_size: 8, ..Connection::default() },
            poll_interval: Duration::from_millis(50),
            batch_size: 1_000,
            partition_retention_days: 1,
            partition_lookahead_days: 2,
            partition_cleanup_interval: Duration::from_secs(60),
        }
    }
}

impl ControllerConfig {
    pub(super) fn check(&self) -> Result<(), Error> {
        self.connection.check()?;
        interval("poll_interval", self.poll_interval, 1, 60_000)?;
        range("batch_size", self.batch_size, 1, 100_000)?;
        range("partition_retention_days", self.partition_retention_days, 1, 3_650)?;
        range("partition_lookahead_days", self.partition_lookahead_days, 0, 30)?;
        interval("partition_cleanup_interval", self.partition_cleanup_interval, 1_000, DECADE)
    }
}

/// Ten years, in milliseconds.
const DECADE: u64 = 10 * 366 * 24 * 3_600 * 1_000;

fn range(option: &'static str, value: u32, from: u64, to: u64) -> Result<(), Error> {
    if (from..=to).contains(&u64::from(value)) { Ok(()) } else { Err(Error::Range { option, from, to }) }
}

/// The limits are milliseconds.
fn interval(option: &'static str, value: Duration, from: u64, to: u64) -> Result<(), Error> {
    let value = u64::try_from(value.as_millis()).unwrap_or(u64::MAX);
    if (from..=to).contains(&value) { Ok(()) } else { Err(Error::Range { option, from, to }) }
}

impl Connection {
    fn check(&self) -> Result<(), Error> {
        let prefix = self.table_prefix.as_bytes();
        let allowed = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'_';
        let first = prefix.first().is_some_and(|byte| !byte.is_ascii_digit());
        if !first || prefix.len() > 30 || !prefix.iter().all(allowed) {
            return Err(Error::Prefix(self.table_prefix.clone()));
        }
        range("pool_size", u32::try_from(self.pool_size).unwrap_or(u32::MAX), 1, 1_000)?;
        self.parsed(&self.dsn).map(drop)?;
        self.parsed(self.listen_dsn()).map(drop)
    }

    /// The connection string for LISTEN.
    pub(super) fn listen_dsn(&self) -> &str {
        if self.notify_dsn.is_empty() { &self.dsn } else { &self.notify_dsn }
    }

    /// A connection string with what we want of every connection.
    pub(super) fn parsed(&self, dsn: &str) -> Result<tokio_postgres::Config, Error> {
        const KEEP_ALIVE: Duration = Duration::from_secs(10);
        // Certificates are checked in every mode, so these two mean the same.
        let dsn = ["verify-ca", "verify-full"]
            .iter()
            .fold(dsn.to_owned(), |dsn, mode| dsn.replace(&format!("sslmode={mode}"), "sslmode=require"));
        let mut config: tokio_postgres::Config = dsn.parse().map_err(Error::Dsn)?;
        if self.tls.is_none() && config.get_ssl_mode() == SslMode::Require {
            return Err(Error::NoTls);
        }
        if config.get_application_name().is_none() {
            config.application_name("spinward");
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(super::store::PATIENCE);
        }
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(2 * KEEP_ALIVE);
        }
        config.keepalives_idle(KEEP_ALIVE).keepalives_interval(KEEP_ALIVE);
        config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(change: impl FnOnce(&mut Config)) -> Result<(), Error> {
        let mut config = Config::default();
        config.connection.dsn = "postgres://ann:canary@localhost/db".to_owned();
        change(&mut config);
        config.check()
    }

    #[test]
    fn prefixes_are_identifiers() {
        for right in ["cf", "_", "a1", "x_y", &"a".repeat(30)] {
            config(|config| config.connection.table_prefix = right.to_owned()).unwrap();
        }
        for wrong in ["", "1a", "Cf", "a-b", "a'b", "a\"b", "a b", "ä", "a\0", &"a".repeat(31)] {
            let error = config(|config| config.connection.table_prefix = wrong.to_owned()).unwrap_err();
            assert!(error.to_string().contains("table_prefix"), "{wrong:?}: {error}");
        }
    }

    #[test]
    fn options_have_ranges() {
        config(|_| ()).unwrap();
        for (name, wrong) in [
            ("num_shards", config(|config| config.num_shards = 0)),
            ("pool_size", config(|config| config.connection.pool_size = 0)),
            ("outbox.batch_size", config(|config| config.outbox.batch_size = 0)),
            ("outbox.poll_interval", config(|config| config.outbox.poll_interval = Duration::ZERO)),
            ("sslmode", config(|config| config.connection.dsn += "?sslmode=require")),
            ("sslmode", config(|config| config.connection.dsn += "?sslmode=verify-full")),
            ("dsn", config(|config| config.connection.dsn = "postgres://x:y@z:port".to_owned())),
        ] {
            let error = wrong.unwrap_err().to_string();
            assert!(error.contains(name), "{name}: {error}");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let mut config = Config::default();
        config.connection.dsn = "postgres://ann:canary@localhost/db".to_owned();
        config.connection.notify_dsn = config.connection.dsn.clone();
        assert!(!format!("{config:?}").contains("canary"));
        config.connection.dsn = "postgres://ann:canary@localhost:canary/db".to_owned();
        assert!(!config.check().unwrap_err().to_string().contains("canary"));
    }
}
