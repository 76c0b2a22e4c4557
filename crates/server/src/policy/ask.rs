//! Questions to proxies of the application, and their replies.
//!
//! A decision that a proxy has a part in is made in two steps, each a pure function: [`decide`](super::decide())
//! says which proxy to ask, and [`decide_after`](super::decide_after) what its reply means. The call between them
//! is the session's.

use super::request::Override;
use super::rule::Rule;
use crate::channel::Namespace;
use bytes::Bytes;
use spinward_wire::code::{DisconnectCode, ErrorCode};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// Kind of event that a proxy is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProxyKind {
    /// A client subscribes.
    Subscribe,
    /// A client subscribes to a channel that the back end streams, or publishes into one.
    SubscribeStream,
    /// A client publishes.
    Publish,
}

impl ProxyKind {
    /// The rule that asks this kind of proxy.
    #[must_use]
    pub const fn rule(self) -> Rule {
        match self {
            Self::Subscribe => Rule::SubscribeProxy,
            Self::SubscribeStream => Rule::SubscribeStreamProxy,
            Self::Publish => Rule::PublishProxy,
        }
    }
}

/// A proxy that has to be asked.
#[derive(Clone)]
pub struct Ask {
    /// Kind of event.
    pub kind: ProxyKind,
    namespace: Arc<Namespace>,
}

impl Ask {
    pub(super) const fn new(kind: ProxyKind, namespace: Arc<Namespace>) -> Self {
        Self { kind, namespace }
    }

    /// The name of the proxy: `default`, or one of `proxies`.
    #[must_use]
    pub fn name(&self) -> &str {
        let options = self.namespace.options();
        match self.kind {
            ProxyKind::Subscribe => &options.subscribe_proxy_name,
            ProxyKind::SubscribeStream => &options.subscribe_stream_proxy_name,
            ProxyKind::Publish => &options.publish_proxy_name,
        }
    }
}

impl Ask {
    /// Returns true if the stream that is asked for takes publications of the client.
    #[must_use]
    pub fn is_bidirectional(&self) -> bool {
        self.kind == ProxyKind::SubscribeStream
            && self.namespace.options().subscribe_stream_proxy_bidirectional
    }
}

impl PartialEq for Ask {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind && Arc::ptr_eq(&self.namespace, &other.namespace)
    }
}

impl fmt::Debug for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ask").field("kind", &self.kind).field("name", &self.name()).finish_non_exhaustive()
    }
}

/// Reply of a proxy. `R` is the result of this kind of request.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply<R> {
    /// It allows the request, like so.
    Result(R),
    /// It refuses with this error.
    Error(ErrorCode),
    /// It closes the connection with this code.
    Disconnect(DisconnectCode),
    /// The server has no such proxy. Centrifugo v6.9 answers 108 then.
    NoProxy,
}

impl<R> Reply<R> {
    /// The same reply with a reference to its result.
    pub(super) fn as_ref(&self) -> Reply<&R> {
        match self {
            Self::Result(result) => Reply::Result(result),
            Self::Error(code) => Reply::Error(code.clone()),
            Self::Disconnect(code) => Reply::Disconnect(code.clone()),
            Self::NoProxy => Reply::NoProxy,
        }
    }
}

impl Reply<&Never> {
    /// The same reply to a request that could have a result.
    pub(super) fn widened<R>(&self) -> Reply<R> {
        match self {
            Self::Result(never) => match **never {},
            Self::Error(code) => Reply::Error(code.clone()),
            Self::Disconnect(code) => Reply::Disconnect(code.clone()),
            Self::NoProxy => Reply::NoProxy,
        }
    }
}

/// Result of a subscribe proxy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubscribeResult {
    /// End of the subscription, in Unix seconds; 0 never.
    pub expire_at: i64,
    /// Information that others see with it.
    pub info: Option<Bytes>,
    /// Payload of the reply.
    pub data: Option<Bytes>,
    /// Options that differ from the namespace's.
    pub overrides: Override,
}

/// Result of a publish proxy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PublishResult {
    /// Replaces the payload. It is not checked against `publication_data_format`.
    pub data: Option<Bytes>,
    /// Store nothing.
    pub skip_history: bool,
    /// Labels.
    pub tags: BTreeMap<String, String>,
    /// Drops a second publication with the same key. Empty: no key.
    pub idempotency_key: String,
    /// The publication may be sent as a delta.
    pub delta: bool,
    /// Version of the payload. 0: no version.
    pub version: u64,
    /// Epoch of the version.
    pub version_epoch: String,
}

/// Result of a proxy for a request that no proxy is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Never {}
