//! One response with output of a session.

use super::sessions::{Session, Sessions, Waiting};
use crate::mailbox::pipe::CutOff;
use bytes::{BufMut, Bytes, BytesMut};
use hyper::body::{Body, Frame, SizeHint};
use spinward_wire::Form;
use spinward_wire::framing::sockjs;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// Bytes after which a stream ends and the client asks for the next: some browsers keep all of it.
const STREAM: usize = 128 << 10;
/// Messages of a poll, about: the rest is for the next.
const POLL: usize = 128 << 10;

/// Kind of response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Carrier {
    /// Ends with the first messages.
    Poll,
    /// Goes on.
    Stream,
    /// Goes on, as server-sent events.
    Events,
}

impl Carrier {
    pub(super) const fn form(self) -> Form {
        match self {
            Self::Poll | Self::Stream => Form::sockjs_lines(),
            Self::Events => Form::sockjs_events(),
        }
    }

    /// The first bytes of a response: some browsers show nothing before there are as many.
    fn preamble(self) -> Option<Bytes> {
        const STREAM: &[u8; 2049] = &{
            let mut bytes = [b'h'; 2049];
            bytes[2048] = b'\n';
            bytes
        };
        match self {
            Self::Poll => None,
            Self::Stream => Some(Bytes::from_static(STREAM)),
            Self::Events => Some(Bytes::from_static(b"\r\n")),
        }
    }

    /// A whole response that ends the session for this client.
    pub(super) fn close(self, code: u32, reason: &str) -> Bytes {
        let mut out = self.preamble().map(Vec::from).unwrap_or_default();
        sockjs::append_frame(self.form().framing(), &sockjs::close(code, reason), &mut out);
        out.into()
    }
}

/// Output of a session as the body of one response. Dropped before its end, it ends the connection: messages may be
/// lost. At its end it gives the output back.
pub(crate) struct Output {
    carrier: Carrier,
    session: Arc<Session>,
    sessions: Arc<Sessions>,
    preamble: Option<Bytes>,
    /// The body of a poll.
    ready: Option<Result<Bytes, CutOff>>,
    waiting: Option<Waiting>,
    /// Bytes that may follow.
    left: usize,
}

impl Output {
    pub(super) fn new(
        carrier: Carrier,
        session: Arc<Session>,
        waiting: Waiting,
        sessions: Arc<Sessions>,
    ) -> Self {
        let left = if carrier == Carrier::Poll { POLL } else { STREAM };
        Self {
            carrier,
            session,
            sessions,
            preamble: carrier.preamble(),
            ready: None,
            waiting: Some(waiting),
            left,
        }
    }

    /// Waits for the messages of a poll, so that nothing is sent before them: npm `sockjs-client` in Node does not notice
    /// that a connection has been cut once the head of a response has come.
    pub(super) async fn until_ready(&mut self) {
        self.ready = poll_fn(|cx| self.poll(cx)).await;
    }

    /// The response is complete.
    fn end(&mut self) {
        if let Some(waiting) = self.waiting.take() {
            if waiting.next.is_none() && waiting.body.is_end_stream() {
                self.sessions.remove(&self.session);
            } else {
                self.sessions.keep(&self.session, waiting);
            }
        }
    }

    /// The next frames of a stream.
    fn stream(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, CutOff>>> {
        let Some(waiting) = &mut self.waiting else { return Poll::Ready(None) };
        let piece = match waiting.next(cx) {
            Poll::Ready(Some(Ok(piece))) => piece,
            Poll::Ready(end) => {
                self.over();
                return Poll::Ready(end);
            }
            Poll::Pending => return Poll::Pending,
        };
        self.left = self.left.saturating_sub(piece.len());
        if self.left == 0 || waiting.body.is_end_stream() {
            self.end();
        }
        Poll::Ready(Some(Ok(piece)))
    }

    /// The one frame of a poll: messages that wait are put into one.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, CutOff>>> {
        let Some(waiting) = &mut self.waiting else { return Poll::Ready(None) };
        let first = match waiting.next(cx) {
            Poll::Ready(Some(Ok(piece))) => piece,
            Poll::Ready(end) => {
                self.over();
                return Poll::Ready(end);
            }
            Poll::Pending => return Poll::Pending,
        };
        let mut frame = first;
        if is_messages(&frame) {
            let mut joined = None;
            while let Poll::Ready(Some(Ok(piece))) = waiting.next(cx) {
                let all = joined.get_or_insert_with(|| BytesMut::from(&*frame));
                if !is_messages(&piece) || all.len() + piece.len() > self.left {
                    waiting.next = Some(piece);
                    break;
                }
                // `a["x"]` and `a["y"]`, each with a newline, become `a["x","y"]`.
                all.truncate(all.len() - END);
                all.put_u8(b',');
                all.put_slice(piece.get(BEGIN..).unwrap_or_default());
            }
            if let Some(joined) = joined {
                frame = joined.freeze();
            }
        }
        self.end();
        Poll::Ready(Some(Ok(frame)))
    }

    /// The connection has ended, and all of its output was taken.
    fn over(&mut self) {
        self.waiting = None;
        self.sessions.remove(&self.session);
    }
}

/// Bytes before the first message of a frame, and behind the last.
const BEGIN: usize = 2;
const END: usize = 2;

fn is_messages(frame: &[u8]) -> bool {
    frame.starts_with(b"a[") && frame.ends_with(b"]\n")
}

impl Waiting {
    /// The next piece: one frame, or several without messages.
    fn next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, CutOff>>> {
        if let Some(next) = self.next.take() {
            return Poll::Ready(Some(Ok(next)));
        }
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        frame.map(|frame| frame.map(|frame| frame.map(|frame| frame.into_data().unwrap_or_default())))
    }
}

impl Body for Output {
    type Data = Bytes;
    type Error = CutOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, CutOff>>> {
        if let Some(preamble) = self.preamble.take() {
            return Poll::Ready(Some(Ok(Frame::data(preamble))));
        }
        if let Some(ready) = self.ready.take() {
            return Poll::Ready(Some(ready.map(Frame::data)));
        }
        let next = if self.carrier == Carrier::Poll { self.poll(cx) } else { self.stream(cx) };
        next.map(|next| next.map(|bytes| bytes.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.preamble.is_none() && self.ready.is_none() && self.waiting.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.ready {
            Some(Ok(bytes)) => SizeHint::with_exact(bytes.len() as u64),
            _ => SizeHint::default(),
        }
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if let Some(waiting) = self.waiting.take() {
            self.sessions.remove(&self.session);
            drop(waiting);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use spinward_wire::Framing;

    #[test]
    fn closing_responses() {
        assert_eq!(Carrier::Poll.close(2010, "no"), "c[2010,\"no\"]\n");
        assert_eq!(Carrier::Events.close(2010, "no"), "\r\ndata: c[2010,\"no\"]\r\n\r\n");
        let stream = Carrier::Stream.close(2010, "no");
        assert!(stream.starts_with(b"hhhh") && stream.ends_with(b"h\nc[2010,\"no\"]\n"));
        assert_eq!(Carrier::Stream.form().framing(), Framing::SockJsLines);
    }
}
