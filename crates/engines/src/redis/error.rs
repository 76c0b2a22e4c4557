//! Errors of calls to a server.

use redis::{RedisError, Value};
use spinward::engine::broker::BrokerError;
use std::io;
use std::sync::Arc;
use thiserror::Error;

/// A call that failed. Unless it says otherwise, it is unknown whether the server has carried it out.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// There was no connection within `io_timeout`. The call had no effect.
    #[error("no connection to Redis {server}: {reason}")]
    Unavailable {
        /// The server, or the group of servers.
        server: String,
        /// Reason of the last failed attempt.
        reason: String,
    },
    /// No answer within `io_timeout`.
    #[error("no answer from Redis {0} within `io_timeout`")]
    Timeout(String),
    /// The connection broke.
    #[error("connection to Redis {server} failed: {error}")]
    Connection {
        /// The server.
        server: String,
        /// The error.
        #[source]
        error: Arc<dyn std::error::Error + Send + Sync>,
    },
    /// The server refused the call, which had no effect.
    #[error("Redis {server} answered {code}{}{detail}", if detail.is_empty() { "" } else { ": " })]
    Refused {
        /// The server.
        server: String,
        /// The first word of its answer, such as `READONLY` or `OOM`.
        code: String,
        /// The rest of it.
        detail: String,
    },
    /// The server answered something else than the call's kind of answer.
    #[error("unexpected answer from Redis {server}: {what}")]
    Unexpected {
        /// The server.
        server: String,
        /// The part that is wrong.
        what: &'static str,
    },
    /// Nodes of a cluster kept sending the call from one to the other. It had no effect.
    #[error("the nodes of the Redis cluster do not agree on who serves hash slot {0}")]
    Redirected(u16),
    /// Fewer replicas than `wait_replicas` have the publication, which the primary has stored.
    #[error("stored, but only {reached} of {wanted} replicas had it in time: see `wait_replicas`")]
    NotReplicated {
        /// Number of replicas that had it.
        reached: u32,
        /// The option.
        wanted: u32,
    },
    /// The engine was closed. The call had no effect.
    #[error("the Redis engine is closed")]
    Closed,
    /// Not called on a runtime of tokio.
    #[error("the Redis engine needs a runtime of tokio: start the node on one")]
    NoRuntime,
}

impl Error {
    pub(crate) fn connection(
        server: &impl ToString,
        error: impl std::error::Error + Send + Sync + 'static,
    ) -> Self {
        Self::Connection { server: server.to_string(), error: Arc::new(error) }
    }

    pub(crate) fn io(server: &impl ToString, kind: io::ErrorKind, text: &'static str) -> Self {
        Self::connection(server, io::Error::new(kind, text))
    }

    pub(crate) fn unexpected(server: &impl ToString, what: &'static str) -> Self {
        Self::Unexpected { server: server.to_string(), what }
    }

    pub(crate) fn refused(server: &impl ToString, code: &str, detail: Option<&str>) -> Self {
        let (code, detail) = (code.to_owned(), detail.unwrap_or_default().to_owned());
        Self::Refused { server: server.to_string(), code, detail }
    }

    /// The error of the library, in our words.
    pub(crate) fn of(server: &impl ToString, error: RedisError) -> Self {
        match error.code() {
            _ if error.is_timeout() => Self::Timeout(server.to_string()),
            Some(code) => Self::refused(server, code, error.detail()),
            None => Self::connection(server, error),
        }
    }

    /// The code of a refusal.
    pub(crate) fn code(&self) -> Option<&str> {
        match self {
            Self::Refused { code, .. } => Some(code),
            _ => None,
        }
    }

    /// Returns true if the connection cannot be trusted to give another answer.
    pub(crate) const fn breaks(&self) -> bool {
        matches!(self, Self::Connection { .. } | Self::Unexpected { .. })
    }
}

impl From<Error> for BrokerError {
    fn from(error: Error) -> Self {
        Self::Failed(Box::new(error))
    }
}

/// The value of an answer, unless that is an error.
pub(crate) fn value(server: &impl ToString, answer: redis::RedisResult<Value>) -> Result<Value, Error> {
    match answer {
        Ok(Value::ServerError(error)) => Err(Error::refused(server, error.code(), error.details())),
        Ok(value) => Ok(value),
        Err(error) => Err(Error::of(server, error)),
    }
}
