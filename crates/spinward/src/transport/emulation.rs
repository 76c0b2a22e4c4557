//! Messages of clients whose output comes by HTTP streaming or server-sent events: a tower service.

use super::body::Body;
use super::http_stream::PROTOBUF;
use super::{empty, whole};
use crate::node::input::{Elsewhere, input};
use crate::node::threads::Threads;
use crate::node::{Inner, Node};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap};
use http::{Method, Request, Response, StatusCode};
use hyper::body::Body as HttpBody;
use spinward_wire::framing::Emulated;
use spinward_wire::{Protocol, decode_emulation};
use std::convert::Infallible;
use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// Takes messages of clients to their connections.
///
/// A request names a connection by the node and the session of its connect reply. One for another node of the cluster is
/// passed on to it; a node that is not known is answered with 404, one that does not confirm in time with 503. A session
/// that has ended, or never was one, is not told from others: the answer is 204.
#[derive(Clone)]
pub struct Emulation {
    inner: Arc<Inner>,
    /// A mounted service keeps its node going.
    threads: Arc<Threads>,
    max_body: usize,
}

impl Node {
    /// The service for the messages of clients of [`Node::http_stream`] and [`Node::sse`].
    #[must_use]
    pub fn emulation(&self) -> Emulation {
        Emulation {
            inner: Arc::clone(&self.inner),
            threads: Arc::clone(&self.threads),
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

    /// The most bytes that the body of a request may have.
    #[must_use]
    pub const fn body_limit(&self) -> usize {
        self.max_body
    }

    /// Takes the body of a request to the connection that it names. Returns the status to answer with.
    pub async fn take(&self, headers: &HeaderMap, body: &[u8]) -> StatusCode {
        let protocol = match headers.get(CONTENT_TYPE) {
            Some(kind) if kind == PROTOBUF => Protocol::Protobuf,
            _ => Protocol::Json,
        };
        match decode_emulation(protocol, body) {
            Ok(request) => self.pass_on(request).await,
            Err(_) => StatusCode::BAD_REQUEST,
        }
    }

    async fn answer<B>(self, request: Request<B>) -> StatusCode
    where
        B: HttpBody<Error: Into<Box<dyn Error + Send + Sync>>>,
    {
        let (parts, body) = request.into_parts();
        if parts.method != Method::POST {
            return StatusCode::METHOD_NOT_ALLOWED;
        }
        match whole(body, self.max_body).await {
            Ok(body) => self.take(&parts.headers, &body).await,
            Err(status) => status,
        }
    }

    async fn pass_on(&self, request: Emulated) -> StatusCode {
        let own = request.node == self.inner.hub.node.to_string();
        let Some(message) = request.message else {
            return if own { StatusCode::NO_CONTENT } else { StatusCode::NOT_FOUND };
        };
        // A body holds its commands and little else: a copy, so that the rest is not kept with them.
        let message = Bytes::copy_from_slice(&message);
        if !own {
            let node = Node { inner: Arc::clone(&self.inner), threads: Arc::clone(&self.threads) };
            return match node.input_elsewhere(&request.node, request.session, message).await {
                Ok(()) => StatusCode::NO_CONTENT,
                Err(Elsewhere::Unknown) => StatusCode::NOT_FOUND,
                Err(Elsewhere::TooLong) => StatusCode::PAYLOAD_TOO_LARGE,
                Err(Elsewhere::Unconfirmed) => StatusCode::SERVICE_UNAVAILABLE,
            };
        }
        match input(&self.inner.hub, &request.session, message).await {
            Ok(()) => StatusCode::NO_CONTENT,
            Err(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
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
        Box::pin(async move { Ok(empty(service.answer(request).await)) })
    }
}
