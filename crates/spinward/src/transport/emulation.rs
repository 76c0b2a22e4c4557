//! Messages of clients whose output comes by HTTP streaming or server-sent events: a tower service.

use super::body::Body;
use super::http_stream::PROTOBUF;
use super::{plain, whole};
use crate::mailbox::inbox::Entry;
use crate::node::threads::Threads;
use crate::node::{Inner, Node};
use crate::session_id::SessionId;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Method, Request, Response, StatusCode};
use hyper::body::Body as HttpBody;
use spinward_wire::message::EmulationRequest;
use spinward_wire::{Protocol, decode_emulation};
use std::convert::Infallible;
use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

/// Time that a message may wait for room in the inbox of a shard (503).
const PATIENCE: Duration = Duration::from_secs(5);

/// Takes messages of clients to their connections.
///
/// A request names a connection by the node and the session of its connect reply. One for another node is answered with
/// 404. A session that has ended, or never was one, is not told from others: the answer is 204.
#[derive(Clone)]
pub struct Emulation {
    inner: Arc<Inner>,
    /// A mounted service keeps its node going.
    _threads: Arc<Threads>,
    max_body: usize,
}

impl Node {
    /// The service for the messages of clients of [`Node::http_stream`] and [`Node::sse`].
    #[must_use]
    pub fn emulation(&self) -> Emulation {
        Emulation {
            inner: Arc::clone(&self.inner),
            _threads: Arc::clone(&self.threads),
            max_body: super::MAX_BODY,
        }
    }
}

impl Emulation {
    /// Sets the most bytes that the body of a request may have (413); 65,536 by default.
    #[must_use]
    pub const fn max_body(mut self, bytes: usize) -> Self {
        self.max_body = bytes;
        self
    }

    async fn answer<B>(self, request: Request<B>) -> StatusCode
    where
        B: HttpBody<Error: Into<Box<dyn Error + Send + Sync>>>,
    {
        let (parts, body) = request.into_parts();
        if parts.method != Method::POST {
            return StatusCode::METHOD_NOT_ALLOWED;
        }
        let protocol = match parts.headers.get(CONTENT_TYPE) {
            Some(kind) if kind == PROTOBUF => Protocol::Protobuf,
            _ => Protocol::Json,
        };
        let body = match whole(body, self.max_body).await {
            Ok(body) => body,
            Err(status) => return status,
        };
        match decode_emulation(protocol, &body) {
            Ok(request) => self.pass_on(request).await,
            Err(_) => StatusCode::BAD_REQUEST,
        }
    }

    async fn pass_on(&self, request: EmulationRequest) -> StatusCode {
        let hub = &self.inner.hub;
        if request.node != hub.node.to_string() {
            return StatusCode::NOT_FOUND;
        }
        let Ok(SessionId { handle, secret }) = request.session.parse() else { return StatusCode::NO_CONTENT };
        let Some(inbox) = hub.inboxes.get(handle.shard()) else { return StatusCode::NO_CONTENT };
        if tokio::time::timeout(PATIENCE, inbox.wait_for_capacity()).await.is_err() {
            return StatusCode::SERVICE_UNAVAILABLE;
        }
        // A body holds its commands and little else: a copy, so that the rest is not kept with them.
        let message = Bytes::copy_from_slice(&request.data);
        hub.send(handle.shard(), Entry::Input { handle, secret, message });
        StatusCode::NO_CONTENT
    }
}

impl<B> tower_service::Service<Request<B>> for Emulation
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
        Box::pin(async move {
            Ok(match service.answer(request).await {
                StatusCode::NO_CONTENT => {
                    let mut response = Response::new(Body::from(http_body_util::Full::default()));
                    *response.status_mut() = StatusCode::NO_CONTENT;
                    response
                }
                status => plain(status),
            })
        })
    }
}
