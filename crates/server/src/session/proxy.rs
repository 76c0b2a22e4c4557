//! Events of clients that the application's back end decides, by proxies.
//!
//! A decision says which proxy has to be asked ([`Verdict::Ask`](crate::policy::Verdict::Ask)), the session asks it
//! here, and [`decide_after`](crate::policy::decide_after) decides with the reply, which may come late.

use super::State;
use crate::policy::{Ask, PublishResult, Reply, SubscribeResult};
use http::{HeaderMap, HeaderName};
use spinward::Client;
use spinward::answer::Answer;
use spinward::hooks::{PublishEvent, SubscribeEvent};

/// The proxies of a configuration.
pub trait Proxies: Send + Sync + 'static {
    /// The headers of a handshake that some proxy passes on. Only these are kept with a connection.
    fn headers(&self) -> &[HeaderName] {
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

    /// Asks about a publish.
    fn publish(&self, ask: &Ask, from: &Sender<'_>, request: &PublishEvent) -> Answer<Reply<PublishResult>>;
}

/// The connection that an event comes from.
#[derive(Clone, Copy)]
pub struct Sender<'a> {
    /// The connection.
    pub client: &'a Client,
    /// The kept headers of its handshake.
    pub headers: Option<&'a HeaderMap>,
}

impl<'a> Sender<'a> {
    pub(super) fn new(client: &'a Client, state: Option<&'a State>) -> Self {
        Self { client, headers: state.and_then(|state| state.headers.as_deref()) }
    }
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
