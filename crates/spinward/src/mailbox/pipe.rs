//! Output that an HTTP server pulls as the body of a response.
//!
//! The shard hands pieces over while fewer than [`WINDOW`] bytes wait in the body. What is beyond that stays in the
//! outbox of the connection, where it counts against the limit of a slow reader. A reader that makes room, or goes
//! away, reports that to the shard with an entry in its inbox, of which there is one at a time.

use crate::handle::Handle;
use crate::mailbox::inbox::Inbox;
use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// Bytes in a body from which on no further piece is handed over.
const WINDOW: usize = 64 << 10;
/// The shard is asked for more once no more bytes than this are left.
const LOW: usize = WINDOW / 2;

/// The body ended before the connection did: its shard is gone, or the reader was too slow to take the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the connection was cut off")]
pub struct CutOff;

/// Makes the two ends of a body whose connection is to be placed in the shard of this inbox.
pub(crate) fn pipe(inbox: &Arc<Inbox>) -> (Writer, PulledBody) {
    let shared = Arc::new(Shared { inbox: Arc::clone(inbox), state: Mutex::default() });
    (Writer(Arc::clone(&shared)), PulledBody(shared))
}

struct Shared {
    inbox: Arc<Inbox>,
    state: Mutex<Pipe>,
}

#[derive(Default)]
struct Pipe {
    pieces: VecDeque<Bytes>,
    bytes: usize,
    /// Bytes that the reader has taken.
    pulled: u64,
    /// Set once the connection has its slot.
    handle: Option<Handle>,
    /// The shard has more than it could hand over.
    wants_room: bool,
    /// Nothing follows. The error is for a connection that was not ended in order.
    end: Option<Result<(), CutOff>>,
    /// Nobody reads any more.
    gone: bool,
    waker: Option<Waker>,
}

/// The end of a body that a shard writes to. Dropped before [`Writer::finish`], it cuts the body off.
pub(crate) struct Writer(Arc<Shared>);

/// Result of handing over.
pub(crate) struct Filled {
    pub(crate) bytes: usize,
    /// Some pieces did not fit.
    pub(crate) is_full: bool,
    pub(crate) is_gone: bool,
}

impl Writer {
    /// The connection has its slot.
    pub(crate) fn attach(&self, handle: Handle) {
        self.0.state.lock().handle = Some(handle);
    }

    /// Puts bytes before those of the connection.
    pub(crate) fn begin_with(&self, bytes: Bytes) {
        let mut pipe = self.0.state.lock();
        pipe.bytes += bytes.len();
        pipe.pieces.push_back(bytes);
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.0.state.lock().gone
    }

    pub(crate) fn source(&self) -> Source {
        Source(Arc::clone(&self.0))
    }

    /// Hands over what fits of these pieces.
    pub(crate) fn fill<'a>(&self, pieces: impl Iterator<Item = &'a Bytes>) -> Filled {
        let mut pipe = self.0.state.lock();
        let (mut bytes, mut is_full) = (0, false);
        for piece in pieces {
            if pipe.bytes >= WINDOW {
                is_full = true;
                break;
            }
            bytes += piece.len();
            pipe.bytes += piece.len();
            pipe.pieces.push_back(piece.clone());
        }
        pipe.wants_room = is_full;
        let filled = Filled { bytes, is_full, is_gone: pipe.gone };
        let waker = if bytes > 0 { pipe.waker.take() } else { None };
        drop(pipe);
        if let Some(waker) = waker {
            waker.wake();
        }
        filled
    }

    /// Everything was handed over, and nothing follows.
    pub(crate) fn finish(&self) {
        self.end(Ok(()));
    }

    fn end(&self, end: Result<(), CutOff>) {
        let waker = {
            let mut pipe = self.0.state.lock();
            pipe.end.get_or_insert(end);
            if pipe.end == Some(Err(CutOff)) {
                pipe.pieces = VecDeque::new();
                pipe.bytes = 0;
            }
            pipe.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.end(Err(CutOff));
    }
}

/// The output of a connection as the body of an HTTP response. It ends when the connection does; dropping it ends the
/// connection.
pub(crate) struct PulledBody(Arc<Shared>);

impl PulledBody {
    pub(crate) fn source(&self) -> Source {
        Source(Arc::clone(&self.0))
    }
}

/// The connection that a body has its output from.
pub(crate) struct Source(Arc<Shared>);

impl Source {
    /// The handle of the connection, once it has a slot.
    pub(crate) fn handle(&self) -> Option<Handle> {
        self.0.state.lock().handle
    }

    /// Returns the bytes that the reader has taken.
    pub(crate) fn pulled(&self) -> u64 {
        self.0.state.lock().pulled
    }

    /// Returns true once the connection has ended. Its last bytes may still be in the body.
    pub(crate) fn is_over(&self) -> bool {
        self.0.state.lock().end.is_some()
    }
}

impl Body for PulledBody {
    type Data = Bytes;
    type Error = CutOff;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CutOff>>> {
        let mut pipe = self.0.state.lock();
        let Some(piece) = pipe.pieces.pop_front() else {
            return match pipe.end {
                Some(Ok(())) => Poll::Ready(None),
                Some(Err(error)) => Poll::Ready(Some(Err(error))),
                None => {
                    // An idle connection keeps no memory of a burst.
                    pipe.pieces = VecDeque::new();
                    pipe.waker = Some(cx.waker().clone());
                    Poll::Pending
                }
            };
        };
        pipe.bytes -= piece.len();
        pipe.pulled += piece.len() as u64;
        let makes_room = pipe.wants_room && pipe.bytes <= LOW;
        let report = if makes_room { pipe.handle } else { None };
        pipe.wants_room &= !makes_room;
        drop(pipe);
        if let Some(handle) = report {
            self.0.report(handle);
        }
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        let pipe = self.0.state.lock();
        pipe.pieces.is_empty() && pipe.end == Some(Ok(()))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

impl Drop for PulledBody {
    fn drop(&mut self) {
        let report = {
            let mut pipe = self.0.state.lock();
            pipe.gone = true;
            pipe.pieces = VecDeque::new();
            pipe.bytes = 0;
            pipe.handle.filter(|_| pipe.end.is_none())
        };
        // Without a handle, the shard has yet to accept the connection, and looks then.
        if let Some(handle) = report {
            self.0.report(handle);
        }
    }
}

impl Shared {
    fn report(&self, handle: Handle) {
        if self.inbox.report(handle) {
            self.inbox.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mailbox::inbox::Item;
    use std::task::Wake;

    struct Count(std::sync::atomic::AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
    }

    fn poll(body: &mut PulledBody, count: &Arc<Count>) -> Poll<Option<Result<usize, CutOff>>> {
        let waker = Waker::from(Arc::clone(count));
        let frame = Pin::new(body).poll_frame(&mut Context::from_waker(&waker));
        frame.map(|frame| frame.map(|frame| frame.map(|frame| frame.data_ref().map_or(0, Bytes::len))))
    }

    fn entries(inbox: &Inbox) -> usize {
        let mut entries = VecDeque::new();
        inbox.drain(&mut entries);
        assert!(entries.iter().all(|entry| matches!(entry, Item::Pulled(_))));
        entries.len()
    }

    fn outbox(pieces: usize, size: usize) -> Vec<Bytes> {
        vec![vec![b'x'; size].into(); pieces]
    }

    #[test]
    fn a_body_holds_no_more_than_its_window_and_asks_once_for_more() {
        let inbox = Arc::new(Inbox::new(usize::MAX));
        let (writer, mut body) = pipe(&inbox);
        writer.attach(Handle::new(0, 0, 0));
        let count = Arc::new(Count(0.into()));
        assert_eq!(poll(&mut body, &count), Poll::Pending);

        let size = 1 << 10;
        let filled = writer.fill(outbox(1000, size).iter());
        assert_eq!((filled.bytes, filled.is_full, filled.is_gone), (WINDOW, true, false));
        assert_eq!(count.0.load(std::sync::atomic::Ordering::Relaxed), 1, "the reader was woken");
        assert_eq!(writer.fill(outbox(1000, size).iter()).bytes, 0, "it is full");
        let mut pulled = 0;
        while let Poll::Ready(Some(Ok(bytes))) = poll(&mut body, &count) {
            pulled += bytes;
            assert_eq!(entries(&inbox), usize::from(pulled == WINDOW - LOW), "after {pulled}");
        }
        assert_eq!(pulled, WINDOW);

        let filled = writer.fill(outbox(3, size).iter());
        assert_eq!((filled.bytes, filled.is_full), (3 * size, false));
        while let Poll::Ready(Some(Ok(_))) = poll(&mut body, &count) {}
        assert_eq!(entries(&inbox), 0, "nothing waits for room");
    }

    #[test]
    fn a_body_ends_with_its_connection() {
        let inbox = Arc::new(Inbox::new(usize::MAX));
        let count = Arc::new(Count(0.into()));
        let (writer, mut body) = pipe(&inbox);
        writer.fill(outbox(2, 5).iter());
        writer.finish();
        drop(writer);
        assert_eq!(poll(&mut body, &count), Poll::Ready(Some(Ok(5))));
        assert!(!body.is_end_stream());
        assert_eq!(poll(&mut body, &count), Poll::Ready(Some(Ok(5))));
        assert!(body.is_end_stream());
        assert_eq!(poll(&mut body, &count), Poll::Ready(None));
        drop(body);
        assert_eq!(entries(&inbox), 0, "nobody cares");

        let (writer, mut body) = pipe(&inbox);
        writer.fill(outbox(2, 5).iter());
        drop(writer);
        assert_eq!(poll(&mut body, &count), Poll::Ready(Some(Err(CutOff))), "the shard is gone");
    }

    #[test]
    fn a_reader_that_goes_away_is_reported() {
        let inbox = Arc::new(Inbox::new(usize::MAX));
        let (writer, body) = pipe(&inbox);
        drop(body);
        assert_eq!(entries(&inbox), 0, "nobody to report it for");
        assert!(writer.is_gone(), "the shard notices when it accepts");

        let (writer, body) = pipe(&inbox);
        writer.attach(Handle::new(0, 3, 1));
        drop(body);
        assert_eq!(entries(&inbox), 1);
        assert!(writer.fill(outbox(1, 1).iter()).is_gone);
    }
}
