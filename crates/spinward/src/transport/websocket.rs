//! WebSocket: a tower service that any hyper or axum application can mount, and a way in for any byte stream.

use super::escape;
use super::rate::Rate;
use crate::hooks::Handshake;
use crate::identity::{Credentials, Transport};
use crate::node::threads::Threads;
use crate::node::{Inner, Node};
use crate::shard::inbox::Entry;
use crate::shard::{Accepted, Io, Stream, place};
use bytes::Bytes;
use http::header::{
    CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use http_body_util::Full;
use hyper_util::rt::TokioIo;
use spinward_wire::Protocol;
use spinward_wire::ws::handshake;
use std::borrow::Cow;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use tokio::net::TcpStream;

/// The subprotocol of Protobuf clients.
const PROTOBUF: &str = "centrifuge-protobuf";
/// The subprotocol of JSON clients, which may also name none.
const JSON: &str = "centrifuge-json";
/// The query parameter by which tools without an SDK ask for pings as WebSocket frames, which they answer by
/// themselves (Centrifugo's documentation of its WebSocket transport).
const FRAME_PINGS: &str = "cf_ws_frame_ping_pong";

/// Serves WebSocket connections of a node.
///
/// A `tower::Service` over HTTP requests. [`Credentials`] in a request's extensions log the connection in
/// without a token; a [`SocketAddr`] there is told to the hooks as the peer's address.
#[derive(Clone)]
pub struct WebSocket {
    inner: Arc<Inner>,
    /// A mounted service keeps its node going.
    _threads: Arc<Threads>,
    rate: Arc<Rate>,
}

impl Node {
    /// The WebSocket service of this node.
    #[must_use]
    pub fn websocket(&self) -> WebSocket {
        let rate = Arc::new(Rate::new(self.inner.hub.config.connection_rate_limit));
        WebSocket { inner: Arc::clone(&self.inner), _threads: Arc::clone(&self.threads), rate }
    }

    /// Serves one client over any byte stream on which the WebSocket handshake is done.
    ///
    /// A task on a shard moves its bytes.
    pub fn serve_stream(&self, stream: impl Stream, protocol: Protocol, handshake: Handshake) {
        let inner = &self.inner;
        inner.hub.metrics.connections.fetch_add(1, Ordering::Relaxed);
        hand_over(inner, Io::Stream(Box::new(stream)), protocol, Arc::new(handshake), Bytes::new());
    }
}

impl WebSocket {
    /// What is answered to a request that is no handshake; `None` for one that is.
    ///
    /// [`WebSocket::upgrade`] looks at it too. Who has conditions of its own, such as on the origin, looks first,
    /// so that a request that never was a handshake is not told of them.
    pub fn refusal<B>(&self, request: &Request<B>) -> Option<Response<Full<Bytes>>> {
        let headers = request.headers();
        let list = |name: HeaderName| {
            let lines: Vec<&str> =
                headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
            (!lines.is_empty()).then(|| lines.join(","))
        };
        let (version, upgrade) = (list(SEC_WEBSOCKET_VERSION), list(UPGRADE));
        let is_get = request.method() == Method::GET;
        let connection = list(CONNECTION);
        handshake::check(is_get, version.as_deref(), key(headers), upgrade.as_deref(), connection.as_deref())
            .err()
            .map(|error| {
                tracing::debug!(%error, "a request for a WebSocket is no handshake");
                refuse(StatusCode::from_u16(error.status()).unwrap_or(StatusCode::BAD_REQUEST))
            })
    }

    /// Answers an upgrade request; the connection goes on in a shard once the response is sent.
    pub fn upgrade<B>(&self, mut request: Request<B>) -> Response<Full<Bytes>> {
        if let Some(response) = self.refusal(&request) {
            return response;
        }
        let headers = request.headers();
        let accept = handshake::accept_key(key(headers).unwrap_or_default());
        let (protocol, subprotocol) = choose(headers, request.uri());
        if !self.admit() {
            return refuse(StatusCode::SERVICE_UNAVAILABLE);
        }
        let handshake = Arc::new(Handshake {
            headers: request.headers().clone(),
            uri: request.uri().clone(),
            credentials: request.extensions().get::<Credentials>().cloned(),
            peer: request.extensions().get::<SocketAddr>().copied(),
        });
        let upgrade = hyper::upgrade::on(&mut request);
        let inner = Arc::clone(&self.inner);
        self.inner.runtime.spawn(async move {
            match upgrade.await {
                Ok(upgraded) => {
                    let (io, leftover) = take_back(upgraded);
                    hand_over(&inner, io, protocol, handshake, leftover);
                }
                Err(error) => {
                    inner.hub.metrics.connections.fetch_sub(1, Ordering::Relaxed);
                    tracing::debug!(%error, "a client went away during the WebSocket handshake");
                }
            }
        });
        let mut response = Response::new(Full::default());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        if let Ok(accept) = HeaderValue::from_str(&accept) {
            headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
        }
        if let Some(subprotocol) = subprotocol {
            headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(subprotocol));
        }
        response
    }

    /// Counts the connection in, unless the node's limits forbid it or the node is at its end.
    fn admit(&self) -> bool {
        let hub = &self.inner.hub;
        let limit = hub.config.connection_limit;
        let before = hub.metrics.connections.fetch_add(1, Ordering::Relaxed);
        let admitted = (limit == 0 || before < limit) && self.rate.admit(hub.clock.now());
        let admitted = admitted && !hub.is_stopping() && !hub.pulse.is_broken();
        if !admitted {
            hub.metrics.connections.fetch_sub(1, Ordering::Relaxed);
            crate::metrics::bump(&hub.metrics.refused_connections);
        }
        admitted
    }
}

impl<B> tower_service::Service<Request<B>> for WebSocket {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        ready(Ok(self.upgrade(request)))
    }
}

fn key(headers: &HeaderMap) -> Option<&str> {
    headers.get(SEC_WEBSOCKET_KEY).and_then(|value| value.to_str().ok())
}

/// Says no with the name of the status, as Centrifugo does. The log says why.
fn refuse(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response =
        Response::new(Full::from(format!("{}\n", status.canonical_reason().unwrap_or_default())));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static(handshake::VERSION));
    response
}

/// The encoding: by subprotocol, or by `format` or `cf_protocol` in the query as older SDKs have it.
fn choose(headers: &HeaderMap, uri: &Uri) -> (Protocol, Option<&'static str>) {
    let offered = headers.get_all(SEC_WEBSOCKET_PROTOCOL);
    let mut offered = offered
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim);
    let chosen = offered.find_map(|name| [JSON, PROTOBUF].into_iter().find(|ours| *ours == name));
    let asks = |name| query_value(uri, name).is_some_and(|value| *value == *b"protobuf");
    // Either says Protobuf: a JSON subprotocol does not take back what the query says, as in Centrifugo v6.9.
    let protobuf = chosen == Some(PROTOBUF) || asks("format") || asks("cf_protocol");
    (if protobuf { Protocol::Protobuf } else { Protocol::Json }, chosen)
}

/// The first value of a parameter of the query, its escapes undone. Centrifugo's rules: a pair with a semicolon
/// or a broken escape is none.
#[must_use]
pub fn query_value<'a>(uri: &'a Uri, name: &str) -> Option<Cow<'a, [u8]>> {
    uri.query()?.split('&').filter(|pair| !pair.contains(';')).find_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (*unescape(key)? == *name.as_bytes()).then(|| unescape(value)).flatten()
    })
}

/// In a query a plus is a blank.
fn unescape(text: &str) -> Option<Cow<'_, [u8]>> {
    if !text.contains('+') {
        return escape::unescape(text);
    }
    escape::unescape(&text.replace('+', " ")).map(|bytes| Cow::Owned(bytes.into_owned()))
}

/// Gets the bare socket out of an upgraded connection, where it is one.
fn take_back(upgraded: hyper::upgrade::Upgraded) -> (Io, Bytes) {
    let parts = match hyper_util::server::conn::auto::upgrade::downcast::<TokioIo<TcpStream>>(upgraded) {
        Ok(parts) => Ok((parts.io, parts.read_buf)),
        Err(upgraded) => upgraded.downcast::<TokioIo<TcpStream>>().map(|parts| (parts.io, parts.read_buf)),
    };
    match parts {
        Ok((io, leftover)) => match io.into_inner().into_std() {
            Ok(stream) => (Io::Tcp(stream), leftover),
            Err(_) => (Io::Stream(Box::new(tokio::io::empty())), Bytes::new()),
        },
        Err(upgraded) => (Io::Stream(Box::new(TokioIo::new(upgraded))), Bytes::new()),
    }
}

fn hand_over(inner: &Inner, io: Io, protocol: Protocol, handshake: Arc<Handshake>, leftover: Bytes) {
    let id = inner.hub.entropy.client_id();
    let frame_pings = query_value(&handshake.uri, FRAME_PINGS).is_some_and(|value| *value == *b"true");
    let transport = Transport::WebSocket;
    let accepted = Accepted { id, protocol, transport, handshake, frame_pings, io, leftover };
    inner.hub.send(place(&inner.hub, id), Entry::Accept(Box::new(accepted)));
}
