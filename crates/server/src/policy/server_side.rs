//! Subscriptions that the application makes: by a connection token, by the server API, by the personal
//! channel; and those that a unidirectional client names as it connects.
//!
//! The application needs no permission. What it can get wrong is the channel.

use super::decide::{Rules, decide};
use super::decision::{Decision, Grant, Source, SubscribeGrant, Verdict};
use super::request::{Override, Request};
use super::rule::{Outcome, Rule, Trail};
use crate::channel::SubscriptionType;
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
#[must_use]
pub fn server_side<'a>(rules: &Rules, channel: &str, wanted: &ServerSide<'a>) -> Decision<'a> {
    let mut trail = Trail::new();
    let mut refuse = |rule, code| {
        trail.push(rule, Outcome::Refuse);
        Decision { verdict: Verdict::Error(code), rule, trail }
    };
    if channel.is_empty() {
        return refuse(Rule::ChannelRequired, ErrorCode::BAD_REQUEST);
    }
    if channel.len() > rules.registry.longest_name() {
        return refuse(Rule::ChannelLength, ErrorCode::BAD_REQUEST);
    }
    let resolved = rules.registry.resolve(channel);
    let Some(namespace) = resolved.namespace else {
        return refuse(Rule::Namespace, ErrorCode::UNKNOWN_CHANNEL);
    };
    let options = namespace.options();
    if options.subscription_type != SubscriptionType::Stream {
        return refuse(Rule::SubscriptionType, ErrorCode::BAD_REQUEST);
    }
    trail.push(Rule::Namespace, Outcome::Pass);
    trail.push(Rule::ServerSide, Outcome::Allow);
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
    Decision { verdict: Verdict::Allow(Grant::Subscribe(grant)), rule: Rule::ServerSide, trail }
}

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
pub fn personal(
    rules: &Rules,
    namespace: &str,
    user: &str,
) -> Result<Option<(String, Decision<'static>)>, PersonalFault> {
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
    let decision = server_side(rules, &channel, &ServerSide::new(Source::UserPersonal));
    Ok(Some((channel, decision)))
}

/// Decides a channel that a unidirectional client names as it connects. The request is a plain subscribe.
///
/// The client gets what it could subscribe to by itself without a token. An unknown namespace ends the
/// connection (3501); any other error is not told to anyone: the channel is left out.
#[must_use]
pub fn requested<'a>(rules: &Rules, request: &Request<'a>) -> Decision<'a> {
    let mut decision = decide(rules, request);
    match &mut decision.verdict {
        Verdict::Allow(Grant::Subscribe(grant)) => {
            *grant = SubscribeGrant { source: Source::UniConnect, ..unfiltered(*grant) };
        }
        Verdict::Error(code) if *code == ErrorCode::UNKNOWN_CHANNEL => {
            decision.verdict = Verdict::Disconnect(DisconnectCode::BAD_REQUEST);
        }
        Verdict::Allow(_) | Verdict::Error(_) | Verdict::Disconnect(_) => {}
    }
    decision
}

/// A connect may ask for deltas in the channels that it names. There is no place to ask for a filter.
const fn unfiltered(grant: SubscribeGrant<'_>) -> SubscribeGrant<'_> {
    SubscribeGrant { tags_filter: false, ..grant }
}
