//! Replies and pushes.

use super::Positions;
use super::message::{
    ConnectResult, Empty, HistoryResult, Publication, Push, Reply, Sub, SubscribeResult, Unsub,
};
use crate::encode::{CONNECT_RESULT_SUBS, empty, is_default, with_empty_subs};
use crate::json::{self, Fields, append_object};
use crate::message;
use crate::protobuf::append_varint;
use crate::protocol::Protocol;
use prost::Message;

/// Appends a reply. One with nothing in it is a ping of the server, which an old client must never receive: nothing is
/// appended.
pub fn append_reply(protocol: Protocol, reply: &message::Reply, positions: Positions, out: &mut Vec<u8>) {
    let put = Put { protocol, id: reply.id };
    if let Some(error) = &reply.error {
        put.error(error, out);
    } else if let Some(push) = &reply.push {
        append_push(protocol, push, out);
    } else if let Some(result) = &reply.connect {
        put.connect(&connect(result, positions), out);
    } else if let Some(result) = &reply.subscribe {
        put.result(&subscribe(result, positions), out);
    } else if reply.unsubscribe.is_some() || reply.publish.is_some() {
        put.result(&Empty {}, out);
    } else if let Some(result) = &reply.presence {
        put.result(result, out);
    } else if let Some(result) = &reply.presence_stats {
        put.result(result, out);
    } else if let Some(result) = &reply.history {
        put.result(&history(result), out);
    } else if let Some(result) = &reply.rpc {
        put.result(result, out);
    } else if let Some(result) = &reply.refresh {
        put.result(result, out);
    } else if let Some(result) = &reply.sub_refresh {
        put.result(result, out);
    } else if reply.id != 0 {
        put.nothing(out);
    }
}

/// Appends the reply to a presence command, of which the result is encoded.
pub(crate) fn append_presence_reply(protocol: Protocol, id: u32, encoded: &[u8], out: &mut Vec<u8>) {
    Put { protocol, id }.encoded(encoded, out);
}

/// Appends the push of a publication.
pub(crate) fn append_publication_push(
    protocol: Protocol,
    channel: &str,
    one: &message::Publication,
    out: &mut Vec<u8>,
) {
    PutPush { protocol, channel }.content(0, &publication(one, Positions::Both), out);
}

/// Appends a push. There is none for a refresh by the server: nothing is appended.
pub(crate) fn append_push(protocol: Protocol, push: &message::Push, out: &mut Vec<u8>) {
    let put = PutPush { protocol, channel: &push.channel };
    if let Some(one) = &push.publication {
        put.content(0, &publication(one, Positions::Both), out);
    } else if let Some(join) = &push.join {
        put.content(1, join, out);
    } else if let Some(leave) = &push.leave {
        put.content(2, leave, out);
    } else if let Some(unsubscribe) = &push.unsubscribe {
        // From 2500 on, a client of today subscribes again by itself.
        put.content(3, &Unsub { resubscribe: unsubscribe.code >= 2500 }, out);
    } else if let Some(message) = &push.message {
        put.content(4, message, out);
    } else if let Some(subscribe) = &push.subscribe {
        put.content(5, &sub(subscribe), out);
    } else if let Some(disconnect) = &push.disconnect {
        put.content(7, disconnect, out);
    }
}

/// A message that is the content of an envelope.
trait Content: Fields + Message {}

impl<M: Fields + Message> Content for M {}

struct Put {
    protocol: Protocol,
    id: u32,
}

impl Put {
    fn result(&self, result: &impl Content, out: &mut Vec<u8>) {
        let mut encoded = Vec::with_capacity(64);
        match self.protocol {
            Protocol::Json => append_object(result, &mut encoded),
            Protocol::Protobuf => result.encode_raw(&mut encoded),
        }
        self.encoded(&encoded, out);
    }

    fn connect(&self, result: &ConnectResult, out: &mut Vec<u8>) {
        if self.protocol == Protocol::Json || !result.subs.values().any(is_default) {
            return self.result(result, out);
        }
        let mut others = result.clone();
        others.subs.retain(|_, result| !is_default(result));
        let body = with_empty_subs(others.encode_to_vec(), CONNECT_RESULT_SUBS, empty(&result.subs));
        self.encoded(&body, out);
    }

    fn encoded(&self, result: &[u8], out: &mut Vec<u8>) {
        match self.protocol {
            Protocol::Json => {
                out.reserve(result.len() + 32);
                self.begin(out);
                out.extend_from_slice(b",\"result\":");
                out.extend_from_slice(result);
                out.extend_from_slice(b"}\n");
            }
            Protocol::Protobuf => {
                let result = bytes::Bytes::copy_from_slice(result);
                append_delimited(&Reply { id: self.id, error: None, result }, out);
            }
        }
    }

    fn error(&self, error: &message::Error, out: &mut Vec<u8>) {
        let error = message::Error { temporary: false, ..error.clone() };
        match self.protocol {
            Protocol::Json => {
                self.begin(out);
                out.extend_from_slice(b",\"error\":");
                append_object(&error, out);
                out.extend_from_slice(b"}\n");
            }
            Protocol::Protobuf => {
                append_delimited(&Reply { id: self.id, error: Some(error), ..Reply::default() }, out);
            }
        }
    }

    fn nothing(&self, out: &mut Vec<u8>) {
        match self.protocol {
            Protocol::Json => {
                self.begin(out);
                out.extend_from_slice(b"}\n");
            }
            Protocol::Protobuf => append_delimited(&Reply { id: self.id, ..Reply::default() }, out),
        }
    }

    fn begin(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"id\":");
        out.extend_from_slice(itoa::Buffer::new().format(self.id).as_bytes());
    }
}

struct PutPush<'a> {
    protocol: Protocol,
    channel: &'a str,
}

impl PutPush<'_> {
    fn content(&self, kind: u8, content: &impl Content, out: &mut Vec<u8>) {
        match self.protocol {
            Protocol::Json => {
                out.extend_from_slice(b"{\"result\":{");
                if kind > 0 {
                    out.extend_from_slice(b"\"type\":");
                    out.push(b'0' + kind);
                    out.push(b',');
                }
                if !self.channel.is_empty() {
                    out.extend_from_slice(b"\"channel\":");
                    json::append_string(self.channel, out);
                    out.push(b',');
                }
                out.extend_from_slice(b"\"data\":");
                append_object(content, out);
                out.extend_from_slice(b"}}\n");
            }
            Protocol::Protobuf => {
                let push = Push {
                    kind: kind.into(),
                    channel: self.channel.to_owned(),
                    data: content.encode_to_vec().into(),
                };
                let result = push.encode_to_vec().into();
                append_delimited(&Reply { result, ..Reply::default() }, out);
            }
        }
    }
}

fn append_delimited(message: &impl Message, out: &mut Vec<u8>) {
    append_varint(message.encoded_len() as u64, out);
    message.encode_raw(out);
}

/// A position in the form that is asked for: `seq`, `gen` and `offset`.
const fn position(offset: u64, positions: Positions) -> (u32, u32, u64) {
    let (seq, generation) = (offset as u32, (offset >> 32) as u32);
    match positions {
        Positions::Both => (seq, generation, offset),
        Positions::Seq => (seq, generation, 0),
        Positions::Offset => (0, 0, offset),
    }
}

fn publication(one: &message::Publication, positions: Positions) -> Publication {
    let (seq, generation, offset) = position(one.offset, positions);
    Publication {
        seq,
        generation,
        offset,
        data: one.data.clone(),
        info: one.info.clone(),
        tags: one.tags.clone(),
    }
}

fn subscribe(result: &message::SubscribeResult, positions: Positions) -> SubscribeResult {
    let (seq, generation, offset) = position(result.offset, positions);
    let mut publications: Vec<_> =
        result.publications.iter().map(|one| publication(one, positions)).collect();
    if positions == Positions::Seq {
        publications.reverse();
    }
    SubscribeResult {
        expires: result.expires,
        ttl: result.ttl,
        recoverable: result.recoverable,
        seq,
        generation,
        epoch: result.epoch.clone(),
        publications,
        recovered: result.recovered,
        offset,
        positioned: result.positioned,
        data: result.data.clone(),
    }
}

fn connect(result: &message::ConnectResult, positions: Positions) -> ConnectResult {
    let subs = result.subs.iter();
    ConnectResult {
        client: result.client.clone(),
        version: result.version.clone(),
        expires: result.expires,
        ttl: result.ttl,
        data: result.data.clone(),
        subs: subs.map(|(channel, result)| (channel.clone(), subscribe(result, positions))).collect(),
    }
}

fn history(result: &message::HistoryResult) -> HistoryResult {
    HistoryResult {
        publications: result.publications.iter().map(|one| publication(one, Positions::Both)).collect(),
        epoch: result.epoch.clone(),
        offset: result.offset,
    }
}

fn sub(subscribe: &message::Subscribe) -> Sub {
    let (seq, generation, offset) = position(subscribe.offset, Positions::Both);
    Sub {
        recoverable: subscribe.recoverable,
        seq,
        generation,
        epoch: subscribe.epoch.clone(),
        offset,
        positioned: subscribe.positioned,
        data: subscribe.data.clone(),
    }
}
