//! The server's answers to what sessions ask: tokens are verified, permissions decided, and refusals told.

mod active;
mod brokers;
mod cache_empty;
mod channel_events;
mod connect;
mod credentials;
mod explain;
mod explain_proxies;
mod personal;
mod proxy;
mod refusal_log;
mod rehearse;
mod revocations;
mod streams;
mod subscribe;
mod subscription_tokens;

pub use active::{ActiveConfig, Shared};
pub(crate) use brokers::Brokers;
pub(crate) use channel_events::Counts as ChannelEventCounts;
pub use channel_events::{ChannelEvent, ChannelEvents, ChannelState, Limits, Told};
pub use explain::{Asked, Explainer, Question};
pub(crate) use personal::personal_channel;
pub use personal::personal_rule;
pub use proxy::{
    ConnectResult, LoginSub, NoProxies, PROXY_BUCKETS, Proxies, ProxyCounts, ProxyReport, RefreshResult,
    Renewal, Sender, SubRefreshResult,
};
pub(crate) use refusal_log::CAPS_IGNORED;
pub use refusal_log::RefusalLog;
pub use rehearse::{Call, Rehearsal, Rehearsed, Tried};
pub use revocations::{Revocations, of_connection, of_subscription};
pub use streams::OpenStream;

use crate::admission::Permit;
use crate::auth::reason::Use;
use crate::auth::verify::Verifier;
use crate::policy::{
    self, Capabilities, Facts, HistoryFacts, HistoryGrant, PresenceFacts, ProxyKind, PublishFacts,
    PublishGrant, PublishResult, Reply, Request, Rules, Source, SubscribeGrant, Verdict, decide,
    decide_after,
};
use bytes::Bytes;
use cache_empty::Caches;
use http::HeaderMap;
use spinward::answer::Answer;
use spinward::clock::Clock;
use spinward::engine::broker::{HistoryOptions, PublishOptions};
use spinward::hooks::{
    ConnectEvent, ConnectReply, Decision, HistoryEvent, Hooks, PresenceEvent, PublishEvent, PublishReply,
    RefreshEvent, RefreshReply, Refusal, RpcEvent, SubRefreshEvent, SubRefreshReply, SubscribeEvent,
    SubscribeFailure, SubscribeOptions,
};
use spinward::identity::Extension;
use spinward::wire::Version;
use spinward::wire::code::{DisconnectCode, ErrorCode, UnsubscribeCode};
use spinward::{Client, Node};
use std::collections::BTreeMap;
use std::sync::Arc;
use streams::Streams;

/// Login options that do not concern tokens.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// `client.insecure`.
    pub insecure: bool,
    /// `client.allow_anonymous_connect_without_token`.
    pub anonymous_without_token: bool,
    /// `client.disallow_anonymous_connection_tokens`.
    pub no_anonymous_tokens: bool,
    /// `client.user_id_http_header`; empty for none.
    pub user_header: String,
    /// `client.connect_token_http_header`; empty for none.
    pub token_header: String,
    /// `client.connect_token_cookie`; empty for none.
    pub token_cookie: String,
    /// Namespace of the personal channel, if users have one.
    pub personal: Option<String>,
    /// A user keeps its newest connection only.
    pub single_connection: bool,
    /// The built-in RPC method that answers nothing, if it is on.
    pub ping_method: Option<String>,
    /// Tell clients in the close reason why they were refused: for development only.
    pub explain: bool,
    /// Limits of channel events, where a namespace asks for them.
    pub channel_events: Option<Limits>,
}

/// Keys and settings that tokens are checked with.
#[derive(Clone)]
pub struct Keys {
    /// Connection tokens.
    pub connection: Verifier,
    /// Subscription tokens.
    pub subscription: Verifier,
}

/// Decides for the server.
#[derive(Clone)]
pub struct ServerHooks(Arc<Inner>, Brokers, Option<ChannelEvents>);

struct Inner {
    active: Shared<ActiveConfig>,
    clock: Clock,
    refusals: Arc<RefusalLog>,
    revocations: Revocations,
    streams: Streams,
    caches: Caches,
}

/// State of a connection, if there is anything to remember.
#[derive(Default)]
struct State {
    capabilities: Option<Capabilities>,
    /// Channels that its token named, to notice that a new token names others.
    channels: Box<[String]>,
    /// `jti` of its token, by which it can be revoked.
    jti: Option<Box<str>>,
    /// `iat` of its token.
    iat: Option<i64>,
    /// Permit that it counts by, where connections of an address are limited.
    counted: Option<Arc<Permit>>,
    /// Headers of the handshake that proxies pass on.
    headers: Option<Box<HeaderMap>>,
    /// Headers of the connect command that proxies pass on.
    emulated: Option<BTreeMap<String, String>>,
}

impl State {
    /// Most connections have none of this, and then cost nothing here.
    fn extension(self) -> Option<Extension> {
        let needed = self.capabilities.is_some()
            || !self.channels.is_empty()
            || self.jti.is_some()
            || self.iat.is_some()
            || self.counted.is_some()
            || self.headers.is_some()
            || self.emulated.is_some();
        needed.then(|| Arc::new(self) as Extension)
    }
}

impl ServerHooks {
    /// Decides by the active configuration and by the revocations.
    #[must_use]
    pub fn new(
        active: Shared<ActiveConfig>,
        clock: Clock,
        refusals: Arc<RefusalLog>,
        revocations: Revocations,
    ) -> Self {
        let (streams, caches) = (Streams::default(), Caches::default());
        Self(
            Arc::new(Inner { active, clock, refusals, revocations, streams, caches }),
            Brokers::default(),
            None,
        )
    }

    /// Sends the channels of namespaces with a broker of their own to that one.
    #[must_use]
    pub(crate) fn with_brokers(self, brokers: Brokers) -> Self {
        Self(self.0, brokers, self.2)
    }

    /// Names the node that asks these hooks.
    pub(crate) fn attach(&self, node: &Node) {
        self.0.caches.attach(node);
        if let Some(events) = &self.2 {
            events.attach(node);
        }
    }
}

impl Inner {
    fn now(&self) -> i64 {
        self.clock.now().unix()
    }

    /// A request of a connection, of which `state` is the state.
    fn request<'a, A>(
        &self,
        client: &'a Client,
        state: Option<&'a State>,
        (channel, subscribed): (&'a str, bool),
        action: A,
    ) -> Request<'a, A> {
        let mut request = Request::new(action, channel, client.user(), self.now());
        request.old_client = client.identity().version == Version::V1;
        request.subscribed = subscribed;
        request.capabilities = state.and_then(|state| state.capabilities.as_ref());
        request.subscription_allow = self.revocations.tokens().allow(client.id(), channel);
        request
    }

    /// Decides a request that no proxy is asked about.
    fn decide<'a, A: Facts<'a>>(
        &self,
        client: &'a Client,
        state: Option<&'a State>,
        place: (&'a str, bool),
        action: A,
    ) -> Result<A::Grant, Refusal> {
        let active = self.active.get();
        let request = self.request(client, state, place, action);
        self.granted(&active.rules, &request, decide(&active.rules, &request))
    }

    /// Returns the grant of a decision. A refusal is told to the operator.
    fn granted<'a, A: Facts<'a>>(
        &self,
        rules: &Rules,
        request: &Request<'a, A>,
        decision: policy::Decision<A::Grant>,
    ) -> Result<A::Grant, Refusal> {
        if let Some(code) = decision.code() {
            self.refused_by_rule(rules, request, &decision, code);
        }
        self.settled(rules, request, decision)
    }

    /// The same for a decision of which the operator knows.
    fn settled<'a, A: Facts<'a>>(
        &self,
        rules: &Rules,
        request: &Request<'a, A>,
        decision: policy::Decision<A::Grant>,
    ) -> Result<A::Grant, Refusal> {
        match decision.verdict {
            Verdict::Allow(grant) => Ok(grant),
            Verdict::Error(code) => Err(code.into()),
            Verdict::Disconnect(code) => Err(code.into()),
            // The caller has nobody to ask.
            Verdict::Ask(_) => self.granted(rules, request, decide_after(rules, request, &Reply::NoProxy)),
        }
    }

    /// Decides a publish, by the rules or by a proxy that they have asked.
    fn publish(self: &Arc<Self>, client: &Client, request: PublishEvent) -> Decision<PublishReply> {
        let active = self.active.get();
        let state = client.extension::<State>();
        let decided = {
            let asked = self.publishing(client, state.as_deref(), &request);
            let decision = decide(&active.rules, &asked);
            match decision.verdict {
                Verdict::Ask(ask) => Err(ask),
                _ => Ok(self.granted(&active.rules, &asked, decision)),
            }
        };
        let ask = match decided {
            Ok(granted) => return Answer::Now(granted.map(|grant| publication(grant, request.data))),
            Err(ask) => ask,
        };
        if ask.kind == ProxyKind::SubscribeStream {
            return self.publish_into_stream(active, client, request);
        }
        let reply = active.proxies.publish(&ask, &Sender::new(client, state.as_deref()), &request);
        let (inner, client) = (Arc::clone(self), client.clone());
        reply.then(move |reply| {
            let asked = inner.publishing(&client, state.as_deref(), &request);
            let decision = decide_after(&active.rules, &asked, &reply);
            let granted = inner.granted(&active.rules, &asked, decision);
            let Reply::Result(result) = reply else {
                return Answer::Now(granted.map(|grant| publication(grant, request.data)));
            };
            Answer::Now(granted.map(|grant| proxied(grant, request.data, result)))
        })
    }

    /// Passes a publication on to the back end that streams the channel to its publisher. Without such a subscription
    /// there is nobody to pass it on to.
    fn publish_into_stream(
        self: &Arc<Self>,
        active: Arc<ActiveConfig>,
        client: &Client,
        request: PublishEvent,
    ) -> Decision<PublishReply> {
        let Some(publications) = self.streams.publications(client, &request.channel) else {
            let state = client.extension::<State>();
            let asked = self.publishing(client, state.as_deref(), &request);
            let decision = decide_after(&active.rules, &asked, &Reply::NoProxy);
            return Answer::Now(
                self.granted(&active.rules, &asked, decision).map(|_| PublishReply::handled()),
            );
        };
        Answer::later(async move {
            match publications.send(request.data).await {
                Ok(()) => Ok(PublishReply::handled()),
                // The stream ended while this waited.
                Err(_) => Err(ErrorCode::NOT_AVAILABLE.into()),
            }
        })
    }

    /// Answers a call, by a proxy where there is one.
    fn rpc(&self, client: &Client, call: &RpcEvent) -> Decision<Bytes> {
        let active = self.active.get();
        let ping = &active.settings.ping_method;
        if ping.as_ref() == Some(&call.method) {
            return Answer::Now(Ok(Bytes::new()));
        }
        let state = client.extension::<State>();
        match active.proxies.rpc(&Sender::new(client, state.as_deref()), call) {
            Some(reply) => reply.map(|reply| match reply {
                Reply::Result(data) => Ok(data),
                Reply::Error(code) => Err(code.into()),
                Reply::Disconnect(code) => Err(code.into()),
                Reply::NoProxy => Err(ErrorCode::NOT_AVAILABLE.into()),
            }),
            None if ping.is_some() => ErrorCode::METHOD_NOT_FOUND.into(),
            // Nothing that could know a method.
            None => ErrorCode::NOT_AVAILABLE.into(),
        }
    }

    fn publishing<'a>(
        &self,
        client: &'a Client,
        state: Option<&'a State>,
        request: &'a PublishEvent,
    ) -> Request<'a, PublishFacts<'a>> {
        let facts = PublishFacts { kind: request.kind.number(), data: &request.data };
        self.request(client, state, (&request.channel, request.subscribed), facts)
    }
}

impl Inner {
    /// Tells the operator why a request was refused, and what would have to change.
    fn refused_by_rule<'a, A: Facts<'a>>(
        &self,
        rules: &Rules,
        request: &Request<'a, A>,
        decision: &policy::Decision<A::Grant>,
        code: u32,
    ) {
        let (action, whose) = (request.action.action().name(), (request.user, request.channel));
        self.refusals.permission(action, whose, decision.rule.id(), code, || {
            policy::explain::explain(rules, request, decision).change.join("; or ")
        });
    }
}

impl Hooks for ServerHooks {
    fn connect(&self, request: ConnectEvent) -> Decision<ConnectReply> {
        self.0.connect(request)
    }

    fn connected(&self, client: &Client) {
        self.0.check_standing(client, Use::Connect);
    }

    fn refreshed(&self, client: &Client) {
        self.0.check_standing(client, Use::Refresh);
    }

    fn refresh(&self, client: &Client, request: RefreshEvent) -> Decision<RefreshReply> {
        self.0.refresh(client, request)
    }

    fn subscribe(&self, client: &Client, request: SubscribeEvent) -> Decision<SubscribeOptions> {
        self.0.subscribe(client, request)
    }

    fn subscribe_many(
        &self,
        client: &Client,
        requests: Vec<SubscribeEvent>,
    ) -> Vec<Decision<SubscribeOptions>> {
        self.0.subscribe_many(client, requests)
    }

    fn sub_refresh(&self, client: &Client, request: SubRefreshEvent) -> Decision<SubRefreshReply> {
        self.0.sub_refresh(client, request)
    }

    fn publish(&self, client: &Client, request: PublishEvent) -> Decision<PublishReply> {
        self.0.publish(client, request)
    }

    fn presence(&self, client: &Client, request: PresenceEvent) -> Decision<()> {
        let (state, facts) = (client.extension::<State>(), PresenceFacts { stats: request.stats });
        let place = (request.channel.as_str(), request.subscribed);
        Answer::Now(self.0.decide(client, state.as_deref(), place, facts))
    }

    fn history(&self, client: &Client, request: HistoryEvent) -> Decision<HistoryOptions> {
        let state = client.extension::<State>();
        let place = (request.channel.as_str(), request.subscribed);
        Answer::Now(self.0.decide(client, state.as_deref(), place, HistoryFacts).map(history))
    }

    fn rpc(&self, client: &Client, call: RpcEvent) -> Decision<Bytes> {
        self.0.rpc(client, &call)
    }

    fn engine(&self, channel: &str) -> Option<&str> {
        self.1.of(channel)
    }

    fn subscribed(&self, client: &Client, channel: &str) {
        self.0.streams.begin(client, channel);
        self.0.confirm_subscription(client, channel, Use::Subscribe);
    }

    fn sub_refreshed(&self, client: &Client, channel: &str) {
        self.0.confirm_subscription(client, channel, Use::SubRefresh);
    }

    fn subscribe_failed(&self, client: &Client, channel: &str, failure: &SubscribeFailure) {
        // What the server makes rests on no token, and may fail beside a subscription that does.
        if !failure.server_side {
            self.0.streams.end(client, channel);
            let tokens = self.0.revocations.tokens();
            tokens.withdraw(client.id(), channel);
            // A broker may refuse what was active already.
            tokens.end(client.id(), channel);
        }
    }

    fn subscription_replaced(&self, client: &Client, channel: &str) {
        self.0.streams.end(client, channel);
        self.0.revocations.tokens().end(client.id(), channel);
    }

    fn disconnected(&self, client: &Client, _: &DisconnectCode) {
        self.0.revocations.tokens().forget(client.id());
    }

    fn unsubscribed(&self, client: &Client, channel: &str, _: &UnsubscribeCode) {
        self.0.streams.end(client, channel);
        self.0.revocations.tokens().end(client.id(), channel);
    }

    fn channel_occupied(&self, channel: &str) {
        self.channel_changed(channel);
    }

    fn channel_vacated(&self, channel: &str) {
        self.channel_changed(channel);
    }
}

/// Returns the options of a granted subscription, in the library's terms.
#[must_use]
pub fn options(grant: &SubscribeGrant<'_>) -> SubscribeOptions {
    SubscribeOptions {
        expire_at: grant.expire_at,
        info: grant.info.cloned().unwrap_or_default(),
        data: grant.data.cloned().unwrap_or_default(),
        presence: grant.presence,
        join_leave: grant.join_leave,
        push_join_leave: grant.push_join_leave,
        positioning: grant.positioning,
        recovery: grant.recovery,
        cache: grant.recovery_mode == crate::config::typed::RecoveryMode::Cache,
        auto_recover: grant.auto_cache_recover,
        delta: grant.delta,
        tags_filter: grant.tags_filter,
        history: history(grant.history),
        source: grant.source.number(),
        server_side_refresh: grant.server_side_refresh,
        by_login: grant.source == Source::ConnectionCapability,
    }
}

/// Returns a publication as it is granted.
fn publication(grant: PublishGrant, data: Bytes) -> PublishReply {
    let history = history(grant.history);
    let options = PublishOptions { history, delta: grant.delta, ..PublishOptions::default() };
    PublishReply { options, ..PublishReply::new(data) }
}

/// Returns a publication as it is granted, with what a proxy has said about it.
fn proxied(grant: PublishGrant, data: Bytes, result: PublishResult) -> PublishReply {
    let mut reply = publication(grant, result.data.unwrap_or(data));
    let options = &mut reply.options;
    options.tags = (!result.tags.is_empty()).then(|| Arc::new(result.tags));
    options.idempotency_key = result.idempotency_key;
    options.version = result.version;
    options.version_epoch = result.version_epoch;
    reply
}

fn history(grant: HistoryGrant) -> HistoryOptions {
    HistoryOptions { size: grant.size as usize, ttl: grant.ttl, meta_ttl: grant.meta_ttl }
}

#[cfg(test)]
#[path = "../../../spinward/tests/common/mod.rs"]
#[allow(unreachable_pub, reason = "the library's tests use it as well")]
pub(crate) mod common;

#[cfg(test)]
#[path = "grants_tests.rs"]
mod tests;
