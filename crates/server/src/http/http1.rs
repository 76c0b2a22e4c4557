//! HTTP/1.1 and 1.0, by hyper.

use super::guard::{Guarded, Requests};
use super::{Answer, Ended, Io, Limits, Peer, Service, first};
use http::header::{CONNECTION, HeaderValue};
use hyper::service::service_fn;
use hyper_util::rt::TokioTimer;
use parking_lot::Mutex;
use spinward::wire::ws::request::MAX_HEAD;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use tokio::sync::watch;

/// Headers of a request that hyper reads where a first request may have more than the usual number. It allocates room
/// for so many at each request.
const MAX_HEADERS: usize = 256;

/// Serves requests by hyper until either end closes, or one of them is that of a client: its connection goes to a shard.
pub(super) async fn serve<I: Io, S: Service>(
    stream: Guarded<I>,
    peer: Peer,
    service: Arc<S>,
    (limits, requests): (Limits, Arc<Requests>),
    refusal: Option<Answer>,
    mut stop: watch::Receiver<bool>,
) -> Ended {
    let peer = Arc::new(peer);
    let (leaving, sent) = (Arc::clone(&peer), Arc::clone(&requests));
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
            requests.end();
            if last {
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
    let mut connection = http.serve_connection(stream, answering);
    let mut stopping = false;
    let admitted = loop {
        let serving = poll_fn(|context| {
            if let Poll::Ready(ended) = Pin::new(&mut connection).poll(context) {
                return Poll::Ready(Some(ended));
            }
            // What hyper has still to send goes first.
            if leaving.is_leaving() && !sent.is_blocked() { Poll::Ready(None) } else { Poll::Pending }
        });
        tokio::select! {
            ended = serving => match ended {
                Some(ended) => return Ok(ended?),
                None => match leaving.take_leaving() {
                    Some(admitted) => break admitted,
                    None => continue,
                },
            },
            _ = stop.changed(), if !stopping => {
                stopping = true;
                Pin::new(&mut connection).graceful_shutdown();
            }
        }
    };
    // The service waits to be dropped.
    let parts = connection.into_parts();
    first::accept(parts.io.released(), *admitted, parts.read_buf, limits.write).await
}
