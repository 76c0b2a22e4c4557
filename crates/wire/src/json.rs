//! The JSON form of the protocol.
//!
//! Names are those of the schema. Integers of 64 bits are numbers. `bytes` fields are raw JSON. Fields
//! that are zero are left out, but for the ones that clients rely on: `user` and `client` of a
//! [`ClientInfo`], and every field of the presence, presence stats and history results.
//!
//! [`ClientInfo`]: crate::message::ClientInfo

mod command;
mod fields;
mod payload;
mod read;
pub(crate) mod scan;
pub(crate) mod text;
mod write;

pub use payload::{event_safe, is_valid, line_safe, payload};
pub use read::unescape_literal;
pub use text::{append_string, escape_string};

pub(crate) use command::decode_command;
pub(crate) use fields::fields;
pub(crate) use payload::append_event_safe;
pub(crate) use read::{Fields, Read, ReadObject, Reader};
pub(crate) use text::replace_invalid;
pub(crate) use write::{Write, append_object};

use crate::error::DecodeError;
use std::borrow::Cow;

/// Reads the message at the beginning of `bytes`. An empty one may be `null`.
pub(crate) fn decode_first<M: Fields + Default>(bytes: &[u8]) -> Result<M, DecodeError> {
    let text = lossy(bytes);
    let mut reader = Reader::new(&text);
    let mut message = M::default();
    if !reader.take_null() {
        message.read_object(&mut reader)?;
    }
    Ok(message)
}

/// Reads a message that is the whole of `bytes`.
pub(crate) fn decode<M: Fields + Default>(bytes: &[u8]) -> Result<M, DecodeError> {
    let text = lossy(bytes);
    let mut reader = Reader::new(&text);
    let mut message = M::default();
    message.read_object(&mut reader)?;
    if reader.is_done() { Ok(message) } else { Err(DecodeError::Syntax) }
}

/// Text of what a client sent. Centrifugo v6.9 takes invalid UTF-8 inside strings and passes it on in
/// payloads, where it would break the connections of others: here each such byte becomes U+FFFD.
pub(crate) fn lossy(bytes: &[u8]) -> Cow<'_, str> {
    match simdutf8::basic::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => Cow::Owned(replace_invalid(bytes)),
    }
}
