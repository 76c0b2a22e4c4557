//! The decisions that an application makes: who may connect, subscribe, publish.

use crate::answer::Answer;
use crate::client::Client;
use crate::engine::broker::{HistoryOptions, PublishOptions};
use crate::id::ClientId;
use crate::identity::{Credentials, Extension, Transport};
use bytes::Bytes;
use spinward_wire::Protocol;
use spinward_wire::code::{DisconnectCode, ErrorCode, UnsubscribeCode};
use spinward_wire::message::{FilterNode, StreamPosition};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A decision against the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The command is answered with this error and the connection goes on.
    Error(ErrorCode),
    /// The connection is closed with this code.
    Disconnect(DisconnectCode),
}

impl From<ErrorCode> for Refusal {
    fn from(code: ErrorCode) -> Self {
        Self::Error(code)
    }
}

impl From<DisconnectCode> for Refusal {
    fn from(code: DisconnectCode) -> Self {
        Self::Disconnect(code)
    }
}

/// Answer of a hook: yes with details, or a refusal, now or later.
pub type Decision<T> = Answer<Result<T, Refusal>>;

/// The HTTP side of a connection. It is dropped once the connection is logged in or closed.
#[derive(Default)]
pub struct Handshake {
    /// Headers of the upgrade request, or those of them that the host keeps.
    pub headers: http::HeaderMap,
    /// Path and query of the upgrade request.
    pub uri: http::Uri,
    /// Credentials that a middleware put into the request's extensions.
    pub credentials: Option<Credentials>,
    /// Address of the peer, where the host put it into the request's extensions.
    pub peer: Option<std::net::SocketAddr>,
    /// State of the host, where it put an [`Extension`] into the request's extensions.
    pub extension: Option<Extension>,
}

/// A client wants to log in.
pub struct Connecting {
    /// The id that the connection will have.
    pub id: ClientId,
    /// Transport that it came in on.
    pub transport: Transport,
    /// The encoding it speaks.
    pub protocol: Protocol,
    /// The HTTP side.
    pub handshake: Arc<Handshake>,
    /// The token of the connect command, or empty.
    pub token: String,
    /// Payload of the connect command.
    pub data: Bytes,
    /// Name of the client application.
    pub name: String,
    /// Version of the client application.
    pub version: String,
    /// Emulated headers of the connect command: said by the client, so never to be trusted as an edge's.
    pub headers: BTreeMap<String, String>,
    /// Channels that the connect command names: those in which it has a position to recover from, and those that
    /// it would like to be subscribed to. It is for the application to do so, or not.
    pub channels: Vec<String>,
}

/// A login that is accepted.
#[derive(Default)]
pub struct Connected {
    /// Credentials of the user.
    pub credentials: Credentials,
    /// JSON that stays on the server.
    pub meta: Bytes,
    /// Payload of the connect reply.
    pub data: Bytes,
    /// Channels to subscribe the connection to, before it receives anything else.
    pub subscriptions: Vec<(String, SubscribeOptions)>,
    /// The user's earlier connections are closed with 3504, so that the latest one alone lasts.
    /// [`Config::user_connection_limit`](crate::Config::user_connection_limit) does not apply to it.
    pub single_connection: bool,
    /// True if the server refreshes: the client is not sent its TTL, and the node calls [`Hooks::refresh`] at expiry.
    /// False if the client must send a refresh in time.
    pub server_side_refresh: bool,
    /// State that the application keeps with the connection.
    pub extension: Option<Extension>,
}

/// A request to prolong a login: from the client or, with an empty token and server-side refresh, from the node.
pub struct Refreshing {
    /// The new token.
    pub token: String,
    /// The channels that the connection was subscribed to by the server.
    pub server_side_channels: Vec<String>,
    /// Every channel that it is subscribed to, whether by the client or by the server.
    pub channels: Vec<String>,
    /// Of these channels, those whose subscriptions were granted with [`SubscribeOptions::by_login`].
    pub by_login: Vec<String>,
}

/// A login that goes on.
#[derive(Default)]
pub struct Refreshed {
    /// Unix seconds at which it ends; 0 never.
    pub expire_at: i64,
    /// Replaces what others see with this connection.
    pub info: Option<Bytes>,
    /// Replaces the application's state.
    pub extension: Option<Extension>,
    /// Channels that the connection may not be subscribed to any longer (unsubscribe 2000).
    pub unsubscribe: Vec<String>,
    /// Of the channels in [`Refreshing::by_login`], those that the new login does not carry (unsubscribe 2501). A
    /// subscription that something else has granted since the question was asked stays.
    pub lapsed: Vec<String>,
}

/// Options of a subscription.
#[derive(Clone, Debug, Default)]
pub struct SubscribeOptions {
    /// Unix seconds at which it ends unless refreshed; 0 never.
    pub expire_at: i64,
    /// JSON that others see with this subscription.
    pub info: Bytes,
    /// Payload of the subscribe reply or push.
    pub data: Bytes,
    /// The client is listed in the channel's presence.
    pub presence: bool,
    /// Joins and leaves of the client are announced in the channel.
    pub join_leave: bool,
    /// The client receives joins and leaves of others.
    pub push_join_leave: bool,
    /// The server watches the position and notifies the client when it has lost something.
    pub positioning: bool,
    /// The client may come back with a position and get what it missed. Implies `positioning`.
    pub recovery: bool,
    /// Recovery gives the latest publication instead of all that was missed.
    pub cache: bool,
    /// With `cache`: the latest publication comes without being asked for.
    pub auto_recover: bool,
    /// Fossil deltas may be agreed on.
    pub delta: bool,
    /// A tags filter may be agreed on (else error 107).
    pub tags_filter: bool,
    /// History limits of the channel.
    pub history: HistoryOptions,
    /// Reason for the grant: a number of the application's, returned in connection listings.
    pub source: u32,
    /// The server refreshes: the client is not sent its TTL, and the node calls [`Hooks::sub_refresh`] at expiry.
    pub server_side_refresh: bool,
    /// The subscription depends on the login at the time it was granted: [`Refreshing::by_login`] lists it, so that a
    /// refresh can end it. A granted [`Hooks::sub_refresh`] clears this.
    pub by_login: bool,
}

/// A client wants to subscribe.
pub struct Subscribing {
    /// Channel name.
    pub channel: String,
    /// The subscription token, or empty.
    pub token: String,
    /// Payload of the subscribe command.
    pub data: Bytes,
    /// It asks that the position be watched.
    pub positioned: bool,
    /// It asks that it may recover.
    pub recoverable: bool,
    /// It asks for join and leave events.
    pub join_leave: bool,
    /// It comes back with a position.
    pub recover: bool,
    /// The delta encoding that it asks for, or empty.
    pub delta: String,
    /// The filter that it asks for.
    pub filter: Option<FilterNode>,
    /// Kind of subscription, 0 for a stream.
    pub kind: i32,
}

/// A granted subscription that did not come about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscribeFailure {
    /// The server made it; otherwise the client asked for it.
    pub server_side: bool,
    /// The cause.
    pub cause: FailureCause,
}

/// The cause of a [`SubscribeFailure`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FailureCause {
    /// The library or the broker refused it with this error: a malformed filter, an end in the past, a channel
    /// limit, a subscription made by the server in the meantime, a position that cannot be recovered from.
    Error(ErrorCode),
    /// The server ended it before it was complete.
    Unsubscribed(UnsubscribeCode),
    /// The connection ended.
    Disconnected,
}

/// A subscription that goes on.
#[derive(Default)]
pub struct SubRefreshed {
    /// Unix seconds at which it ends; 0 never.
    pub expire_at: i64,
    /// Replaces what others see with this subscription.
    pub info: Option<Bytes>,
}

/// A client wants to publish.
pub struct Publishing {
    /// Channel name.
    pub channel: String,
    /// Payload.
    pub data: Bytes,
    /// True if the client is subscribed to the channel.
    pub subscribed: bool,
    /// Kind, 0 for a stream.
    pub kind: i32,
}

/// A publication that is accepted.
#[derive(Debug)]
pub struct Publish {
    /// The payload to publish, which may differ from what the client sent.
    pub data: Bytes,
    /// Options for the publish. The publisher's info is added by the node.
    pub options: PublishOptions,
}

/// A client wants to read history.
pub struct HistoryAsked {
    /// Channel name.
    pub channel: String,
    /// Page size: 0 is only the position, negative as much as there may be.
    pub limit: i32,
    /// Read from here.
    pub since: Option<StreamPosition>,
    /// Newest first.
    pub reverse: bool,
    /// True if the client is subscribed to the channel.
    pub subscribed: bool,
}

/// A client wants to know who is in a channel.
pub struct PresenceAsked {
    /// Channel name.
    pub channel: String,
    /// True if the client is subscribed to the channel.
    pub subscribed: bool,
    /// Only the numbers are asked for.
    pub stats: bool,
}

/// A client calls a method.
pub struct RpcCall {
    /// Method name.
    pub method: String,
    /// Payload.
    pub data: Bytes,
}

/// The decisions of an application. By default everything is refused.
///
/// Each is asked on the shard of the connection and must not block: answer [`Answer::Now`] from memory, or
/// [`Answer::Later`] with a future. A hook that panics costs the connection it was asked for (3004) and
/// nothing else.
///
/// Each subscription that an application grants, by [`Hooks::subscribe`], [`Connected::subscriptions`] or
/// [`Client::subscribe`], ends in exactly one call: [`Hooks::subscribe_failed`] if it does not come about,
/// [`Hooks::subscription_replaced`] if the server makes it again, [`Hooks::unsubscribed`] otherwise. What an
/// application keeps for a grant can be dropped in these three. A login that fails is not a client yet: nothing is
/// reported of the subscriptions granted with it.
#[allow(unused_variables, reason = "default bodies name their parameters for the documentation")]
pub trait Hooks: Send + Sync + 'static {
    /// Decides whether a client may log in. By default only with [`Credentials`] in the request's extensions.
    fn connecting(&self, request: Connecting) -> Decision<Connected> {
        Answer::Now(match request.handshake.credentials.clone() {
            Some(credentials) => Ok(Connected { credentials, ..Connected::default() }),
            None => Err(DisconnectCode::BAD_REQUEST.into()),
        })
    }

    /// Decides whether a login may go on.
    fn refresh(&self, client: &Client, request: Refreshing) -> Decision<Refreshed> {
        Answer::Now(Err(ErrorCode::NOT_AVAILABLE.into()))
    }

    /// Decides whether a client may subscribe, and with which options.
    fn subscribe(&self, client: &Client, request: Subscribing) -> Decision<SubscribeOptions> {
        Answer::Now(Err(ErrorCode::PERMISSION_DENIED.into()))
    }

    /// Decides whether a subscription may go on. The token is empty when the node asks by itself.
    fn sub_refresh(&self, client: &Client, channel: &str, token: String) -> Decision<SubRefreshed> {
        Answer::Now(Err(ErrorCode::NOT_AVAILABLE.into()))
    }

    /// Decides whether a client may publish.
    fn publish(&self, client: &Client, request: Publishing) -> Decision<Publish> {
        Answer::Now(Err(ErrorCode::PERMISSION_DENIED.into()))
    }

    /// Decides whether a client may see the members of a channel.
    fn presence(&self, client: &Client, request: PresenceAsked) -> Decision<()> {
        Answer::Now(Err(ErrorCode::NOT_AVAILABLE.into()))
    }

    /// Decides whether a client may read history. The answer contains the history limits of the channel.
    fn history(&self, client: &Client, request: HistoryAsked) -> Decision<HistoryOptions> {
        Answer::Now(Err(ErrorCode::NOT_AVAILABLE.into()))
    }

    /// Answers a method call.
    fn rpc(&self, client: &Client, call: RpcCall) -> Decision<Bytes> {
        Answer::Now(Err(ErrorCode::METHOD_NOT_FOUND.into()))
    }

    /// Takes a message that wants no answer.
    fn message(&self, client: &Client, data: Bytes) -> Decision<()> {
        Answer::Now(Err(DisconnectCode::NOT_AVAILABLE.into()))
    }

    /// The client is in: its connect reply is on the way.
    fn connected(&self, client: &Client) {}

    /// A granted refresh has taken effect: the client has its new state, and the reply is on the way. If the decision
    /// took time, this is the place to notice what has changed since.
    fn refreshed(&self, client: &Client) {}

    /// A subscription that the client asked for and was granted is there or on its way: an
    /// [`unsubscribe`](Client::unsubscribe) from now on finds it. Publishing and reading history as a subscriber
    /// come after this.
    fn subscribed(&self, client: &Client, channel: &str) {}

    /// A granted subscription did not come about. [`Hooks::subscribed`] may have been called for it: a broker may
    /// refuse what the application and the library have accepted. [`Hooks::disconnected`] may have been called as
    /// well: an answer of [`Hooks::subscribe`] may come after the end of the connection.
    fn subscribe_failed(&self, client: &Client, channel: &str, failure: &SubscribeFailure) {}

    /// The server subscribed the client again to a channel that it was subscribed to. Nothing of the former grant
    /// remains: the options, the expiry and what the application granted with it are those of the new one.
    fn subscription_replaced(&self, client: &Client, channel: &str) {}

    /// A granted refresh of a subscription has taken effect. A granted refresh that is not followed by this call had no
    /// effect: the subscription goes on as it was, or has ended.
    fn sub_refreshed(&self, client: &Client, channel: &str) {}

    /// A subscription ended, for whatever reason.
    fn unsubscribed(&self, client: &Client, channel: &str, code: &UnsubscribeCode) {}

    /// The connection ended. Asked only of clients that were in.
    fn disconnected(&self, client: &Client, code: &DisconnectCode) {}

    /// The first subscriber of this node came to a channel.
    fn channel_occupied(&self, channel: &str) {}

    /// The last subscriber of this node left a channel.
    fn channel_vacated(&self, channel: &str) {}
}
