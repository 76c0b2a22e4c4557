//! WebSocket frames and handshake (RFC 6455), without sockets.
//!
//! [`Reader`] turns bytes into [`Event`]s, the functions of [`encode`](append_frame) turn messages into
//! bytes, [`handshake`] judges the upgrade request. A server's reader wants masked frames and the encoder
//! writes unmasked ones; [`Reader::client`] and [`append_masked_frame`] are the other side, for tests and
//! load generators.
//!
//! The reader works in place: a message that lies whole in the input costs no copy and no allocation, and
//! a connection with no message under way owns no heap. An incomplete end of the input is kept by the reader, never
//! more than the limits allow and never more than about twice what really arrived.
//!
//! Of the extensions there is permessage-deflate (RFC 7692): [`extensions`] negotiates it. A reader that is told of it
//! lets the bit of compressed messages pass and gives them as they came; an [`Inflater`] looks into them.

mod deflate;
mod encode;
pub mod extensions;
pub mod handshake;
mod header;
mod mask;
mod reader;
pub mod request;

use std::ops::{Deref, DerefMut};

pub use deflate::{Compressed, Compression, Deflater, Inflated, Inflater, Window};
pub(crate) use encode::append_deflated;
pub use encode::{
    NO_STATUS, append_close, append_frame, append_header, append_masked_deflated, append_masked_frame,
    header, header_len,
};
pub use reader::Reader;

/// Content of a frame (RFC 6455 §11.8). The values are those on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Opcode {
    /// A further part of the message under way.
    Continuation = 0x0,
    /// UTF-8 text.
    Text = 0x1,
    /// Any bytes.
    Binary = 0x2,
    /// The sender is done.
    Close = 0x8,
    /// Asks for a pong.
    Ping = 0x9,
    /// Answers a ping.
    Pong = 0xA,
}

impl Opcode {
    /// Returns true if frames of this kind control the connection rather than carry a message: at most 125 bytes, never
    /// fragmented, allowed between the fragments of a message.
    #[must_use]
    pub const fn is_control(self) -> bool {
        self as u8 & 0x8 != 0
    }

    /// The opcode of the low four bits, if it is not a reserved one.
    const fn from_bits(bits: u8) -> Option<Self> {
        Some(match bits {
            0x0 => Self::Continuation,
            0x1 => Self::Text,
            0x2 => Self::Binary,
            0x8 => Self::Close,
            0x9 => Self::Ping,
            0xA => Self::Pong,
            _ => return None,
        })
    }
}

/// Bounds on what a peer may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Payload bytes of a whole message, all fragments together. A message over it is refused (1009) as soon
    /// as the header that exceeds it is read.
    ///
    /// The number of fragments is not limited itself: an empty one costs its sender six bytes and the receiver
    /// nothing.
    pub message: u32,
    /// Bytes of a compressed message, inflated. More is refused (1009) as soon as they are there.
    pub decompressed: u32,
}

impl Limits {
    /// Messages up to this size, and up to ten times that if they were compressed, as in Centrifugo.
    #[must_use]
    pub const fn of(message: u32) -> Self {
        Self { message, decompressed: message.saturating_mul(10) }
    }
}

impl Default for Limits {
    /// 65,536 bytes, Centrifugo's `websocket.message_size_limit`, and ten times that inflated.
    fn default() -> Self {
        Self::of(65_536)
    }
}

/// Something the peer said, complete and valid.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A text message; the payload is valid UTF-8.
    Text(Payload<'a>),
    /// A binary message.
    Binary(Payload<'a>),
    /// A compressed message of either kind, for an [`Inflater`].
    Compressed(Compressed<'a>),
    /// A ping, to be answered by a pong with the same payload (at most 125 bytes).
    Ping(Payload<'a>),
    /// A pong. Its payload is dropped.
    Pong,
    /// The peer closes, with the code it gave. Everything after it is dropped by the reader.
    Close(Option<u16>),
}

/// The bytes of a message.
#[derive(Debug)]
pub enum Payload<'a> {
    /// The message lay whole in the input.
    Borrowed(&'a mut [u8]),
    /// The message arrived in pieces and was put together by the reader.
    Owned(Vec<u8>),
}

impl Payload<'_> {
    /// The bytes as a vector of their own; copies only what is borrowed.
    #[must_use]
    pub fn into_vec(self) -> Vec<u8> {
        match self {
            Self::Borrowed(bytes) => bytes.to_vec(),
            Self::Owned(bytes) => bytes,
        }
    }
}

impl Deref for Payload<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Borrowed(bytes) => bytes,
            Self::Owned(bytes) => bytes,
        }
    }
}

impl DerefMut for Payload<'_> {
    fn deref_mut(&mut self) -> &mut [u8] {
        match self {
            Self::Borrowed(bytes) => bytes,
            Self::Owned(bytes) => bytes,
        }
    }
}

/// Payloads are equal if their bytes are, however they arrived.
impl PartialEq for Payload<'_> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Payload<'_> {}

/// The peer broke the protocol or a limit: the connection is to be closed with this code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("websocket close {code}: {reason}")]
pub struct CloseError {
    /// 1002 protocol error, 1007 invalid UTF-8 or a message that does not inflate, or 1009 over a limit.
    pub code: u16,
    /// Cause, for the close frame. Empty for a message over the size limit, as Centrifugo v6.9 has it.
    pub reason: &'static str,
}

impl CloseError {
    const fn protocol(reason: &'static str) -> Self {
        Self { code: 1002, reason }
    }

    const fn invalid_utf8(reason: &'static str) -> Self {
        Self { code: 1007, reason }
    }

    const TOO_BIG: Self = Self { code: 1009, reason: "" };
}
