//! A socket for hyper that fails where the peer makes no progress.

use super::{Io, Limits};
use bytes::{Buf, Bytes};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::Sleep;

/// Numbers of requests that a connection has begun and answered.
#[derive(Default)]
pub(super) struct Requests {
    begun: AtomicU32,
    answered: AtomicU32,
    /// The peer takes nothing at the moment.
    blocked: AtomicBool,
}

impl Requests {
    /// Counts a request whose head is read. Returns how many there have been.
    pub(super) fn begin(&self) -> u32 {
        self.begun.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(super) fn end(&self) {
        self.answered.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns true if something is still to be sent that the peer does not take.
    pub(super) fn is_blocked(&self) -> bool {
        self.blocked.load(Ordering::Relaxed)
    }

    /// Returns the number of the request that the next bytes begin, if they begin one.
    fn next(&self) -> Option<u32> {
        let begun = self.begun.load(Ordering::Relaxed);
        (begun == self.answered.load(Ordering::Relaxed)).then_some(begun)
    }
}

/// A deadline that is set only while something is waited for.
#[derive(Default)]
struct Deadline(Option<Pin<Box<Sleep>>>);

impl Deadline {
    fn clear(&mut self) {
        self.0 = None;
    }

    /// Fails once `limit` has passed since the first call after [`Deadline::clear`].
    fn poll<T>(&mut self, limit: Duration, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        let sleep = self.0.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        ready!(sleep.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

/// Headers of a request that hyper reads unless told otherwise.
const USUAL_HEADERS: usize = 100;

/// A stream whose peer has to read what is sent to it and, by HTTP/1.1, to finish the head of a request that it has
/// begun.
pub(super) struct Guarded<I> {
    socket: TokioIo<I>,
    /// Read from the socket before hyper had it.
    begun: Bytes,
    limits: Limits,
    /// The requests of HTTP/1.1. The frames of HTTP/2 are looked at elsewhere.
    requests: Option<Arc<Requests>>,
    /// The request whose head has begun to come in.
    reading: Option<u32>,
    head: Deadline,
    write: Deadline,
}

impl<I: Io> Guarded<I> {
    pub(super) fn new(stream: I, begun: Vec<u8>, limits: Limits, requests: Option<Arc<Requests>>) -> Self {
        Self {
            socket: TokioIo::new(stream),
            begun: begun.into(),
            limits,
            requests,
            reading: None,
            head: Deadline::default(),
            write: Deadline::default(),
        }
    }

    /// Returns true unless the head of the first request was read and has few lines. A client that sends many headers
    /// sends them with its first request too.
    pub(super) fn may_have_many_headers(&self) -> bool {
        let end = self.begun.windows(4).position(|bytes| bytes == b"\r\n\r\n");
        end.is_none_or(|end| self.begun[..end].iter().filter(|byte| **byte == b'\n').count() >= USUAL_HEADERS)
    }

    /// The bare stream, without the limit of the system.
    pub(super) fn released(self) -> I {
        let stream = self.socket.into_inner();
        stream.release();
        stream
    }

    /// Returns the number of the request that the next bytes begin, if they begin one.
    fn next(&self) -> Option<u32> {
        self.requests.as_ref()?.next()
    }

    /// Notes that bytes came in.
    fn came(&mut self) {
        let reading = self.next();
        if reading != self.reading {
            self.head.clear();
        }
        self.reading = reading;
    }

    /// Waits for a write, no longer than the limit.
    fn wrote(
        &mut self,
        written: Poll<io::Result<usize>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if let Some(requests) = &self.requests {
            requests.blocked.store(written.is_pending(), Ordering::Relaxed);
        }
        if written.is_pending() {
            return self.write.poll(self.limits.write, context);
        }
        self.write.clear();
        written
    }
}

impl<I: Io> Read for Guarded<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.begun.is_empty() {
            let len = self.begun.len().min(buffer.remaining());
            buffer.put_slice(&self.begun[..len]);
            self.begun.advance(len);
            self.came();
            return Poll::Ready(Ok(()));
        }
        if Pin::new(&mut self.socket).poll_read(context, buffer)?.is_ready() {
            self.came();
            return Poll::Ready(Ok(()));
        }
        if self.reading.is_some() && self.reading == self.next() {
            let limit = self.limits.head;
            return self.head.poll(limit, context);
        }
        self.head.clear();
        Poll::Pending
    }
}

impl<I: Io> Write for Guarded<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write(context, bytes);
        self.wrote(written, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write_vectored(context, slices);
        self.wrote(written, context)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // A stream under a layer may have taken what its peer has not.
        let flushed = Pin::new(&mut self.socket).poll_flush(context);
        self.wrote(flushed.map_ok(|()| 0), context).map_ok(drop)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.socket).poll_shutdown(context);
        self.wrote(shut.map_ok(|()| 0), context).map_ok(drop)
    }
}
