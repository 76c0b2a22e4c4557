//! Sockets to servers: TCP, Unix, and TLS above TCP.

use super::config::{Access, Endpoint};
use super::error::Error;
use rustls::pki_types::ServerName;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A connected socket.
pub(crate) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Runs something within a time, whose end is an error of the connection.
pub(crate) async fn within<T>(
    time: Duration,
    endpoint: &Endpoint,
    what: &'static str,
    done: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    match timeout(time, done).await {
        Ok(result) => result,
        Err(_) => Err(Error::io(endpoint, io::ErrorKind::TimedOut, what)),
    }
}

impl Socket {
    /// Connects. The caller bounds the time.
    pub(crate) async fn connect(endpoint: &Endpoint, access: &Access) -> Result<Self, Error> {
        let failed = |error| Error::connection(endpoint, error);
        let (host, port) = match endpoint {
            Endpoint::Unix(path) => return UnixStream::connect(path).await.map(Self::Unix).map_err(failed),
            Endpoint::Tcp(host, port) => (host, *port),
        };
        let stream = TcpStream::connect((&**host, port)).await.map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        let Some(tls) = &access.tls else { return Ok(Self::Tcp(stream)) };
        let name = tls.server_name.as_deref().unwrap_or(host).to_owned();
        let name = ServerName::try_from(name).map_err(|error| Error::connection(endpoint, error))?;
        let secured = TlsConnector::from(Arc::clone(&tls.config)).connect(name, stream).await;
        secured.map(|stream| Self::Tls(Box::new(stream))).map_err(failed)
    }
}

macro_rules! each {
    ($socket:expr, $stream:ident => $call:expr) => {
        match $socket.get_mut() {
            Socket::Tcp($stream) => $call,
            Socket::Unix($stream) => $call,
            Socket::Tls($stream) => $call,
        }
    };
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        each!(self, stream => Pin::new(stream).poll_read(cx, buffer))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        each!(self, stream => Pin::new(stream).poll_write(cx, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => Pin::new(stream).poll_shutdown(cx))
    }
}
