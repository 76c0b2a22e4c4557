//! The stream of a session, as a shard reads and writes it.

use super::number;
use spinward::transport::opening::CloseCode;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::runtime::Handle;
use tokio::sync::watch;
use wtransport::{Connection, RecvStream, SendStream};

/// Time that a peer has to read the last bytes and to close, before the connection is.
const CLOSING: Duration = Duration::from_secs(1);

/// The one stream of a session. Dropping it closes the session.
pub(super) struct Stream {
    receive: RecvStream,
    /// Taken when the stream is shut down.
    sending: Option<Sending>,
    runtime: Handle,
}

/// The half of a stream that closes the session.
struct Sending {
    stream: SendStream,
    connection: Connection,
    code: CloseCode,
    /// The server waits at its end until this is dropped.
    _stop: watch::Receiver<bool>,
}

impl Stream {
    /// The stream of a session. Must be called within the runtime.
    pub(super) fn new(
        connection: Connection,
        stream: SendStream,
        receive: RecvStream,
        code: CloseCode,
        stop: watch::Receiver<bool>,
    ) -> Self {
        let sending = Some(Sending { stream, connection, code, _stop: stop });
        Self { receive, sending, runtime: Handle::current() }
    }
}

impl Sending {
    /// Ends the stream, and closes the session once the peer has read the last bytes and had time to close it itself.
    /// Data that has arrived when a session is closed may be lost to the application there.
    async fn finish(mut self) {
        let closed = async {
            if self.stream.finish().await.is_ok() {
                self.connection.closed().await;
            }
        };
        let _ = tokio::time::timeout(CLOSING, closed).await;
        self.close();
    }

    fn close(&self) {
        let (code, reason) = self.code.get().map_or((0, ""), |code| (code.code, code.reason.as_ref()));
        self.connection.close(number(code), reason.as_bytes());
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if let Some(sending) = self.sending.take() {
            sending.close();
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.receive).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.sending {
            Some(sending) => Pin::new(&mut sending.stream).poll_write(cx, bytes),
            None => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(sending) = self.sending.take() {
            self.runtime.spawn(sending.finish());
        }
        Poll::Ready(Ok(()))
    }
}
