//! Requests to the back end, before they are encoded.

use crate::session::Sender;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::HeaderMap;
use spinward::hooks::ConnectEvent;
use spinward::identity::Transport;
use spinward::publication::Tags;
use spinward::wire::Protocol;
use std::collections::BTreeMap;

/// Kind of event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Event {
    Connect,
    Refresh,
    Subscribe,
    SubscribeStream,
    SubRefresh,
    Publish,
    Rpc,
    CacheEmpty,
    State,
    ClientEvents,
}

impl Event {
    /// Its name in options and metrics.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Refresh => "refresh",
            Self::Subscribe => "subscribe",
            Self::SubscribeStream => "subscribe_stream",
            Self::SubRefresh => "sub_refresh",
            Self::Publish => "publish",
            Self::Rpc => "rpc",
            Self::CacheEmpty => "cache_empty",
            Self::State => "state",
            Self::ClientEvents => "client_events",
        }
    }

    /// Its method of gRPC. Of the two for streams, the one in one direction.
    pub(super) const fn method(self) -> &'static str {
        match self {
            Self::Connect => "Connect",
            Self::Refresh => "Refresh",
            Self::Subscribe => "Subscribe",
            Self::SubscribeStream => "SubscribeUnidirectional",
            Self::SubRefresh => "SubRefresh",
            Self::Publish => "Publish",
            Self::Rpc => "RPC",
            Self::CacheEmpty => "NotifyCacheEmpty",
            Self::State => "NotifyChannelState",
            Self::ClientEvents => "NotifyClientEvents",
        }
    }
}

/// Data that goes with an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Payload<'a> {
    /// None.
    None,
    /// As it is: JSON where the request is.
    Plain(&'a Bytes),
    /// In base64.
    Base64(String),
}

impl<'a> Payload<'a> {
    fn new(data: &'a Bytes, binary: bool) -> Self {
        match data {
            data if data.is_empty() => Self::None,
            data if binary => Self::Base64(STANDARD.encode(data)),
            data => Self::Plain(data),
        }
    }
}

/// One of several subscribes in a request.
pub(super) struct Item<'a> {
    pub(super) channel: &'a str,
    pub(super) payload: Payload<'a>,
}

impl<'a> Item<'a> {
    pub(super) fn new(channel: &'a str, data: &'a Bytes, binary: bool) -> Self {
        Self { channel, payload: Payload::new(data, binary) }
    }
}

/// The part of a request that says whom it is about, and the headers that may go with it.
#[derive(Clone, Copy)]
pub(super) struct Origin<'a> {
    pub(super) transport: Transport,
    pub(super) headers: Option<&'a HeaderMap>,
    pub(super) emulated: Option<&'a BTreeMap<String, String>>,
}

impl Origin<'_> {
    /// No client.
    pub(super) const NONE: Self = Self { transport: Transport::WebSocket, headers: None, emulated: None };
}

/// A request.
pub(super) struct Request<'a> {
    pub(super) origin: Origin<'a>,
    pub(super) client: String,
    pub(super) transport: &'static str,
    pub(super) protocol: &'static str,
    pub(super) binary: bool,
    /// `None` before the login.
    pub(super) user: Option<&'a str>,
    pub(super) channel: &'a str,
    pub(super) method: &'a str,
    pub(super) payload: Payload<'a>,
    /// Subscribes that are asked about at once.
    pub(super) batch: Vec<Item<'a>>,
    pub(super) name: &'a str,
    pub(super) version: &'a str,
    pub(super) channels: &'a [String],
    pub(super) meta: Option<&'a Bytes>,
    pub(super) labels: Option<&'a Tags>,
}

pub(super) const fn protocol(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Json => "json",
        Protocol::Protobuf => "protobuf",
    }
}

impl<'a> Request<'a> {
    /// The request of a login.
    pub(super) fn connect(
        event: &'a ConnectEvent,
        emulated: Option<&'a BTreeMap<String, String>>,
        binary: bool,
    ) -> Self {
        Self {
            origin: Origin { transport: event.transport, headers: Some(&event.handshake.headers), emulated },
            client: event.id.to_string(),
            transport: event.transport.name(),
            protocol: protocol(event.protocol),
            binary,
            user: None,
            channel: "",
            method: "",
            payload: Payload::new(&event.data, binary),
            batch: Vec::new(),
            name: &event.name,
            version: &event.version,
            channels: &event.channels,
            meta: None,
            labels: None,
        }
    }

    /// The request of a client that is logged in.
    pub(super) fn of(from: &Sender<'a>, binary: bool, with_meta: bool) -> Self {
        let identity = from.client.identity();
        Self {
            origin: Origin { transport: identity.transport, headers: from.headers, emulated: from.emulated },
            client: identity.id.to_string(),
            transport: identity.transport.name(),
            protocol: protocol(identity.protocol),
            binary,
            user: Some(&identity.user),
            channel: "",
            method: "",
            payload: Payload::None,
            batch: Vec::new(),
            name: "",
            version: "",
            channels: &[],
            meta: with_meta.then_some(&identity.meta),
            labels: identity.labels.as_deref(),
        }
    }

    /// Adds a channel.
    pub(super) const fn channel(mut self, channel: &'a str) -> Self {
        self.channel = channel;
        self
    }

    /// Adds data.
    pub(super) fn data(mut self, data: &'a Bytes) -> Self {
        self.payload = Payload::new(data, self.binary);
        self
    }

    /// The encoding of the data.
    pub(super) const fn encoding(&self) -> &'static str {
        if self.binary { "binary" } else { "json" }
    }
}
