//! Frames as bytes. Every frame is final: messages are never fragmented on the way out.

use super::{Deflater, Opcode, Window, mask};

const FIN: u8 = 0x80;
/// RSV1, the bit of compressed messages (RFC 7692 §6).
const COMPRESSED: u8 = 0x40;
const MASKED: u8 = 0x80;

/// The longest reason a close frame can hold: 125 bytes less the code.
const LONGEST_REASON: usize = 123;

/// The header of an unmasked frame with `len` payload bytes: the array's first so many bytes.
#[must_use]
pub const fn header(opcode: Opcode, len: usize) -> ([u8; 10], usize) {
    let mut bytes = [0; 10];
    bytes[0] = FIN | opcode as u8;
    let wide = (len as u64).to_be_bytes();
    let used = match len {
        0..=125 => {
            bytes[1] = wide[7];
            2
        }
        126..=0xFFFF => {
            bytes[1] = 126;
            bytes[2] = wide[6];
            bytes[3] = wide[7];
            4
        }
        _ => {
            bytes[1] = 127;
            let mut i = 0;
            while i < 8 {
                bytes[2 + i] = wide[i];
                i += 1;
            }
            10
        }
    };
    (bytes, used)
}

/// The length of the header of an unmasked frame, up to where its payload begins.
#[must_use]
pub const fn header_len(frame: &[u8]) -> usize {
    match frame {
        [_, 126, ..] => 4,
        [_, 127, ..] => 10,
        _ => 2,
    }
}

/// Appends the header of an unmasked frame with `len` payload bytes.
pub fn append_header(opcode: Opcode, len: usize, out: &mut Vec<u8>) {
    let (bytes, used) = header(opcode, len);
    out.extend_from_slice(&bytes[..used]);
}

/// Appends an unmasked frame. A control frame's payload is at most 125 bytes; the caller keeps to that.
pub fn append_frame(opcode: Opcode, payload: &[u8], out: &mut Vec<u8>) {
    debug_assert!(!opcode.is_control() || payload.len() <= 125, "control frame too long");
    append_header(opcode, payload.len(), out);
    out.extend_from_slice(payload);
}

/// Appends an unmasked frame with a whole message, compressed where that is of use.
pub(crate) fn append_deflated(
    opcode: Opcode,
    payload: &[u8],
    (window, unidirectional): (Window, bool),
    deflater: &mut Deflater,
    out: &mut Vec<u8>,
) {
    let Some(compressed) = deflater.compress(window, unidirectional, payload) else {
        return append_frame(opcode, payload, out);
    };
    let (mut bytes, used) = header(opcode, compressed.len());
    bytes[0] |= COMPRESSED;
    out.reserve(used + compressed.len());
    out.extend_from_slice(&bytes[..used]);
    out.extend_from_slice(compressed);
}

/// The code of a close frame without one (RFC 6455 §7.4.1). It is never on the wire.
pub const NO_STATUS: u16 = 1005;

/// Appends a close frame; with [`NO_STATUS`] an empty one. A reason over 123 bytes is cut at the last character
/// that fits.
pub fn append_close(code: u16, reason: &str, out: &mut Vec<u8>) {
    if code == NO_STATUS {
        return append_header(Opcode::Close, 0, out);
    }
    let reason = &reason[..reason.floor_char_boundary(LONGEST_REASON)];
    append_header(Opcode::Close, 2 + reason.len(), out);
    out.extend_from_slice(&code.to_be_bytes());
    out.extend_from_slice(reason.as_bytes());
}

/// Appends a masked frame, as clients send them.
pub fn append_masked_frame(opcode: Opcode, key: [u8; 4], payload: &[u8], out: &mut Vec<u8>) {
    let (mut bytes, used) = header(opcode, payload.len());
    bytes[1] |= MASKED;
    out.extend_from_slice(&bytes[..used]);
    out.extend_from_slice(&key);
    let start = out.len();
    out.extend_from_slice(payload);
    mask::apply(key, &mut out[start..]);
}

/// Appends a masked frame with a whole message, compressed where that is of use, as clients send them.
pub fn append_masked_deflated(
    opcode: Opcode,
    key: [u8; 4],
    payload: &[u8],
    deflater: &mut Deflater,
    out: &mut Vec<u8>,
) {
    let compressed = deflater.compress(Window::Full, false, payload);
    let start = out.len();
    append_masked_frame(opcode, key, compressed.unwrap_or(payload), out);
    if compressed.is_some() {
        out[start] |= COMPRESSED;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_use_the_shortest_length() {
        for (len, expected) in [
            (0, &[0x81, 0][..]),
            (125, &[0x81, 125]),
            (126, &[0x81, 126, 0, 126]),
            (65_535, &[0x81, 126, 0xFF, 0xFF]),
            (65_536, &[0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let mut out = Vec::new();
            append_header(Opcode::Text, len, &mut out);
            assert_eq!(out, expected);
            assert_eq!(header_len(&out), expected.len());
        }
    }

    #[test]
    fn a_masked_frame_is_the_one_in_the_rfc() {
        let mut out = Vec::new();
        append_masked_frame(Opcode::Text, [0x37, 0xfa, 0x21, 0x3d], b"Hello", &mut out);
        // RFC 6455 §5.7.
        assert_eq!(out, [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58]);
    }

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        let mut out = Vec::new();
        append_close(3000, "", &mut out);
        assert_eq!(out, [0x88, 2, 0x0B, 0xB8]);

        out.clear();
        append_close(3000, &"a".repeat(200), &mut out);
        assert_eq!((out[1], out.len()), (125, 127));

        out.clear();
        append_close(3000, &"é".repeat(100), &mut out);
        assert_eq!((out[1], out.len()), (124, 126));
        assert!(std::str::from_utf8(&out[4..]).is_ok());
    }
}
