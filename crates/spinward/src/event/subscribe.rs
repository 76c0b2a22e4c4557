//! Subscriptions and their refresh.

use crate::engine::broker::HistoryOptions;
use bytes::Bytes;
use spinward_wire::code::{ErrorCode, UnsubscribeCode};
use spinward_wire::message::FilterNode;
use spinward_wire::{DeltaType, SubscriptionType};

/// A client wants to subscribe.
#[derive(Default)]
#[non_exhaustive]
pub struct SubscribeEvent {
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
    /// The delta encoding that it asks for.
    pub delta: Option<DeltaType>,
    /// The filter that it asks for.
    pub filter: Option<FilterNode>,
    /// Kind of subscription.
    pub kind: SubscriptionType,
}

impl SubscribeEvent {
    /// Returns a plain subscribe to a channel, for tests of hooks.
    pub fn new(channel: impl Into<String>) -> Self {
        Self { channel: channel.into(), ..Self::default() }
    }
}

/// Options of a subscription.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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
    /// The server refreshes: the client is not sent its TTL, and the node calls
    /// [`Hooks::sub_refresh`](crate::hooks::Hooks::sub_refresh) at expiry.
    pub server_side_refresh: bool,
    /// The subscription depends on the login at the time it was granted:
    /// [`RefreshEvent::by_login`](super::RefreshEvent::by_login) lists it, so that a refresh can end it. A granted [`Hooks::sub_refresh`](crate::hooks::Hooks::sub_refresh) clears this.
    pub by_login: bool,
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

/// A request to prolong a subscription: from the client or, with an empty token and server-side refresh, from the
/// node.
#[derive(Default)]
#[non_exhaustive]
pub struct SubRefreshEvent {
    /// Channel name.
    pub channel: String,
    /// The new token, or empty.
    pub token: String,
}

/// A subscription that goes on.
#[derive(Default)]
pub struct SubRefreshReply {
    /// Unix seconds at which it ends; 0 never.
    pub expire_at: i64,
    /// Replaces what others see with this subscription.
    pub info: Option<Bytes>,
}
