//! Errors of the engines on PostgreSQL.

use deadpool_postgres::PoolError;
use spinward::engine::broker::BrokerError;
use spinward::engine::controller::ControlError;
use spinward::engine::presence::PresenceError;
use std::time::Duration;
use thiserror::Error;
use tokio_postgres::error::{DbError, SqlState};

/// Errors of the engines on PostgreSQL.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The connection string cannot be read.
    #[error("dsn is not a connection string of PostgreSQL: {0}")]
    Dsn(#[source] tokio_postgres::Error),
    /// The connection string asks for TLS, and no TLS is configured.
    #[error("dsn asks for TLS by sslmode, and tls is not enabled: enable tls, or set sslmode=disable")]
    NoTls,
    /// The table prefix cannot begin a name.
    #[error(
        "table_prefix {0:?} is not valid: 1 to 30 lower-case letters, digits and underscores, no digit first"
    )]
    Prefix(String),
    /// An option is out of its range.
    #[error("{option} must be from {from} to {to}")]
    Range {
        /// The option.
        option: &'static str,
        /// The least value.
        from: u64,
        /// The greatest value.
        to: u64,
    },
    /// No tokio runtime was there to run tasks on.
    #[error("a tokio runtime is needed to start: {0}")]
    Runtime(#[from] tokio::runtime::TryCurrentError),
    /// It was started before.
    #[error("it was started before")]
    Started,
    /// No connection to the server was there in time.
    #[error("no connection to PostgreSQL: {0}")]
    Connect(String),
    /// The server did not answer in time.
    #[error("PostgreSQL did not answer within {0:?}")]
    Slow(Duration),
    /// A statement failed.
    #[error("PostgreSQL: {}", describe(.0))]
    Statement(#[from] tokio_postgres::Error),
    /// A transaction of somebody else holds the lock of a channel.
    #[error(
        "another transaction that published to the channel has not ended: end transactions soon after they publish"
    )]
    Locked(#[source] tokio_postgres::Error),
    /// The tables could not be made.
    #[error(
        "the role may not create tables and functions in schema {schema}: grant it CREATE there, or have them \
         created by another role and set skip_schema_init ({cause})"
    )]
    Rights {
        /// The schema.
        schema: String,
        /// The error of the server.
        cause: String,
    },
    /// There is no schema in the search path.
    #[error("no schema to create tables in: search_path names none that exists")]
    NoSchema,
    /// The tables are missing.
    #[error("the tables of table_prefix {0:?} do not exist: unset skip_schema_init, or create them")]
    NoTables(String),
    /// The tables are of a version that this one cannot use.
    #[error("the tables are of version {found}, and this program knows version {known}: {remedy}")]
    Version {
        /// Their version.
        found: i32,
        /// The version of this program.
        known: i32,
        /// The work.
        remedy: &'static str,
    },
    /// The payload is not text.
    #[error("the payload is not UTF-8: set binary_data to publish other bytes")]
    NotText,
    /// A number does not fit into a column.
    #[error("{0} is above the greatest that PostgreSQL stores")]
    TooLarge(&'static str),
    /// The server answered with something that no version of the functions returns.
    #[error("an answer of PostgreSQL cannot be read: {0}")]
    Answer(String),
    /// It is closed.
    #[error("the connection to PostgreSQL is closed")]
    Closed,
}

/// An error of the server without its details, which may show data.
fn describe(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(error) => database(error),
        None => match std::error::Error::source(error) {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        },
    }
}

fn database(error: &DbError) -> String {
    format!("{}: {} (SQLSTATE {})", error.severity(), error.message(), error.code().code())
}

impl Error {
    /// An error of a statement that may have waited for the lock of a channel.
    pub(super) fn of_statement(error: tokio_postgres::Error) -> Self {
        match error.code() {
            Some(code) if *code == SqlState::LOCK_NOT_AVAILABLE => Self::Locked(error),
            _ => Self::Statement(error),
        }
    }

    pub(super) fn of_pool(error: PoolError) -> Self {
        match error {
            PoolError::Backend(error) => Self::Connect(describe(&error)),
            PoolError::PostCreateHook(error) => Self::Connect(match error {
                deadpool_postgres::HookError::Backend(error) => describe(&error),
                deadpool_postgres::HookError::Message(message) => message.into_owned(),
            }),
            PoolError::Timeout(kind) => Self::Connect(match kind {
                deadpool_postgres::TimeoutType::Wait => "all of pool_size are in use for too long".to_owned(),
                other => format!("timed out ({other:?})"),
            }),
            PoolError::Closed => Self::Closed,
            other => Self::Connect(other.to_string()),
        }
    }

    /// Returns true if the server understood the statement and refused it, so that the connection is still good.
    pub(super) fn keeps_connection(&self) -> bool {
        match self {
            Self::Statement(error) | Self::Locked(error) => error.as_db_error().is_some(),
            _ => false,
        }
    }

    /// The code of the server, if it refused a statement.
    #[must_use]
    pub fn sql_state(&self) -> Option<&SqlState> {
        self.code()
    }

    pub(super) fn code(&self) -> Option<&SqlState> {
        match self {
            Self::Statement(error) | Self::Locked(error) => error.code(),
            _ => None,
        }
    }
}

impl From<Error> for BrokerError {
    fn from(error: Error) -> Self {
        match error {
            Error::Closed => Self::Stopped,
            error => Self::Failed(Box::new(error)),
        }
    }
}

impl From<Error> for PresenceError {
    fn from(error: Error) -> Self {
        Self(Box::new(error))
    }
}

impl From<Error> for ControlError {
    fn from(error: Error) -> Self {
        match error {
            Error::Closed => Self::Closed,
            Error::Slow(_) => Self::Slow,
            error => Self::Failed(Box::new(error)),
        }
    }
}
