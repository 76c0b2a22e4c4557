//! The Protobuf encoding: each message with its length before it, as a varint.

use crate::error::DecodeError;
use crate::message::Publication;
use bytes::Bytes;
use prost::Message;
use prost::encoding::{encode_key, encode_varint, encoded_len_varint, key_len, WireType};

/// Splits the first message off.
pub(crate) fn split(bytes: &[u8]) -> Result<(&[u8], &[u8]), DecodeError> {
    let mut rest = bytes;
    let len = prost::decode_length_delimiter(&mut rest).map_err(|_| DecodeError::Malformed)?;
    if len > rest.len() {
        return Err(DecodeError::Truncated);
    }
    Ok(rest.split_at(len))
}

/// Decodes one message. Its payloads share the one copy that is made of it.
pub(crate) fn decode<M: Message + Default>(bytes: &[u8]) -> Result<M, DecodeError> {
    M::decode(Bytes::copy_from_slice(bytes)).map_err(|_| DecodeError::Malformed)
}

pub(crate) fn append<M: Message>(message: &M, out: &mut Vec<u8>) {
    let len = message.encoded_len();
    out.reserve(len + 10);
    encode_varint(len as u64, out);
    message.encode_raw(out);
}

/// Field numbers on the way to a publication: `Reply.push`, `Push.channel`, `Push.pub`.
const PUSH: u32 = 4;
const CHANNEL: u32 = 2;
const PUB: u32 = 4;

pub(crate) fn append_publication_push(channel: &str, publication: &Publication, out: &mut Vec<u8>) {
    let publication_len = publication.encoded_len();
    let channel_len = if channel.is_empty() { 0 } else { sized(CHANNEL, channel.len()) };
    let push_len = channel_len + sized(PUB, publication_len);
    let reply_len = sized(PUSH, push_len);
    out.reserve(reply_len + 10);
    encode_varint(reply_len as u64, out);
    encode_key(PUSH, WireType::LengthDelimited, out);
    encode_varint(push_len as u64, out);
    if !channel.is_empty() {
        encode_key(CHANNEL, WireType::LengthDelimited, out);
        encode_varint(channel.len() as u64, out);
        out.extend_from_slice(channel.as_bytes());
    }
    encode_key(PUB, WireType::LengthDelimited, out);
    encode_varint(publication_len as u64, out);
    publication.encode_raw(out);
}

fn sized(tag: u32, len: usize) -> usize {
    key_len(tag) + encoded_len_varint(len as u64) + len
}
