//! Messages appended to what goes out.
//!
//! Every function takes the buffer of one payload: in JSON a newline goes before each message but the `first` (in version 1
//! one goes behind each message), in Protobuf the length goes before every message. [`Form::frame`](crate::form::Form::frame) makes a transport message of
//! it. Payloads in JSON follow the rules of
//! [`crate::json::payload`], so that one message can never break another.

use crate::form::Dialect;
use crate::json::{self, append_object};
use crate::message::{Command, Connect, ConnectResult, PresenceResult, Publication, Push, Reply};
use crate::protobuf::{append_varint, varint_len};
use crate::protocol::Protocol;
use crate::v1::{self, Positions};
use bytes::Bytes;
use prost::Message;
use std::collections::BTreeMap;

/// The server's ping, and the client's pong, as a separate transport message.
pub fn ping(protocol: Protocol) -> &'static [u8] {
    match protocol {
        Protocol::Json => b"{}",
        Protocol::Protobuf => &[0],
    }
}

/// Appends a reply.
///
/// A unidirectional dialect has no replies. There, the result of a connect goes out as the `connect` push and an empty
/// reply, which is a ping, as an empty push; other replies answer commands that such a client cannot send, and nothing is
/// appended.
pub fn append_reply(dialect: impl Into<Dialect>, reply: &Reply, out: &mut Vec<u8>, first: bool) {
    let dialect = dialect.into();
    let protocol = dialect.encoding();
    if dialect.is_unidirectional() {
        return append_reply_as_push(protocol, reply, out, first);
    }
    if dialect.is_v1() {
        return v1::append_reply(protocol, reply, Positions::Both, out);
    }
    match &reply.connect {
        Some(connect) if protocol == Protocol::Protobuf && connect.subs.values().any(is_default) => {
            append_connect_reply(reply, connect, out);
        }
        _ => append(protocol, reply, out, first),
    }
}

/// The result of a presence command as [`append_presence_reply`] takes it: encoded once for any number of replies.
#[must_use]
pub fn encode_presence(protocol: Protocol, result: &PresenceResult) -> Bytes {
    match protocol {
        Protocol::Json => {
            let mut out = Vec::new();
            append_object(result, &mut out);
            out.into()
        }
        Protocol::Protobuf => result.encode_to_vec().into(),
    }
}

/// Appends the reply to a presence command: the same bytes as [`append_reply`] with the result that was encoded.
pub fn append_presence_reply(
    dialect: impl Into<Dialect>,
    id: u32,
    encoded: &[u8],
    out: &mut Vec<u8>,
    first: bool,
) {
    let dialect = dialect.into();
    if dialect.is_v1() {
        return v1::append_presence_reply(dialect.encoding(), id, encoded, out);
    }
    match dialect.encoding() {
        Protocol::Json => {
            out.reserve(encoded.len() + 32);
            separate(out, first);
            append_object(&Reply { id, ..Reply::default() }, out);
            // The object so far is not closed but goes on.
            out.pop();
            out.extend_from_slice(if id == 0 { b"\"presence\":" } else { b",\"presence\":" });
            out.extend_from_slice(encoded);
            out.push(b'}');
        }
        Protocol::Protobuf => {
            out.reserve(encoded.len() + 16);
            append_with_field(&Reply { id, ..Reply::default() }, REPLY_PRESENCE, encoded, out);
        }
    }
}

/// Appends a push: inside of a reply where the dialect is bidirectional, bare otherwise.
pub fn append_push(dialect: impl Into<Dialect>, push: &Push, out: &mut Vec<u8>, first: bool) {
    let dialect = dialect.into();
    if dialect.is_unidirectional() {
        return append_bare_push(dialect.encoding(), push, out, first);
    }
    if dialect.is_v1() {
        return v1::append_push(dialect.encoding(), push, out);
    }
    match dialect.encoding() {
        Protocol::Json => {
            separate(out, first);
            out.extend_from_slice(b"{\"push\":");
            append_object(push, out);
            out.push(b'}');
        }
        Protocol::Protobuf => {
            append_reply_head(push.encoded_len(), out);
            append_raw(push, out);
        }
    }
}

fn append_bare_push(protocol: Protocol, push: &Push, out: &mut Vec<u8>, first: bool) {
    match &push.connect {
        Some(connect) if protocol == Protocol::Protobuf && connect.subs.values().any(is_default) => {
            append_connect_push(push, connect, out);
        }
        _ => append(protocol, push, out, first),
    }
}

fn append_reply_as_push(protocol: Protocol, reply: &Reply, out: &mut Vec<u8>, first: bool) {
    let connect = reply.connect.as_ref().map(|result| Connect {
        client: result.client.clone(),
        version: result.version.clone(),
        data: result.data.clone(),
        subs: result.subs.clone(),
        expires: result.expires,
        ttl: result.ttl,
        ping: result.ping,
        pong: result.pong,
        session: result.session.clone(),
        node: result.node.clone(),
        time: result.time,
    });
    if connect.is_some() || *reply == Reply::default() {
        append_bare_push(protocol, &Push { connect, ..Push::default() }, out, first);
    }
}

/// Appends a command, for clients.
pub fn append_command(protocol: Protocol, command: &Command, out: &mut Vec<u8>, first: bool) {
    append(protocol, command, out, first);
}

/// Appends the push of a publication: the same bytes as [`append_push`], without building the messages
/// around it.
pub fn append_publication_push(
    dialect: impl Into<Dialect>,
    channel: &str,
    publication: &Publication,
    out: &mut Vec<u8>,
    first: bool,
) {
    let dialect = dialect.into();
    if dialect.is_v1() {
        return v1::append_publication_push(dialect.encoding(), channel, publication, out);
    }
    let bare = dialect.is_unidirectional();
    match dialect.encoding() {
        Protocol::Json => {
            out.reserve(channel.len() + publication.data.len() + 96);
            separate(out, first);
            out.extend_from_slice(if bare { b"{" } else { b"{\"push\":{" });
            if !channel.is_empty() {
                out.extend_from_slice(b"\"channel\":");
                json::append_string(channel, out);
                out.push(b',');
            }
            out.extend_from_slice(b"\"pub\":");
            append_object(publication, out);
            out.extend_from_slice(if bare { b"}" } else { b"}}" });
        }
        Protocol::Protobuf => {
            let publication_len = publication.encoded_len();
            let channel_len = if channel.is_empty() { 0 } else { delimited_len(channel.len()) };
            let push_len = channel_len + delimited_len(publication_len);
            if bare {
                out.reserve(push_len + varint_len(push_len as u64));
                append_varint(push_len as u64, out);
            } else {
                append_reply_head(push_len, out);
            }
            if !channel.is_empty() {
                out.push(PUSH_CHANNEL);
                append_varint(channel.len() as u64, out);
                out.extend_from_slice(channel.as_bytes());
            }
            out.push(PUSH_PUBLICATION);
            append_varint(publication_len as u64, out);
            append_raw(publication, out);
        }
    }
}

// Keys of length-delimited fields: number << 3 | 2.
const REPLY_PUSH: u8 = 4 << 3 | 2;
const REPLY_CONNECT: u8 = 5 << 3 | 2;
const REPLY_PRESENCE: u8 = 9 << 3 | 2;
const PUSH_CONNECT: u8 = 10 << 3 | 2;
const CONNECT_SUBS: u8 = 4 << 3 | 2;
pub(crate) const CONNECT_RESULT_SUBS: u8 = 6 << 3 | 2;
const ENTRY_KEY: u8 = 1 << 3 | 2;
const ENTRY_VALUE: u8 = 2 << 3 | 2;
const PUSH_CHANNEL: u8 = 2 << 3 | 2;
const PUSH_PUBLICATION: u8 = 4 << 3 | 2;

/// Appends the reply to a connect with some empty subscribe results.
fn append_connect_reply(reply: &Reply, connect: &ConnectResult, out: &mut Vec<u8>) {
    let mut others = connect.clone();
    others.subs.retain(|_, result| !is_default(result));
    let body = with_empty_subs(others.encode_to_vec(), CONNECT_RESULT_SUBS, empty(&connect.subs));
    append_with_field(&Reply { connect: None, ..reply.clone() }, REPLY_CONNECT, &body, out);
}

/// The same for the push that begins a unidirectional connection.
fn append_connect_push(push: &Push, connect: &Connect, out: &mut Vec<u8>) {
    let mut others = connect.clone();
    others.subs.retain(|_, result| !is_default(result));
    let body = with_empty_subs(others.encode_to_vec(), CONNECT_SUBS, empty(&connect.subs));
    append_with_field(&Push { connect: None, ..push.clone() }, PUSH_CONNECT, &body, out);
}

/// Appends the entries of a map that have an empty value.
///
/// `prost` leaves such a value out. The official JavaScript SDK takes a missing value for null and fails on
/// it, so that these entries are written here, with a value of no bytes.
pub(crate) fn with_empty_subs<'a>(
    mut body: Vec<u8>,
    map: u8,
    channels: impl Iterator<Item = &'a str>,
) -> Vec<u8> {
    for channel in channels {
        body.push(map);
        append_varint((delimited_len(channel.len()) + delimited_len(0)) as u64, &mut body);
        body.push(ENTRY_KEY);
        append_varint(channel.len() as u64, &mut body);
        body.extend_from_slice(channel.as_bytes());
        body.extend_from_slice(&[ENTRY_VALUE, 0]);
    }
    body
}

/// Appends a message with one more field, that is encoded already.
fn append_with_field<M: Message>(message: &M, key: u8, field: &[u8], out: &mut Vec<u8>) {
    append_varint((message.encoded_len() + delimited_len(field.len())) as u64, out);
    append_raw(message, out);
    out.push(key);
    append_varint(field.len() as u64, out);
    out.extend_from_slice(field);
}

/// The channels of a map of subscriptions whose result is empty.
pub(crate) fn empty<M: Default + PartialEq>(subs: &BTreeMap<String, M>) -> impl Iterator<Item = &str> {
    subs.iter().filter(|(_, result)| is_default(*result)).map(|(channel, _)| channel.as_str())
}

pub(crate) fn is_default<M: Default + PartialEq>(message: &M) -> bool {
    *message == M::default()
}

fn append<M: json::Fields + Message>(protocol: Protocol, message: &M, out: &mut Vec<u8>, first: bool) {
    match protocol {
        Protocol::Json => {
            separate(out, first);
            append_object(message, out);
        }
        Protocol::Protobuf => {
            append_varint(message.encoded_len() as u64, out);
            append_raw(message, out);
        }
    }
}

fn separate(out: &mut Vec<u8>, first: bool) {
    if !first {
        out.push(b'\n');
    }
}

/// Length and beginning of a reply that holds nothing but a push of `push_len` bytes.
fn append_reply_head(push_len: usize, out: &mut Vec<u8>) {
    let reply_len = delimited_len(push_len);
    out.reserve(reply_len + varint_len(reply_len as u64));
    append_varint(reply_len as u64, out);
    out.push(REPLY_PUSH);
    append_varint(push_len as u64, out);
}

/// Length of a field with a one-byte key.
fn delimited_len(len: usize) -> usize {
    1 + varint_len(len as u64) + len
}

fn append_raw<M: Message>(message: &M, out: &mut Vec<u8>) {
    message.encode_raw(out);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::ClientInfo;

    #[test]
    fn a_presence_reply_is_the_same_put_together_or_encoded_whole() {
        let info = |user: &str| ClientInfo { user: user.to_owned(), ..ClientInfo::default() };
        let crowd = (0..300).map(|number| (number.to_string(), info(&format!("u{number}")))).collect();
        for presence in [BTreeMap::new(), BTreeMap::from([("c".to_owned(), info("é"))]), crowd] {
            let result = PresenceResult { presence };
            for (protocol, id, first) in [
                (Protocol::Json, 7, true),
                (Protocol::Json, 0, false),
                (Protocol::Json, u32::MAX, false),
                (Protocol::Protobuf, 7, true),
                (Protocol::Protobuf, 0, false),
                (Protocol::Protobuf, u32::MAX, false),
            ] {
                let (mut whole, mut together) = (b"x".to_vec(), b"x".to_vec());
                let reply = Reply { id, presence: Some(result.clone()), ..Reply::default() };
                append_reply(protocol, &reply, &mut whole, first);
                let encoded = encode_presence(protocol, &result);
                append_presence_reply(protocol, id, &encoded, &mut together, first);
                assert_eq!(whole, together, "{protocol:?} {id}");
            }
        }
    }
}
