//! Settings of an outbox.

use super::error::Error;
use spinward_engines::postgres::Connection;
use std::fmt;
use std::time::Duration;

/// Settings of an [`Outbox`](super::Outbox).
#[derive(Clone)]
pub struct Config {
    /// The server. Of its settings `dsn` and `tls` count.
    pub connection: Connection,
    /// The table, as it is written in a statement: a name, or a schema and a name with a dot between.
    pub table: String,
    /// Number of partitions, 1 to 1,024. Rows of others are never read.
    pub partitions: u32,
    /// Most rows that are carried out in one transaction, 1 to 10,000.
    pub select_limit: u32,
    /// Time between two looks at a partition without rows, 1 ms to 1 min.
    pub poll_interval: Duration,
    /// Channel of notifications whose payload is the number of a partition with new rows. Empty polls only.
    pub notification_channel: String,
    /// Connection string for notifications; empty means the one of `connection`.
    pub notification_dsn: String,
    /// Tries to get the lock of a partition, and looks again later if another node has it, in place of waiting.
    pub try_lock: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            connection: Connection::default(),
            table: String::new(),
            partitions: 1,
            select_limit: 100,
            poll_interval: Duration::from_millis(300),
            notification_channel: String::new(),
            notification_dsn: String::new(),
            try_lock: false,
        }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("connection", &self.connection)
            .field("table", &self.table)
            .field("partitions", &self.partitions)
            .field("select_limit", &self.select_limit)
            .field("poll_interval", &self.poll_interval)
            .field("notification_channel", &self.notification_channel)
            .field("try_lock", &self.try_lock)
            .finish_non_exhaustive()
    }
}

impl Config {
    /// Checks everything that can be checked without a connection.
    ///
    /// # Errors
    /// Names the option to change.
    pub fn check(&self) -> Result<(), Error> {
        if self.connection.dsn.is_empty() {
            return Err(Error::Unset("dsn"));
        }
        if self.table.is_empty() {
            return Err(Error::Unset("outbox_table_name"));
        }
        if !is_name(&self.table) {
            return Err(Error::Table(self.table.clone()));
        }
        let range = |option, value: u64, most| match value {
            1.. if value <= most => Ok(()),
            _ => Err(Error::Range { option, most }),
        };
        range("num_partitions", self.partitions.into(), 1_024)?;
        range("partition_select_limit", self.select_limit.into(), 10_000)?;
        let interval = u64::try_from(self.poll_interval.as_millis()).unwrap_or(u64::MAX);
        range("partition_poll_interval", interval, 60_000)?;
        // Postgres cuts longer ones off.
        if self.notification_channel.len() > 63 || self.notification_channel.contains('\0') {
            return Err(Error::Channel);
        }
        Ok(())
    }

    pub(super) fn listen_dsn(&self) -> &str {
        if self.notification_dsn.is_empty() { &self.connection.dsn } else { &self.notification_dsn }
    }
}

/// Returns true for one or two identifiers with a dot between, each plain or in quotes.
fn is_name(text: &str) -> bool {
    let plain = |part: &str| {
        let mut bytes = part.bytes();
        bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_')
            && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$')
    };
    let quoted = |part: &str| {
        let inner = part.strip_prefix('"').and_then(|part| part.strip_suffix('"'));
        inner.is_some_and(|inner| !inner.is_empty() && !inner.contains(['"', '.', '\0']))
    };
    let parts: Vec<&str> = text.split('.').collect();
    parts.len() <= 2 && parts.iter().all(|part| plain(part) || quoted(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(change: impl FnOnce(&mut Config)) -> Result<(), Error> {
        let mut config = Config { table: "outbox".to_owned(), ..Config::default() };
        config.connection.dsn = "postgres://ann:canary@localhost/db".to_owned();
        change(&mut config);
        config.check()
    }

    #[test]
    fn tables_are_names_and_nothing_else() {
        for right in ["outbox", "public.outbox", "_a1$", "\"Out box\"", "\"My\".\"Out\"", "a.\"B\""] {
            config(|config| config.table = right.to_owned()).unwrap();
        }
        for wrong in ["1a", "a b", "a;b", "a.b.c", "a.", ".a", "\"a", "\"\"", "a--", "\"a\"b\"", "\u{e4}"] {
            let error = config(|config| config.table = wrong.to_owned()).unwrap_err();
            assert!(error.to_string().contains("outbox_table_name"), "{wrong}: {error}");
        }
    }

    #[test]
    fn options_that_are_missing_or_out_of_range_are_named() {
        config(|_| ()).unwrap();
        for (name, wrong) in [
            ("dsn", config(|config| config.connection.dsn.clear())),
            ("outbox_table_name", config(|config| config.table.clear())),
            ("num_partitions", config(|config| config.partitions = 0)),
            ("num_partitions", config(|config| config.partitions = 1_025)),
            ("partition_select_limit", config(|config| config.select_limit = 0)),
            ("partition_poll_interval", config(|config| config.poll_interval = Duration::ZERO)),
            ("partition_notification_channel", config(|config| config.notification_channel = "c".repeat(64))),
        ] {
            let error = wrong.unwrap_err().to_string();
            assert!(error.contains(name) && !error.contains("canary"), "{name}: {error}");
        }
    }

    #[test]
    fn debug_output_has_no_secrets() {
        let mut config = Config { notification_dsn: "canary".to_owned(), ..Config::default() };
        config.connection.dsn = "canary".to_owned();
        assert!(!format!("{config:?}").contains("canary"));
    }
}
