//! The server's answers to what sessions ask: tokens are verified, permissions decided, and refusals told.

mod active;
mod brokers;
mod cache_empty;
mod channel_events;
mod client_events;
mod connect;
mod credentials;
mod explain;
mod explain_proxies;
mod hooks;
mod personal;
mod proxy;
mod refusal_log;
mod rehearse;
mod reporting;
mod revocations;
mod streams;
mod subscribe;
mod subscription_tokens;

pub use active::{ActiveConfig, Shared};
pub(crate) use brokers::Brokers;
pub(crate) use channel_events::Counts as ChannelEventCounts;
pub use channel_events::{ChannelEvent, ChannelEvents, ChannelState, Limits, Told};
pub(crate) use client_events::Counts as ClientEventCounts;
pub use client_events::{
    ClientEvent, ClientEvents, ClientReport, Kind as ClientEventKind, Limits as ClientEventLimits, Login,
    Wanted as ClientEventsWanted,
};
pub use explain::{Asked, Explainer, Question};
pub use hooks::options;
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
use crate::auth::verify::Verifier;
use crate::policy::{
    self, Capabilities, Facts, ProxyKind, PublishFacts, Reply, Request, Rules, Verdict, decide, decide_after,
};
use bytes::Bytes;
use cache_empty::Caches;
use hooks::{proxied, publication};
use http::HeaderMap;
use spinward::answer::Answer;
use spinward::clock::Clock;
use spinward::hooks::{Decision, PublishEvent, PublishReply, Refusal, RpcEvent};
use spinward::identity::Extension;
use spinward::wire::Version;
use spinward::wire::code::ErrorCode;
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
    /// Client events, where they are asked for.
    pub client_events: Option<ClientEventsWanted>,
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
pub struct ServerHooks {
    inner: Arc<Inner>,
    brokers: Brokers,
    channel_events: Option<ChannelEvents>,
    client_events: Option<ClientEvents>,
}

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
        let inner = Arc::new(Inner { active, clock, refusals, revocations, streams, caches });
        Self { inner, brokers: Brokers::default(), channel_events: None, client_events: None }
    }

    /// Sends the channels of namespaces with a broker of their own to that one.
    #[must_use]
    pub(crate) fn with_brokers(self, brokers: Brokers) -> Self {
        Self { brokers, ..self }
    }

    /// Reports connections and subscriptions that begin and end.
    #[must_use]
    pub(crate) fn with_client_events(self, events: ClientEvents) -> Self {
        Self { client_events: Some(events), ..self }
    }

    /// Names the node that asks these hooks.
    pub(crate) fn attach(&self, node: &Node) {
        self.inner.caches.attach(node);
        if let Some(events) = &self.channel_events {
            events.attach(node);
        }
        if let Some(events) = &self.client_events {
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

#[cfg(test)]
#[path = "../../../spinward/tests/common/mod.rs"]
#[allow(unreachable_pub, reason = "the library's tests use it as well")]
pub(crate) mod common;

#[cfg(test)]
#[path = "grants_tests.rs"]
mod tests;
