//! The messages of nodes to each other, as values.

use crate::cluster::{ClientFilter, Declined};
use crate::event::SubscribeOptions;
use crate::id::NodeId;
use crate::publication::Position;
use bytes::Bytes;
use spinward_wire::code::{DisconnectCode, UnsubscribeCode};
use std::fmt;
use std::time::Duration;

/// A message on its way between nodes.
///
/// [`Envelope::encode`] and [`Envelope::decode`] are the bytes that a controller carries. A controller that speaks
/// another layout, such as that of Centrifugo, translates from and to these values.
#[derive(Clone, Debug, PartialEq)]
pub struct Envelope {
    /// The sender.
    pub from: NodeId,
    /// The recipient; all nodes without one.
    pub to: Option<NodeId>,
    /// Number of the message among all that its sender has sent, from 1. A recipient takes each number once.
    pub number: u64,
    /// Contents.
    pub body: Body,
}

/// Contents of a message.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Body {
    /// The sender is there.
    Heartbeat(Heartbeat),
    /// The sender ends. Its connections are closed.
    Goodbye,
    /// The sender wants something done.
    Request {
        /// Number to answer to; 0: no answer is wanted.
        id: u64,
        /// The request.
        request: Request,
    },
    /// The sender has done something.
    Response {
        /// Number of the request.
        id: u64,
        /// The result.
        response: Response,
    },
}

/// Facts of a node, as it announces them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heartbeat {
    /// Name, cut off after 256 bytes.
    pub name: String,
    /// Version, cut off after 256 bytes.
    pub version: String,
    /// Time since its start.
    pub uptime: Duration,
    /// Logged-in connections.
    pub clients: u64,
    /// Distinct users.
    pub users: u64,
    /// Channels with subscribers.
    pub channels: u64,
    /// Subscriptions.
    pub subscriptions: u64,
    /// The node asks the others to announce themselves: it has just started, or may have missed messages.
    pub asks: bool,
}

/// A request of one node to others.
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub enum Request {
    /// Something to do.
    Operation(Operation),
    /// A question of the application.
    Survey {
        /// Name of the question.
        op: String,
        /// Its parameters.
        data: Bytes,
    },
    /// A request of a newer version. It is received only, and declined.
    Unknown,
}

/// Result of a request.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Response {
    /// The operation was applied to the connections of the node.
    Applied,
    /// A subscription would end in the past by the clock of the node.
    Expired,
    /// Answer to a survey.
    Answer(Bytes),
    /// It was not done.
    Declined(Declined),
}

/// A subscription that the server makes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerSubscribe {
    /// Options of the subscription.
    pub options: SubscribeOptions,
    /// The client is brought up to date from here.
    pub since: Option<Position>,
}

/// Something to do on every node. It is a value: what is applied here and what travels is the same.
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub enum Operation {
    /// Close connections of a user.
    Disconnect {
        /// The user.
        user: String,
        /// Selects among its connections.
        filter: ClientFilter,
        /// Code of the disconnect.
        code: DisconnectCode,
    },
    /// End subscriptions of a user's connections.
    Unsubscribe {
        /// The user.
        user: String,
        /// Selects among its connections.
        filter: ClientFilter,
        /// The channel; all without one.
        channel: Option<String>,
        /// Code of the unsubscribe.
        code: UnsubscribeCode,
    },
    /// Subscribe connections of a user to a channel.
    Subscribe {
        /// The user.
        user: String,
        /// Selects among its connections.
        filter: ClientFilter,
        /// The channel.
        channel: String,
        /// Options.
        subscribe: Box<ServerSubscribe>,
    },
    /// Prolong the login of a user's connections, or end it.
    Refresh {
        /// The user.
        user: String,
        /// Selects among its connections.
        filter: ClientFilter,
        /// The login ends now.
        expired: bool,
        /// Unix seconds at which it ends; 0 never.
        expire_at: i64,
        /// New info of the connections.
        info: Option<Bytes>,
    },
    /// Take a message of a client whose output is a stream, and whose request came to another node. Sent to the node
    /// of the session alone.
    Input {
        /// The session, as the client was told it.
        session: String,
        /// The message.
        message: Bytes,
    },
    /// Something that only the application understands: it goes to
    /// [`ClusterHandler::notified`](crate::ClusterHandler::notified).
    Application {
        /// Name.
        op: String,
        /// Parameters.
        data: Bytes,
    },
}

impl Operation {
    /// Name for logs.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Disconnect { .. } => "disconnect",
            Self::Unsubscribe { .. } => "unsubscribe",
            Self::Subscribe { .. } => "subscribe",
            Self::Refresh { .. } => "refresh",
            Self::Input { .. } => "input",
            Self::Application { .. } => "application",
        }
    }
}

/// Without payloads, which may hold secrets.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Operation(operation) => operation.fmt(f),
            Self::Survey { op, data } => {
                f.debug_struct("survey").field("op", op).field("bytes", &data.len()).finish()
            }
            Self::Unknown => f.write_str("unknown"),
        }
    }
}

/// Without payloads, which may hold secrets.
impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Applied => f.write_str("applied"),
            Self::Expired => f.write_str("expired"),
            Self::Answer(data) => f.debug_struct("answer").field("bytes", &data.len()).finish(),
            Self::Declined(why) => why.fmt(f),
        }
    }
}

/// Without payloads, which may hold secrets.
impl fmt::Debug for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct(self.name());
        match self {
            Self::Disconnect { user, code, .. } => shown.field("user", user).field("code", &code.code),
            Self::Unsubscribe { user, channel, .. } => shown.field("user", user).field("channel", channel),
            Self::Subscribe { user, channel, .. } => shown.field("user", user).field("channel", channel),
            Self::Refresh { user, expired, .. } => shown.field("user", user).field("expired", expired),
            // The session is a secret of its client.
            Self::Input { message, .. } => shown.field("bytes", &message.len()),
            Self::Application { op, data } => shown.field("op", op).field("bytes", &data.len()),
        };
        shown.finish()
    }
}
