//! A transport message and the commands or replies in it.
//!
//! JSON messages are on lines of their own, with exactly one newline between two and at most one at the end. Protobuf
//! messages follow their varint length.

use crate::command::Incoming;
use crate::error::DecodeError;
use crate::message::Reply;
use crate::protocol::Protocol;
use crate::{json, protobuf};
use std::iter::FusedIterator;

/// Nesting limit of typed messages, in both encodings. Only tags filters can reach it: no other message gets beyond
/// seven.
pub const MAX_DEPTH: u32 = 100;

/// The commands of one transport message, decoded one by one as they are asked for.
///
/// An empty message gives one `Err(DecodeError::Empty)`: a transport message must hold a command. After an
/// error there are no more items and no rest.
#[derive(Debug)]
pub struct Commands<'a> {
    frames: Frames<'a>,
}

impl<'a> Commands<'a> {
    /// The commands of `message`.
    pub fn new(protocol: Protocol, message: &'a [u8]) -> Self {
        Self { frames: Frames { protocol, rest: message, ended: false } }
    }

    /// Returns the bytes that are not decoded yet. When they are not empty, `new(protocol, rest)` goes on where this
    /// one stopped; when they are empty, the message is done.
    pub fn rest(&self) -> &'a [u8] {
        if self.frames.ended { &[] } else { self.frames.rest }
    }
}

impl Iterator for Commands<'_> {
    type Item = Result<Incoming, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.frames.next_with(|protocol, frame| match protocol {
            Protocol::Json => json::decode_command(frame),
            Protocol::Protobuf => protobuf::decode_command(frame),
        })
    }
}

impl FusedIterator for Commands<'_> {}

/// The replies of one transport message, for clients. Empty replies are pings.
///
/// Stricter than [`Commands`]: nothing may follow a reply on its line.
#[derive(Debug)]
pub struct Replies<'a> {
    frames: Frames<'a>,
}

impl<'a> Replies<'a> {
    /// The replies of `message`.
    pub fn new(protocol: Protocol, message: &'a [u8]) -> Self {
        Self { frames: Frames { protocol, rest: message, ended: false } }
    }
}

impl Iterator for Replies<'_> {
    type Item = Result<Reply, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.frames.next_with(decode_reply)
    }
}

impl FusedIterator for Replies<'_> {}

/// One reply, without framing.
///
/// # Errors
/// Fails if `bytes` are not exactly one reply.
pub fn decode_reply(protocol: Protocol, bytes: &[u8]) -> Result<Reply, DecodeError> {
    match protocol {
        Protocol::Json => json::decode(bytes),
        Protocol::Protobuf => protobuf::decode(bytes),
    }
}

#[derive(Debug)]
struct Frames<'a> {
    protocol: Protocol,
    rest: &'a [u8],
    ended: bool,
}

impl<'a> Frames<'a> {
    fn next_with<T>(
        &mut self,
        decode: impl FnOnce(Protocol, &'a [u8]) -> Result<T, DecodeError>,
    ) -> Option<Result<T, DecodeError>> {
        if self.ended {
            return None;
        }
        let item = self.take().and_then(|frame| decode(self.protocol, frame));
        self.ended = item.is_err() || self.rest.is_empty();
        Some(item)
    }

    fn take(&mut self) -> Result<&'a [u8], DecodeError> {
        if self.rest.is_empty() {
            return Err(DecodeError::Empty);
        }
        let (frame, rest) = match self.protocol {
            Protocol::Json => match memchr::memchr(b'\n', self.rest) {
                Some(newline) => (self.rest.get(..newline), self.rest.get(newline + 1..)),
                None => (Some(self.rest), None),
            },
            Protocol::Protobuf => {
                let (length, begin) = protobuf::read_varint(self.rest, 0).ok_or(DecodeError::Length)?;
                let body = self.rest.get(begin..).unwrap_or_default();
                let length = usize::try_from(length).map_err(|_| DecodeError::Length)?;
                // A length with nothing behind it ends a message that held something, as in Centrifugo v6.9.
                let rest = body.get(length..).filter(|rest| !is_bare_length(rest));
                (body.get(..length), rest)
            }
        };
        self.rest = rest.unwrap_or_default();
        frame.ok_or(DecodeError::Length)
    }
}

fn is_bare_length(rest: &[u8]) -> bool {
    protobuf::read_varint(rest, 0).is_some_and(|(length, end)| length > 0 && end == rest.len())
}
