//! The Protobuf form of the protocol: `prost` over the same messages, and the little it does not do.

mod mend;

pub(crate) use mend::params as mend_params;

use crate::command::Incoming;
use crate::error::DecodeError;
use crate::message::Command;
use prost::Message;

/// Reads a command. Strings that are not UTF-8 are taken with U+FFFD in place of each wrong byte: Centrifugo v6.9 takes
/// them as well.
#[inline]
pub(crate) fn decode_command(bytes: &[u8]) -> Result<Incoming, DecodeError> {
    let command = match Command::decode(bytes) {
        Ok(command) => command,
        Err(_) => mend::command(bytes).and_then(|bytes| decode(&bytes))?,
    };
    Ok(command.into())
}

/// Reads a message that is the whole of `bytes`.
pub(crate) fn decode<M: Message + Default>(bytes: &[u8]) -> Result<M, DecodeError> {
    M::decode(bytes).map_err(|_| DecodeError::Protobuf)
}

/// The varint at `at`, and the position after it.
#[inline]
pub(crate) fn read_varint(bytes: &[u8], at: usize) -> Option<(u64, usize)> {
    // Nearly all lengths are below 128, a single byte.
    let first = *bytes.get(at)?;
    if first < 0x80 {
        return Some((u64::from(first), at + 1));
    }
    let mut value = 0u64;
    for (index, &byte) in bytes.get(at..)?.iter().take(10).enumerate() {
        if index == 9 && byte > 1 {
            return None;
        }
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte < 0x80 {
            return Some((value, at + index + 1));
        }
    }
    None
}

/// Appends a varint.
pub(crate) fn append_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Bytes that [`append_varint`] takes.
pub(crate) fn varint_len(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}
