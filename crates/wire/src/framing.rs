//! Messages of a transport into commands or replies, and back.

use crate::command::Incoming;
use crate::error::DecodeError;
use crate::json::{self, JsonMessage};
use crate::message::{Command, Publication, Push, Reply};
use crate::{Protocol, protobuf};
use prost::Message;
use std::marker::PhantomData;

/// The commands of one transport message, decoded one at a time.
///
/// A server that has to wait after a command keeps [`Messages::rest`] and goes on from there.
pub type Commands<'a> = Messages<'a, Command, Incoming>;

/// The replies of one transport message.
pub type Replies<'a> = Messages<'a, Reply, Reply>;

/// The messages of one transport message, decoded one at a time. After an error there are no more.
#[derive(Debug)]
pub struct Messages<'a, M, T> {
    protocol: Protocol,
    rest: &'a [u8],
    started: bool,
    kind: PhantomData<fn() -> (M, T)>,
}

impl<'a, M, T> Messages<'a, M, T> {
    /// Reads a transport message. An empty one gives [`DecodeError::Empty`].
    #[must_use]
    pub const fn new(protocol: Protocol, bytes: &'a [u8]) -> Self {
        Self { protocol, rest: bytes, started: false, kind: PhantomData }
    }

    /// What is not decoded yet.
    #[must_use]
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

impl<M: Message + Default + JsonMessage, T: From<M>> Iterator for Messages<'_, M, T> {
    type Item = Result<T, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return (!std::mem::replace(&mut self.started, true)).then_some(Err(DecodeError::Empty));
        }
        self.started = true;
        let decoded = match self.protocol {
            Protocol::Json => {
                let end = memchr::memchr(b'\n', self.rest).unwrap_or(self.rest.len());
                let line = &self.rest[..end];
                self.rest = self.rest.get(end + 1..).unwrap_or_default();
                json::decode::<M>(line)
            }
            Protocol::Protobuf => protobuf::split(self.rest).and_then(|(message, rest)| {
                self.rest = rest;
                protobuf::decode::<M>(message)
            }),
        };
        if decoded.is_err() {
            self.rest = &[];
        }
        Some(decoded.map(T::from))
    }
}

/// Appends a reply to a transport message; `first` tells that it is the first in it.
pub fn append_reply(protocol: Protocol, reply: &Reply, out: &mut Vec<u8>, first: bool) {
    append(protocol, reply, out, first);
}

/// Appends a push, in the envelope that bidirectional transports have.
pub fn append_push(protocol: Protocol, push: &Push, out: &mut Vec<u8>, first: bool) {
    append(protocol, &Reply { push: Some(push.clone()), ..Reply::default() }, out, first);
}

/// Appends a push without an envelope, as unidirectional transports have it.
pub fn append_bare_push(protocol: Protocol, push: &Push, out: &mut Vec<u8>, first: bool) {
    append(protocol, push, out, first);
}

/// Appends a command: the client's side, for tests and load generators.
pub fn append_command(protocol: Protocol, command: &Command, out: &mut Vec<u8>, first: bool) {
    append(protocol, command, out, first);
}

/// Appends the push of a publication, in its envelope. The same bytes as [`append_push`] gives, without
/// putting a message together first.
pub fn append_publication_push(protocol: Protocol, channel: &str, publication: &Publication, out: &mut Vec<u8>, first: bool) {
    match protocol {
        Protocol::Json => {
            separate(out, first);
            out.extend_from_slice(b"{\"push\":{");
            if !channel.is_empty() {
                out.extend_from_slice(b"\"channel\":");
                json::append_string(channel, out);
                out.push(b',');
            }
            out.extend_from_slice(b"\"pub\":");
            publication.write(out);
            out.extend_from_slice(b"}}");
        }
        Protocol::Protobuf => protobuf::append_publication_push(channel, publication, out),
    }
}

/// A ping, as one whole transport message.
#[must_use]
pub const fn ping(protocol: Protocol) -> &'static [u8] {
    match protocol {
        Protocol::Json => b"{}",
        Protocol::Protobuf => &[0],
    }
}

fn append<M: Message + JsonMessage>(protocol: Protocol, message: &M, out: &mut Vec<u8>, first: bool) {
    match protocol {
        Protocol::Json => {
            separate(out, first);
            message.write(out);
        }
        Protocol::Protobuf => protobuf::append(message, out),
    }
}

fn separate(out: &mut Vec<u8>, first: bool) {
    if !first {
        out.push(b'\n');
    }
}
