//! HTTP connections: accepting them, the limits of each, and the two ways it can go.
//!
//! The first request of a connection is read here. If it opens a WebSocket, it is answered here and the bare socket
//! goes to a shard: see [`first`]. Every other connection is hyper's, behind a [`Guarded`] socket that ends it where
//! the peer makes no progress.

mod body;
mod first;
mod guard;
mod listen;
#[cfg(test)]
mod tests;

pub(crate) use body::{spend, whole};
pub(crate) use listen::{accept, listen, open_files_limit};

use crate::admission::{Entrance, Refused};
use crate::api::http::Answer;
use first::First;
use guard::{Guarded, Requests};
use http::header::{CONNECTION, HeaderValue};
use http::{Request, StatusCode};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioTimer;
use parking_lot::Mutex;
use socket2::SockRef;
use spinward::transport::websocket::Admitted;
use spinward::wire::ws::request::{Head, MAX_HEAD};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::watch;

/// Headers of a request that hyper reads where a first request may have more than [`USUAL_HEADERS`]. It allocates room
/// for so many at each request.
const MAX_HEADERS: usize = 256;

/// Headers that hyper reads without that.
const USUAL_HEADERS: usize = 100;

/// Bytes that the system buffers of the answers to a peer.
const SEND_BUFFER: usize = 64 << 10;

/// Limits of an HTTP connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Time the head of a request may take, from its first byte; and the first head, from the start.
    pub(crate) head: Duration,
    /// Time a connection may be idle between two requests.
    pub(crate) idle: Duration,
    /// Time a peer may accept nothing of what is sent to it.
    pub(crate) write: Duration,
    /// Requests that a connection serves before it is closed.
    pub(crate) requests: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(10),
            idle: Duration::from_secs(45),
            write: Duration::from_secs(10),
            requests: 100_000,
        }
    }
}

/// The other end of a connection.
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    /// Permits that the connection counts by, where its port counts connections.
    pub(crate) entrance: Mutex<Option<Entrance>>,
}

/// The outcome of a first request that asks for an upgrade.
pub(crate) enum Opened {
    /// It is answered as any other request.
    Pass,
    /// It is answered with this, and the connection closed.
    Refused(Answer),
    /// It is a WebSocket handshake, to be accepted.
    Accepted(Box<Admitted>),
}

/// The application behind a port.
pub(crate) trait Service: Send + Sync + 'static {
    /// Counts a connection in.
    fn enter(&self, peer: SocketAddr) -> Result<Option<Entrance>, Refused>;

    /// Opens a WebSocket for the first request of a connection.
    fn open(&self, head: &Head<'_>, peer: &Peer) -> Opened;

    /// Answers a request.
    fn answer(&self, request: Request<Incoming>, peer: &Peer) -> impl Future<Output = Answer> + Send;
}

/// Serves one connection to its end. With `refusal`, that is the answer to its first request.
async fn connection<S: Service>(
    stream: TcpStream,
    peer: Peer,
    service: Arc<S>,
    limits: Limits,
    refusal: Option<Answer>,
    mut stop: watch::Receiver<bool>,
) {
    // Without it the connection is slower, no worse.
    let _ = stream.set_nodelay(true);
    let begun = match refusal {
        Some(refusal) => Ok(First::Http { begun: Vec::new(), refusal: Some(refusal) }),
        None => tokio::select! {
            first = first::read(&stream, &peer, &*service, limits.head) => first,
            _ = stop.changed() => return,
        },
    };
    let address = peer.address;
    let ended = match begun {
        Ok(First::WebSocket { admitted, leftover }) => {
            first::accept(stream, *admitted, leftover, limits.write).await
        }
        Ok(First::Http { begun, refusal }) => {
            let requests = Arc::new(Requests::default());
            bound(&stream, limits.write);
            let socket = Guarded::new(stream, begun, limits, Arc::clone(&requests));
            Box::pin(serve(socket, peer, service, (limits, requests), refusal, stop)).await
        }
        Err(error) => Err(error.into()),
    };
    if let Err(error) = ended {
        tracing::debug!(%error, peer = %address, "HTTP connection ended early");
    }
}

/// Has the system hold no more than a few answers for a peer that does not read, and give the connection up after
/// `limit`. Without that its buffers take megabytes before a write fails.
fn bound(stream: &TcpStream, limit: Duration) {
    let socket = SockRef::from(stream);
    // What the system does not offer is left to the guard alone.
    let _ = socket.set_send_buffer_size(SEND_BUFFER);
    #[cfg(target_os = "linux")]
    let _ = socket.set_tcp_user_timeout(Some(limit));
}

type Ended = Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// Serves requests by hyper until either end closes.
async fn serve<S: Service>(
    socket: Guarded,
    peer: Peer,
    service: Arc<S>,
    (limits, requests): (Limits, Arc<Requests>),
    refusal: Option<Answer>,
    mut stop: watch::Receiver<bool>,
) -> Ended {
    let peer = Arc::new(peer);
    let refusal = Arc::new(Mutex::new(refusal));
    let answering = service_fn(move |request| {
        let (service, peer) = (Arc::clone(&service), Arc::clone(&peer));
        let (requests, refusal) = (Arc::clone(&requests), refusal.lock().take());
        // At once, so that what the guard reads next is not taken for the head of another request.
        let count = requests.begin();
        async move {
            let last = count >= limits.requests || refusal.is_some();
            let mut answer = match refusal {
                Some(refusal) => refusal,
                None => service.answer(request, &peer).await,
            };
            requests.end(answer.status() == StatusCode::SWITCHING_PROTOCOLS);
            if last && answer.status() != StatusCode::SWITCHING_PROTOCOLS {
                answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(answer)
        }
    });
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new())
        // Begins with the rest between two requests; the guard sees to the head, from its first byte.
        .header_read_timeout(limits.idle)
        .max_buf_size(MAX_HEAD)
        .title_case_headers(true);
    if socket.may_have_many_headers() {
        http.max_headers(MAX_HEADERS);
    }
    let connection = http.serve_connection(socket, answering).with_upgrades();
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => ended?,
        _ = stop.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await?;
        }
    }
    Ok(())
}

/// Accepts a handshake that hyper has read, and hands the socket to a shard once the response is sent.
pub(crate) fn upgrade(mut request: Request<Incoming>, admitted: Admitted) -> Answer {
    let response = admitted.response();
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let upgraded = match upgrade.await {
            Ok(upgraded) => upgraded,
            Err(error) => {
                return tracing::debug!(%error, "client disconnected during the WebSocket handshake");
            }
        };
        match upgraded.downcast::<Guarded>() {
            Ok(parts) => match parts.io.released().into_std() {
                Ok(stream) => admitted.serve(stream, parts.read_buf),
                Err(error) => tracing::warn!(%error, "cannot hand a socket to a shard"),
            },
            Err(_) => tracing::error!("upgraded connection of an unknown type"),
        }
    });
    response
}
