//! Output that waits to be sent to one connection.

use bytes::{Buf, Bytes};
use spinward_wire::ws::{self, Opcode};
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

/// Bytes of messages in one frame from which on no further one is added.
const JOINED: usize = 32 << 10;

/// Frames, while text messages are joined.
#[derive(Default)]
struct Joined {
    out: Vec<Bytes>,
    lines: Vec<u8>,
}

impl Joined {
    /// Adds the frames of a piece.
    fn add(&mut self, piece: &Bytes) {
        let mut at = 0;
        while let Some((text, begin, end)) = frame(&piece[at..]) {
            if text {
                if !self.lines.is_empty() {
                    self.lines.push(b'\n');
                }
                self.lines.extend_from_slice(&piece[at + begin..at + end]);
                if self.lines.len() > JOINED {
                    self.close();
                }
            } else {
                self.close();
                self.out.push(piece.slice(at..at + end));
            }
            at += end;
        }
        if at < piece.len() {
            self.close();
            self.out.push(piece.slice(at..));
        }
    }

    fn close(&mut self) {
        if !self.lines.is_empty() {
            let mut framed = Vec::with_capacity(self.lines.len() + 10);
            ws::append_frame(Opcode::Text, &self.lines, &mut framed);
            self.lines.clear();
            self.out.push(framed.into());
        }
    }
}

/// The first frame: true for a whole text message without extensions; where its payload begins, and where it ends.
fn frame(bytes: &[u8]) -> Option<(bool, usize, usize)> {
    let (length, begin) = match bytes.get(1)? {
        126 => (u64::from(u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?)), 4),
        127 => (u64::from_be_bytes(*bytes.get(2..)?.first_chunk()?), 10),
        few => (u64::from(*few), 2),
    };
    let end = begin + usize::try_from(length).ok()?;
    (end <= bytes.len()).then_some((bytes[0] == 0x81, begin, end))
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
            // There is nothing in it to drop, which the compiler does not see.
            std::mem::forget(std::mem::replace(&mut self.queue, Queue::One(bytes)));
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

    #[inline(never)]
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

    /// Puts text messages that wait into one WebSocket frame, each on a line of its own. The peer is a client that reads
    /// them so.
    pub(crate) fn join(&mut self) {
        if self.pieces() < 2 {
            return;
        }
        let mut joined = Joined::default();
        let mut pieces = self.iter();
        if self.partial {
            joined.out.extend(pieces.next().cloned());
        }
        pieces.for_each(|piece| joined.add(piece));
        joined.close();
        let (out, partial, largest_reply) = (joined.out, self.partial, self.largest_reply);
        *self = Self::default();
        out.into_iter().for_each(|piece| {
            self.push(piece);
        });
        (self.partial, self.largest_reply) = (partial, largest_reply);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn text(payload: &[u8]) -> Bytes {
        let mut out = Vec::new();
        ws::append_frame(Opcode::Text, payload, &mut out);
        out.into()
    }

    fn all(outbox: &Outbox) -> Vec<u8> {
        outbox.iter().flatten().copied().collect()
    }

    #[test]
    fn messages_that_wait_are_joined() {
        let mut outbox = Outbox::default();
        outbox.push(text(b"{}"));
        outbox.join();
        assert_eq!(all(&outbox), text(b"{}"), "one is left alone");
        outbox.push([text(b"[1]"), text(&[b'x'; 300])].concat().into());
        outbox.push(Bytes::from_static(b"\x89\0"));
        outbox.push(text(b"[2]"));
        outbox.push(text(b"[3]"));
        outbox.join();
        let first = [&b"{}\n[1]\n"[..], &[b'x'; 300]].concat();
        let expected = [&text(&first)[..], b"\x89\0", &text(b"[2]\n[3]")].concat();
        assert_eq!((all(&outbox), outbox.pieces(), outbox.len()), (expected.clone(), 3, expected.len()));
    }

    #[test]
    fn a_frame_that_is_sent_in_part_stays_as_it_is() {
        let mut outbox = Outbox::default();
        for payload in [&b"[1]"[..], b"[2]", b"[3]"] {
            outbox.push(text(payload));
        }
        outbox.advance(2);
        outbox.join();
        assert_eq!(all(&outbox), [&b"[1]"[..], &text(b"[2]\n[3]")].concat());
        outbox.abandon();
        assert_eq!(all(&outbox), b"[1]");
    }

    #[test]
    fn joined_frames_are_bounded() {
        let mut outbox = Outbox::default();
        for _ in 0..100 {
            outbox.push(text(&[b'x'; 1000]));
        }
        let before = outbox.len();
        outbox.join();
        assert!(outbox.pieces() == 4 && outbox.len() < before, "{}", outbox.pieces());
    }
}
