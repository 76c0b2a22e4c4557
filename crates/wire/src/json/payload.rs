//! Payloads inside JSON.
//!
//! A payload is the publisher's own text and stays as it is, byte for byte: spaces, escapes, order and
//! spelling of numbers. Two things are changed on the way into a JSON message, because the reader could
//! not take it otherwise:
//!
//! - A raw newline separates messages, so it is left out. In valid JSON it can only be between tokens.
//! - A payload that is not JSON at all (bytes that came in over Protobuf or as `b64data`) becomes a string
//!   literal with U+FFFD for what is not UTF-8.
//!
//! Centrifugo v6.9 leaves newlines out too; if a payload is not JSON, it closes the JSON connection with 3506. For the
//! same behavior, ask [`is_valid`] before encoding.

use super::scan::{skip_spaces, skip_value};
use super::text::{append_lossy, escape_string};
use bytes::Bytes;

/// Returns true if `bytes` are one JSON value in UTF-8, with nothing but spaces around it. Any depth is fine and costs
/// no stack.
pub fn is_valid(bytes: &[u8]) -> bool {
    skip_value(bytes, 0).is_some_and(|end| skip_spaces(bytes, end) == bytes.len())
        && simdutf8::basic::from_utf8(bytes).is_ok()
}

/// The payload as it may appear in a JSON message, see the module. No copy if nothing is to be changed.
/// The encoders of this crate do it by themselves.
pub fn payload(bytes: Bytes) -> Bytes {
    if is_valid(&bytes) { line_safe(bytes) } else { escape_string(&bytes) }
}

/// JSON without raw newlines, so that it may appear in newline framing. No copy if there are no newlines. A carriage
/// return stays, as in Centrifugo v6.9; for event streams see [`event_safe`]. Text that is not JSON may lose meaning.
pub fn line_safe(json: Bytes) -> Bytes {
    if memchr::memchr(b'\n', &json).is_none() {
        return json;
    }
    let mut out = Vec::with_capacity(json.len());
    append_line_safe(&json, &mut out);
    out.into()
}

/// Turns carriage returns of encoded messages into spaces: in an event stream (SSE) they would end the
/// line. In JSON they can only be between tokens.
pub fn event_safe(messages: &mut [u8]) {
    let mut rest = messages;
    while let Some(at) = memchr::memchr(b'\r', rest) {
        let (head, tail) = rest.split_at_mut(at + 1);
        if let Some(byte) = head.last_mut() {
            *byte = b' ';
        }
        rest = tail;
    }
}

/// Appends an encoded message with its carriage returns as spaces, see [`event_safe`].
pub(crate) fn append_event_safe(message: &[u8], out: &mut Vec<u8>) {
    let begin = out.len();
    out.extend_from_slice(message);
    event_safe(&mut out[begin..]);
}

/// Appends a payload as it may appear in a JSON message.
pub(crate) fn append_payload(bytes: &[u8], out: &mut Vec<u8>) {
    if bytes.is_empty() {
        out.extend_from_slice(b"null");
    } else if is_valid(bytes) {
        append_line_safe(bytes, out);
    } else {
        append_lossy(bytes, out);
    }
}

fn append_line_safe(bytes: &[u8], out: &mut Vec<u8>) {
    let mut begin = 0;
    for end in memchr::memchr_iter(b'\n', bytes) {
        out.extend_from_slice(bytes.get(begin..end).unwrap_or_default());
        begin = end + 1;
    }
    out.extend_from_slice(bytes.get(begin..).unwrap_or_default());
}
