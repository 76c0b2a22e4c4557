//! Messages of Centrifugo v6 in Redis. Facts are from the bytes that v6.9 writes and publishes.
//!
//! ```text
//! __p1:<offset>:<epoch>__<publication>                        stored
//! __d1:<offset>:<epoch>:<n>:<publication before>:<m>:<publication>    stored, for deltas; n and m are lengths
//! __j__<client info>   __l__<client info>                     join and leave
//! <publication>                                               of everything else
//! ```
//!
//! Streams have the publication in field `d`, and lists its first form. All of it is Protobuf.

use crate::codec;
use bytes::{Buf, Bytes};
use prost::Message;
use spinward::engine::broker::{Event, JoinLeave};
use spinward::publication::Publication;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A publication as Centrifugo writes it. Offset and epoch stay empty where they are told beside it.
#[derive(Clone, PartialEq, Message)]
struct PublicationProto {
    #[prost(bytes = "bytes", tag = "4")]
    data: Bytes,
    /// A client info, whose fields are numbered as in our own codec.
    #[prost(bytes = "bytes", optional, tag = "5")]
    info: Option<Bytes>,
    #[prost(btree_map = "string, string", tag = "7")]
    tags: BTreeMap<String, String>,
    #[prost(bool, tag = "8")]
    delta: bool,
    #[prost(int64, tag = "9")]
    time: i64,
    #[prost(string, tag = "10")]
    channel: String,
    #[prost(uint64, tag = "16")]
    version: u64,
}

/// Place of a stored publication.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) epoch: Arc<str>,
    pub(crate) offset: u64,
}

fn encoded(publication: &Publication, delta: bool) -> Vec<u8> {
    let proto = PublicationProto {
        data: publication.data.clone(),
        info: publication.info.as_deref().map(|info| codec::info(info).into()),
        tags: publication.tags.as_deref().cloned().unwrap_or_default(),
        delta,
        time: publication.time,
        channel: publication.channel.as_deref().map_or_else(String::new, str::to_owned),
        version: publication.version,
    };
    proto.encode_to_vec()
}

/// A publication to be stored. Deltas are told by the form of the message.
pub(crate) fn stored(publication: &Publication) -> Vec<u8> {
    encoded(publication, false)
}

/// A message of an event that is not stored.
pub(crate) fn unstored(event: &Event) -> Vec<u8> {
    match event {
        Event::Publication(publication) => encoded(publication, publication.delta),
        Event::JoinLeave(JoinLeave::Join(info)) => [&b"__j__"[..], &codec::info(info)].concat(),
        Event::JoinLeave(JoinLeave::Leave(info)) => [&b"__l__"[..], &codec::info(info)].concat(),
    }
}

/// Reads a publication, of a stream or of a list.
pub(crate) fn read_publication(bytes: Bytes) -> Option<Publication> {
    match read(bytes)? {
        (_, Event::Publication(publication)) => Some(Arc::unwrap_or_clone(publication)),
        (_, Event::JoinLeave(_)) => None,
    }
}

/// Reads a message. `None` if it is not one.
pub(crate) fn read(mut message: Bytes) -> Option<(Option<Stored>, Event)> {
    if !message.starts_with(b"__") {
        return Some((None, Event::Publication(Arc::new(decoded(message)?))));
    }
    let kind = message.get(2..5)?.to_vec();
    message.advance(5);
    match &*kind {
        b"j__" | b"l__" => {
            let info = Arc::new(codec::read_info(message).ok()?);
            let change = if kind[0] == b'j' { JoinLeave::Join(info) } else { JoinLeave::Leave(info) };
            Some((None, Event::JoinLeave(change)))
        }
        b"p1:" => {
            let offset = number(&mut message)?;
            let end = message.windows(2).position(|pair| pair == b"__")?;
            let epoch = message.split_to(end);
            message.advance(2);
            placed(offset, &epoch, decoded(message)?)
        }
        b"d1:" => {
            let offset = number(&mut message)?;
            let end = message.iter().position(|byte| *byte == b':')?;
            let epoch = message.split_to(end);
            message.advance(1);
            // The one before serves those who have not seen it; nodes of ours keep it themselves.
            counted(&mut message)?;
            (message.first() == Some(&b':')).then(|| message.advance(1))?;
            let mut publication = decoded(counted(&mut message)?)?;
            publication.delta = true;
            placed(offset, &epoch, publication)
        }
        _ => None,
    }
}

fn placed(offset: u64, epoch: &[u8], mut publication: Publication) -> Option<(Option<Stored>, Event)> {
    publication.offset = offset;
    let epoch = std::str::from_utf8(epoch).ok().filter(|epoch| !epoch.is_empty())?.into();
    (offset > 0).then(|| (Some(Stored { epoch, offset }), Event::Publication(Arc::new(publication))))
}

fn decoded(bytes: Bytes) -> Option<Publication> {
    let proto = PublicationProto::decode(bytes).ok()?;
    let info = match proto.info {
        Some(info) => Some(Arc::new(codec::read_info(info).ok()?)),
        None => None,
    };
    Some(Publication {
        data: proto.data,
        info,
        tags: (!proto.tags.is_empty()).then(|| Arc::new(proto.tags)),
        offset: 0,
        time: proto.time,
        version: proto.version,
        channel: (!proto.channel.is_empty()).then(|| proto.channel.into()),
        delta: proto.delta,
    })
}

/// Takes a number and the colon after it.
fn number(message: &mut Bytes) -> Option<u64> {
    let end = message.iter().take(21).position(|byte| *byte == b':')?;
    let digits = message.split_to(end);
    message.advance(1);
    std::str::from_utf8(&digits).ok()?.parse().ok()
}

/// Takes a length, a colon, and that many bytes.
fn counted(message: &mut Bytes) -> Option<Bytes> {
    let length = usize::try_from(number(message)?).ok()?;
    (length <= message.len()).then(|| message.split_to(length))
}

#[cfg(test)]
#[path = "centrifugo/tests.rs"]
mod tests;
