//! SockJS: WebSocket, HTTP streaming, server-sent events and polling behind one path, for pages that load npm
//! `sockjs-client`. A tower service.
//!
//! A client chooses the name of its session and puts it into the path of each request: `/<server>/<session>/<transport>`.
//! The response of a stream ends after 128 KiB, and that of a poll with the first messages; the next one goes on with the
//! session. In between, output waits in the body that the last response gave back. What does not fit there stays in the
//! outbox of the connection, as with any slow reader.

mod pages;
mod response;
mod sessions;

use super::admit::{NotAdmitted, admit};
use super::body::Body;
use super::websocket::WebSocket;
use super::{plain, whole};
use crate::hooks::Handshake;
use crate::identity::{Credentials, Extension, Transport};
use crate::mailbox::accepted::{Accepted, Io};
use crate::mailbox::inbox::Entry;
use crate::mailbox::pipe::pipe;
use crate::node::threads::Threads;
use crate::node::{Inner, Node};
use crate::session_id::Secret;
use bytes::Bytes;
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Body as HttpBody;
use response::Carrier;
pub(super) use response::Output;
use sessions::{Found, Session, Sessions};
use spinward_wire::framing::sockjs::unpack;
use std::convert::Infallible;
use std::error::Error;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

/// Time that messages may wait for room in the inbox of a shard (503).
const PATIENCE: Duration = Duration::from_secs(5);
/// Most bytes of a name in a path. npm `sockjs-client` has eight.
const LONGEST_NAME: usize = 64;
/// URL of npm `sockjs-client`, for the pages that it opens in frames.
const SCRIPT: &str = "https://cdn.jsdelivr.net/npm/sockjs-client@1.6.1/dist/sockjs.min.js";

/// Serves SockJS. JSON only.
///
/// The paths of its requests are taken as they come behind the place where it is mounted, such as axum's `nest_service`
/// leaves them. Of the extensions of a request the hooks see those that they see of a WebSocket handshake; answers to
/// CORS preflights and a check of the origin are the host's.
#[derive(Clone)]
pub struct SockJs {
    inner: Arc<Inner>,
    /// A mounted service keeps its node going.
    _threads: Arc<Threads>,
    websocket: WebSocket,
    sessions: Arc<Sessions>,
    script: Arc<str>,
}

impl Node {
    /// The SockJS service of this node.
    #[must_use]
    pub fn sockjs(&self) -> SockJs {
        SockJs {
            inner: Arc::clone(&self.inner),
            _threads: Arc::clone(&self.threads),
            websocket: self.websocket(),
            sessions: Arc::new(Sessions::new(&self.inner)),
            script: SCRIPT.into(),
        }
    }
}

/// The resource that a path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place<'p> {
    Greeting,
    Info,
    Frame,
    /// A WebSocket with messages as they are.
    RawWebSocket,
    /// One with SockJS frames.
    WebSocket,
    Output(Carrier, &'p str),
    Input(&'p str),
}

impl<'p> Place<'p> {
    fn of(path: &'p str) -> Option<Self> {
        let path = path.strip_prefix('/').unwrap_or(path);
        let is_name = |name: &str| !name.is_empty() && name.len() <= LONGEST_NAME && !name.contains('.');
        let mut parts = path.split('/');
        match (parts.next()?, parts.next(), parts.next(), parts.next()) {
            ("", None, ..) => Some(Self::Greeting),
            ("info", None, ..) => Some(Self::Info),
            ("websocket", None, ..) => Some(Self::RawWebSocket),
            (page, None, ..) if page.starts_with("iframe") && page.ends_with(".html") => Some(Self::Frame),
            (server, Some(session), Some(transport), None) if is_name(server) && is_name(session) => {
                Some(match transport {
                    "websocket" => Self::WebSocket,
                    "xhr" => Self::Output(Carrier::Poll, session),
                    "xhr_streaming" => Self::Output(Carrier::Stream, session),
                    "eventsource" => Self::Output(Carrier::Events, session),
                    "xhr_send" => Self::Input(session),
                    _ => return None,
                })
            }
            _ => None,
        }
    }

    const fn method(self) -> Method {
        match self {
            Self::Output(Carrier::Poll | Carrier::Stream, _) | Self::Input(_) => Method::POST,
            _ => Method::GET,
        }
    }
}

impl SockJs {
    /// Sets the address of npm `sockjs-client` that pages in frames load; a version at jsdelivr.net by default.
    #[must_use]
    pub fn script(mut self, url: &str) -> Self {
        self.script = url.into();
        self
    }

    /// Returns true if a request opens a connection. A host that counts connections counts those.
    #[must_use]
    pub fn opens<B>(&self, request: &Request<B>) -> bool {
        match Place::of(request.uri().path()) {
            Some(Place::WebSocket | Place::RawWebSocket) => true,
            Some(place @ Place::Output(_, name)) => {
                *request.method() == place.method() && !self.sessions.has(name)
            }
            _ => false,
        }
    }

    /// Returns the WebSocket service, and true if messages are in SockJS frames, for a request that asks for one. A host
    /// that negotiates the handshake itself then calls
    /// [`Negotiated::in_sockjs_frames`](super::websocket::Negotiated::in_sockjs_frames).
    #[must_use]
    pub fn websocket(&self, path: &str) -> Option<(&WebSocket, bool)> {
        match Place::of(path)? {
            Place::RawWebSocket => Some((&self.websocket, false)),
            Place::WebSocket => Some((&self.websocket, true)),
            _ => None,
        }
    }

    /// Answers a request, as the tower service does.
    pub async fn answer<B>(self, request: Request<B>) -> Response<Body>
    where
        B: HttpBody<Error: Into<Box<dyn Error + Send + Sync>>>,
    {
        let uri = request.uri().clone();
        let Some(place) = Place::of(uri.path()) else { return plain(StatusCode::NOT_FOUND) };
        let is_page = matches!(place, Place::Greeting | Place::Info | Place::Frame);
        let is_head = *request.method() == Method::HEAD && is_page;
        if *request.method() != place.method() && !is_head {
            return pages::not_allowed(&place.method());
        }
        match place {
            Place::Greeting => pages::greeting(),
            Place::Info => pages::info(self.inner.hub.entropy.number()),
            Place::Frame => pages::frame(&self.script, request.headers()),
            Place::RawWebSocket => from_websocket(self.websocket.upgrade(request)),
            Place::WebSocket => from_websocket(match self.websocket.handshake(&request) {
                Ok(negotiated) => negotiated.in_sockjs_frames().upgrade(request),
                Err(refusal) => refusal,
            }),
            Place::Output(carrier, name) => self.output(carrier, name, &request.into_parts().0).await,
            Place::Input(name) => {
                let Some(session) = self.sessions.find(name) else { return plain(StatusCode::NOT_FOUND) };
                self.input(&session, request.into_body()).await
            }
        }
    }

    /// Answers a request for the output of a session, which it may open.
    async fn output(&self, carrier: Carrier, name: &str, parts: &Parts) -> Response<Body> {
        let found = match self.sessions.find(name) {
            Some(session) => session,
            None => match self.open(carrier, name, parts) {
                Ok(session) => session,
                Err(refused) => return from_websocket(refused.response()),
            },
        };
        match found.take_output(carrier.form()) {
            Some(waiting) => {
                let mut output = Output::new(carrier, found, waiting, Arc::clone(&self.sessions));
                if carrier == Carrier::Poll {
                    output.until_ready().await;
                }
                pages::output(carrier, Body::sockjs(output))
            }
            None => pages::output(
                carrier,
                Body::from(Full::from(carrier.close(2010, "Another connection still open"))),
            ),
        }
    }

    /// Opens a session: a connection that is handed to a shard. If another request was quicker, its session is taken.
    fn open(&self, carrier: Carrier, name: &str, parts: &Parts) -> Result<Arc<Session>, NotAdmitted> {
        let hub = &self.inner.hub;
        let id = hub.entropy.client_id();
        let shard = hub.place(id);
        let secret = Secret::new(hub.entropy.bytes());
        let form = carrier.form();
        let found = self.sessions.insert(name, || {
            admit(&self.inner)?;
            let (writer, body) = pipe(&hub.inboxes[shard]);
            Ok((Session::new(name, form, secret, body), writer))
        })?;
        let (session, writer) = match found {
            Found::New(session, writer) => (session, writer),
            Found::Old(session) => return Ok(session),
        };
        let handshake = Handshake {
            headers: parts.headers.clone(),
            uri: parts.uri.clone(),
            credentials: parts.extensions.get::<Credentials>().cloned(),
            peer: parts.extensions.get::<SocketAddr>().copied(),
            extension: parts.extensions.get::<Extension>().cloned(),
        };
        let accepted = Accepted {
            id,
            form,
            transport: Transport::SockJs,
            handshake: Arc::new(handshake),
            frame_pings: false,
            secret: Some(secret),
            close_code: None,
            io: Io::Body(writer),
            first: None,
            leftover: Bytes::new(),
            verdict: None,
            resume: None,
        };
        hub.accept_at(shard, accepted);
        Ok(session)
    }

    /// Takes messages to their connection.
    async fn input<B>(&self, session: &Session, body: B) -> Response<Body>
    where
        B: HttpBody<Error: Into<Box<dyn Error + Send + Sync>>>,
    {
        let hub = &self.inner.hub;
        // Each quote of a message has a backslash before it in its string.
        let most = 2 * hub.config.message_size_limit as usize + 1024;
        let mut packed = match whole(body, most).await {
            Ok(body) => Vec::from(body),
            Err(status) => return plain(status),
        };
        if packed.is_empty() {
            return pages::fault("Payload expected.");
        }
        let Ok(len) = unpack(&mut packed) else { return pages::fault("Broken JSON encoding.") };
        let Some(handle) = session.handle() else { return plain(StatusCode::NOT_FOUND) };
        if len > 0 {
            let Some(inbox) = hub.inboxes.get(handle.shard()) else { return plain(StatusCode::NOT_FOUND) };
            if tokio::time::timeout(PATIENCE, inbox.wait_for_capacity()).await.is_err() {
                return plain(StatusCode::SERVICE_UNAVAILABLE);
            }
            packed.truncate(len);
            packed.shrink_to_fit();
            hub.send(
                handle.shard(),
                Entry::Input { handle, secret: session.secret(), message: packed.into() },
            );
        }
        pages::received()
    }
}

fn from_websocket(response: Response<Full<Bytes>>) -> Response<Body> {
    response.map(Body::from)
}

impl<B> tower_service::Service<Request<B>> for SockJs
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        let long = "x".repeat(LONGEST_NAME + 1);
        for (path, place) in [
            ("", Some(Place::Greeting)),
            ("/", Some(Place::Greeting)),
            ("/info", Some(Place::Info)),
            ("/iframe.html", Some(Place::Frame)),
            ("/iframe-1.6.1.html", Some(Place::Frame)),
            ("/iframe", None),
            ("/websocket", Some(Place::RawWebSocket)),
            ("/000/abc/websocket", Some(Place::WebSocket)),
            ("/000/abc/xhr", Some(Place::Output(Carrier::Poll, "abc"))),
            ("/000/abc/xhr_streaming", Some(Place::Output(Carrier::Stream, "abc"))),
            ("/000/abc/eventsource", Some(Place::Output(Carrier::Events, "abc"))),
            ("/000/abc/xhr_send", Some(Place::Input("abc"))),
            ("/000/abc/jsonp", None),
            ("/000/abc/xhr/", None),
            ("/000/abc", None),
            ("/000//xhr", None),
            ("//abc/xhr", None),
            ("/00.0/abc/xhr", None),
            ("/000/ab.c/xhr", None),
            (&format!("/000/{long}/xhr"), None),
            ("/info/", None),
        ] {
            assert_eq!(Place::of(path), place, "{path}");
        }
    }
}
