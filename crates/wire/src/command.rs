//! One command of a client, decoded.

use crate::message::{
    Command, ConnectRequest, HistoryRequest, PresenceRequest, PresenceStatsRequest, PublishRequest,
    RPCRequest, RefreshRequest, SendRequest, SubRefreshRequest, SubscribeRequest, UnsubscribeRequest,
};
use crate::v1::Positions;
use std::fmt;

/// One command.
///
/// Without a request and with `id` 0 it is a pong. Centrifugo v6.9 takes *every* command with `id` 0 for a
/// pong, unless it is a [`Request::Send`], whatever else it asks for: allowed while a ping is unanswered,
/// disconnect 3501 otherwise.
#[derive(Debug, Default, PartialEq)]
pub struct Incoming {
    /// Identifier that the reply repeats; 0 if the command has none.
    pub id: u32,
    /// The request.
    pub request: Option<Request>,
    /// Form of the positions that the request names, in version 1.
    pub positions: Positions,
}

/// The request of a command. The big and rare ones are boxed.
#[derive(Clone, PartialEq)]
pub enum Request {
    /// Log in.
    Connect(Box<ConnectRequest>),
    /// Begin a subscription.
    Subscribe(Box<SubscribeRequest>),
    /// End a subscription.
    Unsubscribe(UnsubscribeRequest),
    /// Publish to a channel.
    Publish(PublishRequest),
    /// Members of a channel.
    Presence(PresenceRequest),
    /// Number of members of a channel.
    PresenceStats(PresenceStatsRequest),
    /// Read the stream of a channel.
    History(HistoryRequest),
    /// In the schema, but Centrifugo v6.9 answers it with disconnect 3501.
    Ping,
    /// A message to the application, unanswered.
    Send(SendRequest),
    /// Call a method of the application.
    Rpc(RPCRequest),
    /// Prolong the connection.
    Refresh(RefreshRequest),
    /// Prolong a subscription.
    SubRefresh(Box<SubRefreshRequest>),
}

impl Request {
    /// Names of all requests, by [`Request::rank`].
    pub const NAMES: [&'static str; 12] = [
        "connect",
        "subscribe",
        "unsubscribe",
        "publish",
        "presence",
        "presence_stats",
        "history",
        "rpc",
        "send",
        "refresh",
        "sub_refresh",
        "ping",
    ];

    /// Key of the request in a JSON command.
    pub const fn name(&self) -> &'static str {
        Self::NAMES[self.rank()]
    }

    /// Place among the requests of one command: the lowest is served, the others are ignored, as
    /// Centrifugo v6.9 does it.
    pub const fn rank(&self) -> usize {
        match self {
            Self::Connect(_) => 0,
            Self::Subscribe(_) => 1,
            Self::Unsubscribe(_) => 2,
            Self::Publish(_) => 3,
            Self::Presence(_) => 4,
            Self::PresenceStats(_) => 5,
            Self::History(_) => 6,
            Self::Rpc(_) => 7,
            Self::Send(_) => 8,
            Self::Refresh(_) => 9,
            Self::SubRefresh(_) => 10,
            Self::Ping => 11,
        }
    }
}

/// Only the name: requests carry tokens and data of users.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl From<Command> for Incoming {
    fn from(command: Command) -> Self {
        let Command {
            id,
            connect,
            subscribe,
            unsubscribe,
            publish,
            presence,
            presence_stats,
            history,
            ping,
            send,
            rpc,
            refresh,
            sub_refresh,
        } = command;
        let positions = Positions::Both;
        // A chain of `or_else` would move every request through all that follow it.
        let request = if let Some(request) = connect {
            Request::Connect(Box::new(request))
        } else if let Some(request) = subscribe {
            Request::Subscribe(Box::new(request))
        } else if let Some(request) = unsubscribe {
            Request::Unsubscribe(request)
        } else if let Some(request) = publish {
            Request::Publish(request)
        } else if let Some(request) = presence {
            Request::Presence(request)
        } else if let Some(request) = presence_stats {
            Request::PresenceStats(request)
        } else if let Some(request) = history {
            Request::History(request)
        } else if let Some(request) = rpc {
            Request::Rpc(request)
        } else if let Some(request) = send {
            Request::Send(request)
        } else if let Some(request) = refresh {
            Request::Refresh(request)
        } else if let Some(request) = sub_refresh {
            Request::SubRefresh(Box::new(request))
        } else if ping.is_some() {
            Request::Ping
        } else {
            return Self { id, request: None, positions };
        };
        Self { id, request: Some(request), positions }
    }
}
