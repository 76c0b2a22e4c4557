//! A session, from the handshake of QUIC until a shard has its stream.

use super::stream::Stream;
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use spinward::transport::opening::Opening;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, watch};
use wtransport::endpoint::{IncomingSession, SessionRequest};

/// Time for the handshake of QUIC and the request for a session together, and for the stream after it.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A request for a session.
pub(crate) struct Request {
    pub(crate) peer: SocketAddr,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
}

/// Outcome of a request for a session.
pub(crate) enum Opened {
    Accepted(Opening),
    /// No session is at this path.
    NotFound,
    /// The origin may not connect.
    Forbidden,
    /// The server is at a limit.
    Refused,
}

/// The application behind a port.
pub(crate) trait Sessions: Send + Sync + 'static {
    /// Opens a session.
    fn open(&self, request: Request) -> Opened;
}

/// Serves one connection until a shard has its stream, or it has ended.
pub(super) async fn serve<S: Sessions>(
    incoming: IncomingSession,
    permit: OwnedSemaphorePermit,
    sessions: Arc<S>,
    mut stop: watch::Receiver<bool>,
) {
    let peer = incoming.remote_address();
    tokio::select! {
        ended = session(incoming, permit, sessions, stop.clone()) => {
            if let Err(error) = ended {
                tracing::debug!(%error, %peer, "WebTransport session ended early");
            }
        }
        _ = stop.changed() => {}
    }
}

type Ended = Result<(), Box<dyn std::error::Error + Send + Sync>>;

async fn session<S: Sessions>(
    incoming: IncomingSession,
    permit: OwnedSemaphorePermit,
    sessions: Arc<S>,
    stop: watch::Receiver<bool>,
) -> Ended {
    let request = tokio::time::timeout(TIMEOUT, incoming).await??;
    drop(permit);
    let opened = asked(&request).map_or(Opened::NotFound, |asked| sessions.open(asked));
    let mut opening = match opened {
        Opened::Accepted(opening) => opening,
        Opened::NotFound => return refuse(request.not_found()).await,
        Opened::Forbidden => return refuse(request.forbidden()).await,
        Opened::Refused => return refuse(request.too_many_requests()).await,
    };
    let connection = request.accept().await?;
    let (send, receive) = tokio::time::timeout(TIMEOUT, connection.accept_bi()).await??;
    let code = opening.close_code();
    opening.serve(Stream::new(connection, send, receive, code, stop));
    Ok(())
}

/// Sends a refusal, to a peer that may not read it.
async fn refuse(answer: impl Future<Output = ()>) -> Ended {
    Ok(tokio::time::timeout(TIMEOUT, answer).await?)
}

/// `None` for a target that is not a path.
fn asked(request: &SessionRequest) -> Option<Request> {
    let peer = request.remote_address();
    let mut headers = HeaderMap::new();
    for (name, value) in request.headers() {
        // Pseudo-headers do not parse.
        let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), value.parse::<HeaderValue>()) else {
            continue;
        };
        headers.append(name, value);
    }
    Some(Request {
        // A socket of both families has IPv4 clients as ::ffff:1.2.3.4.
        peer: SocketAddr::new(peer.ip().to_canonical(), peer.port()),
        uri: request.path().parse().ok()?,
        headers,
    })
}
