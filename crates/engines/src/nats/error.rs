//! Errors of the engines on NATS.

use super::credentials::CredentialsError;
use spinward::engine::broker::BrokerError;
use spinward::engine::controller::ControlError;
use spinward::engine::presence::PresenceError;
use thiserror::Error;

/// NATS could not be reached, or failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum NatsError {
    /// There is no connection at present.
    #[error("not connected to NATS")]
    NotConnected,
    /// The connection ended. A message that was being sent may arrive or not.
    #[error("the connection to NATS ended before the server confirmed")]
    Lost,
    /// No answer to a request came in time, and the connection has not ended. What was asked for may be done or not.
    ///
    /// nats-server leaves a publish without an answer if it cannot write the stream, such as to a disk that is full. It
    /// writes that stream again only after a restart, and goes on to answer reads.
    #[error(
        "JetStream did not answer in time. If NATS stays connected, see the log of nats-server: after a failed write, \
         such as to a full disk, it stores nothing more in that stream until it is restarted"
    )]
    NoAnswer,
    /// The server did not take a message in time.
    #[error("NATS did not take a message within the write timeout")]
    WriteTimeout,
    /// The name of the channel cannot be a subject.
    #[error("a channel cannot be a NATS subject: {0}")]
    Subject(&'static str),
    /// The message is longer than the server takes.
    #[error("a message of {size} bytes is too long: `max_payload` of the NATS server is {limit}")]
    TooLong {
        /// Bytes of the message.
        size: usize,
        /// Most bytes that the server takes.
        limit: usize,
    },
    /// The user has no permission for the subject.
    #[error("the NATS user has no permission to subscribe to the subject of the channel")]
    Forbidden,
    /// Nobody takes the message: the stream does not exist, or JetStream is not enabled or has no leader.
    #[error("no JetStream stream takes the message: is JetStream enabled?")]
    NoResponders,
    /// JetStream refused a request.
    #[error("JetStream refused a request: {description} (code {code})")]
    JetStream {
        /// Code of nats-server.
        code: u32,
        /// Reason, as nats-server gives it.
        description: String,
    },
    /// An answer or a stored message could not be understood.
    #[error("malformed answer of JetStream, or message in it")]
    Malformed,
    /// Other nodes publish to the channel all the time.
    #[error("too many nodes publish to the channel at once")]
    Contended,
    /// Nodes do not agree on the number of streams.
    #[error(
        "stream {stream} is one of {found:?}, and `num_streams` is {configured}: set the same everywhere, or delete the \
         streams"
    )]
    Partitions {
        /// Name of the stream.
        stream: String,
        /// Number that the stream was made with.
        found: String,
        /// Number in the settings.
        configured: u16,
    },
    /// The credentials file cannot be used any more.
    #[error("`credentials_file`: {0}")]
    Credentials(#[from] CredentialsError),
    /// An engine is started outside of a Tokio runtime, or a second time.
    #[error("an engine has to be started once, within a Tokio runtime")]
    Start,
    /// The client library failed.
    #[error("NATS failed: {0}")]
    Client(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl NatsError {
    pub(super) fn client(error: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Client(Box::new(error))
    }
}

impl From<NatsError> for BrokerError {
    fn from(error: NatsError) -> Self {
        Self::Failed(Box::new(error))
    }
}

impl From<NatsError> for ControlError {
    fn from(error: NatsError) -> Self {
        Self::Failed(Box::new(error))
    }
}

impl From<NatsError> for PresenceError {
    fn from(error: NatsError) -> Self {
        Self(Box::new(error))
    }
}
