//! HTTP/2 by clients that know that the server speaks it (RFC 9113 §3.3), by hyper.
//!
//! A connection carries many requests at a time, so that the limits of HTTP/1.1 do not fit: there is no one head that is
//! read and no one answer that is written. In their place:
//!
//! - the first request has to come in the time of a head, and a connection without requests has the time of rest;
//! - answers are handed out in pieces, each when the peer has room for it. A peer that makes no room for any of its
//!   answers within the time of a write is closed, however many other frames it sends;
//! - streams, the size of a head, requests and resets are limited in number.
//!
//! A connection ends by GOAWAY. Requests that the peer sent before it saw that frame are served like any other: they
//! are as many as it may have streams, at most (RFC 9113 §6.8).

use super::guard::Guarded;
use super::{Answer, Body, Ended, Io, Limits, Peer, Service, from_library};
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HeaderValue};
use http::{Method, Request};
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use parking_lot::Mutex;
use spinward::transport::websocket::Admitted;
use spinward::wire::ws::request::MAX_HEAD;
use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

/// The beginning of the first line of a connection of HTTP/2.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n";

/// Streams that a peer has reset and that are not done with, before the connection is closed.
const MAX_RESETS: usize = 20;

/// Bytes of a request's body, and of all of a connection, that a peer may send ahead.
const STREAM_WINDOW: u32 = 64 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;

/// Bytes of an answer that are handed out at a time.
const PIECE: usize = 16 << 10;

/// Returns true if a connection begins with HTTP/2.
pub(super) fn begins(begun: &[u8]) -> bool {
    let len = begun.len().min(PREFACE.len());
    len > 3 && begun[..len] == PREFACE[..len]
}

/// Serves requests until either end closes.
pub(super) async fn serve<I: Io, S: Service>(
    stream: Guarded<I>,
    peer: Peer,
    service: Arc<S>,
    limits: Limits,
    mut stop: watch::Receiver<bool>,
) -> Ended {
    let (peer, activity) = (Arc::new(peer), Arc::new(Activity::new(limits)));
    let answers = Arc::clone(&activity);
    let answering = service_fn(move |request: Request<Incoming>| {
        let (service, peer) = (Arc::clone(&service), Arc::clone(&peer));
        let turn = Turn::begin(&answers);
        let mut request = request;
        let head_alone = request.method() == Method::HEAD;
        request.extensions_mut().insert(Streams(Arc::clone(&answers)));
        async move {
            // Resets the stream, of a peer that goes on after GOAWAY.
            let Some(turn) = turn else { return Err(io::Error::from(io::ErrorKind::ConnectionAborted)) };
            let answer: Answer = service.answer(request, &peer).await;
            turn.is_theirs();
            let answer = if head_alone { without_body(answer) } else { answer };
            Ok(answer.map(|body| Pieces { body, rest: Bytes::new(), turn }))
        }
    });
    let mut http = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    http.timer(TokioTimer::new())
        .enable_connect_protocol()
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(MAX_HEAD as u32)
        .max_pending_accept_reset_streams(MAX_RESETS)
        .max_local_error_reset_streams(MAX_RESETS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(PIECE);
    if let Some((interval, timeout)) = limits.keep_alive {
        http.keep_alive_interval(interval).keep_alive_timeout(timeout);
    }
    let mut connection = std::pin::pin!(http.serve_connection(stream, answering));
    loop {
        let (deadline, ending) = (activity.deadline(), activity.is_ending());
        tokio::select! {
            ended = connection.as_mut() => return ended.map_err(Into::into),
            () = activity.changed.notified() => {}
            _ = stop.changed(), if !ending => {
                activity.end();
                connection.as_mut().graceful_shutdown();
            }
            () = until(deadline) => {
                if ending || activity.is_stalled() {
                    return Err(io::Error::from(io::ErrorKind::TimedOut).into());
                }
                activity.end();
                connection.as_mut().graceful_shutdown();
            }
        }
        if !ending && activity.is_spent() {
            activity.end();
            connection.as_mut().graceful_shutdown();
        }
    }
}

/// The answer to HEAD: its length without its body, which hyper leaves out by HTTP/1.1 alone.
fn without_body(answer: Answer) -> Answer {
    let (mut head, body) = answer.into_parts();
    if let Some(length) = hyper::body::Body::size_hint(&body).exact() {
        head.headers.entry(CONTENT_LENGTH).or_insert_with(|| HeaderValue::from(length));
    }
    Answer::from_parts(head, Body::default())
}

/// The streams of the connection that a request came by.
#[derive(Clone)]
struct Streams(Arc<Activity>);

/// Accepts a handshake that came in a stream of its own (RFC 8441), and hands that stream to a shard once the response is
/// sent. Until the WebSocket is over, its connection is not idle.
pub(super) fn upgrade(mut request: Request<Incoming>, admitted: Admitted) -> Answer {
    let response = from_library(admitted.response());
    let turn = request.extensions().get::<Streams>().map(|Streams(activity)| Turn::go_on(activity));
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        match upgrade.await {
            Ok(upgraded) => admitted.serve_tunnel(upgraded, turn),
            Err(error) => tracing::debug!(%error, "client disconnected during the WebSocket handshake"),
        }
    });
    response
}

/// Waits until a time, or for ever.
async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// Requests of a connection, and who is to act in each.
struct Activity {
    limits: Limits,
    state: Mutex<State>,
    /// Some request has begun, ended or changed hands.
    changed: Notify,
}

struct State {
    /// Requests that have begun.
    begun: u32,
    /// Requests that went on behind their answer.
    continued: u32,
    /// Requests that are under way: `None` while the server is to act, or the time since the peer is to make room for
    /// the answer.
    under_way: HashMap<u32, Option<Instant>>,
    /// Time of the last change.
    last: Instant,
    /// Number of requests after which none is taken.
    most: u32,
    /// Time since which the peer is told to send no further requests.
    ending: Option<Instant>,
}

impl Activity {
    fn new(limits: Limits) -> Self {
        let state = State {
            begun: 0,
            continued: 0,
            under_way: HashMap::new(),
            last: Instant::now(),
            most: limits.requests.saturating_add(limits.streams),
            ending: None,
        };
        Self { limits, state: Mutex::new(state), changed: Notify::new() }
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state.lock();
        state.last = Instant::now();
        change(&mut state);
        drop(state);
        self.changed.notify_one();
    }

    /// Returns the time at which the connection has to end unless something happens, if it has to.
    fn deadline(&self) -> Option<Instant> {
        let Limits { head, idle, write, answer, .. } = self.limits;
        let state = self.state.lock();
        // Looked for only where there is a limit: there may be many streams.
        if let Some(answer) = answer
            && let Some(since) = state.under_way.values().flatten().min()
        {
            return Some(*since + answer);
        }
        match (state.under_way.is_empty(), state.ending) {
            (false, _) => None,
            // The last frames are in hyper's hands. A peer can put off the end by not answering its ping.
            (true, Some(since)) => Some(since.max(state.last) + write),
            (true, None) if state.begun == 0 => Some(state.last + head),
            (true, None) => Some(state.last + idle),
        }
    }

    /// Begins the end of the connection. What the peer has sent by then is still to be served.
    fn end(&self) {
        let mut state = self.state.lock();
        state.most = state.most.min(state.begun.saturating_add(self.limits.streams));
        state.ending.get_or_insert_with(Instant::now);
    }

    fn is_ending(&self) -> bool {
        self.state.lock().ending.is_some()
    }

    /// Returns true if the peer has made no room for some answer for too long.
    fn is_stalled(&self) -> bool {
        let Some(answer) = self.limits.answer else { return false };
        let since = self.state.lock().under_way.values().flatten().min().copied();
        since.is_some_and(|since| since.elapsed() >= answer)
    }

    fn is_spent(&self) -> bool {
        self.state.lock().begun >= self.limits.requests
    }
}

/// A request under way. It is over when this is dropped.
struct Turn {
    activity: Arc<Activity>,
    number: u32,
}

impl Turn {
    /// Begins a request, if the connection may have one more.
    fn begin(activity: &Arc<Activity>) -> Option<Self> {
        let mut state = activity.state.lock();
        // One that is refused is no activity, and does not put off the end.
        if state.begun >= state.most {
            return None;
        }
        state.begun += 1;
        let number = state.begun - 1;
        drop(state);
        Some(Self::of(activity, number))
    }

    /// Continues a request that has its answer.
    fn go_on(activity: &Arc<Activity>) -> Self {
        let mut state = activity.state.lock();
        state.continued += 1;
        let number = u32::MAX - state.continued;
        drop(state);
        Self::of(activity, number)
    }

    fn of(activity: &Arc<Activity>, number: u32) -> Self {
        activity.change(|state| {
            state.under_way.insert(number, None);
        });
        Self { activity: Arc::clone(activity), number }
    }

    /// The server is to act: it makes the answer, or waits for more of it.
    fn is_ours(&self) {
        self.activity.change(|state| {
            state.under_way.insert(self.number, None);
        });
    }

    /// The peer is to act: it has to make room for the next piece.
    fn is_theirs(&self) {
        self.activity.change(|state| {
            state.under_way.insert(self.number, Some(state.last));
        });
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.activity.change(|state| {
            state.under_way.remove(&self.number);
        });
    }
}

/// A body that is handed out in pieces. hyper asks for the next one when the peer has room.
struct Pieces {
    body: Body,
    rest: Bytes,
    turn: Turn,
}

impl hyper::body::Body for Pieces {
    type Data = Bytes;
    type Error = <Body as hyper::body::Body>::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let pieces = self.get_mut();
        if pieces.rest.is_empty() {
            pieces.turn.is_ours();
            let frame = match std::task::ready!(Pin::new(&mut pieces.body).poll_frame(context)) {
                Some(Ok(frame)) => frame,
                other => return Poll::Ready(other),
            };
            match frame.into_data() {
                Ok(data) => pieces.rest = data,
                Err(frame) => return Poll::Ready(Some(Ok(frame))),
            }
        }
        let piece = pieces.rest.split_to(pieces.rest.len().min(PIECE));
        pieces.turn.is_theirs();
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (rest, mut hint) = (self.rest.len() as u64, self.body.size_hint());
        if let Some(exact) = hint.exact() {
            return SizeHint::with_exact(exact + rest);
        }
        hint.set_lower(hint.lower() + rest);
        hint
    }
}

#[cfg(test)]
#[path = "http2_tests.rs"]
mod tests;
