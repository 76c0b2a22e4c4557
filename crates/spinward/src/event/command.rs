//! Commands of a client beside login and subscriptions.

use crate::engine::broker::PublishOptions;
use bytes::Bytes;
use spinward_wire::SubscriptionType;
use spinward_wire::message::StreamPosition;

/// A client wants to publish.
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

/// A publication that is accepted.
#[derive(Debug)]
pub struct PublishReply {
    /// The payload to publish, which may differ from what the client sent.
    pub data: Bytes,
    /// Options for the publish. The publisher's info is added by the node.
    pub options: PublishOptions,
}

/// A client wants to read history.
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

/// A client wants to know who is in a channel.
pub struct PresenceEvent {
    /// Channel name.
    pub channel: String,
    /// True if the client is subscribed to the channel.
    pub subscribed: bool,
    /// Only the numbers are asked for.
    pub stats: bool,
}

/// A client calls a method.
pub struct RpcEvent {
    /// Method name.
    pub method: String,
    /// Payload.
    pub data: Bytes,
}

/// A client sends a message that wants no reply.
pub struct MessageEvent {
    /// Payload.
    pub data: Bytes,
}
