//! JSON string literals.

use super::scan::next_special;
use bytes::Bytes;

/// Appends `text` as a string literal. Only quotes, backslashes and control characters are escaped.
pub fn append_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    append_escaped(text.as_bytes(), out);
    out.push(b'"');
}

/// `bytes` as a string literal: how a payload, or a delta, travels on a delta channel in JSON. Every byte
/// that belongs to no UTF-8 sequence becomes U+FFFD, as in Centrifugo v6.9.
pub fn escape_string(bytes: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(bytes.len() + bytes.len() / 8 + 2);
    append_lossy(bytes, &mut out);
    out.into()
}

/// Appends `bytes` as a string literal, with U+FFFD for every byte that is not UTF-8.
pub(crate) fn append_lossy(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    if simdutf8::basic::from_utf8(bytes).is_ok() {
        append_escaped(bytes, out);
    } else {
        append_escaped(replace_invalid(bytes).as_bytes(), out);
    }
    out.push(b'"');
}

/// `bytes` as text, with one U+FFFD for every byte that belongs to no UTF-8 sequence.
pub(crate) fn replace_invalid(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() + 8);
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
    text
}

fn append_escaped(bytes: &[u8], out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut copied = 0;
    loop {
        let at = next_special(bytes, copied);
        out.extend_from_slice(bytes.get(copied..at).unwrap_or_default());
        let Some(&byte) = bytes.get(at) else { return };
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            _ => {
                out.extend_from_slice(b"\\u00");
                out.push(HEX[usize::from(byte >> 4)]);
                out.push(HEX[usize::from(byte & 15)]);
            }
        }
        copied = at + 1;
    }
}
