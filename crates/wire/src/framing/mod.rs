//! Bytes of a connection into transport messages, and those into commands or replies.
//!
//! A [`Decoder`] takes the bytes apart as the framing has them. In a transport message, JSON messages are on lines of
//! their own, with exactly one newline between two and at most one at the end; Protobuf messages follow their varint
//! length.

mod decoder;
mod delimited;
pub mod sockjs;

pub use decoder::{Decoder, Fault, Input};
pub use delimited::Reader as DelimitedReader;

use crate::command::{Incoming, Request};
use crate::error::DecodeError;
use crate::form::Dialect;
use crate::message::{ConnectRequest, EmulationRequest, Reply};
use crate::protocol::Protocol;
use crate::{json, protobuf, v1};
use bytes::Bytes;
use std::iter::FusedIterator;

/// Nesting limit of typed messages, in both encodings. Only tags filters can reach it: no other message gets beyond
/// seven.
pub const MAX_DEPTH: u32 = 100;

/// The commands of one transport message, decoded one by one as they are asked for.
///
/// An empty message gives one `Err(DecodeError::Empty)`: a transport message must hold a command. After an
/// error there are no more items and no rest.
///
/// In a unidirectional dialect a message is a connect request without an envelope; in JSON it may take several lines,
/// and what follows it is ignored. It gives a connect command with id 1.
///
/// In version 1, JSON is a stream of values, with any spaces between them: nothing but spaces gives no item.
#[derive(Debug)]
pub struct Commands<'a> {
    frames: Frames<'a>,
    dialect: Dialect,
}

impl<'a> Commands<'a> {
    /// The commands of `message`.
    pub fn new(dialect: impl Into<Dialect>, message: &'a [u8]) -> Self {
        let dialect = dialect.into();
        let frames = Frames { protocol: dialect.encoding(), rest: message, ended: false };
        Self { frames, dialect }
    }

    /// Kept out of line: it is used once for a connection at most.
    #[cold]
    #[inline(never)]
    fn next_connect(&mut self) -> Option<Result<Incoming, DecodeError>> {
        let request = match self.frames.protocol {
            Protocol::Json => self.frames.whole_with(json::decode_first),
            Protocol::Protobuf => self.frames.next_with(|_, bytes| protobuf::decode(bytes)),
        };
        request.map(connect)
    }

    #[cold]
    #[inline(never)]
    fn next_v1(&mut self) -> Option<Result<Incoming, DecodeError>> {
        let next = match self.frames.protocol {
            Protocol::Json => self.frames.next_value().map(|value| value.and_then(v1::decode_json)),
            Protocol::Protobuf => self.frames.next_with(|_, frame| v1::decode_protobuf(frame)),
        };
        self.frames.ended |= matches!(next, Some(Err(_)));
        next
    }

    /// Returns the bytes that are not decoded yet. When they are not empty, `new(dialect, rest)` goes on where this
    /// one stopped; when they are empty, the message is done.
    pub fn rest(&self) -> &'a [u8] {
        if self.frames.ended { &[] } else { self.frames.rest }
    }
}

impl Iterator for Commands<'_> {
    type Item = Result<Incoming, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.dialect.is_unidirectional() {
            return self.next_connect();
        }
        if self.dialect.is_v1() {
            return self.next_v1();
        }
        self.frames.next_with(|protocol, frame| match protocol {
            Protocol::Json => json::decode_command(frame),
            Protocol::Protobuf => protobuf::decode_command(frame),
        })
    }
}

/// The command that a bare connect request stands for.
fn connect(request: Result<ConnectRequest, DecodeError>) -> Result<Incoming, DecodeError> {
    Ok(Incoming { id: 1, request: Some(Request::Connect(Box::new(request?))), ..Incoming::default() })
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

/// A request that brings a message of a client whose connection carries output only. In JSON, `data` is a string that
/// holds the message.
///
/// # Errors
/// Fails if `bytes` do not begin with such a request.
pub fn decode_emulation(protocol: Protocol, bytes: &[u8]) -> Result<Emulated, DecodeError> {
    if protocol == Protocol::Protobuf {
        let EmulationRequest { node, session, data } = protobuf::decode(bytes)?;
        return Ok(Emulated { node, session, message: Some(data) });
    }
    let EmulationRequest { node, session, data } = json::decode_first(bytes)?;
    let literal = std::str::from_utf8(&data).map_err(|_| DecodeError::Syntax)?.trim();
    let message = match literal {
        "null" => Some(Bytes::new()),
        literal => json::unescape_literal(literal).map(|message| message.into_owned().into()),
    };
    Ok(Emulated { node, session, message })
}

/// A message of a client that came by a request of its own.
#[derive(Clone, PartialEq, Eq)]
pub struct Emulated {
    /// The node of the connection.
    pub node: String,
    /// The session of the connection.
    pub session: String,
    /// The message. `None` where it is absent or no string in JSON: the request then has no effect, as in Centrifugo v6.9.
    pub message: Option<Bytes>,
}

impl std::fmt::Debug for Emulated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Emulated").field("node", &self.node).finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Frames<'a> {
    protocol: Protocol,
    rest: &'a [u8],
    ended: bool,
}

impl<'a> Frames<'a> {
    // Inlined: a call for each command costs more than what is done here.
    #[inline]
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

    /// Decodes all that is left as one message.
    fn whole_with<T>(
        &mut self,
        decode: impl FnOnce(&'a [u8]) -> Result<T, DecodeError>,
    ) -> Option<Result<T, DecodeError>> {
        if self.ended {
            return None;
        }
        self.ended = true;
        let message = std::mem::take(&mut self.rest);
        Some(if message.is_empty() { Err(DecodeError::Empty) } else { decode(message) })
    }

    /// Takes the next JSON value, with what spaces there are around it.
    fn next_value(&mut self) -> Option<Result<&'a [u8], DecodeError>> {
        if self.ended {
            return None;
        }
        if self.rest.is_empty() {
            self.ended = true;
            return Some(Err(DecodeError::Empty));
        }
        let begin = json::scan::skip_spaces(self.rest, 0);
        if begin == self.rest.len() {
            self.ended = true;
            return None;
        }
        let Some(end) = json::scan::skip_value(self.rest, begin) else {
            self.ended = true;
            return Some(Err(DecodeError::Syntax));
        };
        let value = self.rest.get(begin..end).unwrap_or_default();
        self.rest = self.rest.get(json::scan::skip_spaces(self.rest, end)..).unwrap_or_default();
        self.ended = self.rest.is_empty();
        Some(Ok(value))
    }

    #[inline]
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

/// The message of a gRPC call of a unidirectional client, a bare connect request, as [`Commands`] takes it: behind its
/// length.
///
/// # Errors
/// It is not a connect request.
pub fn grpc_connect(message: &[u8]) -> Result<Vec<u8>, DecodeError> {
    let _: ConnectRequest = protobuf::decode(message)?;
    let mut out = Vec::with_capacity(message.len() + 5);
    protobuf::append_varint(message.len() as u64, &mut out);
    out.extend_from_slice(message);
    Ok(out)
}

fn is_bare_length(rest: &[u8]) -> bool {
    protobuf::read_varint(rest, 0).is_some_and(|(length, end)| length > 0 && end == rest.len())
}

/// The messages of a payload that the functions of this crate have written, each with the length that goes before it.
pub(crate) fn messages(protocol: Protocol, mut payload: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        if payload.is_empty() {
            return None;
        }
        let (end, next) = match protocol {
            Protocol::Json => match memchr::memchr(b'\n', payload) {
                Some(newline) => (newline, newline + 1),
                None => (payload.len(), payload.len()),
            },
            Protocol::Protobuf => {
                let (length, begin) = protobuf::read_varint(payload, 0).unwrap_or((u64::MAX, 0));
                let end =
                    usize::try_from(length).map_or(payload.len(), |length| begin.saturating_add(length));
                (end.min(payload.len()), end.min(payload.len()))
            }
        };
        let message = &payload[..end];
        payload = &payload[next..];
        Some(message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::form::Direction;

    fn connects(protocol: Protocol, message: &[u8]) -> Vec<Result<String, DecodeError>> {
        let dialect = Dialect::new(protocol, Direction::Unidirectional);
        let token = |incoming: Incoming| match incoming.request {
            Some(Request::Connect(request)) if incoming.id == 1 => request.token,
            other => panic!("{other:?}"),
        };
        Commands::new(dialect, message).map(|item| item.map(token)).collect()
    }

    #[test]
    fn a_unidirectional_client_sends_one_bare_connect_request() {
        let json = |text: &str| connects(Protocol::Json, text.as_bytes());
        assert_eq!(json("{\n\"token\": \"t\"\n}\n"), [Ok("t".to_owned())]);
        assert_eq!(json("{}"), [Ok(String::new())]);
        assert_eq!(json(""), [Err(DecodeError::Empty)]);
        // As Centrifugo v6.9 reads them.
        assert_eq!(json("{\"token\":\"t\"}\n{\"token\":\"u\"}"), [Ok("t".to_owned())]);
        assert_eq!(json("{\"token\":\"t\"} x"), [Ok("t".to_owned())]);
        assert_eq!(json("null"), [Ok(String::new())]);
        assert_eq!(json("[]"), [Err(DecodeError::Type)]);
        assert_eq!(json("{\"token\":1}"), [Err(DecodeError::Type)]);
        assert_eq!(connects(Protocol::Protobuf, b"\x03\x0a\x01t"), [Ok("t".to_owned())]);
        assert_eq!(connects(Protocol::Protobuf, b"\x00"), [Ok(String::new())]);
        let grpc = |message: &[u8]| grpc_connect(message).map(|first| connects(Protocol::Protobuf, &first));
        assert_eq!(grpc(b"\x0a\x01t"), Ok(vec![Ok("t".to_owned())]));
        assert_eq!(grpc(b""), Ok(vec![Ok(String::new())]));
        assert!(grpc(b"\x0a\x02t").is_err());
        assert_eq!(connects(Protocol::Protobuf, b"\x04\x0a\x01t"), [Err(DecodeError::Length)]);
    }

    #[test]
    fn an_emulation_request_holds_its_message_in_a_string() {
        let json = |text: &str| {
            decode_emulation(Protocol::Json, text.as_bytes())
                .map(|request| (request.node, request.session, request.message))
        };
        let (node, session) = ("n".to_owned(), "s".to_owned());
        assert_eq!(
            json("{\"session\":\"s\",\"node\":\"n\",\"data\": \"{\\\"id\\\":2}\\n{}\"}"),
            Ok((node, session, Some("{\"id\":2}\n{}".into())))
        );
        let without = || (String::new(), String::new(), None);
        for none in ["{}", "{\"data\":5}", "{\"data\":{}}"] {
            assert_eq!(json(none), Ok(without()), "{none}");
        }
        for empty in ["{\"data\":null}", "{\"data\":\"\"}"] {
            assert_eq!(json(empty), Ok((String::new(), String::new(), Some(Bytes::new()))), "{empty}");
        }
        assert_eq!(json("x"), Err(DecodeError::Syntax));
        let protobuf = decode_emulation(Protocol::Protobuf, b"\x0a\x01n\x12\x01s\x1a\x01\x00");
        assert_eq!(protobuf.map(|request| request.message), Ok(Some(Bytes::from_static(b"\x00"))));
    }

    #[test]
    fn written_messages_are_told_apart() {
        let of = |protocol, payload: &'static [u8]| messages(protocol, payload).collect::<Vec<_>>();
        assert_eq!(of(Protocol::Json, b"{}\n[1]"), [&b"{}"[..], b"[1]"]);
        assert_eq!(of(Protocol::Protobuf, b"\x00\x02ab\x00"), [&b"\x00"[..], b"\x02ab", b"\x00"]);
        assert_eq!(of(Protocol::Json, b""), [b""; 0]);
    }
}
