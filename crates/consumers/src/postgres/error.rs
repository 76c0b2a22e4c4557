//! Errors of an outbox.

use std::time::Duration;
use thiserror::Error as ThisError;

/// Errors of an outbox. None shows a password or a row.
#[derive(Debug, ThisError)]
#[non_exhaustive]
pub enum Error {
    /// An option is missing.
    #[error("{0} must be set")]
    Unset(&'static str),
    /// The table is no name.
    #[error("outbox_table_name {0:?} is not the name of a table, such as outbox or public.outbox")]
    Table(String),
    /// An option is out of its range.
    #[error("{option} must be from 1 to {most}")]
    Range {
        /// The option.
        option: &'static str,
        /// The greatest value.
        most: u64,
    },
    /// The channel of notifications is too long.
    #[error("partition_notification_channel must not be longer than 63 bytes")]
    Channel,
    /// The table does not exist.
    #[error("outbox_table_name: there is no table {0}")]
    Missing(String),
    /// A column is missing, or of another type.
    #[error("outbox_table_name: table {table} needs a column {column} {expected}")]
    Column {
        /// The table.
        table: String,
        /// The column.
        column: &'static str,
        /// Its type.
        expected: &'static str,
    },
    /// The role may not do what is needed.
    #[error("outbox_table_name: the role of dsn needs the right to {right} in table {table}")]
    Right {
        /// The table.
        table: String,
        /// The right.
        right: &'static str,
    },
    /// The server cannot be reached, or failed.
    #[error(transparent)]
    Server(#[from] spinward_engines::postgres::Error),
    /// A statement took too long.
    #[error("PostgreSQL did not answer within {0:?}")]
    Slow(Duration),
}

impl From<tokio_postgres::Error> for Error {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Server(error.into())
    }
}
