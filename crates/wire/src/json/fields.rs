//! JSON keys of the fields: the whole schema in one table.

use super::{Fields, Read, Reader, Write};
use crate::error::DecodeError;
use crate::message::*;

macro_rules! fields {
    ($($message:ident { $($key:literal $field:ident $($always:ident)?),* $(,)? })*) => {$(
        impl Fields for $message {
            #[allow(unused_variables)]
            fn read_field(&mut self, key: &str, reader: &mut Reader<'_>) -> Result<bool, DecodeError> {
                match key {
                    $($key => self.$field.read(reader)?,)*
                    _ => return Ok(false),
                }
                #[allow(unreachable_code)]
                Ok(true)
            }

            #[allow(unused_variables)]
            fn write_fields(&self, out: &mut Vec<u8>) {
                $(
                    if fields!(@always $($always)?) || !self.$field.is_zero() {
                        out.extend_from_slice(concat!(",\"", $key, "\":").as_bytes());
                        self.$field.write(out);
                    }
                )*
            }
        }
    )*};
    (@always always) => { true };
    (@always) => { false };
}

pub(crate) use fields;

fields! {
    Error { "code" code, "message" message, "temporary" temporary }
    EmulationRequest { "node" node, "session" session, "data" data }
    Command {
        "id" id, "connect" connect, "subscribe" subscribe, "unsubscribe" unsubscribe, "publish" publish,
        "presence" presence, "presence_stats" presence_stats, "history" history, "ping" ping, "send" send,
        "rpc" rpc, "refresh" refresh, "sub_refresh" sub_refresh,
    }
    Reply {
        "id" id, "error" error, "push" push, "connect" connect, "subscribe" subscribe,
        "unsubscribe" unsubscribe, "publish" publish, "presence" presence, "presence_stats" presence_stats,
        "history" history, "ping" ping, "rpc" rpc, "refresh" refresh, "sub_refresh" sub_refresh,
    }
    Push {
        "id" id, "channel" channel, "pub" publication, "join" join, "leave" leave,
        "unsubscribe" unsubscribe, "message" message, "subscribe" subscribe, "connect" connect,
        "disconnect" disconnect, "refresh" refresh,
    }
    Dictionary { "id" id, "data" data, "data_b64" data_b64 }
    ClientInfo { "user" user always, "client" client always, "conn_info" conn_info, "chan_info" chan_info }
    Publication {
        "data" data, "info" info, "offset" offset, "tags" tags, "delta" delta, "time" time,
        "channel" channel, "key" key, "removed" removed, "score" score, "epoch" epoch,
        "prev_data" prev_data, "version" version,
    }
    Join { "info" info }
    Leave { "info" info }
    Unsubscribe { "code" code, "reason" reason }
    Subscribe {
        "recoverable" recoverable, "epoch" epoch, "offset" offset, "positioned" positioned, "data" data,
    }
    Message { "data" data }
    Connect {
        "client" client, "version" version, "data" data, "subs" subs, "expires" expires, "ttl" ttl,
        "ping" ping, "pong" pong, "session" session, "node" node, "time" time,
    }
    Disconnect { "code" code, "reason" reason, "reconnect" reconnect }
    Refresh { "expires" expires, "ttl" ttl }
    ConnectRequest {
        "token" token, "data" data, "subs" subs, "name" name, "version" version, "headers" headers,
        "flag" flag, "dict" dict, "profile" profile,
    }
    ConnectResult {
        "client" client, "version" version, "expires" expires, "ttl" ttl, "data" data, "subs" subs,
        "ping" ping, "pong" pong, "session" session, "node" node, "time" time, "flag" flag, "dict" dict,
    }
    RefreshRequest { "token" token }
    RefreshResult { "client" client, "version" version, "expires" expires, "ttl" ttl }
    SubscribeRequest {
        "channel" channel, "token" token, "recover" recover, "epoch" epoch, "offset" offset, "data" data,
        "positioned" positioned, "recoverable" recoverable, "join_leave" join_leave, "delta" delta, "tf" tf,
        "flag" flag, "type" r#type, "phase" phase, "cursor" cursor, "limit" limit, "asc" asc,
    }
    SubscribeResult {
        "expires" expires, "ttl" ttl, "recoverable" recoverable, "epoch" epoch, "publications" publications,
        "recovered" recovered, "offset" offset, "positioned" positioned, "data" data,
        "was_recovering" was_recovering, "delta" delta, "id" id, "type" r#type, "phase" phase,
        "cursor" cursor, "state" state, "publish_debounce" publish_debounce,
    }
    KeyedItem { "key" key, "version" version }
    TrackBatch { "signature" signature, "items" items }
    SubRefreshRequest { "channel" channel, "token" token, "type" r#type, "track" track, "untrack" untrack }
    SubRefreshResult { "expires" expires, "ttl" ttl, "items" items }
    UnsubscribeRequest { "channel" channel }
    PublishRequest { "channel" channel, "data" data, "type" r#type, "key" key, "removed" removed }
    PresenceRequest { "channel" channel }
    PresenceResult { "presence" presence always }
    PresenceStatsRequest { "channel" channel }
    PresenceStatsResult { "num_clients" num_clients always, "num_users" num_users always }
    StreamPosition { "offset" offset, "epoch" epoch }
    HistoryRequest { "channel" channel, "limit" limit, "since" since, "reverse" reverse }
    HistoryResult { "publications" publications always, "epoch" epoch always, "offset" offset always }
    RPCRequest { "data" data, "method" method }
    RPCResult { "data" data }
    SendRequest { "data" data }
    FilterNode { "op" op, "key" key, "cmp" cmp, "val" val, "vals" vals, "nodes" nodes }
    UnsubscribeResult {}
    PublishResult {}
    PingRequest {}
    PingResult {}
}
