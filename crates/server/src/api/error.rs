//! Errors of the server API.

use spinward::engine::broker::BrokerError;
use spinward::wire::code::ErrorCode;
use std::borrow::Cow;

/// An error of the server API.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct ApiError {
    /// Number.
    pub(crate) code: u32,
    /// Text.
    pub(crate) message: Cow<'static, str>,
}

impl ApiError {
    /// Number of what a key does not allow. The text says which.
    pub(crate) const PERMISSION_DENIED: u32 = 103;

    /// Something failed on the server.
    pub(crate) const INTERNAL: Self = Self { code: 100, message: Cow::Borrowed("internal server error") };
    /// The node has been shut down. To clients of JSON it is one of the failures on the server.
    pub(crate) const STOPPED: Self =
        Self { code: Self::INTERNAL.code, message: Cow::Borrowed("the server is shutting down") };
    /// The channel's namespace is not configured.
    pub(crate) const UNKNOWN_CHANNEL: Self = Self { code: 102, message: Cow::Borrowed("unknown channel") };
    /// There is no such method.
    pub(crate) const NOT_FOUND: Self = Self { code: 104, message: Cow::Borrowed("not found") };
    /// A parameter is missing or has a value that makes no sense.
    pub(crate) const BAD_REQUEST: Self = Self { code: 107, message: Cow::Borrowed("bad request") };
    /// Presence or history is off in the channel.
    pub(crate) const NOT_AVAILABLE: Self = Self { code: 108, message: Cow::Borrowed("not available") };
    /// Too many publications wait to be delivered.
    pub(crate) const TOO_MANY_REQUESTS: Self =
        Self { code: 111, message: Cow::Borrowed("too many requests") };
    /// The position is of another history.
    pub(crate) const UNRECOVERABLE_POSITION: Self =
        Self { code: 112, message: Cow::Borrowed("unrecoverable position") };
    /// The state is not the one that the call expects.
    pub(crate) const CONFLICT: Self = Self { code: 113, message: Cow::Borrowed("conflict") };

    /// One of each code.
    pub(crate) const ALL: [Self; 8] = [
        Self::INTERNAL,
        Self::UNKNOWN_CHANNEL,
        Self::NOT_FOUND,
        Self::BAD_REQUEST,
        Self::NOT_AVAILABLE,
        Self::TOO_MANY_REQUESTS,
        Self::UNRECOVERABLE_POSITION,
        Self::CONFLICT,
    ];

    /// The HTTP status in the transport error mode.
    #[must_use]
    pub(crate) const fn status(&self) -> u16 {
        match self.code {
            102 | 104 => 404,
            107 | 108 => 400,
            Self::PERMISSION_DENIED => 403,
            111 => 503,
            112 => 416,
            113 => 409,
            _ => 500,
        }
    }
}

impl From<&ErrorCode> for ApiError {
    fn from(code: &ErrorCode) -> Self {
        Self::ALL.into_iter().find(|known| known.code == code.code).unwrap_or(Self::INTERNAL)
    }
}

impl From<BrokerError> for ApiError {
    fn from(error: BrokerError) -> Self {
        match error {
            BrokerError::UnrecoverablePosition => Self::UNRECOVERABLE_POSITION,
            BrokerError::NotSupported => Self::NOT_AVAILABLE,
            BrokerError::Stopped => Self::STOPPED,
            BrokerError::Overloaded => Self::TOO_MANY_REQUESTS,
            // Whatever else an engine may report is its failure.
            _ => {
                tracing::error!(%error, "API call failed: broker error");
                Self::INTERNAL
            }
        }
    }
}
