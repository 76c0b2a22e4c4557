//! The JSON encoding: the same names as in the Protobuf definitions, payloads embedded as they are.
//!
//! Zero values are left out but for a few fields that clients count on; 64-bit numbers are JSON numbers.
//! Reading is as lenient as Centrifugo v6.9 is: field names in any case, unknown fields, `null` for absent,
//! the last of repeated fields, anything behind the first value of a line.

mod message;
mod read;
mod write;

pub(crate) use message::JsonMessage;
pub use write::{append_string, escape_string, line_safe, payload};

use crate::error::DecodeError;
use read::Reader;

/// Decodes one message from one line.
pub(crate) fn decode<M: JsonMessage + Default>(line: &[u8]) -> Result<M, DecodeError> {
    let mut reader = Reader::new(line);
    reader.blank();
    if reader.is_at_end() {
        return Err(DecodeError::Empty);
    }
    let mut message = M::default();
    message.read(&mut reader)?;
    Ok(message)
}

/// Whether the bytes are one JSON value, white space around it aside. Depth costs no stack.
#[must_use]
pub fn is_valid(bytes: &[u8]) -> bool {
    let mut reader = Reader::new(bytes);
    reader.blank();
    if reader.value().is_err() || simdutf8::basic::from_utf8(bytes).is_err() {
        return false;
    }
    reader.blank();
    reader.is_at_end()
}
