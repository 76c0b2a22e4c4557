//! Output that waits to be sent to one connection.

use bytes::{Buf, Bytes};
use std::collections::VecDeque;

/// Memory that a piece takes beside its bytes, about: many small pieces weigh more than their bytes say.
const PIECE: usize = 96;
const KIB: usize = 1 << 10;

/// Bytes on their way to one socket, in order. An idle connection has none and owns no heap.
#[derive(Default)]
pub(crate) struct Outbox {
    queue: Queue,
    /// Four bytes suffice: a connection with more than that waiting was closed as slow long before.
    bytes: u32,
    /// Size of the largest reply pushed since the outbox was last empty, in KiB, rounded down.
    largest_reply: u16,
    /// The first piece is sent in part.
    partial: bool,
}

/// Returns the weight of so many bytes in so many pieces.
pub(super) fn weight(bytes: usize, pieces: usize) -> usize {
    bytes.max(pieces * PIECE)
}

#[derive(Default)]
enum Queue {
    #[default]
    Empty,
    One(Bytes),
    #[allow(
        clippy::box_collection,
        reason = "few connections have many pieces waiting, and every one pays for the size"
    )]
    Many(Box<VecDeque<Bytes>>),
}

impl Outbox {
    /// Appends a piece. Returns true if it is the only one.
    ///
    /// Inlined, because it is done for every delivery. The compiler alone decides otherwise now and then.
    #[inline(always)]
    pub(crate) fn push(&mut self, bytes: Bytes) -> bool {
        self.bytes = self.bytes.saturating_add(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        let alone = matches!(self.queue, Queue::Empty);
        if alone {
            self.queue = Queue::One(bytes);
        } else {
            self.push_further(bytes);
        }
        alone
    }

    /// Like [`Outbox::push`], for a reply: its size is allowed on top of the limit while it waits.
    pub(crate) fn push_reply(&mut self, bytes: Bytes) {
        let size = u16::try_from(bytes.len() / KIB).unwrap_or(u16::MAX);
        self.largest_reply = self.largest_reply.max(size);
        self.push(bytes);
    }

    fn push_further(&mut self, bytes: Bytes) {
        match &mut self.queue {
            Queue::Many(queue) => queue.push_back(bytes),
            few => {
                *few = match std::mem::take(few) {
                    Queue::One(first) => Queue::Many(Box::new(VecDeque::from([first, bytes]))),
                    Queue::Empty | Queue::Many(_) => Queue::One(bytes),
                }
            }
        }
    }

    /// Bytes waiting.
    pub(crate) const fn len(&self) -> usize {
        self.bytes as usize
    }

    /// Returns the bytes that a reply among the pieces may take beyond the limit.
    pub(crate) const fn allowance(&self) -> usize {
        self.largest_reply as usize * KIB
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Returns the number of pieces that wait.
    pub(crate) fn pieces(&self) -> usize {
        match &self.queue {
            Queue::Empty => 0,
            Queue::One(_) => 1,
            Queue::Many(queue) => queue.len(),
        }
    }

    /// The pieces, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Bytes> {
        let (one, many) = match &self.queue {
            Queue::Empty => (None, None),
            Queue::One(bytes) => (Some(bytes), None),
            Queue::Many(queue) => (None, Some(queue.iter())),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }

    /// Returns the bytes to send next: the first piece where it is alone or large, otherwise as many whole pieces as fit
    /// into `scratch`.
    pub(super) fn gather<'a>(&'a self, scratch: &'a mut [u8]) -> &'a [u8] {
        let first = self.iter().next().map_or(&[][..], |first| &first[..]);
        if self.pieces() == 1 || first.len() >= scratch.len() {
            return first;
        }
        let mut filled = 0;
        for piece in self.iter() {
            let end = filled + piece.len();
            if end > scratch.len() {
                break;
            }
            scratch[filled..end].copy_from_slice(piece);
            filled = end;
        }
        &scratch[..filled]
    }

    /// The first `count` bytes are sent.
    pub(crate) fn advance(&mut self, mut count: usize) {
        count = count.min(self.len());
        self.bytes -= count as u32;
        if self.bytes == 0 {
            *self = Self::default();
            return;
        }
        match &mut self.queue {
            Queue::Empty => {}
            Queue::One(bytes) => {
                self.partial |= count > 0;
                bytes.advance(count);
            }
            Queue::Many(queue) => {
                while let Some(first) = queue.front_mut() {
                    if count < first.len() {
                        first.advance(count);
                        self.partial = count > 0 || self.partial;
                        break;
                    }
                    self.partial = false;
                    count -= first.len();
                    queue.pop_front();
                }
            }
        }
    }

    /// Drops everything except a piece that is sent in part: without the rest of it the peer could not read
    /// what follows.
    pub(crate) fn abandon(&mut self) {
        let first = if self.partial { self.iter().next().cloned() } else { None };
        let partial = self.partial;
        *self = Self::default();
        if let Some(first) = first {
            self.push(first);
            self.partial = partial;
        }
    }
}
