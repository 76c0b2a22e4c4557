//! TLS handshakes of new connections.

use super::io::Encrypted;
use super::{Io, Limits, Peer, Service, connection};
use crate::admission::Refused;
use crate::tls::{Handshake, TlsPort};
use spinward::layer::Layered;
use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// Least time for the first head once the handshake is done.
const LEAST_HEAD: Duration = Duration::from_secs(2);

/// Serves one connection over TLS to its end.
pub(super) async fn encrypted<I: Io, S: Service>(
    stream: I,
    tls: Arc<TlsPort>,
    peer: Peer,
    service: Arc<S>,
    limits: Limits,
    refusal: Option<Refused>,
    mut stop: watch::Receiver<bool>,
) {
    stream.prepare();
    // Freed before the connection goes on.
    let begun = Instant::now();
    let shaken = {
        let handshake = Box::pin(shake(stream, &tls, limits.head));
        tokio::select! {
            shaken = handshake => shaken,
            _ = stop.changed() => return,
        }
    };
    match shaken {
        Ok(stream) => {
            // The first head has the time of the handshake too.
            let left = limits.head.saturating_sub(begun.elapsed()).max(LEAST_HEAD.min(limits.head));
            let http2 = match stream.layer().alpn() {
                _ if refusal.is_some() => false,
                Some(name) => name == b"h2",
                None => limits.http2,
            };
            let limits = Limits { http2, first_head: left, ..limits };
            connection(stream, peer, service, limits, refusal, stop).await;
        }
        Err(error) => tracing::debug!(%error, peer = %peer.address, "TLS handshake failed"),
    }
}

/// Does the handshake within a time.
async fn shake<I: Io>(stream: I, tls: &TlsPort, limit: Duration) -> io::Result<Encrypted<I>> {
    let shaking = async {
        let mut stream = Layered::new(stream, tls.layer()?);
        while stream.layer().is_handshaking() {
            poll_fn(|context| stream.poll_advance(context)).await?;
        }
        io::Result::Ok(stream)
    };
    let (result, shaken) = match tokio::time::timeout(limit, shaking).await {
        Ok(Ok(stream)) => {
            (if stream.layer().is_resumed() { Handshake::Resumed } else { Handshake::Full }, Ok(stream))
        }
        Ok(Err(error)) => (Handshake::Failed, Err(error)),
        Err(_) => (Handshake::TimedOut, Err(io::ErrorKind::TimedOut.into())),
    };
    tls.counters.shook(result);
    shaken
}
