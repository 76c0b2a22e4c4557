//! Events of clients that the application's back end decides, by proxies.
//!
//! A decision says which proxy has to be asked ([`Verdict::Ask`](crate::policy::Verdict::Ask)), the session asks it
//! here, and [`decide_after`](crate::policy::decide_after) decides with the reply, which may come late.

use super::{Call, ChannelState, ClientReport, OpenStream, Rehearsal, State, Told};
use crate::policy::explain::ProxyAccount;
use crate::policy::{Ask, Capabilities, Override, PublishResult, Reply, SubscribeResult};
use bytes::Bytes;
use http::{HeaderMap, HeaderName};
use spinward::Client;
use spinward::answer::Answer;
use spinward::hooks::{ConnectEvent, PublishEvent, RpcEvent, SubscribeEvent};
use spinward::publication::Tags;
use std::collections::BTreeMap;
use std::time::Duration;

/// Seconds that a login or subscription goes on if its proxy could not be asked. Then it is asked again.
pub(super) const POSTPONED: i64 = 60;

/// Result of a connect proxy.
#[derive(Clone, Debug, Default)]
pub struct ConnectResult {
    /// User id; empty is an anonymous user.
    pub user: String,
    /// End of the login, in Unix seconds; 0 never.
    pub expire_at: i64,
    /// Information that others see with the connection.
    pub info: Bytes,
    /// Payload of the reply.
    pub data: Bytes,
    /// JSON that stays on the server.
    pub meta: Bytes,
    /// Labels of the connection.
    pub labels: Tags,
    /// Channels to subscribe the connection to.
    pub channels: Vec<String>,
    /// The same with options.
    pub subs: BTreeMap<String, LoginSub>,
    /// Further permissions.
    pub capabilities: Option<Capabilities>,
}

/// Options of a subscription that comes with a login.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoginSub {
    /// Information that others see with it.
    pub info: Option<Bytes>,
    /// Payload that the client gets with it.
    pub data: Option<Bytes>,
    /// Options that differ from the namespace's.
    pub overrides: Override,
    /// In cache mode, the latest publication comes unasked.
    pub cache_recover: bool,
}

/// Result of a refresh proxy.
#[derive(Clone, Debug)]
pub struct RefreshResult {
    /// End of the login, in Unix seconds.
    pub expire_at: i64,
    /// Replaces what others see with the connection.
    pub info: Option<Bytes>,
    /// Replaces the JSON that stays on the server.
    pub meta: Option<Bytes>,
    /// Replaces further permissions. Subscriptions that rested on the former ones alone end.
    pub capabilities: Option<Capabilities>,
}

/// Result of a subscription refresh proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubRefreshResult {
    /// End of the subscription, in Unix seconds; 0 never.
    pub expire_at: i64,
    /// Replaces what others see with the subscription.
    pub info: Option<Bytes>,
}

/// Outcome for a login or subscription that its proxy was asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Renewal<R> {
    /// It goes on.
    Granted(R),
    /// It is over.
    Over,
    /// The result is malformed.
    Broken,
    /// The back end could not be asked.
    Postponed,
    /// The server has no such proxy.
    NoProxy,
}

/// Upper bounds of the durations of calls that are counted together, in seconds.
pub const PROXY_BUCKETS: [f64; 13] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];

/// Counts of the calls of a proxy.
pub struct ProxyCounts {
    /// Calls that took at most as long as each of [`PROXY_BUCKETS`].
    pub buckets: [u64; PROXY_BUCKETS.len()],
    /// Calls that were made and have ended.
    pub calls: u64,
    /// Their durations together.
    pub time: Duration,
    /// Calls under way.
    pub in_flight: u64,
    /// Requests without an answer that could be used, by reason.
    pub failures: Vec<(&'static str, u64)>,
    /// Headers that gRPC could not carry.
    pub headers_left_out: u64,
}

/// State of a proxy.
pub struct ProxyReport {
    /// `http` or `grpc`.
    pub protocol: &'static str,
    /// Kind of event.
    pub event: &'static str,
    /// Name of the proxy.
    pub name: String,
    /// Its circuit breaker is open, or tries it.
    pub open: bool,
    /// Requests that wait.
    pub waiting: usize,
    /// Streams that are open.
    pub streams: usize,
    /// Its calls.
    pub counts: ProxyCounts,
}

/// The proxies of a configuration.
pub trait Proxies: Send + Sync + 'static {
    /// The headers of a handshake that some proxy passes on. Only these are kept with a connection.
    fn headers(&self) -> &[HeaderName] {
        &[]
    }

    /// Names of the headers of a connect command that some proxy passes on. They never stand for those of a handshake.
    fn emulated(&self) -> &[HeaderName] {
        &[]
    }

    /// Returns true if the proxy exists.
    fn has(&self, ask: &Ask) -> bool;

    /// Asks about a subscribe.
    fn subscribe(
        &self,
        ask: &Ask,
        from: &Sender<'_>,
        request: &SubscribeEvent,
    ) -> Answer<Reply<SubscribeResult>>;

    /// Returns the number of subscribes that the proxy wants to be asked about at once; 0 is each by itself.
    fn batch(&self, ask: &Ask) -> usize {
        let _ = ask;
        0
    }

    /// Asks about several subscribes, no more than [`Proxies::batch`]. The answers have their order.
    fn subscribe_many(
        &self,
        ask: &Ask,
        from: &Sender<'_>,
        requests: &[&SubscribeEvent],
    ) -> Vec<Answer<Reply<SubscribeResult>>> {
        requests.iter().map(|request| self.subscribe(ask, from, request)).collect()
    }

    /// Opens the stream of a subscribe. There is none where the reply has no result.
    fn stream(
        &self,
        ask: &Ask,
        from: &Sender<'_>,
        request: &SubscribeEvent,
    ) -> Answer<(Reply<SubscribeResult>, Option<OpenStream>)> {
        let _ = (ask, from, request);
        Answer::Now((Reply::NoProxy, None))
    }

    /// Asks about a publish.
    fn publish(&self, ask: &Ask, from: &Sender<'_>, request: &PublishEvent) -> Answer<Reply<PublishResult>>;

    /// Returns true if logins without a token are decided by a proxy.
    fn connects(&self) -> bool {
        false
    }

    /// Asks about a login without a token, if there is a proxy for that. Its result may be none: then it does not know
    /// the client. `emulated` are the kept headers of the connect command.
    fn connect(
        &self,
        event: &ConnectEvent,
        emulated: Option<&BTreeMap<String, String>>,
    ) -> Option<Answer<Reply<Option<ConnectResult>>>> {
        let _ = (event, emulated);
        None
    }

    /// Returns true if expiring logins are refreshed by a proxy.
    fn refreshes(&self) -> bool {
        false
    }

    /// Asks whether an expired login goes on.
    fn refresh(&self, from: &Sender<'_>) -> Answer<Renewal<RefreshResult>> {
        let _ = from;
        Answer::Now(Renewal::NoProxy)
    }

    /// Asks the proxy of this name whether an expired subscription goes on.
    fn sub_refresh(
        &self,
        proxy: &str,
        channel: &str,
        from: &Sender<'_>,
    ) -> Answer<Renewal<SubRefreshResult>> {
        let _ = (proxy, channel, from);
        Answer::Now(Renewal::NoProxy)
    }

    /// Passes a call on. `None` if there is no proxy for calls at all.
    fn rpc(&self, from: &Sender<'_>, call: &RpcEvent) -> Option<Answer<Reply<Bytes>>> {
        let _ = (from, call);
        None
    }

    /// Tells the proxy of this name of channels that were occupied or vacated.
    fn channel_state(&self, proxy: &str, state: &ChannelState) -> Answer<Told> {
        let _ = (proxy, state);
        Answer::Now(Told::NoProxy)
    }

    /// Tells of clients that have come, gone, subscribed or unsubscribed.
    fn client_events(&self, report: &ClientReport) -> Answer<Told> {
        let _ = report;
        Answer::Now(Told::NoProxy)
    }

    /// Tells the proxy of this name that the cache of a channel is empty. False if it has not taken that up.
    fn cache_empty(&self, proxy: &str, channel: &str) -> Answer<bool> {
        let _ = (proxy, channel);
        Answer::Now(false)
    }

    /// Returns the account of a dry run, and the call that it makes if that is asked for. `None` without such a proxy.
    fn rehearse(&self, about: &Rehearsal<'_>, call: bool) -> Option<(ProxyAccount, Option<Call>)> {
        let _ = (about, call);
        None
    }

    /// State of each proxy.
    fn reports(&self) -> Vec<ProxyReport> {
        Vec::new()
    }
}

/// The connection that an event comes from.
#[derive(Clone, Copy)]
pub struct Sender<'a> {
    /// The connection.
    pub client: &'a Client,
    /// The kept headers of its handshake.
    pub headers: Option<&'a HeaderMap>,
    /// The kept headers of its connect command, by their names in lower case.
    pub emulated: Option<&'a BTreeMap<String, String>>,
}

impl<'a> Sender<'a> {
    pub(super) fn new(client: &'a Client, state: Option<&'a State>) -> Self {
        Self {
            client,
            headers: state.and_then(|state| state.headers.as_deref()),
            emulated: state.and_then(|state| state.emulated.as_ref()),
        }
    }
}

/// Returns those headers of a connect command that proxies pass on, if there are any.
pub(super) fn kept_emulated(
    proxies: &dyn Proxies,
    headers: &BTreeMap<String, String>,
) -> Option<BTreeMap<String, String>> {
    let names = proxies.emulated();
    if names.is_empty() || headers.is_empty() {
        return None;
    }
    let lower = headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone()));
    let kept: BTreeMap<String, String> =
        lower.filter(|(name, _)| names.iter().any(|listed| listed == name.as_str())).collect();
    (!kept.is_empty()).then_some(kept)
}

/// Returns those headers of a handshake that proxies pass on, if there are any.
pub(super) fn kept(proxies: &dyn Proxies, headers: &HeaderMap) -> Option<Box<HeaderMap>> {
    let mut kept = HeaderMap::new();
    for name in proxies.headers() {
        for value in headers.get_all(name) {
            kept.append(name, value.clone());
        }
    }
    (!kept.is_empty()).then(|| Box::new(kept))
}

/// No proxies.
pub struct NoProxies;

impl Proxies for NoProxies {
    fn has(&self, _: &Ask) -> bool {
        false
    }

    fn subscribe(&self, _: &Ask, _: &Sender<'_>, _: &SubscribeEvent) -> Answer<Reply<SubscribeResult>> {
        Answer::Now(Reply::NoProxy)
    }

    fn publish(&self, _: &Ask, _: &Sender<'_>, _: &PublishEvent) -> Answer<Reply<PublishResult>> {
        Answer::Now(Reply::NoProxy)
    }
}

#[cfg(test)]
#[path = "proxy_tests.rs"]
mod tests;
