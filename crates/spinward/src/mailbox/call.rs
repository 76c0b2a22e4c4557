//! Calls of a session to the outside of its shard, and their outcomes.

use crate::channel::record::Channel;
use crate::engine::broker::{BrokerError, History, Interest};
use crate::engine::presence::{Member, Members, PresenceStats};
use crate::event::{
    ConnectEvent, ConnectReply, FailureCause, HistoryEvent, MessageEvent, PresenceEvent, PublishEvent,
    RefreshEvent, RefreshReply, Refusal, RpcEvent, SubRefreshReply, SubscribeEvent, SubscribeFailure,
    SubscribeOptions,
};
use crate::handle::{CallToken, Handle};
use crate::id::ClientId;
use crate::identity::Identity;
use crate::publication::ClientInfo;
use bytes::Bytes;
use spinward_wire::code::{DisconnectCode, ErrorCode, UnsubscribeCode};
use spinward_wire::message::{ConnectRequest, SubscribeRequest};
use std::sync::Arc;

/// A call to the outside of a shard.
pub(crate) enum Called {
    Session(SessionCall),
    Shard(ShardCall),
}

/// A call of a shard on its own behalf. No connection waits for it: what it leads to comes as an inbox entry.
pub(crate) enum ShardCall {
    /// Make the reads that are planned for subscribers that are entering a channel.
    Read(Arc<Channel>),
    /// Ask the engine to begin or to end delivery of a channel.
    Interest { channel: Arc<Channel>, ask: Interest },
    /// Compare the position of a channel with the engine's. The answer goes to every shard with subscribers.
    Compare(Arc<Channel>),
    /// Refresh entries of presence.
    PresenceRefresh(Vec<Member>),
}

impl ShardCall {
    /// The name of the part of the engine that answers.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Read(_) => "read",
            Self::Interest { .. } => "interest",
            Self::Compare(_) => "position",
            Self::PresenceRefresh(_) => "presence refresh",
        }
    }
}

/// A call on behalf of a session.
pub(crate) struct SessionCall {
    pub(crate) handle: Handle,
    /// Given back with the outcome.
    pub(crate) token: CallToken,
    /// The client on whose behalf it is, once it is logged in.
    pub(crate) identity: Option<Arc<Identity>>,
    pub(crate) call: Call,
}

impl SessionCall {
    /// Returns true if this is the question about a subscribe command for the channel.
    pub(crate) fn asks_for(&self, name: &str) -> bool {
        matches!(&self.call, Call::Subscribe { channel, .. } if **channel == *name)
    }

    /// Makes one call of the questions about the subscribe commands of a message, each with its token.
    pub(crate) fn together(mut questions: Vec<Self>) -> Option<Self> {
        if questions.len() < 2 {
            return questions.pop();
        }
        let Self { handle, token, identity, .. } = questions.first()?;
        let (handle, token, identity) = (*handle, *token, identity.clone());
        let together = questions.into_iter().filter_map(|question| match question.call {
            Call::Subscribe { channel, event, request } => {
                Some(Question { token: question.token, channel, event, request })
            }
            _ => None,
        });
        Some(Self { handle, token, identity, call: Call::SubscribeMany(together.collect()) })
    }
}

/// A question about a subscribe command, among others.
pub(crate) struct Question {
    pub(crate) token: CallToken,
    pub(crate) channel: Arc<str>,
    pub(crate) event: Box<SubscribeEvent>,
    pub(crate) request: Box<SubscribeRequest>,
}

/// A call.
pub(crate) enum Call {
    Connect {
        event: Box<ConnectEvent>,
        request: Box<ConnectRequest>,
    },
    Refresh(RefreshEvent),
    Subscribe {
        channel: Arc<str>,
        event: Box<SubscribeEvent>,
        request: Box<SubscribeRequest>,
    },
    /// The same for several commands. Each has an outcome of its own.
    SubscribeMany(Vec<Question>),
    SubRefresh {
        channel: Arc<Channel>,
        /// `None`: the node asks by itself.
        token: Option<String>,
    },
    Publish {
        request: PublishEvent,
        chan_info: Option<Arc<ClientInfo>>,
    },
    Presence(PresenceEvent),
    History(HistoryEvent),
    Rpc(RpcEvent),
    Message(MessageEvent),
    /// Add to the presence of a channel. The outcome is waited for.
    PresenceAdd {
        channel: Arc<Channel>,
        client: ClientId,
        info: Arc<ClientInfo>,
    },
    PresenceRemove {
        channel: Arc<Channel>,
        client: ClientId,
        user: Arc<str>,
    },
    JoinLeave {
        channel: Arc<Channel>,
        info: Arc<ClientInfo>,
        join: bool,
        /// The client itself receives it, before its next command is taken.
        told: bool,
    },
    Connected,
    Refreshed,
    Subscribed(Arc<str>),
    SubscribeFailed {
        channel: Arc<str>,
        failure: SubscribeFailure,
    },
    Began(Arc<Channel>),
    Replaced(Arc<Channel>),
    SubRefreshed(Arc<Channel>),
    Unsubscribed {
        channel: Arc<Channel>,
        code: UnsubscribeCode,
    },
    Disconnected(DisconnectCode),
    Occupied(Arc<Channel>),
    Vacated(Arc<Channel>),
}

/// The outcome of a call, with the part of the command that its handler needs: the session itself only knows that it
/// waits.
pub(crate) enum Outcome {
    Connect {
        request: Box<ConnectRequest>,
        outcome: Result<Box<ConnectReply>, Refusal>,
    },
    Refresh(Result<Box<RefreshReply>, Refusal>),
    Subscribe {
        channel: Arc<str>,
        /// Of the client that asked, which may be gone when this arrives.
        identity: Arc<Identity>,
        request: Box<SubscribeRequest>,
        outcome: Result<Box<SubscribeOptions>, Refusal>,
    },
    SubRefresh {
        channel: Arc<Channel>,
        outcome: Result<SubRefreshReply, Refusal>,
    },
    /// The same for a subscription that the node asked about by itself.
    ServerSubRefresh {
        channel: Arc<Channel>,
        outcome: Result<SubRefreshReply, Refusal>,
    },
    Published(Result<(), Refusal>),
    Message(Result<(), Refusal>),
    /// A join or leave of the client is queued.
    Announced,
    Members(Result<Members, Refusal>),
    Stats(Result<PresenceStats, Refusal>),
    History(Result<Box<History>, Refusal>),
    Rpc(Result<Bytes, Refusal>),
    PresenceAdded {
        channel: Arc<Channel>,
        client: ClientId,
        user: Arc<str>,
        ok: bool,
    },
    /// A hook panicked.
    Panicked,
    /// There was no answer within [`hook_timeout`](crate::Config::hook_timeout).
    TimedOut,
}

impl Call {
    /// The name of the hook, or of the part of the store, that answers.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Connect { .. } => "connect",
            Self::Refresh(_) => "refresh",
            Self::Subscribe { .. } | Self::SubscribeMany(_) => "subscribe",
            Self::SubRefresh { .. } => "sub_refresh",
            Self::Publish { .. } => "publish",
            Self::Presence(_) => "presence",
            Self::History(_) => "history",
            Self::Rpc(_) => "rpc",
            Self::Message(_) => "message",
            Self::PresenceAdd { .. } => "presence add",
            Self::PresenceRemove { .. } => "presence remove",
            Self::JoinLeave { .. } => "join and leave",
            Self::Connected => "connected",
            Self::Refreshed => "refreshed",
            Self::Subscribed(_) => "subscribed",
            Self::SubscribeFailed { .. } => "subscribe_failed",
            Self::Began(_) => "subscription_began",
            Self::Replaced(_) => "subscription_replaced",
            Self::SubRefreshed(_) => "sub_refreshed",
            Self::Unsubscribed { .. } => "unsubscribed",
            Self::Disconnected(_) => "disconnected",
            Self::Occupied(_) => "channel_occupied",
            Self::Vacated(_) => "channel_vacated",
        }
    }

    /// The outcome of a call that is not answered in time, as far as it needs more than that.
    pub(crate) fn late(&self) -> Late {
        match self {
            Self::PresenceAdd { channel, client, info } => Late::PresenceAdd {
                channel: Arc::clone(channel),
                client: *client,
                user: Arc::clone(&info.user),
            },
            Self::SubRefresh { channel, token: None } => Late::ServerSubRefresh(Arc::clone(channel)),
            _ => Late::Other,
        }
    }
}

/// A call that is not answered in time.
pub(crate) enum Late {
    PresenceAdd { channel: Arc<Channel>, client: ClientId, user: Arc<str> },
    ServerSubRefresh(Arc<Channel>),
    Other,
}

impl From<Late> for Outcome {
    fn from(late: Late) -> Self {
        match late {
            // The entry may be there: it is taken back like one whose connection is gone.
            Late::PresenceAdd { channel, client, user } => {
                Self::PresenceAdded { channel, client, user, ok: false }
            }
            Late::ServerSubRefresh(channel) => {
                Self::ServerSubRefresh { channel, outcome: Err(ErrorCode::INTERNAL.into()) }
            }
            Late::Other => Self::TimedOut,
        }
    }
}

impl Outcome {
    /// Returns the call that takes back what this holds, for an outcome whose connection is gone.
    pub(crate) fn undo(self, handle: Handle) -> Option<SessionCall> {
        let (identity, call) = match self {
            // One that failed may have had its effect.
            Self::PresenceAdded { channel, client, user, .. } => {
                (None, Call::PresenceRemove { channel, client, user })
            }
            Self::Subscribe { channel, identity, outcome: Ok(_), .. } => {
                let failure = SubscribeFailure { server_side: false, cause: FailureCause::Disconnected };
                (Some(identity), Call::SubscribeFailed { channel, failure })
            }
            _ => return None,
        };
        Some(SessionCall { handle, token: CallToken::NOBODY, identity, call })
    }
}

impl From<BrokerError> for Refusal {
    fn from(error: BrokerError) -> Self {
        Self::Error(match error {
            BrokerError::UnrecoverablePosition => ErrorCode::UNRECOVERABLE_POSITION,
            BrokerError::NotSupported => ErrorCode::NOT_AVAILABLE,
            BrokerError::Overloaded => ErrorCode::TOO_MANY_REQUESTS,
            BrokerError::Failed(_) | BrokerError::Stopped => ErrorCode::INTERNAL,
        })
    }
}
