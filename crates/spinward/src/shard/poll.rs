//! The poller: moves the bytes of plain TCP sockets, which own no buffer and no task.
//!
//! It needs Linux's epoll. Elsewhere `no_poll.rs` takes its place, and tasks move the bytes.

use crate::layer::{Layer, Parts};
use crate::mailbox::accepted::Stream;
use crate::metrics::add;
use crate::shard::Driver;
use crate::shard::layered::{Layers, Wrapped};
use crate::shard::pace::Pace;
use crate::shard::slots::SlotState;
use crate::shard::work::SYSTEM_CALL;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Registry, Token};
use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::time::Duration;
use tokio::io::unix::AsyncFd;

/// Reads of one turn.
const READS_PER_TURN: usize = 256;

/// Bytes of a masked close frame with the longest body.
const LONGEST_CLOSE: usize = 2 + 4 + 125;

/// The sockets of a shard, watched by an epoll instance of their own, which the runtime watches in turn.
pub(super) struct Poller {
    registry: Registry,
    events: Events,
    sockets: Vec<Option<Socket>>,
    /// Layers of the sockets that have one.
    pub(super) layers: Layers,
    /// Sockets that have input.
    ready: VecDeque<u32>,
    /// The epoll instance may have events.
    woken: bool,
}

pub(super) struct Socket {
    pub(super) stream: TcpStream,
    /// There may be input: readiness is reported once, at the edge.
    pub(super) readable: bool,
    /// The peer has ended its stream, or the socket failed: no edge comes after that, so it is read to the end.
    pub(super) ended: bool,
    queued: bool,
    /// The write side is shut down.
    pub(super) shut: bool,
}

/// The epoll instance of a poller.
pub(super) struct Epoll(Poll);

/// An epoll instance that the runtime watches.
pub(super) struct Watched(AsyncFd<Poll>);

impl Epoll {
    /// Has the runtime watch the epoll instance. Within a runtime only.
    pub(super) fn watch(self) -> std::io::Result<Watched> {
        #[expect(
            deprecated,
            reason = "what replaces it asks for an unsafe promise that the descriptor stays open while it \
            is watched; it does, because the instance that owns it is moved in here and never replaced"
        )]
        let watched = AsyncFd::with_interest(self.0, tokio::io::Interest::READABLE);
        watched.map(Watched)
    }
}

impl Watched {
    /// Waits until there are events.
    pub(super) async fn ready(&self) {
        if let Ok(mut guard) = self.0.readable().await {
            guard.clear_ready();
        }
    }
}

impl Poller {
    /// A poller, and the epoll instance that reports what is ready.
    pub(super) fn new() -> std::io::Result<(Self, Epoll)> {
        let poll = Poll::new()?;
        let poller = Self {
            registry: poll.registry().try_clone()?,
            events: Events::with_capacity(1024),
            sockets: Vec::new(),
            layers: Layers::default(),
            ready: VecDeque::new(),
            woken: false,
        };
        Ok((poller, Epoll(poll)))
    }

    pub(super) const fn woken(&mut self) {
        self.woken = true;
    }

    pub(super) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Takes a socket. One that a task has to carry is given back: none, with this poller.
    pub(super) fn add(
        &mut self,
        slot: u32,
        stream: std::net::TcpStream,
    ) -> std::io::Result<Option<Box<dyn Stream>>> {
        stream.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(stream);
        stream.set_nodelay(true)?;
        self.registry.register(&mut stream, Token(slot as usize), Interest::READABLE | Interest::WRITABLE)?;
        let index = slot as usize;
        if self.sockets.len() <= index {
            self.sockets.resize_with(index + 1, || None);
        }
        self.sockets[index] =
            Some(Socket { stream, readable: false, ended: false, queued: false, shut: false });
        Ok(None)
    }

    /// Takes a socket under a layer, and appends what the layer has opened already to `plain`. One that a task has to
    /// carry is given back: none, with this poller.
    pub(super) fn add_layered(
        &mut self,
        slot: u32,
        parts: Parts<std::net::TcpStream, Box<dyn Layer>>,
        plain: &mut Vec<u8>,
    ) -> std::io::Result<Option<Box<dyn Stream>>> {
        let Parts { stream, layer, plain: mut opened, sealed } = parts;
        plain.append(&mut opened);
        self.layers.put(slot, Box::new(Wrapped::new(layer, sealed)));
        self.add(slot, stream)
    }

    pub(super) fn remove(&mut self, slot: u32) {
        self.layers.take(slot);
        if let Some(entry) = self.sockets.get_mut(slot as usize) {
            // Nobody else has the descriptor, so closing it takes it out of the epoll instance: a call less.
            *entry = None;
        }
    }

    pub(super) fn socket(&mut self, slot: u32) -> Option<&mut Socket> {
        self.sockets.get_mut(slot as usize)?.as_mut()
    }

    pub(super) fn queue(&mut self, slot: u32) {
        let Some(socket) = self.sockets.get_mut(slot as usize).and_then(Option::as_mut) else { return };
        if socket.readable && !socket.queued {
            socket.queued = true;
            self.ready.push_back(slot);
        }
    }

    /// A slot may read again. Returns true if it is one of this poller's.
    pub(super) fn resume(&mut self, slot: u32) -> bool {
        let ours = self.socket(slot).is_some();
        self.queue(slot);
        ours
    }
}

impl Driver {
    /// Takes the events there are, and reads from sockets that have input.
    pub(super) fn read_sockets(&mut self, watched: &mut Watched) {
        if std::mem::take(&mut self.poller.woken) {
            self.take_events(watched.0.get_mut());
        }
        let mut pace = Pace::new(&self.hub.clock);
        // One that has more is queued again, for the next turn.
        for _ in 0..READS_PER_TURN.min(self.poller.ready.len()) {
            let Some(slot) = self.poller.ready.pop_front() else { return };
            if let Some(socket) = self.poller.socket(slot) {
                socket.queued = false;
                self.core.spent = 0;
                self.read_socket(slot);
                if !pace.may_go_on(SYSTEM_CALL + self.core.spent) {
                    return;
                }
            }
        }
    }

    fn take_events(&mut self, poll: &mut Poll) {
        loop {
            if let Err(error) = poll.poll(&mut self.poller.events, Some(Duration::ZERO)) {
                if error.kind() != ErrorKind::Interrupted {
                    tracing::error!(%error, "shard cannot poll its sockets");
                }
                return;
            }
            let mut count = 0;
            let events = std::mem::replace(&mut self.poller.events, Events::with_capacity(0));
            for event in &events {
                count += 1;
                let slot = event.token().0 as u32;
                let ended = event.is_read_closed() || event.is_error();
                if event.is_readable() || ended {
                    if let Some(socket) = self.poller.socket(slot) {
                        socket.readable = true;
                        socket.ended |= ended;
                    }
                    self.poller.queue(slot);
                }
                let failed = event.is_error() || event.is_write_closed();
                if failed && self.is(slot, SlotState::Open) && !self.core.wants_input(slot) {
                    // It is not read now, and what it waits to be sent cannot be sent.
                    let now = self.hub.clock.now();
                    self.core.eof(slot, now, &mut self.exec);
                }
                if event.is_writable() && self.poller.socket(slot).is_some() {
                    self.core.set_blocked(slot, false);
                    if self.poller.layers.has_unsent(slot) {
                        self.flush_socket(slot);
                    }
                }
            }
            self.poller.events = events;
            // The edge is reported once: come back until there is nothing left.
            if count < 1024 {
                return;
            }
        }
    }

    fn read_socket(&mut self, slot: u32) {
        if !self.core.wants_input(slot) && !self.is_closing_ahead(slot) {
            return;
        }
        if let Some(wrapped) = self.poller.layers.take(slot) {
            return self.read_layered(slot, wrapped);
        }
        let Some(socket) = self.poller.sockets.get_mut(slot as usize).and_then(Option::as_mut) else {
            return;
        };
        match socket.stream.read(&mut self.scratch) {
            Ok(0) => {
                socket.readable = false;
                let now = self.hub.clock.now();
                self.core.eof(slot, now, &mut self.exec);
            }
            Ok(count) => {
                // A short read has emptied the socket, and more input is a new edge. The end of the stream may
                // have had its edge already.
                socket.readable = count == self.scratch.len() || socket.ended;
                if self.core.takes_bytes(slot) {
                    let now = self.hub.clock.now();
                    self.core.input(slot, &mut self.scratch[..count], now, &mut self.exec);
                }
                self.poller.queue(slot);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => socket.readable = false,
            Err(error) if error.kind() == ErrorKind::Interrupted => self.poller.queue(slot),
            Err(_) => {
                socket.readable = false;
                let now = self.hub.clock.now();
                self.core.eof(slot, now, &mut self.exec);
            }
        }
    }

    /// Returns true if the next input of a socket is that its client closes, or the end of the stream: that is read
    /// even while a command waits for its outcome. Anything else stays where it is.
    fn is_closing_ahead(&mut self, slot: u32) -> bool {
        if !self.core.is_awaiting(slot) {
            return false;
        }
        let Some(socket) = self.poller.socket(slot) else { return false };
        let mut next = [0; LONGEST_CLOSE];
        match socket.stream.peek(&mut next) {
            Ok(0) => true,
            Ok(count) => self.core.is_close_next(slot, &next[..count]),
            Err(_) => false,
        }
    }

    /// Sends what waits for a socket, with one call where the kernel takes it.
    pub(super) fn flush_socket(&mut self, slot: u32) {
        if self.is(slot, SlotState::Gone) {
            return self.release(slot);
        }
        let closing = self.is(slot, SlotState::Closing);
        if let Some(wrapped) = self.poller.layers.take(slot) {
            return self.flush_layered(slot, wrapped, closing);
        }
        let Some(socket) = self.poller.sockets.get_mut(slot as usize).and_then(Option::as_mut) else {
            return;
        };
        loop {
            let outbox = self.core.outbox(slot);
            if outbox.is_empty() {
                break;
            }
            let bytes = outbox.gather(&mut self.scratch);
            let wanted = bytes.len();
            let sent = socket.stream.write(bytes);
            let traffic = &self.hub.metrics.shards[self.shard].traffic[self.core.transport(slot).index()];
            match sent {
                Ok(count) => {
                    add(&traffic.sends, 1);
                    add(&traffic.bytes_sent, count as u64);
                    self.core.sent(slot, count);
                    if count < wanted {
                        return self.core.blocked(slot, None, self.hub.clock.now());
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    return self.core.blocked(slot, None, self.hub.clock.now());
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => {
                    let now = self.hub.clock.now();
                    return self.core.eof(slot, now, &mut self.exec);
                }
            }
        }
        if closing && !socket.shut {
            socket.shut = true;
            // The peer reads the close frame, closes in turn, and is then released.
            let _ = socket.stream.shutdown(Shutdown::Write);
            socket.readable = true;
            self.poller.queue(slot);
        }
    }
}
