//! Commands in JSON: a stream of values, on lines of their own, glued together or over many lines.

use super::decode::{incoming, method_number};
use super::message::{ConnectRequest, HistoryRequest, PublishRequest, SubRefreshRequest, SubscribeRequest};
use crate::command::{Incoming, Request};
use crate::error::DecodeError;
use crate::json::{Fields, Read, ReadObject, Reader, lossy};
use crate::message;

/// Reads a command that is the whole of `bytes`, one JSON value.
pub(crate) fn decode_command(bytes: &[u8]) -> Result<Incoming, DecodeError> {
    let text = lossy(bytes);
    let (mut id, mut method, mut params) = (0u32, 0i32, None);
    Reader::new(&text).object(|key, reader| {
        match key {
            "id" => id.read(reader)?,
            "method" => method = read_method(reader)?,
            "params" => params = Some(reader.raw()?.to_owned()),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    let params = params.as_deref().unwrap_or("null");
    Ok(match method {
        0 => read::<ConnectRequest>(params)?.incoming(id),
        1 => read::<SubscribeRequest>(params)?.incoming(id),
        2 => incoming(id, Request::Unsubscribe(read(params)?)),
        3 => incoming(id, read::<PublishRequest>(params)?.into()),
        4 => incoming(id, Request::Presence(read(params)?)),
        5 => incoming(id, Request::PresenceStats(read(params)?)),
        6 => incoming(id, read::<HistoryRequest>(params)?.into()),
        7 => {
            read::<message::PingRequest>(params)?;
            incoming(id, Request::Ping)
        }
        8 => incoming(id, Request::Send(read(params)?)),
        9 => incoming(id, Request::Rpc(read(params)?)),
        10 => incoming(id, Request::Refresh(read(params)?)),
        11 => incoming(id, read::<SubRefreshRequest>(params)?.into()),
        _ => Incoming { id, ..Incoming::default() },
    })
}

/// A method is its number, or its name in any case.
fn read_method(reader: &mut Reader<'_>) -> Result<i32, DecodeError> {
    let raw = reader.raw()?;
    if raw.starts_with('"') {
        let mut name = String::new();
        name.read(&mut Reader::new(raw))?;
        return method_number(&name).ok_or(DecodeError::Type);
    }
    if raw == "null" {
        return Err(DecodeError::Type);
    }
    let mut number = 0i32;
    number.read(&mut Reader::new(raw))?;
    Ok(number)
}

fn read<M: Fields + Default>(params: &str) -> Result<M, DecodeError> {
    let mut message = M::default();
    message.read_object(&mut Reader::new(params))?;
    Ok(message)
}
