//! HTTP/1.1 and 1.0, by hyper.

use super::guard::{Guarded, Requests};
use super::{Answer, Ended, Io, Limits, Peer, Service, from_library};
use http::header::{CONNECTION, HeaderValue};
use http::{Request, StatusCode};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioTimer;
use parking_lot::Mutex;
use spinward::transport::websocket::Admitted;
use spinward::wire::ws::request::MAX_HEAD;
use std::convert::Infallible;
use std::sync::Arc;
use tokio::sync::watch;

/// Headers of a request that hyper reads where a first request may have more than the usual number. It allocates room
/// for so many at each request.
const MAX_HEADERS: usize = 256;

/// Serves requests by hyper until either end closes.
pub(super) async fn serve<I: Io, S: Service>(
    stream: Guarded<I>,
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
    if stream.may_have_many_headers() {
        http.max_headers(MAX_HEADERS);
    }
    let connection = http.serve_connection(stream, answering).with_upgrades();
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

/// Accepts a handshake that hyper has read, and hands the stream to a shard once the response is sent.
pub(super) fn upgrade<I: Io>(mut request: Request<Incoming>, admitted: Admitted) -> Answer {
    let response = from_library(admitted.response());
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let upgraded = match upgrade.await {
            Ok(upgraded) => upgraded,
            Err(error) => {
                return tracing::debug!(%error, "client disconnected during the WebSocket handshake");
            }
        };
        match upgraded.downcast::<Guarded<I>>() {
            Ok(parts) => {
                if let Err(error) = parts.io.released().hand_over(admitted, parts.read_buf) {
                    tracing::warn!(%error, "cannot hand a socket to a shard");
                }
            }
            Err(_) => tracing::error!("upgraded connection of an unknown type"),
        }
    });
    response
}
