//! Connections that count, and whose request is being answered.

use super::body::Body;
use super::plain;
use super::refusals::Refusals;
use super::stream_head::{StreamHead, refusal_head};
use super::tunnel::Tunnel;
use crate::event_id::Positions;
use crate::hooks::Handshake;
use crate::identity::Transport;
use crate::layer::{Layer, Parts};
use crate::mailbox::accepted::{Accepted, Io, Stream, Verdict};
use crate::mailbox::pipe::pipe;
use crate::node::Inner;
use crate::session_id::Secret;
use bytes::Bytes;
use http::header::{
    CONNECTION, HeaderMap, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS,
    SEC_WEBSOCKET_PROTOCOL, UPGRADE,
};
use http::{Response, StatusCode};
use http_body_util::Full;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use spinward_wire::Form;
use spinward_wire::code::DisconnectCode;
use spinward_wire::ws::extensions::Agreed;
use spinward_wire::ws::request;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::sync::oneshot;

/// A connection that counts, and whose request is being answered. Dropped, it no longer counts.
pub struct Admitted {
    pub(super) inner: Arc<Inner>,
    pub(super) answer: Answer,
    pub(super) form: Form,
    pub(super) transport: Transport,
    pub(super) frame_pings: bool,
    /// The message that came with the request.
    pub(super) first: Option<Bytes>,
    pub(super) resume: Option<Box<Positions>>,
    /// Taken by the shard.
    pub(super) handshake: Option<Arc<Handshake>>,
}

/// The response to the request that a connection begins with.
pub(super) enum Answer {
    /// It switches to WebSocket.
    ///
    /// The key is absent in HTTP/2, which switches by 200.
    Switch { accept: Option<String>, subprotocol: Option<&'static str>, deflate: Option<Agreed> },
    /// It is a stream, or a status where there is one for the code that the login fails with.
    Stream { head: StreamHead, refusals: Option<Arc<Refusals>> },
}

impl Admitted {
    /// The head of the response as bytes, for a host that writes it itself. It is empty where the response depends on the
    /// login: then the shard writes it.
    #[must_use]
    pub fn head(&self) -> String {
        match &self.answer {
            Answer::Switch { accept, subprotocol, deflate } => request::response(
                accept.as_deref().unwrap_or_default(),
                *subprotocol,
                deflate.map(Agreed::response),
            ),
            Answer::Stream { head, refusals: None } => head.text(self.inner.hub.clock.now()),
            Answer::Stream { refusals: Some(_), .. } => String::new(),
        }
    }

    /// The response that switches to WebSocket, for an HTTP server to send: 101, or 200 in HTTP/2.
    ///
    /// The response of a stream is [`Admitted::respond`].
    #[must_use]
    pub fn response(&self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::default());
        let Answer::Switch { accept, subprotocol, deflate } = &self.answer else { return response };
        if let Some(accept) = accept {
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            let headers = response.headers_mut();
            headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
            headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
            if let Ok(accept) = HeaderValue::from_str(accept) {
                headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
            }
        }
        let headers = response.headers_mut();
        if let Some(subprotocol) = subprotocol {
            headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(subprotocol));
        }
        if let Some(deflate) = deflate {
            headers.insert(SEC_WEBSOCKET_EXTENSIONS, HeaderValue::from_static(deflate.response()));
        }
        response
    }

    /// Returns true for a WebSocket in a stream of HTTP/2.
    pub(super) const fn is_tunnel(&self) -> bool {
        matches!(self.answer, Answer::Switch { accept: None, .. })
    }

    /// Returns true if the response is a stream, and not a switch to WebSocket.
    #[must_use]
    pub const fn is_stream(&self) -> bool {
        matches!(self.answer, Answer::Stream { .. })
    }

    /// Adds headers to the response of a stream, whatever it will be.
    pub fn add_headers(&mut self, further: HeaderMap) {
        if let Answer::Stream { head, .. } = &mut self.answer {
            head.add(further);
        }
    }

    /// Hands the connection to a shard, once the response is sent. `leftover` was read from the socket behind the request's
    /// head.
    pub fn serve(self, stream: std::net::TcpStream, leftover: Bytes) {
        self.hand_over(Io::Tcp(stream), leftover);
    }

    /// The same for a socket under a layer such as TLS. `leftover` comes before what the layer has opened already.
    pub fn serve_layered(self, parts: Parts<std::net::TcpStream, Box<dyn Layer>>, leftover: Bytes) {
        self.hand_over(Io::Layered(Box::new(parts)), leftover);
    }

    /// The same for any other byte stream, whose bytes a task on a shard moves.
    pub fn serve_stream(self, stream: impl Stream, leftover: Bytes) {
        self.hand_over(Io::Stream(Box::new(stream)), leftover);
    }

    /// The same for a stream of HTTP/2 that was upgraded. `guard` is dropped when the connection is over.
    pub fn serve_tunnel(self, upgraded: Upgraded, guard: impl Send + Unpin + 'static) {
        let stream = Tunnel { stream: TokioIo::new(upgraded), _guard: guard };
        self.serve_stream(stream, Bytes::new());
    }

    pub(super) fn hand_over(mut self, io: Io, leftover: Bytes) {
        let Some(mut accepted) = self.accepted(io, leftover) else { return };
        if let Answer::Stream { head, refusals: Some(refusals) } = &self.answer {
            accepted.verdict = Some(written(head, Arc::clone(refusals), &self.inner));
        }
        self.inner.hub.accept(accepted);
    }

    /// Hands the connection to a shard, which writes to the body of the response.
    pub async fn respond(mut self) -> Response<Body> {
        let hub = Arc::clone(&self.inner.hub);
        let Some(mut accepted) = self.accepted(Io::Stream(Box::new(tokio::io::empty())), Bytes::new()) else {
            return plain(StatusCode::INTERNAL_SERVER_ERROR);
        };
        let shard = hub.place(accepted.id);
        let (writer, body) = pipe(&hub.inboxes[shard]);
        let Answer::Stream { head, refusals } = &self.answer else {
            return plain(StatusCode::INTERNAL_SERVER_ERROR);
        };
        if !head.preamble().is_empty() {
            writer.begin_with(Bytes::from_static(head.preamble()));
        }
        accepted.io = Io::Body(writer);
        let Some(refusals) = refusals else {
            hub.accept_at(shard, accepted);
            return head.response(Body::pulled(body));
        };
        let (verdict, decided) = oneshot::channel();
        accepted.verdict = Some(Box::new(move |outcome| {
            // Otherwise the requester is gone.
            let _ = verdict.send(outcome.map_err(Clone::clone));
            Bytes::new()
        }));
        hub.accept_at(shard, accepted);
        match decided.await {
            Ok(Ok(())) => head.response(Body::pulled(body)),
            Ok(Err(code)) => head.refusal(refusals.of(&code)),
            Err(_) => plain(StatusCode::SERVICE_UNAVAILABLE),
        }
    }

    fn accepted(&mut self, io: Io, leftover: Bytes) -> Option<Accepted> {
        let handshake = self.handshake.take()?;
        let entropy = &self.inner.hub.entropy;
        // The connect push of a unidirectional client has a session too, as in Centrifugo v6.9.
        let has_session = self.transport.is_emulated() || self.form.dialect().is_unidirectional();
        Some(Accepted {
            id: entropy.client_id(),
            form: self.form,
            transport: self.transport,
            handshake,
            frame_pings: self.frame_pings,
            secret: has_session.then(|| Secret::new(entropy.bytes())),
            close_code: None,
            io,
            first: self.first.take(),
            leftover,
            verdict: None,
            resume: self.resume.take(),
        })
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        if self.handshake.is_some() {
            self.inner.hub.metrics.connections.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Writes the head of the response once the login is decided.
fn written(head: &StreamHead, refusals: Arc<Refusals>, node: &Inner) -> Verdict {
    let clock = node.hub.clock.clone();
    let text = head.text(clock.now());
    let further = head.further().clone();
    Box::new(move |outcome: Result<(), &DisconnectCode>| match outcome {
        Ok(()) => text.into(),
        Err(code) => refusal_head(&further, refusals.of(code), clock.now()).into(),
    })
}
