//! Frame headers (RFC 6455 §5.2).

use super::{CloseError, Opcode};

/// The longest header: two bytes, eight of length, four of mask.
pub(super) const LONGEST: usize = 14;

/// The longest payload of a control frame (RFC 6455 §5.5).
const LONGEST_CONTROL: u8 = 125;

const FIN: u8 = 0x80;
const RESERVED: u8 = 0x70;
/// RSV1, the bit of compressed messages (RFC 7692 §6).
const COMPRESSED: u8 = 0x40;
const MASKED: u8 = 0x80;

/// A parsed header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) fin: bool,
    /// It begins a compressed message.
    pub(super) compressed: bool,
    pub(super) opcode: Opcode,
    /// Payload bytes, below 2^63.
    pub(super) len: u64,
    /// All zero in a frame that is not masked.
    pub(super) mask: [u8; 4],
}

/// Parses the header at the front of `bytes` and returns it with its length, or `None` if more bytes are
/// needed. Errors are reported at the first byte that shows them, so the verdict does not depend on how the bytes were
/// split.
///
/// A length in a longer form than it needs is accepted, although RFC 6455 §5.2 asks for the shortest: clients
/// in the field send such frames, and Centrifugo v6.9 takes them.
///
/// No reserved bit passes but, with `deflate`, that of compressed messages on the first frame of a data message.
// In the unit of its caller, because it is done for every frame.
#[inline]
pub(super) fn parse(
    bytes: &[u8],
    want_mask: bool,
    deflate: bool,
) -> Result<Option<(Header, usize)>, CloseError> {
    let [first, second, rest @ ..] = bytes else {
        return Ok(None);
    };
    let reserved = first & RESERVED;
    if reserved != 0 && !(deflate && reserved == COMPRESSED) {
        return Err(CloseError::protocol("reserved bits set"));
    }
    let Some(opcode) = Opcode::from_bits(first & 0x0F) else {
        return Err(CloseError::protocol("reserved opcode"));
    };
    if reserved != 0 && !matches!(opcode, Opcode::Text | Opcode::Binary) {
        return Err(CloseError::protocol("compression bit on a frame that begins no message"));
    }
    let fin = first & FIN != 0;
    let short = second & !MASKED;
    if opcode.is_control() {
        if !fin {
            return Err(CloseError::protocol("fragmented control frame"));
        }
        if short > LONGEST_CONTROL {
            return Err(CloseError::protocol("control frame too long"));
        }
    }
    match (want_mask, second & MASKED != 0) {
        (true, false) => return Err(CloseError::protocol("frame is not masked")),
        (false, true) => return Err(CloseError::protocol("frame is masked")),
        _ => {}
    }

    let (len, rest) = match short {
        126 => {
            let Some((len, rest)) = rest.split_first_chunk() else {
                return Ok(None);
            };
            (u16::from_be_bytes(*len).into(), rest)
        }
        127 => {
            let Some((len, rest)) = rest.split_first_chunk() else {
                return Ok(None);
            };
            let len = u64::from_be_bytes(*len);
            if len >> 63 != 0 {
                return Err(CloseError::protocol("frame length out of range"));
            }
            (len, rest)
        }
        _ => (u64::from(short), rest),
    };
    let (mask, rest) = if want_mask {
        let Some((mask, rest)) = rest.split_first_chunk() else {
            return Ok(None);
        };
        (*mask, rest)
    } else {
        ([0; 4], rest)
    };
    let header = Header { fin, compressed: reserved != 0, opcode, len, mask };
    Ok(Some((header, bytes.len() - rest.len())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_come_at_the_first_byte_that_shows_them() {
        for (bytes, reason) in [
            (&[0xC1, 0x80][..], "reserved bits set"),
            (&[0xA1, 0x80], "reserved bits set"),
            (&[0x91, 0x80], "reserved bits set"),
            (&[0x83, 0x80], "reserved opcode"),
            (&[0x87, 0x80], "reserved opcode"),
            (&[0x8B, 0x80], "reserved opcode"),
            (&[0x8F, 0x80], "reserved opcode"),
            (&[0x09, 0x80], "fragmented control frame"),
            (&[0x08, 0x80], "fragmented control frame"),
            (&[0x89, 0xFE], "control frame too long"),
            (&[0x8A, 0xFF], "control frame too long"),
            (&[0x81, 0x05], "frame is not masked"),
            (&[0x81, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 0], "frame length out of range"),
        ] {
            assert_eq!(parse(bytes, true, false), Err(CloseError::protocol(reason)), "{bytes:x?}");
            for short in 0..bytes.len() {
                assert_eq!(parse(&bytes[..short], true, false), Ok(None), "{:x?}", &bytes[..short]);
            }
        }
        assert_eq!(parse(&[0x81, 0x80], false, false), Err(CloseError::protocol("frame is masked")));
    }

    #[test]
    fn with_compression_its_bit_may_begin_a_message() {
        for first in [0x41, 0x42, 0xC1, 0xC2] {
            let header = parse(&[first, 0], false, true).unwrap().unwrap().0;
            assert!(header.compressed && header.fin == (first & FIN != 0), "{first:x}");
            assert!(!parse(&[first & !COMPRESSED, 0], false, true).unwrap().unwrap().0.compressed);
        }
        for (first, reason) in [
            (0xA1, "reserved bits set"),
            (0xD1, "reserved bits set"),
            (0xF1, "reserved bits set"),
            (0xC3, "reserved opcode"),
            (0x40, "compression bit on a frame that begins no message"),
            (0xC0, "compression bit on a frame that begins no message"),
            (0xC8, "compression bit on a frame that begins no message"),
            (0xC9, "compression bit on a frame that begins no message"),
            (0xCA, "compression bit on a frame that begins no message"),
        ] {
            assert_eq!(parse(&[first, 0], false, true), Err(CloseError::protocol(reason)), "{first:x}");
        }
    }

    #[test]
    fn lengths_in_all_three_forms() {
        for (bytes, len, used) in [
            (&[0x82, 0x7D][..], 125, 2),
            (&[0x82, 0x7E, 0, 126], 126, 4),
            (&[0x82, 0x7E, 0xFF, 0xFF], 65_535, 4),
            (&[0x82, 0x7F, 0, 0, 0, 0, 0, 1, 0, 0], 65_536, 10),
            (&[0x82, 0x7F, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF], (1 << 63) - 1, 10),
        ] {
            let header = Header { fin: true, compressed: false, opcode: Opcode::Binary, len, mask: [0; 4] };
            assert_eq!(parse(bytes, false, false), Ok(Some((header, used))));
            assert_eq!(parse(&bytes[..used - 1], false, false), Ok(None));
        }
    }
}
