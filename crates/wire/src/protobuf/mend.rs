//! Strings that are not UTF-8.
//!
//! `prost` refuses them. A command refused is read once more here by its shape, with each wrong byte of a
//! string replaced by U+FFFD, and then given to `prost` again.

use super::{append_varint, read_varint};
use crate::error::DecodeError;
use crate::framing::MAX_DEPTH;
use crate::json;

/// The fields of a message that are strings, and those that are messages.
struct Shape {
    strings: &'static [u64],
    messages: &'static [(u64, &'static Self)],
}

/// The bytes of a command with its strings mended.
pub(super) fn command(bytes: &[u8]) -> Result<Vec<u8>, DecodeError> {
    let mut out = Vec::with_capacity(bytes.len() + 16);
    message(bytes, &COMMAND, 0, &mut out)?;
    Ok(out)
}

/// The bytes of the params of a command of version 1, with their strings mended.
pub(crate) fn params(method: i32, bytes: &[u8]) -> Result<Vec<u8>, DecodeError> {
    let shape = match method {
        0 => &CONNECT_V1,
        1 => &SUBSCRIBE_V1,
        6 => &HISTORY_V1,
        9 => &RPC,
        11 => &TOKEN_V1,
        _ => &CHANNEL,
    };
    let mut out = Vec::with_capacity(bytes.len() + 16);
    message(bytes, shape, 0, &mut out)?;
    Ok(out)
}

fn message(bytes: &[u8], shape: &Shape, depth: u32, out: &mut Vec<u8>) -> Result<(), DecodeError> {
    if depth > MAX_DEPTH {
        return Err(DecodeError::Depth);
    }
    let mut at = 0;
    while at < bytes.len() {
        let (key, after_key) = read_varint(bytes, at).ok_or(DecodeError::Protobuf)?;
        let fixed = |width: usize| after_key.checked_add(width);
        let end = match key & 7 {
            0 => read_varint(bytes, after_key).map(|(_, end)| end),
            1 => fixed(8),
            2 => {
                let (length, begin) = read_varint(bytes, after_key).ok_or(DecodeError::Protobuf)?;
                let end = usize::try_from(length).ok().and_then(|length| begin.checked_add(length));
                let body = end.and_then(|end| bytes.get(begin..end)).ok_or(DecodeError::Protobuf)?;
                if let Some(body) = mended(key >> 3, body, shape, depth)? {
                    append_varint(key, out);
                    append_varint(body.len() as u64, out);
                    out.extend_from_slice(&body);
                    at = begin + (length as usize);
                    continue;
                }
                end
            }
            5 => fixed(4),
            _ => None,
        };
        let end = end.ok_or(DecodeError::Protobuf)?;
        out.extend_from_slice(bytes.get(at..end).ok_or(DecodeError::Protobuf)?);
        at = end;
    }
    Ok(())
}

fn mended(number: u64, body: &[u8], shape: &Shape, depth: u32) -> Result<Option<Vec<u8>>, DecodeError> {
    if shape.strings.contains(&number) {
        return Ok(Some(json::replace_invalid(body).into_bytes()));
    }
    let Some((_, inner)) = shape.messages.iter().find(|(of, _)| *of == number) else { return Ok(None) };
    let mut out = Vec::with_capacity(body.len() + 16);
    message(body, inner, depth + 1, &mut out)?;
    Ok(Some(out))
}

static COMMAND: Shape = Shape {
    strings: &[],
    messages: &[
        (4, &CONNECT),
        (5, &SUBSCRIBE),
        (6, &CHANNEL),
        (7, &PUBLISH),
        (8, &CHANNEL),
        (9, &CHANNEL),
        (10, &HISTORY),
        (13, &RPC),
        (14, &CHANNEL),
        (15, &SUB_REFRESH),
    ],
};
static CONNECT: Shape = Shape { strings: &[1, 4, 5, 8, 9], messages: &[(3, &SUBS), (6, &STRINGS)] };
static SUBS: Shape = Shape { strings: &[1], messages: &[(2, &SUBSCRIBE)] };
static STRINGS: Shape = Shape { strings: &[1, 2], messages: &[] };
static SUBSCRIBE: Shape = Shape { strings: &[1, 2, 6, 12, 17], messages: &[(13, &FILTER)] };
static FILTER: Shape = Shape { strings: &[1, 2, 3, 4, 5], messages: &[(6, &FILTER)] };
/// Also the shape of a refresh, whose only string is the token.
static CHANNEL: Shape = Shape { strings: &[1], messages: &[] };
static PUBLISH: Shape = Shape { strings: &[1, 4], messages: &[] };
static HISTORY: Shape = Shape { strings: &[1], messages: &[(8, &POSITION)] };
static POSITION: Shape = Shape { strings: &[2], messages: &[] };
static RPC: Shape = Shape { strings: &[2], messages: &[] };
static SUB_REFRESH: Shape = Shape { strings: &[1, 2, 5], messages: &[(4, &TRACK)] };
static TRACK: Shape = Shape { strings: &[1], messages: &[(2, &CHANNEL)] };
static CONNECT_V1: Shape = Shape { strings: &[1, 4, 5], messages: &[(3, &SUBS_V1)] };
static SUBS_V1: Shape = Shape { strings: &[1], messages: &[(2, &SUBSCRIBE_V1)] };
static SUBSCRIBE_V1: Shape = Shape { strings: &[1, 2, 6], messages: &[] };
static HISTORY_V1: Shape = Shape { strings: &[1, 4], messages: &[(8, &POSITION)] };
static TOKEN_V1: Shape = Shape { strings: &[1, 2], messages: &[] };
