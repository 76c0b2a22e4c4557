//! Dry runs, for explanations.

use super::endpoint::{Carrier, Endpoint};
use super::failure::Failure;
use super::json::{self, FromJson};
use super::messages::{self, InEnvelope};
use super::reply::{self, Meaning};
use super::request::{Event, Origin, Request};
use super::{Configured, notify, or_default};
use crate::policy::explain::ProxyAccount;
use crate::policy::{ProxyKind, Reply};
use crate::session::{Call, Rehearsal, Rehearsed, Sender, Tried};
use reqwest::Url;
use serde::Serialize;
use serde_json::{Value, json};
use std::future::Future;
use std::sync::Arc;

/// Stands for a value that is not shown.
const MASK: &str = "…";

impl Configured {
    /// The account of a dry run, and its call if it makes one.
    pub(super) fn rehearsal(
        &self,
        about: &Rehearsal<'_>,
        call: bool,
    ) -> Option<(ProxyAccount, Option<Call>)> {
        let clock = self.clock.clone();
        match *about {
            Rehearsal::Connect(event) => {
                let endpoint = self.endpoint(Event::Connect, "")?;
                let request = Request::connect(event, None, endpoint.binary);
                Some(endpoint.rehearse::<messages::ConnectResult>(&request, call, Rehearsed::Connect))
            }
            Rehearsal::Subscribe(ask, from, event) if ask.kind == ProxyKind::SubscribeStream => {
                let endpoint = self.endpoint(Event::SubscribeStream, ask.name())?;
                let request = of(endpoint, &from).channel(&event.channel).data(&event.data);
                let call = call.then(|| {
                    let opened = endpoint.open(&request, ask.is_bidirectional());
                    // The stream is dropped with the answer, and so cancelled.
                    let call = async move { reply::reply(opened?.await?.answered).map(or_default) };
                    endpoint.timed(call, Rehearsed::Subscribe)
                });
                Some((endpoint.account(&request), call))
            }
            Rehearsal::Subscribe(ask, from, event) => {
                let endpoint = self.endpoint(Event::Subscribe, ask.name())?;
                let request = of(endpoint, &from).channel(&event.channel).data(&event.data);
                let or_default = |reply| Rehearsed::Subscribe(or_default(reply));
                Some(endpoint.rehearse::<messages::SubscribeResult>(&request, call, or_default))
            }
            // It would go into the stream of a subscriber.
            Rehearsal::Publish(ask, ..) if ask.kind == ProxyKind::SubscribeStream => None,
            Rehearsal::Publish(ask, from, event) => {
                let endpoint = self.endpoint(super::event(ask.kind), ask.name())?;
                let request = of(endpoint, &from).channel(&event.channel).data(&event.data);
                let or_default = |reply| Rehearsed::Publish(or_default(reply));
                Some(endpoint.rehearse::<messages::PublishResult>(&request, call, or_default))
            }
            Rehearsal::Refresh(from) => {
                let endpoint = self.endpoint(Event::Refresh, "")?;
                let request = of(endpoint, &from);
                let call = call.then(|| {
                    let asked = endpoint.ask(&request);
                    let call = async move { Ok(reply::refresh(Ok(asked?.await?), clock.now().unix())) };
                    endpoint.timed(call, Rehearsed::Refresh)
                });
                Some((endpoint.account(&request), call))
            }
            Rehearsal::SubRefresh(name, from, channel) => {
                let endpoint = self.endpoint(Event::SubRefresh, name)?;
                let request = of(endpoint, &from).channel(channel);
                let call = call.then(|| {
                    let asked = endpoint.ask(&request);
                    let call = async move { Ok(reply::sub_refresh(Ok(asked?.await?), clock.now().unix())) };
                    endpoint.timed(call, Rehearsed::SubRefresh)
                });
                Some((endpoint.account(&request), call))
            }
            Rehearsal::ChannelState(name, state) => {
                let endpoint = self.endpoint(Event::State, name)?;
                Some((endpoint.notice(&notify::StateRequest::of(state)), None))
            }
            Rehearsal::CacheEmpty(name, channel) => {
                let endpoint = self.endpoint(Event::CacheEmpty, name)?;
                Some((endpoint.notice(&notify::CacheEmptyRequest { channel: channel.to_owned() }), None))
            }
        }
    }
}

fn of<'a>(endpoint: &Endpoint, from: &Sender<'a>) -> Request<'a> {
    Request::of(from, endpoint.binary, endpoint.with_meta)
}

impl Endpoint {
    fn rehearse<M>(
        self: &Arc<Self>,
        request: &Request<'_>,
        call: bool,
        told: impl FnOnce(Reply<Option<M::Result>>) -> Rehearsed + Send + 'static,
    ) -> (ProxyAccount, Option<Call>)
    where
        M: Meaning<Result: Send + 'static> + FromJson + InEnvelope,
    {
        let call = call.then(|| {
            let asked = self.ask::<M>(request);
            self.timed(async move { reply::reply(asked?.await?) }, told)
        });
        (self.account(request), call)
    }

    fn timed<T: Send + 'static>(
        &self,
        call: impl Future<Output = Result<T, Failure>> + Send + 'static,
        told: impl FnOnce(T) -> Rehearsed + Send + 'static,
    ) -> Call {
        let clock = self.clock.clone();
        Box::pin(async move {
            let begun = clock.micros();
            let reply = call.await.map(told).map_err(|failure| failure.to_string());
            Tried { took: std::time::Duration::from_micros(clock.micros().saturating_sub(begun)), reply }
        })
    }

    /// The question, without anything that may be secret.
    fn account(&self, request: &Request<'_>) -> ProxyAccount {
        let written = json::write(request).ok().and_then(|body| serde_json::from_slice(&body).ok());
        self.account_of(&request.origin, written)
    }

    /// A request that concerns no client.
    fn notice(&self, request: &impl Serialize) -> ProxyAccount {
        self.account_of(&Origin::NONE, serde_json::to_value(request).ok())
    }

    fn account_of(&self, origin: &Origin<'_>, written: Option<Value>) -> ProxyAccount {
        let selected = self.headers.select(origin).map(|selected| selected.headers).unwrap_or_default();
        let mut headers: Vec<String> = selected.keys().map(|name| name.as_str().to_owned()).collect();
        headers.sort_unstable();
        let mut body = written.unwrap_or_else(|| json!({}));
        for secret in ["data", "b64data", "meta"] {
            if let Some(value) = body.get_mut(secret) {
                *value = Value::from(MASK);
            }
        }
        ProxyAccount {
            event: self.event.name(),
            name: self.name.clone(),
            protocol: self.carrier.name(),
            endpoint: self.carrier.address(),
            headers,
            request: body,
            breaker: if self.breaker.lock().is_open() { "open" } else { "closed" },
            took_ms: None,
            answer: None,
            failure: None,
        }
    }
}

impl Carrier {
    /// The address, without what may be secret in it: user, password and query.
    fn address(&self) -> String {
        let bare = |url: &Url| {
            let mut url = url.clone();
            // A base address always has room for these.
            let _ = (url.set_username(""), url.set_password(None));
            if url.query().is_some() {
                url.set_query(Some(MASK));
            }
            url.to_string()
        };
        match self {
            Self::Http(http) => bare(&http.url),
            Self::Grpc(grpc) => bare(grpc.url()),
            #[cfg(test)]
            Self::Fake(_) => String::new(),
        }
    }
}
