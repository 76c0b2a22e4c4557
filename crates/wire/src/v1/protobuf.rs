//! Commands in Protobuf: an envelope, in which the params are a message of their own.

use super::decode::incoming;
use super::message::{
    Command, ConnectRequest, HistoryRequest, PublishRequest, SubRefreshRequest, SubscribeRequest,
};
use crate::command::{Incoming, Request};
use crate::error::DecodeError;
use crate::protobuf::{decode, mend_params};
use bytes::Bytes;
use prost::Message;

/// Reads the command that is the whole of `bytes`.
pub(crate) fn decode_command(bytes: &[u8]) -> Result<Incoming, DecodeError> {
    let Command { id, method, params } = decode(bytes)?;
    Ok(match method {
        0 => read::<ConnectRequest>(method, &params)?.incoming(id),
        1 => read::<SubscribeRequest>(method, &params)?.incoming(id),
        2 => incoming(id, Request::Unsubscribe(read(method, &params)?)),
        3 => incoming(id, read::<PublishRequest>(method, &params)?.into()),
        4 => incoming(id, Request::Presence(read(method, &params)?)),
        5 => incoming(id, Request::PresenceStats(read(method, &params)?)),
        6 => incoming(id, read::<HistoryRequest>(method, &params)?.into()),
        7 => incoming(id, Request::Ping),
        8 => incoming(id, Request::Send(read(method, &params)?)),
        9 => incoming(id, Request::Rpc(read(method, &params)?)),
        10 => incoming(id, Request::Refresh(read(method, &params)?)),
        11 => incoming(id, read::<SubRefreshRequest>(method, &params)?.into()),
        _ => Incoming { id, ..Incoming::default() },
    })
}

/// Strings that are not UTF-8 are taken, as in today's protocol.
fn read<M: Message + Default>(method: i32, params: &Bytes) -> Result<M, DecodeError> {
    decode(params).or_else(|_| decode(&mend_params(method, params)?))
}
