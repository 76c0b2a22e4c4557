//! TCP sockets that the runtime does not watch until they have to be waited for.

use socket2::SockRef;
use std::io::{self, IoSlice, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Calls that an unwatched socket answers. A peer that always has more ready is watched then, because the runtime
/// gives other tasks their turn when a watched socket is read.
const CALLS: u8 = 8;

/// A TCP socket.
///
/// Nearly every connection begins with a WebSocket handshake that is there when the connection is accepted, and leaves for
/// a shard once it is answered. Until then it is not worth two system calls and an entry of the runtime to watch it.
pub(crate) struct Socket(State);

enum State {
    Unwatched {
        socket: std::net::TcpStream,
        calls: u8,
    },
    Watched(TcpStream),
    /// Watching failed, which has been reported.
    Failed,
}

impl Socket {
    /// Takes over a socket, which must be non-blocking.
    pub(super) const fn new(socket: std::net::TcpStream) -> Self {
        Self(State::Unwatched { socket, calls: 0 })
    }

    /// The bare socket, which is non-blocking.
    ///
    /// # Errors
    /// The runtime could not watch it, or does not give it back.
    pub(super) fn into_std(self) -> io::Result<std::net::TcpStream> {
        match self.0 {
            State::Unwatched { socket, .. } => Ok(socket),
            State::Watched(stream) => stream.into_std(),
            State::Failed => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Sets options of the socket.
    pub(super) fn set(&self, options: impl FnOnce(SockRef<'_>)) {
        match &self.0 {
            State::Unwatched { socket, .. } => options(SockRef::from(socket)),
            State::Watched(stream) => options(SockRef::from(stream)),
            State::Failed => {}
        }
    }

    /// Tries a call without waiting. `None` if the socket is watched, now or already.
    fn attempt<T>(
        &mut self,
        call: impl FnOnce(&mut std::net::TcpStream) -> io::Result<T>,
    ) -> io::Result<Option<T>> {
        if let State::Unwatched { socket, calls } = &mut self.0
            && *calls < CALLS
        {
            *calls += 1;
            match call(socket) {
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                done => return done.map(Some),
            }
        }
        Ok(None)
    }

    /// The watched socket.
    fn watched(&mut self) -> io::Result<Pin<&mut TcpStream>> {
        if let State::Unwatched { .. } = &self.0
            && let State::Unwatched { socket, .. } = std::mem::replace(&mut self.0, State::Failed)
        {
            self.0 = State::Watched(TcpStream::from_std(socket)?);
        }
        match &mut self.0 {
            State::Watched(stream) => Ok(Pin::new(stream)),
            State::Unwatched { .. } | State::Failed => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        match this.attempt(|socket| socket.read(buf.initialize_unfilled()))? {
            Some(count) => {
                buf.advance(count);
                Poll::Ready(Ok(()))
            }
            None => this.watched()?.poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        match this.attempt(|socket| socket.write(buf))? {
            Some(count) => Poll::Ready(Ok(count)),
            None => this.watched()?.poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        match this.attempt(|socket| socket.write_vectored(bufs))? {
            Some(count) => Poll::Ready(Ok(count)),
            None => this.watched()?.poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Nothing is buffered here.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().watched()?.poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    async fn pair() -> (Socket, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (peer, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        (Socket::new(accepted.unwrap().0.into_std().unwrap()), peer.unwrap())
    }

    #[tokio::test]
    async fn what_is_there_is_read_and_answered_unwatched() {
        let (mut socket, mut peer) = pair().await;
        peer.write_all(b"hello").await.unwrap();
        let mut read = [0; 5];
        // The loopback delivers before the write returns.
        socket.read_exact(&mut read).await.unwrap();
        socket.write_all(b"world").await.unwrap();
        assert!(matches!(socket.0, State::Unwatched { .. }));
        peer.read_exact(&mut read).await.unwrap();
        assert_eq!(read, *b"world");
        let bare = socket.into_std().unwrap();
        assert_eq!((&bare).read(&mut read).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }

    #[tokio::test]
    async fn what_has_to_be_waited_for_is_watched() {
        let (mut socket, mut peer) = pair().await;
        let mut read = [0; 5];
        let reading = async {
            socket.read_exact(&mut read).await.unwrap();
            socket.write_all(b"world").await.unwrap();
            socket.shutdown().await.unwrap();
        };
        let writing = async {
            tokio::task::yield_now().await;
            peer.write_all(b"hello").await.unwrap();
            let mut answer = Vec::new();
            peer.read_to_end(&mut answer).await.unwrap();
            answer
        };
        let ((), answer) = tokio::join!(reading, writing);
        assert_eq!((read, answer), (*b"hello", b"world".to_vec()));
        assert!(matches!(socket.0, State::Watched(_)));
        peer.write_all(b"again").await.unwrap();
        socket.into_std().unwrap();
    }

    #[tokio::test]
    async fn a_peer_that_always_has_more_does_not_keep_the_thread() {
        let (mut socket, mut peer) = pair().await;
        peer.write_all(&[7; 100]).await.unwrap();
        for _ in 0..100 {
            assert_eq!(socket.read_u8().await.unwrap(), 7);
        }
        assert!(matches!(socket.0, State::Watched(_)));
    }
}
