//! Commands of a client beside login and subscriptions.

use crate::engine::broker::PublishOptions;
use bytes::Bytes;
use spinward_wire::SubscriptionType;
use spinward_wire::message::StreamPosition;

/// A client wants to publish.
#[non_exhaustive]
pub struct PublishEvent {
    /// Channel name.
    pub channel: String,
    /// Payload.
    pub data: Bytes,
    /// True if the client is subscribed to the channel.
    pub subscribed: bool,
    /// Kind of publication.
    pub kind: SubscriptionType,
}

impl PublishEvent {
    /// Returns the event of a subscriber of a channel, for tests of hooks.
    pub fn new(channel: impl Into<String>, data: impl Into<Bytes>) -> Self {
        let (channel, data) = (channel.into(), data.into());
        Self { channel, data, subscribed: true, kind: SubscriptionType::Stream }
    }
}

/// A publication that is accepted.
#[derive(Debug)]
pub struct PublishReply {
    /// The payload to publish, which may differ from what the client sent.
    pub data: Bytes,
    /// Options for the publish. The publisher's info is added by the node.
    pub options: PublishOptions,
    /// The application has done with it what there was to do: the client gets its reply, and nothing is published.
    pub handled: bool,
}

impl PublishReply {
    /// Publishes this payload, without history.
    pub fn new(data: impl Into<Bytes>) -> Self {
        Self { data: data.into(), options: PublishOptions::default(), handled: false }
    }

    /// Publishes nothing: the application has taken the publication itself.
    #[must_use]
    pub fn handled() -> Self {
        Self { handled: true, ..Self::new(Bytes::new()) }
    }
}

/// A client wants to read history.
#[non_exhaustive]
pub struct HistoryEvent {
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

impl HistoryEvent {
    /// Returns the event of a subscriber that asks for all of a channel's history, for tests of hooks.
    pub fn new(channel: impl Into<String>) -> Self {
        Self { channel: channel.into(), limit: -1, since: None, reverse: false, subscribed: true }
    }
}

/// A client wants the members of a channel, or their number.
#[non_exhaustive]
pub struct PresenceEvent {
    /// Channel name.
    pub channel: String,
    /// True if the client is subscribed to the channel.
    pub subscribed: bool,
    /// Only the numbers are asked for.
    pub stats: bool,
}

impl PresenceEvent {
    /// Returns the event of a subscriber that asks for the members of a channel, for tests of hooks.
    pub fn new(channel: impl Into<String>) -> Self {
        Self { channel: channel.into(), subscribed: true, stats: false }
    }
}

/// A client calls a method.
#[non_exhaustive]
pub struct RpcEvent {
    /// Method name.
    pub method: String,
    /// Payload.
    pub data: Bytes,
}

impl RpcEvent {
    /// Returns the call of a method, for tests of hooks.
    pub fn new(method: impl Into<String>, data: impl Into<Bytes>) -> Self {
        Self { method: method.into(), data: data.into() }
    }
}

/// A client sends a message that wants no reply.
#[non_exhaustive]
pub struct MessageEvent {
    /// Payload.
    pub data: Bytes,
}

impl MessageEvent {
    /// Returns the event of a message, for tests of hooks.
    pub fn new(data: impl Into<Bytes>) -> Self {
        Self { data: data.into() }
    }
}
