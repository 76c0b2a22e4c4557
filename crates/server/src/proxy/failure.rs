//! Reasons why a request to the back end has no answer that could be used.

use thiserror::Error;

/// A failed request. It holds nothing of request or answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum Failure {
    /// The request cannot be encoded: its payload is no JSON, or a header of the connect command no header.
    #[error("the request cannot be encoded")]
    Request,
    /// Too many requests wait already.
    #[error("too many requests wait")]
    Queue,
    /// Too many streams are open.
    #[error("max_streams streams are open")]
    Streams,
    /// The circuit breaker is open.
    #[error("the circuit breaker is open")]
    Breaker,
    /// There was no answer in time.
    #[error("no answer in time")]
    Timeout,
    /// There is no connection.
    #[error("no connection")]
    Connect,
    /// The connection broke, or the answer is not HTTP.
    #[error("the connection broke off")]
    Broken,
    /// The answer has another status than 200, or of gRPC another than 0.
    #[error("status {0}")]
    Status(u16),
    /// The answer is too large.
    #[error("the answer is too large")]
    TooLarge,
    /// The answer is not of the expected form.
    #[error("the answer is malformed")]
    Malformed,
    /// The answer has a disconnect code that no connection can be closed with.
    #[error("the answer has a disconnect code above 65535")]
    Code,
    /// The answer to an event that only has to be confirmed is an error.
    #[error("the back end answered with an error")]
    Refused,
    /// The answer gives the connection too many labels, or too long ones.
    #[error("the answer has more labels than a connection may have")]
    Labels,
}

impl Failure {
    /// Number of kinds.
    pub(super) const COUNT: usize = 13;
    /// Each kind.
    pub(super) const KINDS: [Self; Self::COUNT] = [
        Self::Request,
        Self::Queue,
        Self::Breaker,
        Self::Timeout,
        Self::Connect,
        Self::Broken,
        Self::Status(0),
        Self::TooLarge,
        Self::Malformed,
        Self::Code,
        Self::Streams,
        Self::Refused,
        Self::Labels,
    ];

    pub(super) const fn index(self) -> usize {
        match self {
            Self::Request => 0,
            Self::Queue => 1,
            Self::Breaker => 2,
            Self::Timeout => 3,
            Self::Connect => 4,
            Self::Broken => 5,
            Self::Status(_) => 6,
            Self::TooLarge => 7,
            Self::Malformed => 8,
            Self::Code => 9,
            Self::Streams => 10,
            Self::Refused => 11,
            Self::Labels => 12,
        }
    }

    /// Name in metrics.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Queue => "queue_full",
            Self::Breaker => "breaker_open",
            Self::Timeout => "timeout",
            Self::Connect => "connect",
            Self::Broken => "broken",
            Self::Status(_) => "status",
            Self::TooLarge => "too_large",
            Self::Malformed => "malformed",
            Self::Code => "code",
            Self::Streams => "streams_full",
            Self::Refused => "refused",
            Self::Labels => "labels",
        }
    }

    /// Returns true if the back end did not answer.
    pub(super) const fn is_silence(self) -> bool {
        matches!(self, Self::Timeout | Self::Connect | Self::Broken)
    }
}
