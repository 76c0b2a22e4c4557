//! Subscriptions that the application makes: by a connection token, by the server API, by the personal
//! channel; and those that a unidirectional client names as it connects.
//!
//! The application needs no permission. What it can get wrong is the channel.

use super::api::options;
use super::decide::Rules;
use super::decision::{Decision, Refused, Source, SubscribeGrant, Verdict};
use super::request::Override;
use super::rule::Rule;
use crate::config::typed::SubscriptionType;
use bytes::Bytes;
use spinward_wire::code::{DisconnectCode, ErrorCode};
use thiserror::Error;

/// A subscription that the application makes.
#[derive(Clone, Copy, Debug)]
pub struct ServerSide<'a> {
    /// Source of the subscription.
    pub source: Source,
    /// Options that differ from the namespace's.
    pub overrides: Override,
    /// End of the subscription, in Unix seconds; 0 never.
    pub expire_at: i64,
    /// Information that others see with it.
    pub info: Option<&'a Bytes>,
    /// Payload that the client gets with it.
    pub data: Option<&'a Bytes>,
}

impl ServerSide<'_> {
    /// A subscription as the namespace has it.
    #[must_use]
    pub const fn new(source: Source) -> Self {
        Self { source, overrides: Override::NONE, expire_at: 0, info: None, data: None }
    }
}

/// Decides a subscription that the application makes.
///
/// Refusals: no channel name, or one that is too long for any use 107, unknown namespace 102, a namespace of another
/// kind than streams 107.
///
/// # Errors
/// These.
pub fn server_side<'a>(
    rules: &Rules,
    channel: &str,
    wanted: &ServerSide<'a>,
) -> Result<SubscribeGrant<'a>, Refused> {
    let options = options(&rules.registry, channel)?;
    if options.subscription_type != SubscriptionType::Stream {
        return Err(Refused { rule: Rule::SubscriptionType, code: ErrorCode::BAD_REQUEST });
    }
    let grant = SubscribeGrant {
        expire_at: wanted.expire_at,
        info: wanted.info,
        data: wanted.data,
        ..SubscribeGrant::of(options, wanted.source)
    };
    let mut grant = unfiltered(grant.with_override(&wanted.overrides).settled(options));
    if wanted.source == Source::ServerApi {
        // The push about such a subscription has no place for a publication.
        grant.auto_cache_recover = false;
    }
    Ok(grant)
}

/// A personal channel, and the subscription to it or the reason why there is none.
pub type Personal = (String, Result<SubscribeGrant<'static>, Refused>);

/// The name that a user's personal channel would have is not that user's alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PersonalFault {
    /// The namespace boundary in the user id makes it a name of another namespace.
    #[error("the name reads as one of another namespace")]
    Namespace,
    /// The user boundary or separator in the user id makes it a list of other users, who may subscribe.
    #[error("the name reads as a list of other users")]
    Users,
    /// Without a user boundary it could be any channel.
    #[error("channel.user_boundary is empty")]
    Boundary,
}

/// Decides the personal channel of a user (`client.subscribe_to_user_personal_channel`), whose namespace may
/// be empty. The anonymous user has none.
///
/// The name is the one that Centrifugo makes, and back ends publish to it, so nothing in it is escaped. It has to
/// read back as what it was made of.
///
/// # Errors
/// The name would be another's, too.
pub fn personal(rules: &Rules, namespace: &str, user: &str) -> Result<Option<Personal>, PersonalFault> {
    if user.is_empty() {
        return Ok(None);
    }
    let channel = rules.registry.syntax().personal_channel(namespace, user);
    let resolved = rules.registry.resolve(&channel);
    let named = !namespace.is_empty() && !rules.registry.syntax().namespace_boundary.is_empty();
    if resolved.name.namespace != named.then_some(namespace) || resolved.name.pattern {
        return Err(PersonalFault::Namespace);
    }
    let Some(users) = resolved.name.users else { return Err(PersonalFault::Boundary) };
    let read_as_users = resolved.namespace.is_some_and(|found| found.options().allow_user_limited_channels);
    if read_as_users && !users.iter().eq([user]) {
        return Err(PersonalFault::Users);
    }
    let granted = server_side(rules, &channel, &ServerSide::new(Source::UserPersonal));
    Ok(Some((channel, granted)))
}

/// Turns the decision of a plain subscribe into that of a channel that a client names as it connects.
///
/// The client gets what it could subscribe to by itself without a token. An unknown namespace ends the
/// connection (3501); any other error is not told to anyone: the channel is left out.
#[must_use]
pub fn requested(decision: Decision<SubscribeGrant<'_>>) -> Decision<SubscribeGrant<'_>> {
    let verdict = match decision.verdict {
        Verdict::Allow(grant) => {
            Verdict::Allow(SubscribeGrant { source: Source::UniConnect, ..unfiltered(grant) })
        }
        Verdict::Error(code) if code == ErrorCode::UNKNOWN_CHANNEL => {
            Verdict::Disconnect(DisconnectCode::BAD_REQUEST)
        }
        other => other,
    };
    Decision { verdict, ..decision }
}

/// A connect may ask for deltas in the channels that it names. There is no place to ask for a filter.
const fn unfiltered(grant: SubscribeGrant<'_>) -> SubscribeGrant<'_> {
    SubscribeGrant { tags_filter: false, ..grant }
}
