//! A layer over any byte stream, as a byte stream.

use super::{Layer, PIECE};
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes received at a time: a full record of TLS and what is around it.
const RECEIVED: usize = PIECE + 512;

/// Sealed bytes that wait for the peer before nothing more is received, since receiving may cause further answers.
const MAX_SEALED: usize = 64 << 10;

/// A byte stream under a layer. It owns no buffer while nothing moves.
pub struct Layered<S, L = Box<dyn Layer>> {
    stream: S,
    layer: L,
    /// Opened and not read yet, from `read` on.
    plain: Vec<u8>,
    read: usize,
    /// Sealed and not sent yet, from `sent` on.
    sealed: Vec<u8>,
    sent: usize,
    /// The stream below has ended, or the layer has.
    ended: bool,
    /// The layer's end is sealed.
    finished: bool,
    /// A violation of the protocol by the peer, told once what was opened before it is read.
    failed: Option<io::Error>,
}

/// A [`Layered`] stream taken apart.
pub struct Parts<S, L> {
    /// The stream below.
    pub stream: S,
    /// The layer.
    pub layer: L,
    /// Plain bytes that were received and not read.
    pub plain: Vec<u8>,
    /// Sealed bytes that were not sent.
    pub sealed: Vec<u8>,
}

impl<S, L: Layer> Layered<S, L> {
    /// Puts a layer over a stream.
    pub const fn new(stream: S, layer: L) -> Self {
        Self {
            stream,
            layer,
            plain: Vec::new(),
            read: 0,
            sealed: Vec::new(),
            sent: 0,
            ended: false,
            finished: false,
            failed: None,
        }
    }

    /// Puts it together again.
    pub fn from_parts(parts: Parts<S, L>) -> Self {
        Self { plain: parts.plain, sealed: parts.sealed, ..Self::new(parts.stream, parts.layer) }
    }

    /// Takes it apart.
    pub fn into_parts(mut self) -> Parts<S, L> {
        self.plain.drain(..self.read);
        self.sealed.drain(..self.sent);
        Parts { stream: self.stream, layer: self.layer, plain: self.plain, sealed: self.sealed }
    }

    /// The stream below.
    pub const fn stream(&self) -> &S {
        &self.stream
    }

    /// The layer.
    pub const fn layer(&self) -> &L {
        &self.layer
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin, L: Layer + Unpin> Layered<S, L> {
    /// Sends what is sealed and receives once, for layers that begin with a handshake.
    ///
    /// # Errors
    /// The stream has failed or ended, or the peer violates the protocol of the layer.
    pub fn poll_advance(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(cx))?;
        let received = ready!(self.poll_receive(cx));
        // Best effort where the layer has failed: the last message says why.
        let sent = self.poll_send(cx);
        received?;
        if let Poll::Ready(Err(error)) = sent {
            return Poll::Ready(Err(error));
        }
        if self.ended && self.plain.is_empty() {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        }
        Poll::Ready(Ok(()))
    }

    /// Receives once.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut buffer = [MaybeUninit::uninit(); RECEIVED];
        let mut received = ReadBuf::uninit(&mut buffer);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut received))?;
        let received = received.filled_mut();
        if received.is_empty() {
            self.ended = true;
            return Poll::Ready(Ok(()));
        }
        let opened = self.layer.open(received, &mut self.plain, &mut self.sealed);
        self.ended |= self.layer.has_ended() || opened.is_err();
        Poll::Ready(opened)
    }

    /// Sends everything that is sealed.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.sealed.len() {
            match ready!(Pin::new(&mut self.stream).poll_write(cx, &self.sealed[self.sent..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.sent += count,
            }
        }
        (self.sealed, self.sent) = (Vec::new(), 0);
        Poll::Ready(Ok(()))
    }

    fn give(&mut self, into: &mut ReadBuf<'_>) -> bool {
        let rest = &self.plain[self.read..];
        let count = rest.len().min(into.remaining());
        into.put_slice(&rest[..count]);
        self.read += count;
        if self.read == self.plain.len() {
            (self.plain, self.read) = (Vec::new(), 0);
        }
        count > 0
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin, L: Layer + Unpin> AsyncRead for Layered<S, L> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            if into.remaining() == 0 || self.give(into) {
                return Poll::Ready(Ok(()));
            }
            if let Some(error) = self.failed.take() {
                return Poll::Ready(Err(error));
            }
            if self.ended {
                return Poll::Ready(Ok(()));
            }
            if self.sealed.len() > MAX_SEALED {
                ready!(self.poll_send(cx))?;
            }
            let received = ready!(self.poll_receive(cx));
            // What does not go out now is sent by the next write.
            let _sent = self.poll_send(cx)?;
            if let Err(error) = received {
                self.failed = Some(error);
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin, L: Layer + Unpin> AsyncWrite for Layered<S, L> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_send(cx))?;
        let this = &mut *self;
        if this.finished {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let piece = &bytes[..bytes.len().min(PIECE)];
        this.layer.seal(piece, &mut this.sealed)?;
        // Taken, whether it goes out now or with the next call.
        let _sent = this.poll_send(cx)?;
        Poll::Ready(Ok(piece.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(cx))?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.finished {
            this.finished = true;
            this.layer.finish(&mut this.sealed);
        }
        ready!(this.poll_send(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
