//! The facts that a decision is made from.

use super::caps::{Allow, Capabilities};
use crate::params::{Malformed, Params};
use bytes::Bytes;
use std::fmt;

/// Request of a client, and the facts known about it.
///
/// The type of its action is that of the grant: a [`SubscribeFacts`] is granted a subscription and nothing else. An
/// [`Action`] is any of them.
#[derive(Clone, Debug)]
pub struct Request<'a, A = Action<'a>> {
    /// Requested action.
    pub action: A,
    /// In which channel.
    pub channel: &'a str,
    /// As which user; empty is anonymous.
    pub user: &'a str,
    /// The connection; `None` without one, as on the command line.
    pub client: Option<&'a str>,
    /// True if the connection is subscribed to the channel.
    pub subscribed: bool,
    /// Channels that the connection is subscribed to.
    pub subscriptions: usize,
    /// Capabilities of the connection token.
    pub capabilities: Option<&'a Capabilities>,
    /// Permissions of the token of the current subscription to the channel; empty without one.
    pub subscription_allow: Allow,
    /// The client speaks version 1 of the protocol, whose channels have names in any script.
    pub old_client: bool,
    /// The present time in Unix seconds.
    pub now: i64,
}

impl<'a, A> Request<'a, A> {
    /// A request of a connection that has nothing but a user id.
    #[must_use]
    pub const fn new(action: A, channel: &'a str, user: &'a str, now: i64) -> Self {
        Self {
            action,
            channel,
            user,
            client: None,
            subscribed: false,
            subscriptions: 0,
            capabilities: None,
            subscription_allow: Allow::NONE,
            old_client: false,
            now,
        }
    }

    /// The same request for another action.
    pub(crate) const fn with<B>(&self, action: B) -> Request<'a, B> {
        Request {
            action,
            channel: self.channel,
            user: self.user,
            client: self.client,
            subscribed: self.subscribed,
            subscriptions: self.subscriptions,
            capabilities: self.capabilities,
            subscription_allow: self.subscription_allow,
            old_client: self.old_client,
            now: self.now,
        }
    }
}

/// Action of a client in a channel.
#[derive(Clone, Debug)]
pub enum Action<'a> {
    /// Subscribe.
    Subscribe(SubscribeFacts<'a>),
    /// Prolong a subscription.
    SubRefresh(SubscriptionToken<'a>),
    /// Publish.
    Publish(PublishFacts<'a>),
    /// See who is there.
    Presence,
    /// See how many are there.
    PresenceStats,
    /// Read history.
    History,
}

impl Action<'_> {
    /// The name of the action, as in the client protocol.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Subscribe(_) => "subscribe",
            Self::SubRefresh(_) => "sub_refresh",
            Self::Publish(_) => "publish",
            Self::Presence => "presence",
            Self::PresenceStats => "presence_stats",
            Self::History => "history",
        }
    }
}

/// The facts of a subscribe.
#[derive(Clone, Debug, Default)]
pub struct SubscribeFacts<'a> {
    /// State of the subscription token.
    pub token: SubscriptionToken<'a>,
    /// Other wishes of the client.
    pub wishes: Wishes<'a>,
}

/// Wishes of a client in a subscribe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wishes<'a> {
    /// That its position be watched.
    pub positioned: bool,
    /// That it may recover.
    pub recoverable: bool,
    /// Wish to be told about joins and leaves.
    pub join_leave: bool,
    /// The delta encoding; empty for none.
    pub delta: &'a str,
    /// That publications be filtered by their tags.
    pub tags_filter: bool,
    /// The number of the subscription type; 0 is a stream.
    pub kind: i32,
}

/// The facts of a subscription refresh.
#[derive(Clone, Debug, Default)]
pub struct SubRefreshFacts<'a> {
    /// State of the subscription token.
    pub token: SubscriptionToken<'a>,
}

/// The facts of a presence request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PresenceFacts {
    /// Only the numbers are asked for.
    pub stats: bool,
}

/// The facts of a history request: none but the channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HistoryFacts;

/// The facts of a publish.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct PublishFacts<'a> {
    /// The number of the subscription type; 0 is a stream.
    pub kind: i32,
    /// The payload. Looked at as far as the namespace's `publication_data_format` asks.
    pub data: &'a [u8],
}

/// A payload is nobody's business but its receivers'.
impl fmt::Debug for PublishFacts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublishFacts").field("kind", &self.kind).field("data_len", &self.data.len()).finish()
    }
}

/// State of a subscription token.
#[derive(Clone, Debug, Default)]
pub enum SubscriptionToken<'a> {
    /// The client sent none.
    #[default]
    None,
    /// Its signature is good and its time is over, or has not begun.
    Expired,
    /// It is not acceptable and never will be.
    Invalid,
    /// It could not be checked now, as when keys cannot be fetched.
    Unavailable,
    /// It is good.
    Verified(TokenClaims<'a>),
}

/// The claims of a subscription token that is good.
#[derive(Clone, Copy, Debug)]
pub struct TokenClaims<'a> {
    /// The user that it was made for; empty is anonymous.
    pub user: &'a str,
    /// The channel that it was made for.
    pub channel: &'a str,
    /// The connection that it was made for; empty for any.
    pub client: &'a str,
    /// End of the subscription, in Unix seconds; 0 never.
    pub expire_at: i64,
    /// Information that others see with the subscription.
    pub info: Option<&'a Bytes>,
    /// Payload of the reply.
    pub data: Option<&'a Bytes>,
    /// Options that differ from the namespace's.
    pub overrides: Override,
    /// Permissions in the channel beyond subscribing.
    pub allow: Allow,
}

impl<'a> TokenClaims<'a> {
    /// Claims of a token that says nothing more than who and where.
    #[must_use]
    pub const fn new(user: &'a str, channel: &'a str) -> Self {
        Self {
            user,
            channel,
            client: "",
            expire_at: 0,
            info: None,
            data: None,
            overrides: Override::NONE,
            allow: Allow::NONE,
        }
    }
}

/// Options of one subscription that differ from the namespace's: the claim and API parameter `override`,
/// of the form `{"presence": {"value": true}}`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Override {
    /// Instead of the namespace's `presence`.
    pub presence: Option<BoolValue>,
    /// Instead of the namespace's `join_leave`.
    pub join_leave: Option<BoolValue>,
    /// Instead of the namespace's `force_push_join_leave`.
    pub force_push_join_leave: Option<BoolValue>,
    /// Instead of the namespace's `force_positioning`.
    pub force_positioning: Option<BoolValue>,
    /// Instead of the namespace's `force_recovery`.
    pub force_recovery: Option<BoolValue>,
}

impl Override {
    /// Nothing differs.
    pub const NONE: Self = Self {
        presence: None,
        join_leave: None,
        force_push_join_leave: None,
        force_positioning: None,
        force_recovery: None,
    };

    /// Reads it from JSON; `null` is nothing.
    ///
    /// # Errors
    /// The text is something else.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let fields = Params::parse(text)?;
        let value = |name| {
            let value = fields.object(name)?;
            value.map(|value| Ok(BoolValue { value: value.get("value")? })).transpose()
        };
        Ok(Self {
            presence: value("presence")?,
            join_leave: value("join_leave")?,
            force_push_join_leave: value("force_push_join_leave")?,
            force_positioning: value("force_positioning")?,
            force_recovery: value("force_recovery")?,
        })
    }
}

/// A boolean in an object of its own, as `override` has them. An absent `value` is false.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BoolValue {
    /// The boolean.
    pub value: bool,
}

impl From<bool> for BoolValue {
    fn from(value: bool) -> Self {
        Self { value }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overrides_are_read_from_their_json() {
        let read = Override::parse(
            r#"{"Presence":{"VALUE":true},"force_recovery":{"value":false},"join_leave":{}}"#,
        );
        let expected = Override {
            presence: Some(true.into()),
            force_recovery: Some(false.into()),
            join_leave: Some(false.into()),
            ..Override::NONE
        };
        assert_eq!(read, Ok(expected));
        assert_eq!(Override::parse("null"), Ok(Override::NONE));
        assert_eq!(Override::parse(r#"{"presence":null}"#), Ok(Override::NONE));
        for bad in ["true", "[]", r#"{"presence":true}"#, r#"{"presence":{"value":1}}"#] {
            assert!(Override::parse(bad).is_err(), "{bad}");
        }
    }
}
