//! The decision. From top to bottom in the order in which the rules are asked; the rules themselves are in `steps.rs`.

use super::access::Access;
use super::ask::{Never, ProxyKind, Reply};
use super::caps::Allow;
use super::decision::{
    Decision, HistoryGrant, PublishGrant, Source, SubRefreshGrant, SubscribeGrant, Verdict,
};
use super::facts::Facts;
use super::request::{PublishFacts, Request, SubRefreshFacts, SubscribeFacts, SubscriptionToken, Wishes};
use super::rule::{Outcome, Rule, Trail};
use crate::channel::{Namespace, Registry, Resolved};
use crate::config::typed::{ChannelOptions, DeltaType, SubscriptionType};
use spinward_wire::code::{DisconnectCode, ErrorCode};
use std::sync::Arc;

/// The configuration that decisions are made by. An immutable value; a reload makes another.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Channels and their options.
    pub registry: Arc<Registry>,
    /// `client.insecure`: whatever nothing else allows is allowed.
    pub insecure: bool,
    /// `client.channel_limit`; 0 sets no limit.
    pub channel_limit: usize,
}

impl Rules {
    /// Rules with the default limits, for these channels.
    #[must_use]
    pub fn new(registry: Registry) -> Self {
        Self { registry: Arc::new(registry), insecure: false, channel_limit: 128 }
    }
}

/// Decides a request of a client, or says which proxy has to be asked.
///
/// Pure: the same rules and the same request give the same decision, and nothing else is looked at.
#[must_use]
pub fn decide<'a, A: Facts<'a>>(rules: &Rules, request: &Request<'a, A>) -> Decision<A::Grant> {
    decided(Case { rules, request, reply: None, trail: Trail::new() })
}

/// Decides a request about which [`decide`] has asked a proxy, with the proxy's reply. By the same rules this asks no
/// proxy again.
#[must_use]
pub fn decide_after<'a, A: Facts<'a>>(
    rules: &Rules,
    request: &Request<'a, A>,
    reply: &'a Reply<A::Result>,
) -> Decision<A::Grant> {
    decided(Case { rules, request, reply: Some(reply.as_ref()), trail: Trail::new() })
}

fn decided<'a, A: Facts<'a>>(mut case: Case<'_, 'a, A>) -> Decision<A::Grant> {
    let (verdict, rule) = match A::decide(&mut case) {
        Ok((grant, rule)) => (Verdict::Allow(grant), rule),
        Err(Stopped { rule, verdict: Verdict::Error(code) }) => (Verdict::Error(code), rule),
        Err(Stopped { rule, verdict: Verdict::Disconnect(code) }) => (Verdict::Disconnect(code), rule),
        Err(Stopped { rule, verdict: Verdict::Ask(ask) }) => (Verdict::Ask(ask), rule),
        Err(Stopped { verdict: Verdict::Allow(never), .. }) => match never {},
    };
    Decision { verdict, rule, trail: case.trail }
}

/// A request under way.
pub struct Case<'r, 'a, A: Facts<'a>> {
    pub(super) rules: &'r Rules,
    pub(super) request: &'r Request<'a, A>,
    /// The reply of the proxy, until it is used.
    pub(super) reply: Option<Reply<&'a A::Result>>,
    pub(super) trail: Trail,
}

/// A rule said no, or has a proxy asked.
pub struct Stopped {
    pub(super) rule: Rule,
    pub(super) verdict: Verdict<Never>,
}

/// Grant and the rule that gave it, or the end of the case.
pub type Granted<G> = Result<(G, Rule), Stopped>;

pub(super) type Code = Verdict<Never>;

impl<'a> Case<'_, 'a, SubscribeFacts<'a>> {
    pub(super) fn subscribe(&mut self) -> Granted<SubscribeGrant<'a>> {
        let facts = &self.request.action;
        self.name_required()?;
        let resolved = self.rules.registry.resolve(self.request.channel);
        let kind = self.known_type(&resolved, facts.wishes.kind)?;
        let delta = facts.wishes.delta;
        let delta_known = DeltaType::from_name(delta) != Some(DeltaType::Unknown);
        self.require(Rule::DeltaType, delta_known, || Code::Disconnect(DisconnectCode::BAD_REQUEST))?;
        let length = self.rules.registry.check_length(self.request.channel);
        self.require(Rule::ChannelLength, length.is_ok(), || Code::Error(ErrorCode::BAD_REQUEST))?;
        let fresh = !self.request.subscribed;
        self.require(Rule::AlreadySubscribed, fresh, || Code::Error(ErrorCode::ALREADY_SUBSCRIBED))?;
        let limit = self.rules.channel_limit;
        let room = limit == 0 || self.request.subscriptions < limit;
        self.require(Rule::ChannelLimit, room, || Code::Error(ErrorCode::LIMIT_EXCEEDED))?;
        let namespace = self.namespace(&resolved)?;
        let options = namespace.options();
        let same = kind.is_none_or(|kind| kind == options.subscription_type);
        self.require(Rule::SubscriptionType, same, || Code::Error(ErrorCode::PERMISSION_DENIED))?;

        let (grant, rule) = self.subscription(&resolved, namespace, &facts.token)?;
        let grant = self.wishes(grant, options, facts)?;
        // A type that does not exist is the server's fault there, and found last.
        self.require(Rule::KnownSubscriptionType, kind.is_some(), || {
            Code::Disconnect(DisconnectCode::SERVER_ERROR)
        })?;
        Ok((grant.settled(options), rule))
    }

    /// Decides if the client may subscribe, and as what.
    fn subscription(
        &mut self,
        resolved: &Resolved<'_>,
        namespace: &Arc<Namespace>,
        token: &SubscriptionToken<'a>,
    ) -> Granted<SubscribeGrant<'a>> {
        let options = namespace.options();
        let by = |source| SubscribeGrant::of(options, source);
        if resolved.name.private {
            let brought = !matches!(token, SubscriptionToken::None);
            self.require(Rule::PrivateChannel, brought, || Code::Error(ErrorCode::PERMISSION_DENIED))?;
        } else {
            self.trail.push(Rule::PrivateChannel, Outcome::Off);
        }

        // A token decides alone: a bad one refuses even where none was needed.
        if let Some(claims) = self.token(token, || Code::Error(ErrorCode::PERMISSION_DENIED), true)? {
            self.claims(&claims)?;
            self.trail.push(Rule::SubscriptionToken, Outcome::Allow);
            return Ok((by(Source::SubscriptionToken).with_claims(&claims), Rule::SubscriptionToken));
        }

        // A user who is not on the list of a user-limited channel gets in by no option of the namespace.
        let limited = match resolved.name.users {
            Some(users) if options.allow_user_limited_channels => {
                if users.contains(self.request.user) {
                    self.trail.push(Rule::UserLimited, Outcome::Allow);
                    return Ok((by(Source::UserLimited), Rule::UserLimited));
                }
                self.trail.push(Rule::UserLimited, Outcome::NotListed);
                true
            }
            _ => {
                self.trail.push(Rule::UserLimited, Outcome::Off);
                false
            }
        };

        // A namespace that has a proxy asked must not fall through to options that would let the client in.
        let (kind, enabled) = (ProxyKind::Subscribe, options.subscribe_proxy_enabled);
        if let Some(result) = self.proxy(kind, enabled, limited, namespace)? {
            return Ok((by(Source::SubscribeProxy).with_result(result), kind.rule()));
        }
        let (kind, enabled) = (ProxyKind::SubscribeStream, options.subscribe_stream_proxy_enabled);
        if let Some(result) = self.proxy(kind, enabled, limited, namespace)? {
            return Ok((by(Source::StreamProxy).with_result(result), kind.rule()));
        }

        if limited {
            self.trail.push(Rule::Capability, Outcome::UserLimited);
        } else if self.capability(Allow::SUBSCRIBE) {
            return Ok((by(Source::ConnectionCapability), Rule::Capability));
        }
        self.expression();
        let anonymous = options.allow_subscribe_for_anonymous;
        if limited {
            self.trail.push(Rule::AllowSubscribe, Outcome::UserLimited);
        } else if self.option(Rule::AllowSubscribe, options.allow_subscribe_for_client, anonymous) {
            return Ok((by(Source::ClientAllowed), Rule::AllowSubscribe));
        }
        if self.insecure() {
            return Ok((by(Source::ClientInsecure), Rule::Insecure));
        }
        Err(self.nothing_allows())
    }

    /// Adds the client's other wishes that are allowed. Asking for too much refuses nothing, a tags
    /// filter aside.
    fn wishes(
        &mut self,
        mut grant: SubscribeGrant<'a>,
        options: &ChannelOptions,
        facts: &SubscribeFacts<'_>,
    ) -> Result<SubscribeGrant<'a>, Stopped> {
        let mut wishes = facts.wishes;
        if matches!(grant.source, Source::SubscribeProxy | Source::StreamProxy) {
            // The proxy's result alone decides on these, as in Centrifugo v6.9.
            wishes = Wishes { positioned: false, recoverable: false, join_leave: false, ..wishes };
        }
        if wishes.positioned || wishes.recoverable {
            // The subscription that is being made counts as made.
            let history = Access::history(options).any(self, true, grant.allow);
            if wishes.positioned {
                grant.positioning |= options.allow_positioning || history;
                self.wish(Rule::WishPositioned, grant.positioning);
            }
            if wishes.recoverable {
                grant.recovery |= options.allow_recovery || history;
                self.wish(Rule::WishRecoverable, grant.recovery);
            }
        }
        if wishes.join_leave {
            // The namespace's option, not the token's override: as in Centrifugo v6.9.
            grant.push_join_leave |=
                options.join_leave && Access::presence(options).any(self, true, grant.allow);
            self.wish(Rule::WishJoinLeave, grant.push_join_leave);
        }
        if !wishes.delta.is_empty() {
            self.wish(Rule::WishDelta, grant.delta);
        }
        if wishes.tags_filter {
            self.require(Rule::TagsFilter, grant.tags_filter, || Code::Error(ErrorCode::BAD_REQUEST))?;
        }
        Ok(grant)
    }
}

impl<'a> Case<'_, 'a, SubRefreshFacts<'a>> {
    pub(super) fn sub_refresh(&mut self) -> Granted<SubRefreshGrant<'a>> {
        let token = &self.request.action.token;
        self.name_required()?;
        let subscribed = self.request.subscribed;
        self.require(Rule::Subscribed, subscribed, || Code::Error(ErrorCode::PERMISSION_DENIED))?;
        let brought = !matches!(token, SubscriptionToken::None);
        self.require(Rule::RefreshToken, brought, || Code::Error(ErrorCode::BAD_REQUEST))?;
        let grant = match self.token(token, || Code::Disconnect(DisconnectCode::INVALID_TOKEN), false)? {
            Some(claims) => {
                self.claims(&claims)?;
                SubRefreshGrant::Prolonged {
                    expire_at: claims.expire_at,
                    info: claims.info,
                    allow: claims.allow,
                }
            }
            None => SubRefreshGrant::TokenExpired,
        };
        self.trail.push(Rule::SubscriptionToken, Outcome::Allow);
        Ok((grant, Rule::SubscriptionToken))
    }
}

impl<'a> Case<'_, 'a, PublishFacts<'a>> {
    pub(super) fn publish(&mut self) -> Granted<PublishGrant> {
        let facts = &self.request.action;
        self.name_required()?;
        self.name_fits()?;
        let resolved = self.rules.registry.resolve(self.request.channel);
        let namespace = self.namespace(&resolved)?;
        let options = namespace.options();
        // Other numbers than that of keyed publications mean nothing, as in Centrifugo v6.9.
        let kind = match SubscriptionType::from_number(facts.kind) {
            SubscriptionType::Map => SubscriptionType::Map,
            _ => SubscriptionType::Stream,
        };
        let same = kind == options.subscription_type;
        self.require(Rule::SubscriptionType, same, || Code::Error(ErrorCode::PERMISSION_DENIED))?;
        let fits = options.publication_data_format.admits(facts.data);
        self.require(Rule::DataFormat, fits, || Code::Error(ErrorCode::BAD_REQUEST))?;
        let (kind, enabled) = (ProxyKind::Publish, options.publish_proxy_enabled);
        if let Some(result) = self.proxy(kind, enabled, false, namespace)? {
            let mut grant = PublishGrant::of(options);
            grant.delta |= result.delta;
            let grant = if result.skip_history { grant.without_history() } else { grant };
            return Ok((grant, kind.rule()));
        }
        if options.subscribe_stream_proxy_enabled {
            let kind = ProxyKind::SubscribeStream;
            let takes = options.subscribe_stream_proxy_bidirectional;
            if takes && self.proxy(kind, true, false, namespace)?.is_some() {
                return Ok((PublishGrant::of(options), kind.rule()));
            }
            // Without that direction it has nowhere to go.
            return Err(self.refuse(Rule::SubscribeStreamProxy, Code::Error(ErrorCode::NOT_AVAILABLE)));
        }
        self.trail.push(Rule::SubscribeStreamProxy, Outcome::Off);
        let rule = self.access(&Access::publish(options))?;
        Ok((PublishGrant::of(options), rule))
    }
}

impl<'a, A: Facts<'a>> Case<'_, 'a, A> {
    pub(super) fn presence(&mut self) -> Granted<()> {
        self.name_required()?;
        self.name_fits()?;
        let resolved = self.rules.registry.resolve(self.request.channel);
        let options = self.namespace(&resolved)?.options();
        self.require(Rule::PresenceOn, options.presence, || Code::Error(ErrorCode::NOT_AVAILABLE))?;
        let rule = self.access(&Access::presence(options))?;
        Ok(((), rule))
    }

    pub(super) fn history(&mut self) -> Granted<HistoryGrant> {
        self.name_required()?;
        self.name_fits()?;
        let resolved = self.rules.registry.resolve(self.request.channel);
        let options = self.namespace(&resolved)?.options();
        self.require(Rule::HistoryOn, options.has_history(), || Code::Error(ErrorCode::NOT_AVAILABLE))?;
        let rule = self.access(&Access::history(options))?;
        Ok((HistoryGrant::of(options), rule))
    }

    /// Publish, presence and history are allowed alike.
    fn access(&mut self, access: &Access) -> Result<Rule, Stopped> {
        if self.option(access.client_rule, access.client, access.anonymous) {
            return Ok(access.client_rule);
        }
        if access.subscriber && !self.request.subscribed {
            self.trail.push(access.subscriber_rule, Outcome::NotSubscribed);
        } else if self.option(access.subscriber_rule, access.subscriber, access.anonymous) {
            return Ok(access.subscriber_rule);
        }
        if self.request.subscribed && self.request.subscription_allow.contains(access.allow) {
            self.trail.push(Rule::TokenAllow, Outcome::Allow);
            return Ok(Rule::TokenAllow);
        }
        self.trail.push(Rule::TokenAllow, Outcome::Off);
        if self.capability(access.allow) {
            return Ok(Rule::Capability);
        }
        self.expression();
        if self.insecure() {
            return Ok(Rule::Insecure);
        }
        Err(self.nothing_allows())
    }
}
