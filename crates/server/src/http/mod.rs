//! HTTP: listening, connections with the limits of each, and the endpoints behind them.
//!
//! A [`Listener`] gives connections. The first request of each is read here. If it opens a WebSocket, or its response
//! is a stream, it is answered here and the bare stream goes to a shard: see [`first`]. Every other connection is
//! hyper's, by HTTP/1.1 or by HTTP/2 without TLS where the client begins with it and the port allows it, behind a
//! [`Guarded`] stream that ends it where the peer makes no progress. A [`Mount`] says where an endpoint is.

mod accept;
mod cors;
mod first;
mod guard;
mod http1;
mod http2;
mod io;
mod listener;
mod mount;
mod path;
mod proxied;
mod request;
mod response;
mod secure;
#[cfg(test)]
mod tests;

pub(crate) use accept::accept;
pub(crate) use cors::{preflight, share, sharing};
pub(crate) use io::Io;
#[cfg(unix)]
pub(crate) use listener::Unix;
pub(crate) use listener::{Listener, Tcp, open_files_limit};
pub(crate) use mount::{Endpoint, Mount, Port, find};
pub(crate) use path::{bad_host, cleaner, redirect, unescaped};
pub(crate) use proxied::Proxied;
pub(crate) use request::{message, spend, whole};
pub(crate) use response::{
    Answer, Body, BodyError, empty, from_library, from_pulled, plain, plain_line, refused, typed,
};

use crate::admission::{Entrance, Refused};
use bytes::Bytes;
use first::First;
use guard::{Guarded, Requests};
use http::{Request, Version};
use hyper::body::Incoming;
use parking_lot::Mutex;
use spinward::transport::websocket::Admitted;
use spinward::wire::ws::request::Head;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// A future of an endpoint.
pub(crate) type BoxFuture<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Limits of an HTTP connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Time the head of a request may take, from its first byte; and the first head, from the start.
    pub(crate) head: Duration,
    /// The same for the first head, less what a TLS handshake took.
    pub(crate) first_head: Duration,
    /// Time a connection may be idle between two requests.
    pub(crate) idle: Duration,
    /// Time a peer may accept nothing of what is sent to it.
    pub(crate) write: Duration,
    /// Requests that a connection serves before it is closed.
    pub(crate) requests: u32,
    /// HTTP/2 is spoken where the client begins with it.
    pub(crate) http2: bool,
    /// Requests of a connection that are under way at a time, by HTTP/2.
    pub(crate) streams: u32,
    /// Time a peer may make no room for an answer, by HTTP/2, while it reads others.
    pub(crate) answer: Option<Duration>,
    /// Interval of the pings of HTTP/2, and the time to answer one.
    pub(crate) keep_alive: Option<(Duration, Duration)>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(10),
            first_head: Duration::from_secs(10),
            idle: Duration::from_secs(45),
            write: Duration::from_secs(10),
            requests: 100_000,
            http2: false,
            streams: 100,
            answer: Some(Duration::from_secs(10)),
            keep_alive: None,
        }
    }
}

/// The other end of a connection.
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    /// Permits that the connection counts by, where its port counts connections.
    pub(crate) entrance: Mutex<Option<Entrance>>,
    /// The connection is to leave HTTP with this.
    leaving: Mutex<Option<Box<Admitted>>>,
}

impl Peer {
    fn new(address: SocketAddr, entrance: Option<Entrance>) -> Self {
        Self { address, entrance: Mutex::new(entrance), leaving: Mutex::default() }
    }

    /// Accepts a request of a client whose connection, or of HTTP/2 the stream, goes to a shard. By HTTP/1 there is
    /// nothing to wait for: the request is answered by the one who hands the connection over, and this future is dropped.
    pub(crate) async fn leave(&self, request: Request<Incoming>, admitted: Admitted) -> Answer {
        if request.version() == Version::HTTP_2 {
            return http2::upgrade(request, admitted);
        }
        self.leave_http1(admitted).await
    }

    /// The same for one that came by HTTP/1.
    pub(crate) async fn leave_http1(&self, admitted: Admitted) -> Answer {
        *self.leaving.lock() = Some(Box::new(admitted));
        std::future::pending().await
    }

    fn is_leaving(&self) -> bool {
        self.leaving.lock().is_some()
    }

    fn take_leaving(&self) -> Option<Box<Admitted>> {
        self.leaving.lock().take()
    }
}

/// The outcome of a first request that may be one of a client.
pub(crate) enum Opened {
    /// It is answered as any other request.
    Pass,
    /// It is answered with this, and the connection closed.
    Refused(Answer),
    /// It is to be accepted, and the connection leaves HTTP.
    Accepted(Box<Admitted>),
}

/// The application behind a port.
pub(crate) trait Service: Send + Sync + 'static {
    /// Counts a connection in.
    fn enter(&self, peer: SocketAddr) -> Result<Option<Entrance>, Refused>;

    /// Opens a WebSocket for the first request of a connection.
    fn open(&self, head: &Head<'_>, peer: &Peer) -> Opened;

    /// Returns the length of the body of a first request, if its response may be a stream.
    fn expects(&self, _head: &Head<'_>) -> Option<usize> {
        None
    }

    /// Opens a stream for the first request of a connection.
    fn open_stream(&self, _head: &Head<'_>, _body: Bytes, _peer: &Peer) -> Opened {
        Opened::Pass
    }

    /// Answers a request.
    fn answer(&self, request: Request<Incoming>, peer: &Peer) -> impl Future<Output = Answer> + Send;
}

/// Serves one connection to its end. With `refusal`, that is the answer to its first request.
async fn connection<I: Io, S: Service>(
    mut stream: I,
    peer: Peer,
    service: Arc<S>,
    limits: Limits,
    refusal: Option<Refused>,
    mut stop: watch::Receiver<bool>,
) {
    stream.prepare();
    let begun = match refusal {
        Some(cause) => Ok(First::Http { begun: Vec::new(), refusal: Some(refused(cause)) }),
        None => tokio::select! {
            first = first::read(&mut stream, &peer, &*service, limits.first_head) => first,
            _ = stop.changed() => return,
        },
    };
    let address = peer.address;
    let ended = match begun {
        Ok(First::Leaves { admitted, leftover }) => {
            first::accept(stream, *admitted, leftover, limits.write).await
        }
        Ok(First::Http { begun, refusal }) => {
            stream.bound(limits.write);
            if limits.http2 && refusal.is_none() && http2::begins(&begun) {
                let stream = Guarded::new(stream, begun, limits, None);
                Box::pin(http2::serve(stream, peer, service, limits, stop)).await
            } else {
                let requests = Arc::new(Requests::default());
                let stream = Guarded::new(stream, begun, limits, Some(Arc::clone(&requests)));
                Box::pin(http1::serve(stream, peer, service, (limits, requests), refusal, stop)).await
            }
        }
        Err(error) => Err(error.into()),
    };
    if let Err(error) = ended {
        tracing::debug!(%error, peer = %address, "HTTP connection ended early");
    }
}

type Ended = Result<(), Box<dyn std::error::Error + Send + Sync>>;
