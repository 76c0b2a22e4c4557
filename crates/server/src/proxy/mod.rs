//! Event proxies: the application's back end is asked about logins, subscriptions, publications and calls, over HTTP or
//! gRPC.
//!
//! A proxy is one more way to answer a hook. What its answer means is decided where everything is: `policy` and
//! `session`. Here are the calls: [`request`] and [`messages`] say what is sent and read, [`json`] and [`grpc`] how,
//! [`headers`] what else goes with it. A back end that is ill costs its own requests only: each proxy has a [`queue`], a
//! [`breaker`] and a timeout, and nothing is asked twice. See `docs/adr/0040-event-proxies.md`.

mod batch;
mod breaker;
mod build;
mod endpoint;
mod failure;
mod grpc;
mod gzip;
mod headers;
mod http;
mod json;
mod messages;
mod notify;
mod queue;
mod rehearse;
mod reply;
mod request;
mod stats;
mod stream;
mod tls;

pub(crate) use build::{ProxyError, configured, largest_batch, least_grace, longest_request, same_proxies};

use crate::policy::explain::ProxyAccount;
use crate::policy::{Ask, ProxyKind, PublishResult, Reply, SubscribeResult};
use crate::session::{
    Call, ChannelState, ClientReport, ConnectResult, OpenStream, Proxies, ProxyReport, RefreshResult,
    Rehearsal, Renewal, Sender, SubRefreshResult, Told,
};
use ::http::HeaderName;
use bytes::Bytes;
use endpoint::Endpoint;
use failure::Failure;
use json::FromJson;
use messages::{Answered, InEnvelope};
use reply::Meaning;
use request::{Event, Request};
use spinward::answer::Answer;
use spinward::clock::Clock;
use spinward::hooks::{ConnectEvent, PublishEvent, RpcEvent, SubscribeEvent};
use spinward::wire::code::ErrorCode;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Namespaces of methods: whether their calls go to a proxy, and to which.
#[derive(Debug, Default)]
struct Methods {
    boundary: String,
    without_namespace: Option<String>,
    namespaces: BTreeMap<String, Option<String>>,
}

/// The proxies of a configuration.
pub(crate) struct Configured {
    endpoints: BTreeMap<Event, BTreeMap<String, Arc<Endpoint>>>,
    methods: Methods,
    headers: Vec<HeaderName>,
    emulated: Vec<HeaderName>,
    clock: Clock,
}

impl Configured {
    fn endpoint(&self, event: Event, name: &str) -> Option<&Arc<Endpoint>> {
        let name = if name.is_empty() { "default" } else { name };
        self.endpoints.get(&event)?.get(name)
    }

    fn calls(&self) -> bool {
        self.endpoints.contains_key(&Event::Rpc)
    }
}

const fn event(kind: ProxyKind) -> Event {
    match kind {
        ProxyKind::Subscribe => Event::Subscribe,
        ProxyKind::Publish => Event::Publish,
        ProxyKind::SubscribeStream => Event::SubscribeStream,
    }
}

/// Asks, and reads the answer. A failed call is error 100, which clients may repeat, as in Centrifugo v6.9.
fn ask<M>(endpoint: &Arc<Endpoint>, request: &Request<'_>) -> Answer<Reply<Option<M::Result>>>
where
    M: Meaning<Result: Send + 'static> + FromJson + InEnvelope,
{
    match endpoint.ask::<M>(request) {
        Err(_) => Answer::Now(Reply::Error(ErrorCode::INTERNAL)),
        Ok(answered) => {
            let endpoint = Arc::clone(endpoint);
            Answer::later(async move {
                // A failed call is counted already.
                let Ok(answered) = answered.await else { return Reply::Error(ErrorCode::INTERNAL) };
                reply::reply(answered).unwrap_or_else(|failure| {
                    endpoint.note(failure);
                    Reply::Error(ErrorCode::INTERNAL)
                })
            })
        }
    }
}

/// The result, where one without fields and none at all mean the same.
fn or_default<R: Default>(reply: Reply<Option<R>>) -> Reply<R> {
    match reply {
        Reply::Result(result) => Reply::Result(result.unwrap_or_default()),
        Reply::Error(code) => Reply::Error(code),
        Reply::Disconnect(code) => Reply::Disconnect(code),
        Reply::NoProxy => Reply::NoProxy,
    }
}

impl Proxies for Configured {
    fn headers(&self) -> &[HeaderName] {
        &self.headers
    }

    fn emulated(&self) -> &[HeaderName] {
        &self.emulated
    }

    fn has(&self, ask: &Ask) -> bool {
        self.endpoint(event(ask.kind), ask.name()).is_some()
    }

    fn subscribe(
        &self,
        asked: &Ask,
        from: &Sender<'_>,
        event: &SubscribeEvent,
    ) -> Answer<Reply<SubscribeResult>> {
        let Some(endpoint) = self.endpoint(Event::Subscribe, asked.name()) else {
            return Answer::Now(Reply::NoProxy);
        };
        let request = Request::of(from, endpoint.binary, endpoint.with_meta);
        let request = request.channel(&event.channel).data(&event.data);
        ask::<messages::SubscribeResult>(endpoint, &request).map(or_default)
    }

    fn batch(&self, asked: &Ask) -> usize {
        if asked.kind != ProxyKind::Subscribe {
            return 0;
        }
        self.endpoint(Event::Subscribe, asked.name()).map_or(0, |endpoint| endpoint.batch)
    }

    fn subscribe_many(
        &self,
        asked: &Ask,
        from: &Sender<'_>,
        events: &[&SubscribeEvent],
    ) -> Vec<Answer<Reply<SubscribeResult>>> {
        match self.endpoint(Event::Subscribe, asked.name()) {
            Some(endpoint) if events.len() > 1 => batch::ask(endpoint, from, events),
            _ => events.iter().map(|event| self.subscribe(asked, from, event)).collect(),
        }
    }

    fn stream(
        &self,
        asked: &Ask,
        from: &Sender<'_>,
        event: &SubscribeEvent,
    ) -> Answer<(Reply<SubscribeResult>, Option<OpenStream>)> {
        let Some(endpoint) = self.endpoint(Event::SubscribeStream, asked.name()) else {
            return Answer::Now((Reply::NoProxy, None));
        };
        let request = Request::of(from, endpoint.binary, endpoint.with_meta);
        let request = request.channel(&event.channel).data(&event.data);
        let failed = || (Reply::Error(ErrorCode::INTERNAL), None);
        match endpoint.open(&request, asked.is_bidirectional()) {
            Err(_) => Answer::Now(failed()),
            Ok(opened) => {
                let endpoint = Arc::clone(endpoint);
                Answer::later(async move {
                    // A failed call is counted already.
                    let Ok(mut opened) = opened.await else { return failed() };
                    let answered = std::mem::replace(&mut opened.answered, Answered::EMPTY);
                    match reply::reply(answered) {
                        Ok(reply) => (or_default(reply), Some(opened.into_stream(endpoint))),
                        Err(failure) => {
                            endpoint.note(failure);
                            failed()
                        }
                    }
                })
            }
        }
    }

    fn publish(&self, asked: &Ask, from: &Sender<'_>, event: &PublishEvent) -> Answer<Reply<PublishResult>> {
        let Some(endpoint) = self.endpoint(Event::Publish, asked.name()) else {
            return Answer::Now(Reply::NoProxy);
        };
        let request = Request::of(from, endpoint.binary, endpoint.with_meta);
        let request = request.channel(&event.channel).data(&event.data);
        ask::<messages::PublishResult>(endpoint, &request).map(or_default)
    }

    fn connects(&self) -> bool {
        self.endpoint(Event::Connect, "").is_some()
    }

    fn connect(
        &self,
        event: &ConnectEvent,
        emulated: Option<&BTreeMap<String, String>>,
    ) -> Option<Answer<Reply<Option<ConnectResult>>>> {
        let endpoint = self.endpoint(Event::Connect, "")?;
        let request = Request::connect(event, emulated, endpoint.binary);
        Some(ask::<messages::ConnectResult>(endpoint, &request))
    }

    fn refreshes(&self) -> bool {
        self.endpoint(Event::Refresh, "").is_some()
    }

    fn refresh(&self, from: &Sender<'_>) -> Answer<Renewal<RefreshResult>> {
        let Some(endpoint) = self.endpoint(Event::Refresh, "") else { return Answer::Now(Renewal::NoProxy) };
        let request = Request::of(from, endpoint.binary, endpoint.with_meta);
        let clock = self.clock.clone();
        match endpoint.ask(&request) {
            Err(_) => Answer::Now(Renewal::Postponed),
            Ok(answered) => Answer::later(async move { reply::refresh(answered.await, clock.now().unix()) }),
        }
    }

    fn sub_refresh(
        &self,
        proxy: &str,
        channel: &str,
        from: &Sender<'_>,
    ) -> Answer<Renewal<SubRefreshResult>> {
        let Some(endpoint) = self.endpoint(Event::SubRefresh, proxy) else {
            return Answer::Now(Renewal::NoProxy);
        };
        let request = Request::of(from, endpoint.binary, endpoint.with_meta).channel(channel);
        let clock = self.clock.clone();
        match endpoint.ask(&request) {
            Err(_) => Answer::Now(Renewal::Postponed),
            Ok(answered) => {
                Answer::later(async move { reply::sub_refresh(answered.await, clock.now().unix()) })
            }
        }
    }

    fn rpc(&self, from: &Sender<'_>, call: &RpcEvent) -> Option<Answer<Reply<Bytes>>> {
        if !self.calls() {
            return None;
        }
        let methods = &self.methods;
        let namespace = (!methods.boundary.is_empty())
            .then(|| call.method.split_once(methods.boundary.as_str()))
            .flatten()
            .map(|(namespace, _)| namespace)
            .filter(|namespace| !namespace.is_empty());
        let proxy = match namespace {
            None => &methods.without_namespace,
            Some(namespace) => match methods.namespaces.get(namespace) {
                Some(proxy) => proxy,
                None => return Some(Answer::Now(Reply::Error(ErrorCode::METHOD_NOT_FOUND))),
            },
        };
        let endpoint = proxy.as_ref().and_then(|proxy| self.endpoint(Event::Rpc, proxy));
        let Some(endpoint) = endpoint else {
            return Some(Answer::Now(Reply::NoProxy));
        };
        let request = Request::of(from, endpoint.binary, endpoint.with_meta).data(&call.data);
        let request = Request { method: &call.method, ..request };
        Some(ask::<messages::RpcResult>(endpoint, &request).map(or_default))
    }

    fn channel_state(&self, proxy: &str, state: &ChannelState) -> Answer<Told> {
        let endpoint = self.endpoint(Event::State, proxy);
        endpoint.map_or(Answer::Now(Told::NoProxy), |endpoint| notify::channel_state(endpoint, state))
    }

    fn client_events(&self, report: &ClientReport) -> Answer<Told> {
        let endpoint = self.endpoint(Event::ClientEvents, "");
        endpoint.map_or(Answer::Now(Told::NoProxy), |endpoint| notify::client_events(endpoint, report))
    }

    fn cache_empty(&self, proxy: &str, channel: &str) -> Answer<bool> {
        let endpoint = self.endpoint(Event::CacheEmpty, proxy);
        endpoint.map_or(Answer::Now(false), |endpoint| notify::cache_empty(endpoint, channel))
    }

    fn rehearse(&self, about: &Rehearsal<'_>, call: bool) -> Option<(ProxyAccount, Option<Call>)> {
        self.rehearsal(about, call)
    }

    fn reports(&self) -> Vec<ProxyReport> {
        self.endpoints.values().flat_map(BTreeMap::values).map(|endpoint| endpoint.report()).collect()
    }
}

#[cfg(test)]
#[path = "outage_tests.rs"]
mod outage_tests;
