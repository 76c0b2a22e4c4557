//! WebSocket: a tower service that any hyper or axum application can mount, and a way in for any byte stream.

pub use super::admit::NotAdmitted;
use super::admit::admit;
pub use super::query_value;
use crate::hooks::Handshake;
use crate::identity::{Credentials, Extension, Transport};
use crate::mailbox::accepted::{Accepted, Io, Stream};
use crate::node::threads::Threads;
use crate::node::{Inner, Node};
use crate::session_id::Secret;
use bytes::Bytes;
use http::header::{
    CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{Extensions, HeaderMap, Method, Request, Response, StatusCode, Uri, Version};
use http_body_util::Full;
use hyper_util::rt::TokioIo;
use spinward_wire::ws::handshake;
use spinward_wire::ws::request::{self, MAX_HEAD};
use spinward_wire::{Form, Framing, Protocol};
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
/// A `tower::Service` over HTTP requests. Of a request's extensions the hooks see [`Credentials`], which log the
/// connection in without a token, a [`SocketAddr`], which is the peer's address, and an [`Extension`]. A request
/// with more than 32 KiB of headers is refused with 431.
///
/// A host with its own conditions, such as on the origin, calls [`WebSocket::handshake`] first, so that a request that
/// is not a handshake is refused as such.
#[derive(Clone)]
pub struct WebSocket {
    inner: Arc<Inner>,
    /// A mounted service keeps its node going.
    _threads: Arc<Threads>,
    find_peer: Option<FindPeer>,
}

/// Finds the address of the peer in the extensions of a request.
type FindPeer = Arc<dyn Fn(&Extensions) -> Option<SocketAddr> + Send + Sync>;

impl Node {
    /// The WebSocket service of this node.
    #[must_use]
    pub fn websocket(&self) -> WebSocket {
        WebSocket { inner: Arc::clone(&self.inner), _threads: Arc::clone(&self.threads), find_peer: None }
    }

    /// Serves one client over any byte stream, in this form. With [`Form::websocket`], or a [`Protocol`] alone, the
    /// WebSocket handshake is done already.
    ///
    /// A task on a shard moves its bytes.
    pub fn serve_stream(&self, stream: impl Stream, form: impl Into<Form>, handshake: Handshake) {
        let inner = &self.inner;
        inner.hub.metrics.connections.fetch_add(1, Ordering::Relaxed);
        hand_over(inner, Io::Stream(Box::new(stream)), form.into(), Arc::new(handshake), Bytes::new());
    }
}

impl WebSocket {
    /// Looks for the address of the peer where the HTTP server around puts it, such as axum's `ConnectInfo`:
    ///
    /// ```
    /// use axum::extract::ConnectInfo;
    /// use std::net::SocketAddr;
    ///
    /// # fn mount(node: spinward::Node) -> axum::Router {
    /// let service = node
    ///     .websocket()
    ///     .with_peer(|extensions| extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0));
    /// # axum::Router::new().route_service("/connection/websocket", service)
    /// # }
    /// ```
    ///
    /// Without this, or where it finds nothing, a [`SocketAddr`] among the extensions is taken.
    #[must_use]
    pub fn with_peer(
        mut self,
        find: impl Fn(&Extensions) -> Option<SocketAddr> + Send + Sync + 'static,
    ) -> Self {
        self.find_peer = Some(Arc::new(find));
        self
    }

    fn peer(&self, extensions: &Extensions) -> Option<SocketAddr> {
        let found = self.find_peer.as_ref().and_then(|find| find(extensions));
        found.or_else(|| extensions.get::<SocketAddr>().copied())
    }

    /// Negotiates the terms of a WebSocket handshake.
    ///
    /// # Errors
    /// The response to a request that is not one.
    #[allow(clippy::result_large_err, reason = "it is the answer, and moved once")]
    pub fn handshake<B>(&self, request: &Request<B>) -> Result<Negotiated<'_>, Response<Full<Bytes>>> {
        let headers = request.headers();
        let list = |name: HeaderName| {
            let lines: Vec<&str> =
                headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
            (!lines.is_empty()).then(|| lines.join(","))
        };
        let (version, upgrade) = (list(SEC_WEBSOCKET_VERSION), list(UPGRADE));
        let is_get = request.method() == Method::GET;
        let connection = list(CONNECTION);
        let key = headers.get(SEC_WEBSOCKET_KEY).and_then(|value| value.to_str().ok());
        handshake::check(is_get, version.as_deref(), key, upgrade.as_deref(), connection.as_deref())
            .map_err(|error| {
                tracing::debug!(%error, "invalid WebSocket handshake");
                refuse(StatusCode::from_u16(error.status()).unwrap_or(StatusCode::BAD_REQUEST))
            })?;
        let (protocol, subprotocol) = choose(headers, request.uri());
        let accept = handshake::accept_key(key.unwrap_or_default());
        Ok(Negotiated { websocket: self, accept, protocol, subprotocol })
    }

    /// Answers an upgrade request; the connection goes on in a shard once the response is sent.
    ///
    /// The HTTP server around must be hyper's, which upgrades connections of HTTP/1.1 alone.
    pub fn upgrade<B>(&self, request: Request<B>) -> Response<Full<Bytes>> {
        match self.handshake(&request) {
            Ok(negotiated) => negotiated.upgrade(request),
            Err(response) => response,
        }
    }
}

impl NotAdmitted {
    /// The response to the handshake: 503, and when to try again.
    #[must_use]
    pub fn response(self) -> Response<Full<Bytes>> {
        let mut response = refuse(StatusCode::SERVICE_UNAVAILABLE);
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        response
    }
}

/// The terms of a handshake that is in order and not answered yet.
pub struct Negotiated<'a> {
    websocket: &'a WebSocket,
    accept: String,
    protocol: Protocol,
    subprotocol: Option<&'static str>,
}

impl Negotiated<'_> {
    /// Answers the request, as [`WebSocket::upgrade`] does. Headers that the request has lost since it was
    /// negotiated are not missed.
    pub fn upgrade<B>(self, mut request: Request<B>) -> Response<Full<Bytes>> {
        if request.version() < Version::HTTP_11 {
            tracing::debug!("WebSocket handshake over HTTP/1.0");
            return refuse(StatusCode::BAD_REQUEST);
        }
        let kept = |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len();
        if request.headers().iter().map(kept).sum::<usize>() > MAX_HEAD {
            return refuse(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
        }
        let extensions = request.extensions();
        let handshake = Handshake {
            headers: request.headers().clone(),
            uri: request.uri().clone(),
            credentials: extensions.get::<Credentials>().cloned(),
            peer: self.websocket.peer(extensions),
            extension: extensions.get::<Extension>().cloned(),
        };
        let admitted = match self.admit(handshake) {
            Ok(admitted) => admitted,
            Err(limit) => return limit.response(),
        };
        let response = admitted.response();
        let upgrade = hyper::upgrade::on(&mut request);
        admitted.inner.runtime.clone().spawn(async move {
            match upgrade.await {
                Ok(upgraded) => {
                    let (io, leftover) = take_back(upgraded);
                    admitted.hand_over(io, leftover);
                }
                Err(error) => tracing::debug!(%error, "client disconnected during the WebSocket handshake"),
            }
        });
        response
    }

    /// Counts the connection in, for a host that answers the handshake itself.
    ///
    /// # Errors
    /// The node is at a limit, or shutting down.
    pub fn admit(self, handshake: Handshake) -> Result<Admitted, NotAdmitted> {
        admit(&self.websocket.inner)?;
        Ok(Admitted {
            inner: Arc::clone(&self.websocket.inner),
            accept: self.accept,
            subprotocol: self.subprotocol,
            protocol: self.protocol,
            handshake: Some(Arc::new(handshake)),
        })
    }
}

/// A connection that counts, and whose handshake is being answered. Dropped, it no longer counts.
pub struct Admitted {
    inner: Arc<Inner>,
    accept: String,
    subprotocol: Option<&'static str>,
    protocol: Protocol,
    /// Taken by the shard.
    handshake: Option<Arc<Handshake>>,
}

impl Admitted {
    /// The response as bytes, for a host that writes them itself.
    #[must_use]
    pub fn head(&self) -> String {
        request::response(&self.accept, self.subprotocol)
    }

    /// The response for an HTTP server to send.
    #[must_use]
    pub fn response(&self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::default());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        if let Ok(accept) = HeaderValue::from_str(&self.accept) {
            headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
        }
        if let Some(subprotocol) = self.subprotocol {
            headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(subprotocol));
        }
        response
    }

    /// Hands the connection to a shard, once the response is sent. `leftover` was read from the socket behind the request's head.
    pub fn serve(self, stream: std::net::TcpStream, leftover: Bytes) {
        self.hand_over(Io::Tcp(stream), leftover);
    }

    /// The same for any other byte stream, whose bytes a task on a shard moves.
    pub fn serve_stream(self, stream: impl Stream, leftover: Bytes) {
        self.hand_over(Io::Stream(Box::new(stream)), leftover);
    }

    fn hand_over(mut self, io: Io, leftover: Bytes) {
        if let Some(handshake) = self.handshake.take() {
            hand_over(&self.inner, io, Form::websocket(self.protocol), handshake, leftover);
        }
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        if self.handshake.is_some() {
            self.inner.hub.metrics.connections.fetch_sub(1, Ordering::Relaxed);
        }
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

/// Refuses with the name of the status, as Centrifugo does. The log has the reason.
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

fn hand_over(inner: &Inner, io: Io, form: Form, handshake: Arc<Handshake>, leftover: Bytes) {
    let hub = &inner.hub;
    let id = hub.entropy.client_id();
    let unidirectional = form.dialect().is_unidirectional();
    let asks_for_pings = || query_value(&handshake.uri, FRAME_PINGS).is_some_and(|value| *value == *b"true");
    let frame_pings = form.framing() == Framing::WebSocket && !unidirectional && asks_for_pings();
    let transport = match form.framing() {
        Framing::WebSocket if unidirectional => Transport::UniWebSocket,
        Framing::WebSocket => Transport::WebSocket,
        Framing::Delimited | Framing::EventStream => Transport::Stream,
    };
    // The connect push of a unidirectional client has a session too, as in Centrifugo v6.9.
    let secret = unidirectional.then(|| Secret::new(hub.entropy.bytes()));
    let accepted = Accepted { id, form, transport, handshake, frame_pings, secret, io, leftover };
    hub.accept(accepted);
}
