//! HTTP streaming and server-sent events: output in the body of a response without an end. Tower services.
//!
//! In the bidirectional ones the request holds the first commands, and the others come through
//! [`Emulation`](super::emulation::Emulation). In the unidirectional ones it holds the connect request. Methods, statuses
//! and headers are those of Centrifugo v6.9; an answer to CORS preflights and a check of the origin are the host's.

use super::admit::{NotAdmitted, admit};
use super::admitted::{Admitted, Answer};
use super::body::Body;
pub use super::refusals::ConnectResponse;
use super::refusals::Refusals;
use super::stream_head::StreamHead;
use super::{empty, query_value, whole};
use crate::event_id::{self, Positions};
use crate::hooks::Handshake;
use crate::identity::{Credentials, Extension, Transport};
use crate::node::threads::Threads;
use crate::node::{Inner, Node};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode, Uri};
use hyper::body::Body as HttpBody;
use spinward_wire::{Commands, Dialect, Direction, Form, Protocol};
use std::convert::Infallible;
use std::error::Error;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// The content type that asks for Protobuf, word for word, and the one of its answer.
pub(super) const PROTOBUF: &str = "application/octet-stream";
/// The query parameter of a GET request that holds the first commands or the connect request.
pub(super) const CONNECT: &str = "cf_connect";
/// The header in which a browser returns the id of the last event that it was given.
pub const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Serves connections whose output is the body of a response.
///
/// Of the extensions of a request the hooks see those that they see of a WebSocket handshake.
///
/// A host that reads requests and writes responses itself calls [`HttpStream::begin`] instead, and hands its socket over.
#[derive(Clone)]
pub struct HttpStream {
    inner: Arc<Inner>,
    /// A mounted service keeps its node going.
    _threads: Arc<Threads>,
    transport: Transport,
    max_body: usize,
    refusals: Option<Arc<Refusals>>,
    event_ids: bool,
}

impl Node {
    /// The service of HTTP streaming: `POST` with the first commands, JSON or Protobuf.
    #[must_use]
    pub fn http_stream(&self) -> HttpStream {
        self.stream_service(Transport::HttpStream)
    }

    /// The service of server-sent events: `GET` with the first commands in `cf_connect`, or `POST`. JSON only.
    #[must_use]
    pub fn sse(&self) -> HttpStream {
        self.stream_service(Transport::Sse)
    }

    /// The service of HTTP streaming in one direction: `POST` with a connect request, answered by JSON pushes on lines.
    #[must_use]
    pub fn uni_http_stream(&self) -> HttpStream {
        self.stream_service(Transport::UniHttpStream)
    }

    /// The service of server-sent events in one direction: `GET` with a connect request in `cf_connect`, or `POST`.
    #[must_use]
    pub fn uni_sse(&self) -> HttpStream {
        self.stream_service(Transport::UniSse)
    }

    fn stream_service(&self, transport: Transport) -> HttpStream {
        HttpStream {
            inner: Arc::clone(&self.inner),
            _threads: Arc::clone(&self.threads),
            transport,
            max_body: super::MAX_BODY,
            refusals: None,
            event_ids: false,
        }
    }
}

impl HttpStream {
    /// Sets the most bytes that the body of a request may have (413); 65,536 by default.
    ///
    /// The node has a limit of its own, [`request_size_limit`](crate::Config::request_size_limit).
    #[must_use]
    pub const fn max_body(mut self, bytes: usize) -> Self {
        self.max_body = bytes;
        self
    }

    /// Answers logins that fail with an HTTP status in place of a stream with a disconnect push: with the first of these
    /// that is for the code, and with 500 where there is none. For unidirectional clients.
    #[must_use]
    pub fn connect_responses(mut self, responses: Vec<ConnectResponse>) -> Self {
        self.refusals = Some(Arc::new(Refusals::new(responses)));
        self
    }

    /// Gives events an id that holds the positions of the client's subscriptions. A browser returns the last one in the
    /// header `Last-Event-ID` when `EventSource` connects again, and then the channels that the login grants are
    /// recovered from there. For [`Node::uni_sse`]; off by default.
    #[must_use]
    pub const fn event_ids(mut self, on: bool) -> Self {
        self.event_ids = on && matches!(self.transport, Transport::UniSse);
        self
    }

    /// The most bytes that the body of a request may have.
    #[must_use]
    pub const fn body_limit(&self) -> usize {
        self.max_body
    }

    /// The transport of its connections.
    #[must_use]
    pub const fn transport(&self) -> Transport {
        self.transport
    }

    /// Finds the first message of a request: its body, or what the query of a GET request holds.
    ///
    /// # Errors
    /// The status to answer with.
    pub fn begin(
        &self,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
        body: Bytes,
    ) -> Result<Begun<'_>, StatusCode> {
        let events = self.is_of_events();
        let first = match *method {
            Method::POST => body,
            Method::GET if events => {
                let asked = query_value(uri, CONNECT).filter(|asked| !asked.is_empty());
                match asked {
                    Some(asked) => asked.into_owned().into(),
                    // A unidirectional client may have nothing to say.
                    None if self.transport == Transport::UniSse => Bytes::from_static(b"{}"),
                    None => return Err(StatusCode::BAD_REQUEST),
                }
            }
            _ => return Err(StatusCode::METHOD_NOT_ALLOWED),
        };
        let form = self.form(headers);
        if form.dialect().is_unidirectional() && !Commands::new(form.dialect(), &first).all(|one| one.is_ok())
        {
            return Err(StatusCode::BAD_REQUEST);
        }
        let resume = self.event_ids.then(|| Box::new(last_event(headers)));
        Ok(Begun { stream: self, form, first, resume })
    }

    async fn answer<B>(self, request: Request<B>) -> Response<Body>
    where
        B: HttpBody<Error: Into<Box<dyn Error + Send + Sync>>>,
    {
        let (parts, body) = request.into_parts();
        let body = match parts.method {
            Method::POST => match whole(body, self.max_body).await {
                Ok(body) => body,
                Err(status) => return empty(status),
            },
            _ => Bytes::new(),
        };
        let begun = match self.begin(&parts.method, &parts.uri, &parts.headers, body) {
            Ok(begun) => begun,
            Err(status) => return empty(status),
        };
        match begun.admit(handshake(parts)) {
            Ok(admitted) => admitted.respond().await,
            Err(limit) => limit.response().map(Body::from),
        }
    }

    const fn is_of_events(&self) -> bool {
        matches!(self.transport, Transport::Sse | Transport::UniSse)
    }

    fn form(&self, headers: &HeaderMap) -> Form {
        match self.transport {
            Transport::Sse => Form::event_stream(Direction::Bidirectional),
            Transport::UniSse => Form::event_stream(Direction::Unidirectional),
            Transport::UniHttpStream => {
                Form::delimited(Dialect::new(Protocol::Json, Direction::Unidirectional))
            }
            _ if headers.get(CONTENT_TYPE).is_some_and(|kind| kind == PROTOBUF) => {
                Form::delimited(Protocol::Protobuf)
            }
            _ => Form::delimited(Protocol::Json),
        }
    }
}

/// The positions that the client has reached by the id of its last event. Any other id is ignored.
fn last_event(headers: &HeaderMap) -> Positions {
    let Some(id) = headers.get(LAST_EVENT_ID) else { return Positions::default() };
    event_id::read(id.as_bytes()).unwrap_or_else(|| {
        tracing::debug!("the id of the last event is not one of this server");
        Positions::default()
    })
}

fn handshake(parts: Parts) -> Handshake {
    Handshake {
        credentials: parts.extensions.get::<Credentials>().cloned(),
        peer: parts.extensions.get::<SocketAddr>().copied(),
        extension: parts.extensions.get::<Extension>().cloned(),
        headers: parts.headers,
        uri: parts.uri,
    }
}

/// A request that is in order and not answered yet.
pub struct Begun<'a> {
    stream: &'a HttpStream,
    form: Form,
    first: Bytes,
    resume: Option<Box<Positions>>,
}

impl Begun<'_> {
    /// Counts the connection in.
    ///
    /// # Errors
    /// The node is at a limit, or shutting down.
    pub fn admit(self, handshake: Handshake) -> Result<Admitted, NotAdmitted> {
        let HttpStream { inner, transport, refusals, .. } = self.stream;
        admit(inner)?;
        let kind = match self.form.dialect().encoding() {
            _ if self.stream.is_of_events() => None,
            Protocol::Protobuf => Some(PROTOBUF),
            Protocol::Json => Some("text/plain; charset=utf-8"),
        };
        Ok(Admitted {
            inner: Arc::clone(inner),
            answer: Answer::Stream { head: StreamHead::new(kind), refusals: refusals.clone() },
            form: self.form,
            transport: *transport,
            frame_pings: false,
            first: Some(self.first),
            resume: self.resume,
            handshake: Some(Arc::new(handshake)),
        })
    }
}

impl<B> tower_service::Service<Request<B>> for HttpStream
where
    B: HttpBody<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move { Ok(service.answer(request).await) })
    }
}
