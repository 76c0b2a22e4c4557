//! Sockets of the poller that have a layer such as TLS between them and the slot.
//!
//! Buffers are the shard's. A connection keeps only what the layer keeps, and sealed bytes that its socket did not take.

use crate::layer::{Layer, PIECE};
use crate::metrics::add;
use crate::shard::Driver;
use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Room that a buffer of the shard keeps for the next use.
const KEPT: usize = 128 << 10;

/// The layers of a shard, by slot, and the buffers that they share. Without any, all of it is empty.
#[derive(Default)]
pub(super) struct Layers {
    wrapped: Vec<Option<Box<Wrapped>>>,
    plain: Vec<u8>,
    sealed: Vec<u8>,
}

/// A layer and what waits below it.
pub(super) struct Wrapped {
    layer: Box<dyn Layer>,
    /// Sealed bytes that the socket did not take: no more than one piece, and answers of the layer.
    unsent: Vec<u8>,
    /// The layer's end is sealed.
    finished: bool,
    /// The layer has ended, and the slot has what came before that.
    ended: bool,
}

impl Wrapped {
    pub(super) fn new(layer: Box<dyn Layer>, unsent: Vec<u8>) -> Self {
        Self { layer, unsent, finished: false, ended: false }
    }

    /// Adds sealed bytes behind those that wait.
    fn keep(&mut self, sealed: &[u8]) {
        self.unsent.extend_from_slice(sealed);
    }

    /// Tries to send what waits. Returns true if nothing is left.
    fn send(&mut self, socket: &mut impl Write) -> io::Result<bool> {
        if !self.unsent.is_empty() {
            let count = write(socket, &self.unsent)?;
            self.unsent.drain(..count);
            if self.unsent.is_empty() {
                self.unsent = Vec::new();
            }
        }
        Ok(self.unsent.is_empty())
    }
}

impl Layers {
    pub(super) fn put(&mut self, slot: u32, wrapped: Box<Wrapped>) {
        let index = slot as usize;
        if self.wrapped.len() <= index {
            self.wrapped.resize_with(index + 1, || None);
        }
        self.wrapped[index] = Some(wrapped);
    }

    pub(super) fn take(&mut self, slot: u32) -> Option<Box<Wrapped>> {
        self.wrapped.get_mut(slot as usize)?.take()
    }

    pub(super) fn has_unsent(&self, slot: u32) -> bool {
        let entry = self.wrapped.get(slot as usize);
        entry.is_some_and(|entry| entry.as_ref().is_some_and(|wrapped| !wrapped.unsent.is_empty()))
    }

    /// Gives a buffer back, emptied and not larger than is usual.
    fn emptied(mut buffer: Vec<u8>) -> Vec<u8> {
        buffer.clear();
        buffer.shrink_to(KEPT);
        buffer
    }
}

/// Calls a layer. One that panics has failed: that costs one connection and not its shard.
fn guard<T>(call: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|_| Err(io::Error::other("the layer panicked")))
}

/// Writes as much as a socket takes now.
fn write(socket: &mut impl Write, bytes: &[u8]) -> io::Result<usize> {
    loop {
        match socket.write(bytes) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(0),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

impl Driver {
    /// Reads once from a socket, and gives the slot what the layer opens.
    pub(super) fn read_layered(&mut self, slot: u32, mut wrapped: Box<Wrapped>) {
        let Some(socket) = self.poller.socket(slot) else { return };
        let mut failed = wrapped.ended;
        let mut plain = Vec::new();
        match socket.stream.read(&mut self.scratch) {
            Ok(0) => {
                socket.readable = false;
                failed = true;
            }
            Ok(count) => {
                // As for a plain socket.
                socket.readable = count == self.scratch.len() || socket.ended;
                plain = std::mem::take(&mut self.poller.layers.plain);
                let received = &mut self.scratch[..count];
                let layer = &mut wrapped.layer;
                let mut answers = std::mem::take(&mut self.poller.layers.sealed);
                let opened = guard(|| layer.open(received, &mut plain, &mut answers));
                if !answers.is_empty() {
                    wrapped.keep(&answers);
                    // What the socket does not take now goes out before anything else.
                    failed = self
                        .poller
                        .socket(slot)
                        .is_none_or(|socket| wrapped.send(&mut socket.stream).is_err());
                }
                self.poller.layers.sealed = Layers::emptied(answers);
                // The slot has its turn with what came before, as it has before the end of a plain stream.
                wrapped.ended |= opened.is_err() || wrapped.layer.has_ended();
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => socket.readable = false,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => {
                socket.readable = false;
                failed = true;
            }
        }
        if wrapped.ended
            && let Some(socket) = self.poller.socket(slot)
        {
            socket.readable = true;
        }
        self.poller.layers.put(slot, wrapped);
        if !plain.is_empty() && self.core.takes_bytes(slot) {
            let now = self.hub.clock.now();
            self.core.input(slot, &mut plain, now, &mut self.exec);
        }
        if plain.capacity() > 0 {
            self.poller.layers.plain = Layers::emptied(plain);
        }
        if failed {
            let now = self.hub.clock.now();
            return self.core.eof(slot, now, &mut self.exec);
        }
        self.poller.queue(slot);
    }

    /// Sends what waits for a socket, sealed.
    pub(super) fn flush_layered(&mut self, slot: u32, mut wrapped: Box<Wrapped>, closing: bool) {
        let sent = self.send_layered(slot, &mut wrapped, closing);
        self.poller.layers.put(slot, wrapped);
        match sent {
            Ok(true) => {}
            Ok(false) => self.core.blocked(slot, None, self.hub.clock.now()),
            Err(_) => {
                let now = self.hub.clock.now();
                self.core.eof(slot, now, &mut self.exec);
            }
        }
    }

    /// Returns true if nothing is left to be sent.
    fn send_layered(&mut self, slot: u32, wrapped: &mut Wrapped, closing: bool) -> io::Result<bool> {
        loop {
            let Some(socket) = self.poller.socket(slot) else { return Ok(true) };
            if !wrapped.send(&mut socket.stream)? {
                return Ok(false);
            }
            let outbox = self.core.outbox(slot);
            if outbox.is_empty() {
                break;
            }
            let bytes = outbox.gather(&mut self.scratch);
            let bytes = &bytes[..bytes.len().min(PIECE)];
            let count = bytes.len();
            let mut sealed = std::mem::take(&mut self.poller.layers.sealed);
            let layer = &mut wrapped.layer;
            let sent = guard(|| layer.seal(bytes, &mut sealed)).and_then(|()| {
                self.poller.socket(slot).map_or(Ok(0), |socket| write(&mut socket.stream, &sealed))
            });
            if let Ok(sent) = sent {
                wrapped.keep(&sealed[sent..]);
            }
            self.poller.layers.sealed = Layers::emptied(sealed);
            sent?;
            let traffic = &self.hub.metrics.shards[self.shard].traffic[self.core.transport(slot).index()];
            add(&traffic.sends, 1);
            add(&traffic.bytes_sent, count as u64);
            self.core.sent(slot, count);
        }
        if closing { self.finish_layered(slot, wrapped) } else { Ok(true) }
    }

    /// Ends what is sent, and then the stream below.
    fn finish_layered(&mut self, slot: u32, wrapped: &mut Wrapped) -> io::Result<bool> {
        let Some(socket) = self.poller.socket(slot) else { return Ok(true) };
        if !wrapped.finished {
            wrapped.finished = true;
            let Wrapped { layer, unsent, .. } = &mut *wrapped;
            guard(|| {
                layer.finish(unsent);
                Ok(())
            })?;
        }
        if !wrapped.send(&mut socket.stream)? {
            return Ok(false);
        }
        if !socket.shut {
            socket.shut = true;
            // As for a plain socket: the peer closes in turn.
            let _ = socket.stream.shutdown(Shutdown::Write);
            socket.readable = true;
            self.poller.queue(slot);
        }
        Ok(true)
    }
}
