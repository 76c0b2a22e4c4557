//! The bytes of publications, joins, leaves and presence entries in stores and between nodes, for every engine.
//!
//! Protobuf, so that nodes of different versions understand each other: fields are only ever added, and readers skip
//! those that they do not know. Offset and epoch are not part of it; each engine carries them in its own way.

use bytes::{BufMut, Bytes};
use prost::Message;
use spinward::engine::broker::{Event, JoinLeave};
use spinward::publication::{ClientInfo, Publication, Tags};
use std::collections::BTreeMap;
use std::sync::Arc;
use thiserror::Error;

/// Bytes of another node, or of a store, that are not what this version understands.
#[derive(Debug, Error)]
pub(crate) enum CodecError {
    /// No kind of event is known by this byte, or there was no byte.
    #[error("an event of an unknown kind")]
    Kind,
    /// Not the message that the kind promises.
    #[error("malformed event: {0}")]
    Malformed(#[from] prost::DecodeError),
}

/// The first byte of an event.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Kind {
    Publication = b'p',
    Join = b'j',
    Leave = b'l',
}

#[derive(Clone, PartialEq, Message)]
struct PublicationProto {
    #[prost(bytes = "bytes", tag = "1")]
    data: Bytes,
    #[prost(message, optional, tag = "2")]
    info: Option<InfoProto>,
    #[prost(btree_map = "string, string", tag = "3")]
    tags: BTreeMap<String, String>,
    #[prost(int64, tag = "4")]
    time: i64,
    #[prost(uint64, tag = "5")]
    version: u64,
    #[prost(bool, tag = "6")]
    delta: bool,
    #[prost(string, tag = "7")]
    channel: String,
}

#[derive(Clone, PartialEq, Message)]
struct InfoProto {
    #[prost(string, tag = "1")]
    user: String,
    #[prost(string, tag = "2")]
    client: String,
    #[prost(bytes = "bytes", tag = "3")]
    conn_info: Bytes,
    #[prost(bytes = "bytes", tag = "4")]
    chan_info: Bytes,
}

impl From<&ClientInfo> for InfoProto {
    fn from(info: &ClientInfo) -> Self {
        Self {
            user: info.user.as_ref().to_owned(),
            client: info.client.as_ref().to_owned(),
            conn_info: info.conn_info.clone(),
            chan_info: info.chan_info.clone(),
        }
    }
}

impl From<InfoProto> for ClientInfo {
    fn from(info: InfoProto) -> Self {
        Self {
            user: info.user.into(),
            client: info.client.into(),
            conn_info: info.conn_info,
            chan_info: info.chan_info,
        }
    }
}

impl From<&Publication> for PublicationProto {
    fn from(publication: &Publication) -> Self {
        Self {
            data: publication.data.clone(),
            info: publication.info.as_deref().map(InfoProto::from),
            tags: publication.tags.as_deref().cloned().unwrap_or_default(),
            time: publication.time,
            version: publication.version,
            delta: publication.delta,
            channel: publication.channel.as_deref().map_or_else(String::new, str::to_owned),
        }
    }
}

impl From<PublicationProto> for Publication {
    fn from(publication: PublicationProto) -> Self {
        let tags: Tags = publication.tags;
        Self {
            data: publication.data,
            info: publication.info.map(|info| Arc::new(info.into())),
            tags: (!tags.is_empty()).then(|| Arc::new(tags)),
            offset: 0,
            time: publication.time,
            version: publication.version,
            channel: (!publication.channel.is_empty()).then(|| publication.channel.into()),
            delta: publication.delta,
        }
    }
}

/// A publication without its offset.
pub(crate) fn publication(publication: &Publication) -> Vec<u8> {
    PublicationProto::from(publication).encode_to_vec()
}

/// Reads a publication. Its offset is 0: the engine knows it.
pub(crate) fn read_publication(bytes: Bytes) -> Result<Publication, CodecError> {
    Ok(PublicationProto::decode(bytes)?.into())
}

/// A client's info, as presence stores keep it.
pub(crate) fn info(info: &ClientInfo) -> Vec<u8> {
    InfoProto::from(info).encode_to_vec()
}

/// Reads a client's info.
pub(crate) fn read_info(bytes: Bytes) -> Result<ClientInfo, CodecError> {
    Ok(InfoProto::decode(bytes)?.into())
}

/// An event: a byte for its kind, then the message.
pub(crate) fn event(event: &Event) -> Vec<u8> {
    let with_kind = |kind: Kind, length: usize| {
        let mut bytes = Vec::with_capacity(1 + length);
        bytes.put_u8(kind as u8);
        bytes
    };
    match event {
        Event::Publication(publication) => {
            let message = PublicationProto::from(&**publication);
            let mut bytes = with_kind(Kind::Publication, message.encoded_len());
            message.encode_raw(&mut bytes);
            bytes
        }
        Event::JoinLeave(change) => {
            let (kind, info) = match change {
                JoinLeave::Join(info) => (Kind::Join, info),
                JoinLeave::Leave(info) => (Kind::Leave, info),
            };
            let message = InfoProto::from(&**info);
            let mut bytes = with_kind(kind, message.encoded_len());
            message.encode_raw(&mut bytes);
            bytes
        }
    }
}

/// Reads an event.
pub(crate) fn read_event(mut bytes: Bytes) -> Result<Event, CodecError> {
    if bytes.is_empty() {
        return Err(CodecError::Kind);
    }
    let kind = bytes.split_to(1)[0];
    let info = |bytes| Ok::<_, CodecError>(Arc::new(read_info(bytes)?));
    Ok(match kind {
        kind if kind == Kind::Publication as u8 => Event::Publication(Arc::new(read_publication(bytes)?)),
        kind if kind == Kind::Join as u8 => Event::JoinLeave(JoinLeave::Join(info(bytes)?)),
        kind if kind == Kind::Leave as u8 => Event::JoinLeave(JoinLeave::Leave(info(bytes)?)),
        _ => return Err(CodecError::Kind),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn infos() -> impl Strategy<Value = Arc<ClientInfo>> {
        (".{0,8}", ".{0,8}", any::<Vec<u8>>(), any::<Vec<u8>>()).prop_map(|(user, client, conn, chan)| {
            Arc::new(ClientInfo {
                user: user.into(),
                client: client.into(),
                conn_info: conn.into(),
                chan_info: chan.into(),
            })
        })
    }

    fn events() -> impl Strategy<Value = Event> {
        let publications = (
            any::<Vec<u8>>(),
            proptest::option::of(infos()),
            proptest::collection::btree_map(".{0,4}", ".{0,4}", 0..4),
            any::<(i64, u64, bool)>(),
            ".{0,8}",
        );
        prop_oneof![
            publications.prop_map(|(data, info, tags, (time, version, delta), channel)| {
                Event::Publication(Arc::new(Publication {
                    data: data.into(),
                    info,
                    tags: (!tags.is_empty()).then(|| Arc::new(tags)),
                    offset: 0,
                    time,
                    version,
                    channel: (!channel.is_empty()).then(|| channel.into()),
                    delta,
                }))
            }),
            infos().prop_map(|info| Event::JoinLeave(JoinLeave::Join(info))),
            infos().prop_map(|info| Event::JoinLeave(JoinLeave::Leave(info))),
        ]
    }

    proptest! {
        #[test]
        fn an_event_is_read_as_it_was_written(one in events()) {
            let read = read_event(event(&one).into()).unwrap();
            match (read, one) {
                (Event::Publication(read), Event::Publication(one)) => prop_assert_eq!(read, one),
                (Event::JoinLeave(read), Event::JoinLeave(one)) => prop_assert_eq!(read, one),
                (read, one) => prop_assert!(false, "{:?} is not {:?}", read, one),
            }
        }

        #[test]
        fn no_bytes_cause_a_panic(bytes: Vec<u8>) {
            let _ = read_event(bytes.into());
        }
    }
}
