//! WebSockets in streams of HTTP/2 (RFC 8441).

use http::{Method, Request};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes that are written to a stream at a time. hyper takes three writes of any size before it waits for the peer: what
/// they hold is out of sight of the limits of slow readers.
const PIECE: usize = 4 << 10;

/// Returns true for a request that asks for a WebSocket in a stream of its own.
pub(super) fn is_tunnel<B>(request: &Request<B>) -> bool {
    #[cfg(feature = "http2")]
    let websocket =
        request.extensions().get::<hyper::ext::Protocol>().is_some_and(|name| name.as_str() == "websocket");
    #[cfg(not(feature = "http2"))]
    let websocket = false;
    websocket && request.method() == Method::CONNECT
}

/// An upgraded stream of HTTP/2, of which a peer that does not read holds little.
pub(super) struct Tunnel<G> {
    pub(super) stream: TokioIo<Upgraded>,
    pub(super) _guard: G,
}

impl<G: Unpin> AsyncRead for Tunnel<G> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, into)
    }
}

impl<G: Unpin> AsyncWrite for Tunnel<G> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let piece = &bytes[..bytes.len().min(PIECE)];
        Pin::new(&mut self.stream).poll_write(cx, piece)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
