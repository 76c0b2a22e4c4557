//! Logins and their refresh.

use super::SubscribeOptions;
use crate::id::ClientId;
use crate::identity::{Credentials, Extension, Transport};
use crate::publication::Tags;
use bytes::Bytes;
use spinward_wire::{Protocol, Version};
use std::collections::BTreeMap;
use std::sync::Arc;

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
#[non_exhaustive]
pub struct ConnectEvent {
    /// The id that the connection will have.
    pub id: ClientId,
    /// Transport that it came in on.
    pub transport: Transport,
    /// The encoding it speaks.
    pub protocol: Protocol,
    /// The version of the protocol it speaks.
    pub speaks: Version,
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

impl ConnectEvent {
    /// Returns the login of a client over WebSocket with JSON, for tests of hooks.
    #[must_use]
    pub fn new(handshake: Handshake) -> Self {
        Self {
            id: ClientId::from_random([0; 16]),
            transport: Transport::WebSocket,
            protocol: Protocol::Json,
            speaks: Version::V2,
            handshake: Arc::new(handshake),
            token: String::new(),
            data: Bytes::new(),
            name: String::new(),
            version: String::new(),
            headers: BTreeMap::new(),
            channels: Vec::new(),
        }
    }
}

/// A login that is accepted.
#[derive(Default)]
pub struct ConnectReply {
    /// Credentials of the user.
    pub credentials: Credentials,
    /// JSON that stays on the server.
    pub meta: Bytes,
    /// Labels of the connection, by which operations can select it. They cannot change later.
    pub labels: Tags,
    /// Payload of the connect reply.
    pub data: Bytes,
    /// Channels to subscribe the connection to, before it receives anything else.
    pub subscriptions: Vec<(String, SubscribeOptions)>,
    /// The user's earlier connections are closed with 3504, so that the latest one alone lasts.
    /// [`Config::user_connection_limit`](crate::Config::user_connection_limit) does not apply to it.
    pub single_connection: bool,
    /// True if the server refreshes: the client is not sent its TTL, and the node calls
    /// [`Hooks::refresh`](crate::hooks::Hooks::refresh) at expiry.
    /// False if the client must send a refresh in time.
    pub server_side_refresh: bool,
    /// State that the application keeps with the connection.
    pub extension: Option<Extension>,
}

/// A request to prolong a login: from the client or, with an empty token and server-side refresh, from the node.
#[derive(Default)]
#[non_exhaustive]
pub struct RefreshEvent {
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
pub struct RefreshReply {
    /// Unix seconds at which it ends; 0 never.
    pub expire_at: i64,
    /// Replaces what others see with this connection.
    pub info: Option<Bytes>,
    /// Replaces the JSON that stays on the server.
    pub meta: Option<Bytes>,
    /// Replaces the application's state.
    pub extension: Option<Extension>,
    /// Channels that the connection may not be subscribed to any longer (unsubscribe 2000).
    pub unsubscribe: Vec<String>,
    /// Of the channels in [`RefreshEvent::by_login`], those that the new login does not carry (unsubscribe 2501). A
    /// subscription that something else has granted since the question was asked stays.
    pub lapsed: Vec<String>,
}
