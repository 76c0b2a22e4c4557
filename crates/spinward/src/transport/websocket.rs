//! WebSocket: a tower service that any hyper or axum application can mount, and a way in for any byte stream.

pub use super::admit::NotAdmitted;
use super::admit::admit;
pub use super::admitted::Admitted;
use super::admitted::Answer;
use super::http_stream::CONNECT;
pub use super::query_value;
use super::tunnel::is_tunnel;
use crate::hooks::Handshake;
use crate::identity::{Credentials, Extension, Transport};
use crate::mailbox::accepted::{Io, Stream};
use crate::node::threads::Threads;
use crate::node::{Inner, Node};
use bytes::Bytes;
use http::header::{
    CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, SEC_WEBSOCKET_EXTENSIONS,
    SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{Extensions, HeaderMap, Method, Request, Response, StatusCode, Uri, Version};
use http_body_util::Full;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use spinward_wire::ws::extensions::{self, Agreed};
use spinward_wire::ws::handshake;
use spinward_wire::ws::request::MAX_HEAD;
use spinward_wire::{Commands, Dialect, Direction, Form, Framing, Protocol};
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
    direction: Direction,
}

/// Finds the address of the peer in the extensions of a request.
type FindPeer = Arc<dyn Fn(&Extensions) -> Option<SocketAddr> + Send + Sync>;

impl Node {
    /// The WebSocket service of this node.
    #[must_use]
    pub fn websocket(&self) -> WebSocket {
        self.websocket_service(Direction::Bidirectional)
    }

    /// The service of WebSocket in one direction: the first message of the client, or `cf_connect` in the query, is a
    /// connect request, and the server sends bare pushes. JSON only. See [`UniWebSocket`](crate::config::UniWebSocket)
    /// for its options.
    #[must_use]
    pub fn uni_websocket(&self) -> WebSocket {
        self.websocket_service(Direction::Unidirectional)
    }

    fn websocket_service(&self, direction: Direction) -> WebSocket {
        WebSocket {
            inner: Arc::clone(&self.inner),
            _threads: Arc::clone(&self.threads),
            find_peer: None,
            direction,
        }
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
            let mut lines = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
            let first = Cow::Borrowed(lines.next()?);
            Some(lines.fold(first, |list, line| Cow::Owned(format!("{list},{line}"))))
        };
        let (version, upgrade) = (list(SEC_WEBSOCKET_VERSION), list(UPGRADE));
        let is_get = request.method() == Method::GET;
        let connection = list(CONNECTION);
        let key = headers.get(SEC_WEBSOCKET_KEY).and_then(|value| value.to_str().ok());
        let tunnel = is_tunnel(request);
        let checked = if tunnel {
            handshake::check_version(version.as_deref())
        } else {
            handshake::check(is_get, version.as_deref(), key, upgrade.as_deref(), connection.as_deref())
        };
        checked.map_err(|error| {
            tracing::debug!(%error, "invalid WebSocket handshake");
            refuse(StatusCode::from_u16(error.status()).unwrap_or(StatusCode::BAD_REQUEST))
        })?;
        let uri = request.uri();
        let asks_for_pings = || query_value(uri, FRAME_PINGS).is_some_and(|value| *value == *b"true");
        let (dialect, subprotocol, frame_pings, first) = match self.direction {
            Direction::Bidirectional => {
                let (protocol, subprotocol) = choose(headers, uri);
                (protocol.into(), subprotocol, asks_for_pings(), None)
            }
            Direction::Unidirectional => {
                let dialect = Dialect::new(Protocol::Json, Direction::Unidirectional);
                (dialect, None, false, connect_request(dialect, uri).map_err(bare)?)
            }
        };
        let deflate = self.compression(dialect, list(SEC_WEBSOCKET_EXTENSIONS).as_deref());
        let accept = (!tunnel).then(|| handshake::accept_key(key.unwrap_or_default()));
        let packed = false;
        Ok(Negotiated { websocket: self, accept, dialect, deflate, packed, subprotocol, frame_pings, first })
    }

    /// Terms of compression, if the node compresses and the client offers any that can be met.
    fn compression(&self, dialect: Dialect, offers: Option<&str>) -> Option<Agreed> {
        let config = &self.inner.hub.config;
        let options = if dialect.is_unidirectional() { &config.uni_compression } else { &config.compression };
        offers.filter(|_| options.enabled).and_then(extensions::negotiate)
    }

    /// Answers an upgrade request; the connection goes on in a shard once the response is sent.
    ///
    /// The HTTP server around must be hyper's. One of HTTP/2 has to allow extended CONNECT; that takes the feature
    /// `http2` of this crate.
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
    /// Absent in HTTP/2.
    accept: Option<String>,
    dialect: Dialect,
    deflate: Option<Agreed>,
    /// Messages go in SockJS frames.
    packed: bool,
    subprotocol: Option<&'static str>,
    frame_pings: bool,
    /// The connect request of the query.
    first: Option<Bytes>,
}

impl Negotiated<'_> {
    /// Has messages go in SockJS frames, as JSON and without compression, whatever the client named.
    #[must_use]
    pub fn in_sockjs_frames(mut self) -> Self {
        self.packed = true;
        self.deflate = None;
        self.subprotocol = None;
        self.frame_pings = false;
        self
    }

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
                Ok(upgraded) if admitted.is_tunnel() => admitted.serve_tunnel(upgraded, ()),
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
            form: match self.deflate {
                _ if self.packed => Form::sockjs_websocket(),
                Some(deflate) => Form::deflate(self.dialect, deflate.window),
                None => Form::websocket(self.dialect),
            },
            transport: match self.websocket.direction {
                _ if self.packed => Transport::SockJs,
                Direction::Bidirectional => Transport::WebSocket,
                Direction::Unidirectional => Transport::UniWebSocket,
            },
            frame_pings: self.frame_pings,
            answer: Answer::Switch {
                accept: self.accept,
                subprotocol: self.subprotocol,
                deflate: self.deflate,
            },
            first: self.first,
            resume: None,
            handshake: Some(Arc::new(handshake)),
        })
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

/// The connect request in the query of a unidirectional client, if there is one. The word `null` does not count, as in
/// Centrifugo v6.9.
fn connect_request(dialect: Dialect, uri: &Uri) -> Result<Option<Bytes>, StatusCode> {
    let asked = query_value(uri, CONNECT).filter(|asked| !asked.is_empty() && asked.trim_ascii() != b"null");
    let Some(asked) = asked else { return Ok(None) };
    let asked = Bytes::from(asked.into_owned());
    let is_sound = Commands::new(dialect, &asked).all(|one| one.is_ok());
    if is_sound { Ok(Some(asked)) } else { Err(StatusCode::BAD_REQUEST) }
}

/// A response with a status alone.
fn bare(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
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
fn take_back(upgraded: Upgraded) -> (Io, Bytes) {
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

/// Hands a stream over whose handshake, if it has one, is done.
fn hand_over(inner: &Arc<Inner>, io: Io, form: Form, handshake: Arc<Handshake>, leftover: Bytes) {
    let unidirectional = form.dialect().is_unidirectional();
    let asks_for_pings = || query_value(&handshake.uri, FRAME_PINGS).is_some_and(|value| *value == *b"true");
    let frame_pings =
        form.framing().is_websocket() && !form.framing().is_sockjs() && !unidirectional && asks_for_pings();
    let transport = match form.framing() {
        Framing::Delimited | Framing::EventStream | Framing::Grpc => Transport::Stream,
        _ if form.framing().is_sockjs() => Transport::SockJs,
        _ if unidirectional => Transport::UniWebSocket,
        _ => Transport::WebSocket,
    };
    let admitted = Admitted {
        inner: Arc::clone(inner),
        answer: Answer::Switch { accept: None, subprotocol: None, deflate: None },
        form,
        transport,
        frame_pings,
        first: None,
        resume: None,
        handshake: Some(handshake),
    };
    admitted.hand_over(io, leftover);
}
