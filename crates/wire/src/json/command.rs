//! Reading a command without the wide message that has room for every request.

use super::lossy;
use super::read::{Read, ReadObject, Reader};
use crate::command::{Incoming, Request};
use crate::error::DecodeError;
use crate::message::PingRequest;

/// Reads the command at the beginning of a line. The rest of the line is ignored, as by
/// Centrifugo v6.9.
#[inline]
pub(crate) fn decode_command(line: &[u8]) -> Result<Incoming, DecodeError> {
    let text = lossy(line);
    let mut incoming = Incoming::default();
    Reader::new(&text).object(|key, reader| {
        if key == "id" {
            incoming.id.read(reader)?;
            return Ok(true);
        }
        let present = &mut incoming.request;
        if let Some(request) = present
            && request.name() == key
        {
            if reader.take_null() {
                *present = None;
            } else {
                read_request(request, reader)?;
            }
            return Ok(true);
        }
        let Some(mut request) = empty_request(key) else { return Ok(false) };
        if reader.take_null() {
            return Ok(true);
        }
        read_request(&mut request, reader)?;
        if present.as_ref().is_none_or(|present| request.rank() < present.rank()) {
            *present = Some(request);
        }
        Ok(true)
    })?;
    Ok(incoming)
}

fn empty_request(key: &str) -> Option<Request> {
    Some(match key {
        "connect" => Request::Connect(Box::default()),
        "subscribe" => Request::Subscribe(Box::default()),
        "unsubscribe" => Request::Unsubscribe(Default::default()),
        "publish" => Request::Publish(Default::default()),
        "presence" => Request::Presence(Default::default()),
        "presence_stats" => Request::PresenceStats(Default::default()),
        "history" => Request::History(Default::default()),
        "ping" => Request::Ping,
        "send" => Request::Send(Default::default()),
        "rpc" => Request::Rpc(Default::default()),
        "refresh" => Request::Refresh(Default::default()),
        "sub_refresh" => Request::SubRefresh(Box::default()),
        _ => return None,
    })
}

fn read_request(request: &mut Request, reader: &mut Reader<'_>) -> Result<(), DecodeError> {
    match request {
        Request::Connect(request) => request.read_object(reader),
        Request::Subscribe(request) => request.read_object(reader),
        Request::Unsubscribe(request) => request.read_object(reader),
        Request::Publish(request) => request.read_object(reader),
        Request::Presence(request) => request.read_object(reader),
        Request::PresenceStats(request) => request.read_object(reader),
        Request::History(request) => request.read_object(reader),
        Request::Ping => PingRequest::default().read_object(reader),
        Request::Send(request) => request.read_object(reader),
        Request::Rpc(request) => request.read_object(reader),
        Request::Refresh(request) => request.read_object(reader),
        Request::SubRefresh(request) => request.read_object(reader),
    }
}
