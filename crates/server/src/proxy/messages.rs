//! Messages of the proxies: what the back end is told, and what it answers.
//!
//! Names and numbers are those of the package `centrifugal.centrifugo.proxy` of Centrifugo v6.9. In JSON the fields have
//! the same names; [`super::json`] fills and writes the same structs.

use bytes::Bytes;
use prost::Message;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// The refusal of a request.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Error {
    #[prost(uint32, tag = "1")]
    pub(super) code: u32,
    #[prost(string, tag = "2")]
    pub(super) message: String,
    #[prost(bool, tag = "3")]
    pub(super) temporary: bool,
}

/// The end of the connection.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Disconnect {
    #[prost(uint32, tag = "1")]
    pub(super) code: u32,
    #[prost(string, tag = "2")]
    pub(super) reason: String,
}

/// A boolean that may be absent.
#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct BoolValue {
    #[prost(bool, tag = "1")]
    pub(super) value: bool,
}

/// Options of one subscription that differ from the namespace's.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Override {
    #[prost(message, optional, tag = "1")]
    pub(super) presence: Option<BoolValue>,
    #[prost(message, optional, tag = "2")]
    pub(super) join_leave: Option<BoolValue>,
    #[prost(message, optional, tag = "3")]
    pub(super) force_recovery: Option<BoolValue>,
    #[prost(message, optional, tag = "4")]
    pub(super) force_positioning: Option<BoolValue>,
    #[prost(message, optional, tag = "5")]
    pub(super) force_push_join_leave: Option<BoolValue>,
}

/// Options of a subscription that comes with a login.
#[derive(Clone, PartialEq, Message)]
pub(super) struct SubscribeOptions {
    #[prost(bytes = "bytes", tag = "2")]
    pub(super) info: Bytes,
    #[prost(string, tag = "3")]
    pub(super) b64info: String,
    #[prost(bytes = "bytes", tag = "4")]
    pub(super) data: Bytes,
    #[prost(string, tag = "5")]
    pub(super) b64data: String,
    #[prost(message, optional, tag = "6")]
    pub(super) r#override: Option<Override>,
    #[prost(bool, tag = "8")]
    pub(super) cache_recover: bool,
}

/// Permissions in channels.
#[derive(Clone, PartialEq, Message, Deserialize, Serialize)]
#[serde(default)]
pub(super) struct ChannelsCapability {
    #[prost(string, repeated, tag = "1")]
    pub(super) channels: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    pub(super) allow: Vec<String>,
    #[prost(string, tag = "3")]
    pub(super) r#match: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ConnectResult {
    #[prost(string, tag = "1")]
    pub(super) user: String,
    #[prost(int64, tag = "2")]
    pub(super) expire_at: i64,
    #[prost(bytes = "bytes", tag = "3")]
    pub(super) info: Bytes,
    #[prost(string, tag = "4")]
    pub(super) b64info: String,
    #[prost(bytes = "bytes", tag = "5")]
    pub(super) data: Bytes,
    #[prost(string, tag = "6")]
    pub(super) b64data: String,
    #[prost(string, repeated, tag = "7")]
    pub(super) channels: Vec<String>,
    #[prost(map = "string, message", tag = "8")]
    pub(super) subs: HashMap<String, SubscribeOptions>,
    #[prost(bytes = "bytes", tag = "9")]
    pub(super) meta: Bytes,
    #[prost(message, repeated, tag = "10")]
    pub(super) caps: Vec<ChannelsCapability>,
    #[prost(map = "string, string", tag = "11")]
    pub(super) labels: HashMap<String, String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct RefreshResult {
    #[prost(bool, tag = "1")]
    pub(super) expired: bool,
    #[prost(int64, tag = "2")]
    pub(super) expire_at: i64,
    #[prost(bytes = "bytes", tag = "3")]
    pub(super) info: Bytes,
    #[prost(string, tag = "4")]
    pub(super) b64info: String,
    #[prost(bytes = "bytes", tag = "5")]
    pub(super) meta: Bytes,
    #[prost(message, repeated, tag = "6")]
    pub(super) caps: Vec<ChannelsCapability>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct SubscribeResult {
    #[prost(int64, tag = "1")]
    pub(super) expire_at: i64,
    #[prost(bytes = "bytes", tag = "2")]
    pub(super) info: Bytes,
    #[prost(string, tag = "3")]
    pub(super) b64info: String,
    #[prost(bytes = "bytes", tag = "4")]
    pub(super) data: Bytes,
    #[prost(string, tag = "5")]
    pub(super) b64data: String,
    #[prost(message, optional, tag = "6")]
    pub(super) r#override: Option<Override>,
}

/// Answers to subscribes that were asked about at once: an addition of Spinward's.
#[derive(Clone, PartialEq, Message)]
pub(super) struct SubscribeBatch {
    #[prost(message, repeated, tag = "1")]
    pub(super) batch: Vec<SubscribeResponse>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct PublishResult {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) data: Bytes,
    #[prost(string, tag = "2")]
    pub(super) b64data: String,
    #[prost(bool, tag = "3")]
    pub(super) skip_history: bool,
    #[prost(map = "string, string", tag = "4")]
    pub(super) tags: HashMap<String, String>,
    #[prost(string, tag = "5")]
    pub(super) idempotency_key: String,
    #[prost(bool, tag = "6")]
    pub(super) delta: bool,
    #[prost(uint64, tag = "7")]
    pub(super) version: u64,
    #[prost(string, tag = "8")]
    pub(super) version_epoch: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct RpcResult {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) data: Bytes,
    #[prost(string, tag = "2")]
    pub(super) b64data: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct SubRefreshResult {
    #[prost(bool, tag = "1")]
    pub(super) expired: bool,
    #[prost(int64, tag = "2")]
    pub(super) expire_at: i64,
    #[prost(bytes = "bytes", tag = "3")]
    pub(super) info: Bytes,
    #[prost(string, tag = "4")]
    pub(super) b64info: String,
}

/// The confirmation of channel events.
#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct StateResult {}

/// The confirmation of client events.
#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct ClientEventsResult {}

/// The result of a cache empty proxy.
#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct CacheEmptyResult {
    /// There is a publication now. The cache is read in any case.
    #[prost(bool, tag = "1")]
    pub(super) populated: bool,
}

/// Parts of an answer. More than one may be there.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Answered<R> {
    pub(super) result: Option<R>,
    pub(super) error: Option<Error>,
    pub(super) disconnect: Option<Disconnect>,
}

impl<R> Answered<R> {
    /// An answer with nothing in it.
    pub(super) const EMPTY: Self = Self { result: None, error: None, disconnect: None };
}

/// A result that comes in an envelope.
pub(super) trait InEnvelope: Sized + Send + 'static {
    /// Reads the envelope from Protobuf.
    fn answered(bytes: Bytes) -> Result<Answered<Self>, prost::DecodeError>;
}

macro_rules! envelopes {
    ($($Response:ident of $Result:ident),*) => {$(
        #[derive(Clone, PartialEq, Message)]
        pub(super) struct $Response {
            #[prost(message, optional, tag = "1")]
            pub(super) result: Option<$Result>,
            #[prost(message, optional, tag = "2")]
            pub(super) error: Option<Error>,
            #[prost(message, optional, tag = "3")]
            pub(super) disconnect: Option<Disconnect>,
        }

        impl From<$Response> for Answered<$Result> {
            fn from($Response { result, error, disconnect }: $Response) -> Self {
                Self { result, error, disconnect }
            }
        }

        impl InEnvelope for $Result {
            fn answered(bytes: Bytes) -> Result<Answered<Self>, prost::DecodeError> {
                Ok($Response::decode(bytes)?.into())
            }
        }
    )*};
}
envelopes! {
    ConnectResponse of ConnectResult,
    RefreshResponse of RefreshResult,
    SubscribeResponse of SubscribeResult,
    SubscribeBatchResponse of SubscribeBatch,
    PublishResponse of PublishResult,
    RpcResponse of RpcResult,
    SubRefreshResponse of SubRefreshResult,
    StateResponse of StateResult,
    ClientEventsResponse of ClientEventsResult,
    CacheEmptyResponse of CacheEmptyResult
}

/// A publication in a stream.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Publication {
    #[prost(bytes = "bytes", tag = "4")]
    pub(super) data: Bytes,
    #[prost(map = "string, string", tag = "7")]
    pub(super) tags: HashMap<String, String>,
}

/// A message in a stream. The first one has the answer to the subscribe.
#[derive(Clone, PartialEq, Message)]
pub(super) struct StreamSubscribeResponse {
    #[prost(message, optional, tag = "1")]
    pub(super) subscribe_response: Option<SubscribeResponse>,
    #[prost(message, optional, tag = "2")]
    pub(super) publication: Option<Publication>,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes were written by hand, by the numbers of the public schema.
    #[test]
    fn numbers_are_those_of_the_schema() {
        let bytes =
            b"\x0a\x11\x0a\x01u\x10\x05\x3a\x01a\x42\x07\x0a\x01c\x12\x02\x40\x01\x12\x05\x08\x07\x12\x01m";
        let answered = ConnectResult::answered(Bytes::from_static(bytes)).unwrap();
        let result = answered.result.unwrap();
        assert_eq!(
            (result.user.as_str(), result.expire_at, &*result.channels),
            ("u", 5, &["a".to_owned()][..])
        );
        assert!(result.subs["c"].cache_recover);
        assert_eq!(answered.error.map(|error| (error.code, error.message)), Some((7, "m".to_owned())));
        assert_eq!(answered.disconnect, None);
    }
}
