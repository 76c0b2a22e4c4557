//! permessage-deflate (RFC 7692): compression of messages, without a context that outlives one.
//!
//! Each message is compressed for itself, so that a connection keeps no state between two, and one compressed message
//! serves any number of connections. [`Deflater`] and [`Inflater`] are the state that is needed while it is done. They
//! hold up to some hundred KiB from their first use on: one of each per thread is enough.

use super::{CloseError, Limits, Payload};
use std::mem::take;
use zlib_rs::{Deflate, DeflateConfig, DeflateFlush, Inflate, InflateFlush, Status, Strategy};

/// Ending of what a flush leaves, which is not sent (RFC 7692 §7.2.1).
const TAIL: [u8; 4] = [0, 0, 0xFF, 0xFF];
/// That ending, and an empty last block. Only where the message was whole does inflating end with it.
const TAIL_AND_LAST: [u8; 9] = [0, 0, 0xFF, 0xFF, 1, 0, 0, 0xFF, 0xFF];
/// Messages up to this size, which pings are, are never compressed: it cannot make them shorter.
const TINY: usize = 4;
/// Buffer that is kept from one message to the next.
const KEPT: usize = 64 << 10;
/// Bytes that inflating begins with room for.
const FIRST_ROOM: usize = 4 << 10;

/// Window of the compression: the distance of repetitions that it finds.
///
/// A client may ask for a small one. Of the sizes that there are, three are offered: each is a form of its own, in which
/// publications have to be compressed once more.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Window {
    /// 32 KiB, the largest.
    Full,
    /// 4 KiB.
    Medium,
    /// 512 bytes.
    Small,
}

impl Window {
    pub(crate) const COUNT: usize = 3;

    /// The largest of at most `bits`, if there is one.
    #[must_use]
    pub const fn within(bits: u8) -> Option<Self> {
        Some(match bits {
            15.. => Self::Full,
            12..=14 => Self::Medium,
            9..=11 => Self::Small,
            _ => return None,
        })
    }

    /// Its size as the power of two.
    #[must_use]
    pub const fn bits(self) -> u8 {
        match self {
            Self::Full => 15,
            Self::Medium => 12,
            Self::Small => 9,
        }
    }
}

/// Effort of the compression, and the messages that it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compression {
    /// 1, the fastest, to 9, the best. -1 is a compromise; -2 looks for no repetitions; with 0, messages are sent as
    /// they are.
    pub level: i8,
    /// Messages up to this size are sent as they are.
    pub min_size: usize,
}

impl Default for Compression {
    /// The fastest level, and all messages, as in Centrifugo.
    fn default() -> Self {
        Self { level: 1, min_size: 0 }
    }
}

impl Compression {
    fn state(self, window: Window) -> Deflate {
        let (level, strategy) = match self.level {
            ..=-2 => (1, Strategy::HuffmanOnly),
            -1 => (6, Strategy::Default),
            level => (i32::from(level.min(9)), Strategy::Default),
        };
        let window_bits = -i32::from(window.bits());
        Deflate::new_with_config(DeflateConfig { level, window_bits, strategy, ..DeflateConfig::default() })
    }
}

/// Compresses messages one at a time.
pub struct Deflater {
    /// Of connections in both directions, and of those in one.
    options: [Compression; 2],
    states: [Option<Deflate>; 2 * Window::COUNT],
    buffer: Vec<u8>,
}

impl Deflater {
    /// A compressor for connections in both directions, and for those in one.
    #[must_use]
    pub fn new(bidirectional: Compression, unidirectional: Compression) -> Self {
        let states = [const { None }; 2 * Window::COUNT];
        Self { options: [bidirectional, unidirectional], states, buffer: Vec::new() }
    }

    /// Returns the message as it is sent with the bit of compressed messages, or `None` if it is to be sent as it is.
    pub(crate) fn compress(&mut self, window: Window, unidirectional: bool, message: &[u8]) -> Option<&[u8]> {
        let direction = usize::from(unidirectional);
        let options = self.options[direction];
        if message.len() <= options.min_size.max(TINY) || options.level == 0 {
            return None;
        }
        let state = &mut self.states[direction * Window::COUNT + window as usize];
        let state = state.get_or_insert_with(|| options.state(window));
        state.reset();
        if self.buffer.len() > KEPT {
            self.buffer.truncate(KEPT);
            self.buffer.shrink_to(KEPT);
        }
        let mut filled = 0;
        loop {
            let used = state.total_in() as usize;
            if self.buffer.len() - filled < 64 {
                let room = (message.len() - used) / 2;
                self.buffer.resize(self.buffer.len() + room.max(1 << 10), 0);
            }
            // The state was made in order, and no call asks for anything that it cannot do.
            state.compress(&message[used..], &mut self.buffer[filled..], DeflateFlush::SyncFlush).ok()?;
            filled = state.total_out() as usize;
            if state.total_in() as usize == message.len() && filled < self.buffer.len() {
                break;
            }
        }
        self.buffer[..filled].strip_suffix(&TAIL)
    }
}

/// A compressed message of a peer, whole and not looked into yet.
#[derive(Debug, PartialEq, Eq)]
pub struct Compressed<'a> {
    pub(super) payload: Payload<'a>,
    /// It has to be UTF-8.
    pub(super) text: bool,
}

impl Compressed<'_> {
    /// Returns true for text, which has to be UTF-8.
    #[must_use]
    pub const fn is_text(&self) -> bool {
        self.text
    }

    /// Bytes as they came in.
    #[must_use]
    pub fn len(&self) -> usize {
        self.payload.len()
    }

    /// Returns true if no bytes came in.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.payload.is_empty()
    }
}

/// Inflates messages one at a time.
#[derive(Default)]
pub struct Inflater {
    state: Option<Inflate>,
    buffer: Vec<u8>,
}

impl Inflater {
    /// Inflates a message. Give the bytes back to [`Inflater::recycle`] when they are done with.
    ///
    /// # Errors
    /// The code to close the connection with: 1009 as soon as there are more bytes than `limits` allow, 1007 if the
    /// message does not inflate, is not whole, or is text and not UTF-8.
    pub fn inflate(&mut self, limits: &Limits, message: &Compressed<'_>) -> Result<Inflated, CloseError> {
        let state = self.state.get_or_insert_with(|| Inflate::new(false, Window::Full.bits()));
        let limit = limits.decompressed as usize;
        let mut bytes = take(&mut self.buffer);
        state.reset(false);
        let found = fill(state, limit, &message.payload, &mut bytes, KEPT).and_then(|len| {
            if len > bytes.len() {
                // It is of a size that is allowed, and gets room of its own. One that is not has cost no memory.
                state.reset(false);
                bytes = vec![0; len + 1];
                fill(state, len, &message.payload, &mut bytes, len + 1)?;
            }
            if message.text && simdutf8::basic::from_utf8(&bytes[..len]).is_err() {
                return Err(CloseError::invalid_utf8("text is not UTF-8"));
            }
            Ok(len)
        });
        let inflated = Inflated { bytes, len: *found.as_ref().unwrap_or(&0) };
        match found {
            Ok(_) => Ok(inflated),
            Err(error) => {
                self.recycle(inflated);
                Err(error)
            }
        }
    }

    /// Takes the buffer of a message back. A large one is not kept.
    pub fn recycle(&mut self, inflated: Inflated) {
        self.buffer = inflated.bytes;
        if self.buffer.len() > KEPT {
            self.buffer.truncate(KEPT);
            self.buffer.shrink_to(KEPT);
        }
    }
}

/// The bytes of an inflated message.
pub struct Inflated {
    /// Room, which may be more than is filled: bytes of earlier messages are behind.
    bytes: Vec<u8>,
    len: usize,
}

impl std::ops::Deref for Inflated {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl std::ops::DerefMut for Inflated {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.len]
    }
}

const CORRUPT: CloseError = CloseError { code: 1007, reason: "message does not inflate" };
const CUT: CloseError = CloseError { code: 1007, reason: "compressed message is not whole" };
const AFTER_LAST: CloseError = CloseError { code: 1007, reason: "data after the last block of a message" };

/// Inflates a message and returns its size. The bytes are in `room`, which grows to `most`; a larger message begins again
/// at its start, so that only the size is known then.
fn fill(
    state: &mut Inflate,
    limit: usize,
    message: &[u8],
    room: &mut Vec<u8>,
    most: usize,
) -> Result<usize, CloseError> {
    let (mut at, mut len) = (0, 0);
    for (part, is_tail) in [(message, false), (&TAIL_AND_LAST[..], true)] {
        let mut used = 0;
        loop {
            if at == room.len() {
                if room.len() < most {
                    room.resize(room.len().saturating_mul(2).clamp(FIRST_ROOM, most), 0);
                } else {
                    at = 0;
                }
            }
            let before = (state.total_in(), state.total_out());
            let status = state.decompress(&part[used..], &mut room[at..], InflateFlush::NoFlush);
            used += (state.total_in() - before.0) as usize;
            let count = (state.total_out() - before.1) as usize;
            at += count;
            len += count;
            if len > limit {
                return Err(CloseError::TOO_BIG);
            }
            match status {
                // A sender may end its message with a last block, and a zero byte for what the receiver appends
                // (RFC 7692 §7.2.3.4).
                Ok(Status::StreamEnd) => {
                    return match (is_tail, &part[used..]) {
                        (true, []) | (false, [] | [0]) => Ok(len),
                        _ => Err(AFTER_LAST),
                    };
                }
                Ok(_) => {}
                Err(_) => return Err(CORRUPT),
            }
            // With room left, all that can be made of this part is there.
            if used == part.len() && at < room.len() {
                break;
            }
            if (state.total_in(), state.total_out()) == before {
                return Err(CORRUPT);
            }
        }
    }
    Err(CUT)
}

#[cfg(test)]
#[path = "deflate_tests.rs"]
mod tests;
