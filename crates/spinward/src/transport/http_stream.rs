//! HTTP streaming and server-sent events: output in the body of a response without an end. Tower services.
//!
//! In the bidirectional ones the request holds the first commands, and the others come through
//! [`Emulation`](super::emulation::Emulation). In the unidirectional ones it holds the connect request. Methods, statuses
//! and headers are those of Centrifugo v6.9; an answer to CORS preflights and a check of the origin are the host's.

use super::admit::{NotAdmitted, admit};
use super::body::Body;
use super::{plain, query_value, whole};
use crate::hooks::Handshake;
use crate::identity::{Credentials, Extension, Transport};
use crate::mailbox::accepted::{Accepted, Io};
use crate::mailbox::pipe::pipe;
use crate::node::threads::Threads;
use crate::node::{Inner, Node};
use crate::session_id::Secret;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
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
const CONNECT: &str = "cf_connect";
/// Keeps proxies from buffering.
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
/// The first bytes of an event stream: an empty line, which is no event and has proxies begin with the response.
const PREAMBLE: &[u8] = b"\r\n";

/// Serves connections whose output is the body of a response.
///
/// Of the extensions of a request the hooks see those that they see of a WebSocket handshake.
#[derive(Clone)]
pub struct HttpStream {
    inner: Arc<Inner>,
    /// A mounted service keeps its node going.
    _threads: Arc<Threads>,
    transport: Transport,
    max_body: usize,
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
        }
    }
}

impl HttpStream {
    /// Sets the most bytes that the body of a request may have (413); 65,536 by default.
    #[must_use]
    pub const fn max_body(mut self, bytes: usize) -> Self {
        self.max_body = bytes;
        self
    }

    async fn answer<B>(self, request: Request<B>) -> Response<Body>
    where
        B: HttpBody<Error: Into<Box<dyn Error + Send + Sync>>>,
    {
        let (parts, body) = request.into_parts();
        let first = match self.first(&parts, body).await {
            Ok(first) => first,
            Err(status) => return plain(status),
        };
        let form = self.form(&parts);
        if form.dialect().is_unidirectional() && !Commands::new(form.dialect(), &first).all(|one| one.is_ok())
        {
            return plain(StatusCode::BAD_REQUEST);
        }
        match self.open(form, first, &parts) {
            Ok(body) => self.response(form, body),
            Err(_) => {
                let mut response = plain(StatusCode::SERVICE_UNAVAILABLE);
                response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
                response
            }
        }
    }

    /// The first message of the client.
    async fn first<B>(&self, parts: &Parts, body: B) -> Result<Bytes, StatusCode>
    where
        B: HttpBody<Error: Into<Box<dyn Error + Send + Sync>>>,
    {
        let events = matches!(self.transport, Transport::Sse | Transport::UniSse);
        match parts.method {
            Method::POST => whole(body, self.max_body).await,
            Method::GET if events => {
                let asked = query_value(&parts.uri, CONNECT).filter(|asked| !asked.is_empty());
                match asked {
                    Some(asked) => Ok(asked.into_owned().into()),
                    // A unidirectional client may have nothing to say.
                    None if self.transport == Transport::UniSse => Ok(Bytes::from_static(b"{}")),
                    None => Err(StatusCode::BAD_REQUEST),
                }
            }
            _ => Err(StatusCode::METHOD_NOT_ALLOWED),
        }
    }

    fn form(&self, parts: &Parts) -> Form {
        match self.transport {
            Transport::Sse => Form::event_stream(Direction::Bidirectional),
            Transport::UniSse => Form::event_stream(Direction::Unidirectional),
            Transport::UniHttpStream => {
                Form::delimited(Dialect::new(Protocol::Json, Direction::Unidirectional))
            }
            _ if parts.headers.get(CONTENT_TYPE).is_some_and(|kind| kind == PROTOBUF) => {
                Form::delimited(Protocol::Protobuf)
            }
            _ => Form::delimited(Protocol::Json),
        }
    }

    /// Hands a new connection to a shard. Returns its output.
    fn open(&self, form: Form, first: Bytes, parts: &Parts) -> Result<Body, NotAdmitted> {
        let hub = &self.inner.hub;
        admit(&self.inner)?;
        let handshake = Handshake {
            headers: parts.headers.clone(),
            uri: parts.uri.clone(),
            credentials: parts.extensions.get::<Credentials>().cloned(),
            peer: parts.extensions.get::<SocketAddr>().copied(),
            extension: parts.extensions.get::<Extension>().cloned(),
        };
        let id = hub.entropy.client_id();
        let shard = hub.place(id);
        let (writer, body) = pipe(&hub.inboxes[shard]);
        if matches!(self.transport, Transport::Sse | Transport::UniSse) {
            writer.begin_with(Bytes::from_static(PREAMBLE));
        }
        let accepted = Accepted {
            id,
            form,
            transport: self.transport,
            handshake: Arc::new(handshake),
            frame_pings: false,
            secret: Some(Secret::new(hub.entropy.bytes())),
            io: Io::Body(writer),
            leftover: first,
        };
        hub.accept_at(shard, accepted);
        Ok(Body::pulled(body))
    }

    fn response(&self, form: Form, body: Body) -> Response<Body> {
        let kind = match self.transport {
            Transport::Sse | Transport::UniSse => "text/event-stream; charset=utf-8",
            _ if form.dialect().encoding() == Protocol::Protobuf => PROTOBUF,
            _ => "text/plain; charset=utf-8",
        };
        let mut response = Response::new(body);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(
            CACHE_CONTROL,
            HeaderValue::from_static("private, no-cache, no-store, must-revalidate, max-age=0"),
        );
        headers.insert(ACCEL_BUFFERING, HeaderValue::from_static("no"));
        response
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
