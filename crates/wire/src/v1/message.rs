//! The messages of version 1 that differ from today's. Field numbers and names are wire facts.

use crate::error::DecodeError;
use crate::json::fields;
use crate::json::{Fields, Read, Reader, Write};
use crate::message::{ClientInfo, Error, StreamPosition};
use bytes::Bytes;
use std::collections::BTreeMap;

/// Envelope of a request, in Protobuf.
#[derive(Clone, PartialEq, prost::Message)]
#[prost(skip_debug)]
pub(super) struct Command {
    #[prost(uint32, tag = "1")]
    pub(super) id: u32,
    #[prost(int32, tag = "2")]
    pub(super) method: i32,
    #[prost(bytes = "bytes", tag = "3")]
    pub(super) params: Bytes,
}

/// Envelope of a result, or of a push if it has no id, in Protobuf.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Reply {
    #[prost(uint32, tag = "1")]
    pub(super) id: u32,
    #[prost(message, optional, tag = "2")]
    pub(super) error: Option<Error>,
    #[prost(bytes = "bytes", tag = "3")]
    pub(super) result: Bytes,
}

/// Envelope of a push, in Protobuf.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Push {
    #[prost(int32, tag = "1")]
    pub(super) kind: i32,
    #[prost(string, tag = "2")]
    pub(super) channel: String,
    #[prost(bytes = "bytes", tag = "3")]
    pub(super) data: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
#[prost(skip_debug)]
pub(super) struct ConnectRequest {
    #[prost(string, tag = "1")]
    pub(super) token: String,
    #[prost(bytes = "bytes", tag = "2")]
    pub(super) data: Bytes,
    #[prost(btree_map = "string, message", tag = "3")]
    pub(super) subs: BTreeMap<String, SubscribeRequest>,
    #[prost(string, tag = "4")]
    pub(super) name: String,
    #[prost(string, tag = "5")]
    pub(super) version: String,
}

#[derive(Clone, PartialEq, prost::Message)]
#[prost(skip_debug)]
pub(super) struct SubscribeRequest {
    #[prost(string, tag = "1")]
    pub(super) channel: String,
    #[prost(string, tag = "2")]
    pub(super) token: String,
    #[prost(bool, tag = "3")]
    pub(super) recover: bool,
    #[prost(uint32, tag = "4")]
    pub(super) seq: u32,
    #[prost(uint32, tag = "5")]
    pub(super) generation: u32,
    #[prost(string, tag = "6")]
    pub(super) epoch: String,
    #[prost(uint64, tag = "7")]
    pub(super) offset: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct PublishRequest {
    #[prost(string, tag = "1")]
    pub(super) channel: String,
    #[prost(bytes = "bytes", tag = "2")]
    pub(super) data: Bytes,
}

/// The fields 2 to 6 are those of the first SDKs that knew of pages.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct HistoryRequest {
    #[prost(string, tag = "1")]
    pub(super) channel: String,
    #[prost(bool, tag = "2")]
    pub(super) use_since: bool,
    #[prost(uint64, tag = "3")]
    pub(super) offset: u64,
    #[prost(string, tag = "4")]
    pub(super) epoch: String,
    #[prost(bool, tag = "5")]
    pub(super) use_limit: bool,
    #[prost(int32, tag = "6")]
    pub(super) first_limit: i32,
    #[prost(int32, optional, tag = "7")]
    pub(super) limit: Option<i32>,
    #[prost(message, optional, tag = "8")]
    pub(super) since: Option<StreamPosition>,
    #[prost(bool, tag = "9")]
    pub(super) reverse: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
#[prost(skip_debug)]
pub(super) struct SubRefreshRequest {
    #[prost(string, tag = "1")]
    pub(super) channel: String,
    #[prost(string, tag = "2")]
    pub(super) token: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Publication {
    #[prost(uint32, tag = "1")]
    pub(super) seq: u32,
    #[prost(uint32, tag = "2")]
    pub(super) generation: u32,
    #[prost(bytes = "bytes", tag = "4")]
    pub(super) data: Bytes,
    #[prost(message, optional, tag = "5")]
    pub(super) info: Option<ClientInfo>,
    #[prost(uint64, tag = "6")]
    pub(super) offset: u64,
    #[prost(btree_map = "string, string", tag = "7")]
    pub(super) tags: BTreeMap<String, String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct SubscribeResult {
    #[prost(bool, tag = "1")]
    pub(super) expires: bool,
    #[prost(uint32, tag = "2")]
    pub(super) ttl: u32,
    #[prost(bool, tag = "3")]
    pub(super) recoverable: bool,
    #[prost(uint32, tag = "4")]
    pub(super) seq: u32,
    #[prost(uint32, tag = "5")]
    pub(super) generation: u32,
    #[prost(string, tag = "6")]
    pub(super) epoch: String,
    #[prost(message, repeated, tag = "7")]
    pub(super) publications: Vec<Publication>,
    #[prost(bool, tag = "8")]
    pub(super) recovered: bool,
    #[prost(uint64, tag = "9")]
    pub(super) offset: u64,
    #[prost(bool, tag = "10")]
    pub(super) positioned: bool,
    #[prost(bytes = "bytes", tag = "11")]
    pub(super) data: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ConnectResult {
    #[prost(string, tag = "1")]
    pub(super) client: String,
    #[prost(string, tag = "2")]
    pub(super) version: String,
    #[prost(bool, tag = "3")]
    pub(super) expires: bool,
    #[prost(uint32, tag = "4")]
    pub(super) ttl: u32,
    #[prost(bytes = "bytes", tag = "5")]
    pub(super) data: Bytes,
    #[prost(btree_map = "string, message", tag = "6")]
    pub(super) subs: BTreeMap<String, SubscribeResult>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct HistoryResult {
    #[prost(message, repeated, tag = "1")]
    pub(super) publications: Vec<Publication>,
    #[prost(string, tag = "2")]
    pub(super) epoch: String,
    #[prost(uint64, tag = "3")]
    pub(super) offset: u64,
}

/// The server began a subscription.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Sub {
    #[prost(bool, tag = "1")]
    pub(super) recoverable: bool,
    #[prost(uint32, tag = "2")]
    pub(super) seq: u32,
    #[prost(uint32, tag = "3")]
    pub(super) generation: u32,
    #[prost(string, tag = "4")]
    pub(super) epoch: String,
    #[prost(uint64, tag = "5")]
    pub(super) offset: u64,
    #[prost(bool, tag = "6")]
    pub(super) positioned: bool,
    #[prost(bytes = "bytes", tag = "7")]
    pub(super) data: Bytes,
}

/// The server ended a subscription.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(super) struct Unsub {
    /// The client is to subscribe again.
    #[prost(bool, tag = "1")]
    pub(super) resubscribe: bool,
}

/// A result, or the content of a push, without fields.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(super) struct Empty {}

fields! {
    ConnectRequest { "token" token, "data" data, "subs" subs, "name" name, "version" version }
    SubscribeRequest {
        "channel" channel, "token" token, "recover" recover, "seq" seq, "gen" generation, "epoch" epoch,
        "offset" offset,
    }
    PublishRequest { "channel" channel, "data" data }
    HistoryRequest {
        "channel" channel, "use_since" use_since, "offset" offset, "epoch" epoch, "use_limit" use_limit,
        "limit" limit, "since" since, "reverse" reverse,
    }
    SubRefreshRequest { "channel" channel, "token" token }
    SubscribeResult {
        "expires" expires, "ttl" ttl, "recoverable" recoverable, "seq" seq, "gen" generation, "epoch" epoch,
        "publications" publications, "recovered" recovered, "offset" offset, "positioned" positioned,
        "data" data,
    }
    ConnectResult {
        "client" client, "version" version, "expires" expires, "ttl" ttl, "data" data, "subs" subs,
    }
    HistoryResult { "publications" publications always, "epoch" epoch, "offset" offset }
    Sub {
        "recoverable" recoverable, "seq" seq, "gen" generation, "epoch" epoch, "offset" offset,
        "positioned" positioned, "data" data,
    }
    Unsub { "resubscribe" resubscribe }
    Empty {}
}

/// A generation without `seq` would leave an SDK at the `seq` of the one before: the two are written together.
impl Fields for Publication {
    fn read_field(&mut self, key: &str, reader: &mut Reader<'_>) -> Result<bool, DecodeError> {
        match key {
            "seq" => self.seq.read(reader)?,
            "gen" => self.generation.read(reader)?,
            "data" => self.data.read(reader)?,
            "info" => self.info.read(reader)?,
            "offset" => self.offset.read(reader)?,
            "tags" => self.tags.read(reader)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn write_fields(&self, out: &mut Vec<u8>) {
        let mut field = |key: &str, shown: bool, value: &dyn Write| {
            if shown {
                out.extend_from_slice(b",\"");
                out.extend_from_slice(key.as_bytes());
                out.extend_from_slice(b"\":");
                value.write(out);
            }
        };
        field("seq", self.seq > 0 || self.generation > 0, &self.seq);
        field("gen", self.generation > 0, &self.generation);
        field("offset", self.offset > 0, &self.offset);
        field("data", !self.data.is_zero(), &self.data);
        field("info", self.info.is_some(), &self.info);
        field("tags", !self.tags.is_zero(), &self.tags);
    }
}
