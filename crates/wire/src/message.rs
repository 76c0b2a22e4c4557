//! The messages of the client protocol, whole: package `centrifugal.centrifuge.protocol`, as of its
//! definitions of August 2026. One definition serves both codecs: Protobuf by these attributes, JSON by
//! [`crate::json`] under the same names.
//!
//! Field numbers and names are wire facts. A field that this server never reads is kept, so that a
//! message survives a round trip.

use bytes::Bytes;
use std::collections::BTreeMap;
use std::fmt;

/// A message that carries a token or a session secret shows nothing of itself in a log.
macro_rules! redacted {
    ($name:ident) => {
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), " { .. }"))
            }
        }
    };
}

/// The error of a reply.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Error {
    /// Number, see [`crate::code`].
    #[prost(uint32, tag = "1")]
    pub code: u32,
    /// Text for people.
    #[prost(string, tag = "2")]
    pub message: String,
    /// The same command may succeed later.
    #[prost(bool, tag = "3")]
    pub temporary: bool,
}

/// Body that a client of an emulated transport posts.
#[derive(Clone, PartialEq, prost::Message)]
#[prost(skip_debug)]
pub struct EmulationRequest {
    /// Node that holds the connection.
    #[prost(string, tag = "1")]
    pub node: String,
    /// Secret of an emulated connection.
    #[prost(string, tag = "2")]
    pub session: String,
    /// Payload: raw JSON in the JSON protocol, any bytes in Protobuf.
    #[prost(bytes = "bytes", tag = "3")]
    pub data: Bytes,
}

redacted!(EmulationRequest);

/// A message of a client: one request, or nothing at all, which is a pong.
#[derive(Clone, PartialEq, prost::Message)]
#[prost(skip_debug)]
pub struct Command {
    /// Identifier.
    #[prost(uint32, tag = "1")]
    pub id: u32,
    /// Connect.
    #[prost(message, optional, tag = "4")]
    pub connect: Option<ConnectRequest>,
    /// Subscribe.
    #[prost(message, optional, tag = "5")]
    pub subscribe: Option<SubscribeRequest>,
    /// Unsubscribe.
    #[prost(message, optional, tag = "6")]
    pub unsubscribe: Option<UnsubscribeRequest>,
    /// Publish.
    #[prost(message, optional, tag = "7")]
    pub publish: Option<PublishRequest>,
    /// Presence.
    #[prost(message, optional, tag = "8")]
    pub presence: Option<PresenceRequest>,
    /// Presence stats.
    #[prost(message, optional, tag = "9")]
    pub presence_stats: Option<PresenceStatsRequest>,
    /// History.
    #[prost(message, optional, tag = "10")]
    pub history: Option<HistoryRequest>,
    /// Seconds between pings.
    #[prost(message, optional, tag = "11")]
    pub ping: Option<PingRequest>,
    /// Send.
    #[prost(message, optional, tag = "12")]
    pub send: Option<SendRequest>,
    /// Rpc.
    #[prost(message, optional, tag = "13")]
    pub rpc: Option<RPCRequest>,
    /// Refresh.
    #[prost(message, optional, tag = "14")]
    pub refresh: Option<RefreshRequest>,
    /// Sub refresh.
    #[prost(message, optional, tag = "15")]
    pub sub_refresh: Option<SubRefreshRequest>,
}

redacted!(Command);

/// A message of a server: the answer to a command, a push, or nothing at all, which is a ping.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Reply {
    /// Identifier.
    #[prost(uint32, tag = "1")]
    pub id: u32,
    /// Error.
    #[prost(message, optional, tag = "2")]
    pub error: Option<Error>,
    /// Push.
    #[prost(message, optional, tag = "4")]
    pub push: Option<Push>,
    /// Connect.
    #[prost(message, optional, tag = "5")]
    pub connect: Option<ConnectResult>,
    /// Subscribe.
    #[prost(message, optional, tag = "6")]
    pub subscribe: Option<SubscribeResult>,
    /// Unsubscribe.
    #[prost(message, optional, tag = "7")]
    pub unsubscribe: Option<UnsubscribeResult>,
    /// Publish.
    #[prost(message, optional, tag = "8")]
    pub publish: Option<PublishResult>,
    /// Presence.
    #[prost(message, optional, tag = "9")]
    pub presence: Option<PresenceResult>,
    /// Presence stats.
    #[prost(message, optional, tag = "10")]
    pub presence_stats: Option<PresenceStatsResult>,
    /// History.
    #[prost(message, optional, tag = "11")]
    pub history: Option<HistoryResult>,
    /// Seconds between pings.
    #[prost(message, optional, tag = "12")]
    pub ping: Option<PingResult>,
    /// Rpc.
    #[prost(message, optional, tag = "13")]
    pub rpc: Option<RPCResult>,
    /// Refresh.
    #[prost(message, optional, tag = "14")]
    pub refresh: Option<RefreshResult>,
    /// Sub refresh.
    #[prost(message, optional, tag = "15")]
    pub sub_refresh: Option<SubRefreshResult>,
}

/// An unsolicited message of a server.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Push {
    /// Identifier.
    #[prost(int64, tag = "1")]
    pub id: i64,
    /// Channel name.
    #[prost(string, tag = "2")]
    pub channel: String,
    /// A publication.
    #[prost(message, optional, tag = "4")]
    pub publication: Option<Publication>,
    /// Join.
    #[prost(message, optional, tag = "5")]
    pub join: Option<Join>,
    /// Leave.
    #[prost(message, optional, tag = "6")]
    pub leave: Option<Leave>,
    /// Unsubscribe.
    #[prost(message, optional, tag = "7")]
    pub unsubscribe: Option<Unsubscribe>,
    /// Text for people.
    #[prost(message, optional, tag = "8")]
    pub message: Option<Message>,
    /// Subscribe.
    #[prost(message, optional, tag = "9")]
    pub subscribe: Option<Subscribe>,
    /// Connect.
    #[prost(message, optional, tag = "10")]
    pub connect: Option<Connect>,
    /// Disconnect.
    #[prost(message, optional, tag = "11")]
    pub disconnect: Option<Disconnect>,
    /// Refresh.
    #[prost(message, optional, tag = "12")]
    pub refresh: Option<Refresh>,
}

/// A compression dictionary.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Dictionary {
    /// Identifier.
    #[prost(string, tag = "1")]
    pub id: String,
    /// Payload: raw JSON in the JSON protocol, any bytes in Protobuf.
    #[prost(bytes = "bytes", tag = "2")]
    pub data: Bytes,
    /// Data b64.
    #[prost(string, tag = "3")]
    pub data_b64: String,
}

/// A client, as others see it.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ClientInfo {
    /// User id, empty for anonymous.
    #[prost(string, tag = "1")]
    pub user: String,
    /// Client id, a UUID.
    #[prost(string, tag = "2")]
    pub client: String,
    /// Payload that the connection was given at login.
    #[prost(bytes = "bytes", tag = "3")]
    pub conn_info: Bytes,
    /// Payload that the subscription was given.
    #[prost(bytes = "bytes", tag = "4")]
    pub chan_info: Bytes,
}

/// One message of a channel.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Publication {
    /// Payload: raw JSON in the JSON protocol, any bytes in Protobuf.
    #[prost(bytes = "bytes", tag = "4")]
    pub data: Bytes,
    /// The publisher.
    #[prost(message, optional, tag = "5")]
    pub info: Option<ClientInfo>,
    /// Offset in the stream of the channel.
    #[prost(uint64, tag = "6")]
    pub offset: u64,
    /// Labels of the publication.
    #[prost(btree_map = "string, string", tag = "7")]
    pub tags: BTreeMap<String, String>,
    /// Delta encoding.
    #[prost(bool, tag = "8")]
    pub delta: bool,
    /// Unix milliseconds.
    #[prost(int64, tag = "9")]
    pub time: i64,
    /// Channel name.
    #[prost(string, tag = "10")]
    pub channel: String,
    /// Key.
    #[prost(string, tag = "11")]
    pub key: String,
    /// Removed.
    #[prost(bool, tag = "12")]
    pub removed: bool,
    /// Score.
    #[prost(sint64, tag = "13")]
    pub score: i64,
    /// Epoch of the stream: offsets of different epochs do not compare.
    #[prost(string, tag = "14")]
    pub epoch: String,
    /// Prev data.
    #[prost(bytes = "bytes", tag = "15")]
    pub prev_data: Bytes,
    /// Version.
    #[prost(uint64, tag = "16")]
    pub version: u64,
}

/// A client came to a channel.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Join {
    /// The client that joined.
    #[prost(message, optional, tag = "1")]
    pub info: Option<ClientInfo>,
}

/// A client left a channel.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Leave {
    /// The client that left.
    #[prost(message, optional, tag = "1")]
    pub info: Option<ClientInfo>,
}

/// The server ended a subscription.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Unsubscribe {
    /// Number, see [`crate::code`].
    #[prost(uint32, tag = "2")]
    pub code: u32,
    /// Text for people.
    #[prost(string, tag = "3")]
    pub reason: String,
}

/// The server began a subscription.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Subscribe {
    /// Positions may be used to recover.
    #[prost(bool, tag = "1")]
    pub recoverable: bool,
    /// Epoch of the stream: offsets of different epochs do not compare.
    #[prost(string, tag = "4")]
    pub epoch: String,
    /// Offset in the stream of the channel.
    #[prost(uint64, tag = "5")]
    pub offset: u64,
    /// The server watches for lost publications.
    #[prost(bool, tag = "6")]
    pub positioned: bool,
    /// Payload: raw JSON in the JSON protocol, any bytes in Protobuf.
    #[prost(bytes = "bytes", tag = "7")]
    pub data: Bytes,
}

/// A message to one connection, outside channels.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Message {
    /// Payload: raw JSON in the JSON protocol, any bytes in Protobuf.
    #[prost(bytes = "bytes", tag = "1")]
    pub data: Bytes,
}

/// The first push on a unidirectional transport.
#[derive(Clone, PartialEq, prost::Message)]
#[prost(skip_debug)]
pub struct Connect {
    /// Client id, a UUID.
    #[prost(string, tag = "1")]
    pub client: String,
    /// Version.
    #[prost(string, tag = "2")]
    pub version: String,
    /// Payload: raw JSON in the JSON protocol, any bytes in Protobuf.
    #[prost(bytes = "bytes", tag = "3")]
    pub data: Bytes,
    /// Subscriptions by channel.
    #[prost(btree_map = "string, message", tag = "4")]
    pub subs: BTreeMap<String, SubscribeResult>,
    /// True if there is an end.
    #[prost(bool, tag = "5")]
    pub expires: bool,
    /// Seconds to the end.
    #[prost(uint32, tag = "6")]
    pub ttl: u32,
    /// Seconds between pings.
    #[prost(uint32, tag = "7")]
    pub ping: u32,
    /// Pings must be answered.
    #[prost(bool, tag = "8")]
    pub pong: bool,
    /// Secret of an emulated connection.
    #[prost(string, tag = "9")]
    pub session: String,
    /// Node that holds the connection.
    #[prost(string, tag = "10")]
    pub node: String,
    /// Unix milliseconds.
    #[prost(int64, tag = "11")]
    pub time: i64,
}

redacted!(Connect);

/// The last push on a transport without a close frame.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Disconnect {
    /// Number, see [`crate::code`].
    #[prost(uint32, tag = "1")]
    pub code: u32,
    /// Text for people.
    #[prost(string, tag = "2")]
    pub reason: String,
    /// Reconnect.
    #[prost(bool, tag = "3")]
    pub reconnect: bool,
}

/// The server prolonged the connection.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Refresh {
    /// True if there is an end.
    #[prost(bool, tag = "1")]
    pub expires: bool,
    /// Seconds to the end.
    #[prost(uint32, tag = "2")]
    pub ttl: u32,
}

/// Log in.
#[derive(Clone, PartialEq, prost::Message)]
#[prost(skip_debug)]
pub struct ConnectRequest {
    /// JWT.
    #[prost(string, tag = "1")]
    pub token: String,
    /// Payload: raw JSON in the JSON protocol, any bytes in Protobuf.
    #[prost(bytes = "bytes", tag = "2")]
    pub data: Bytes,
    /// Subscriptions by channel.
    #[prost(btree_map = "string, message", tag = "3")]
    pub subs: BTreeMap<String, SubscribeRequest>,
    /// Name of the application that connects.
    #[prost(string, tag = "4")]
    pub name: String,
    /// Version.
    #[prost(string, tag = "5")]
    pub version: String,
    /// Emulated HTTP headers.
    #[prost(btree_map = "string, string", tag = "6")]
    pub headers: BTreeMap<String, String>,
    /// Bit flags.
    #[prost(int64, tag = "7")]
    pub flag: i64,
    /// Dict.
    #[prost(string, tag = "8")]
    pub dict: String,
    /// Profile.
    #[prost(string, tag = "9")]
    pub profile: String,
}

redacted!(ConnectRequest);

/// Logged in.
#[derive(Clone, PartialEq, prost::Message)]
#[prost(skip_debug)]
pub struct ConnectResult {
    /// Client id, a UUID.
    #[prost(string, tag = "1")]
    pub client: String,
    /// Version.
    #[prost(string, tag = "2")]
    pub version: String,
    /// True if there is an end.
    #[prost(bool, tag = "3")]
    pub expires: bool,
    /// Seconds to the end.
    #[prost(uint32, tag = "4")]
    pub ttl: u32,
    /// Payload: raw JSON in the JSON protocol, any bytes in Protobuf.
    #[prost(bytes = "bytes", tag = "5")]
    pub data: Bytes,
    /// Subscriptions by channel.
    #[prost(btree_map = "string, message", tag = "6")]
    pub subs: BTreeMap<String, SubscribeResult>,
    /// Seconds between pings.
    #[prost(uint32, tag = "7")]
    pub ping: u32,
    /// Pings must be answered.
    #[prost(bool, tag = "8")]
    pub pong: bool,
    /// Secret of an emulated connection.
    #[prost(string, tag = "9")]
    pub session: String,
    /// Node that holds the connection.
    #[prost(string, tag = "10")]
    pub node: String,
    /// Unix milliseconds.
    #[prost(int64, tag = "11")]
    pub time: i64,
    /// Bit flags.
    #[prost(int64, tag = "12")]
    pub flag: i64,
    /// Dict.
    #[prost(message, optional, tag = "13")]
    pub dict: Option<Dictionary>,
}

redacted!(ConnectResult);

/// Prolong the connection with a new token.
#[derive(Clone, PartialEq, prost::Message)]
#[prost(skip_debug)]
pub struct RefreshRequest {
    /// JWT.
    #[prost(string, tag = "1")]
    pub token: String,
}

redacted!(RefreshRequest);

/// New lifetime of the connection.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RefreshResult {
    /// Client id, a UUID.
    #[prost(string, tag = "1")]
    pub client: String,
    /// Version.
    #[prost(string, tag = "2")]
    pub version: String,
    /// True if there is an end.
    #[prost(bool, tag = "3")]
    pub expires: bool,
    /// Seconds to the end.
    #[prost(uint32, tag = "4")]
    pub ttl: u32,
}

/// Begin a subscription.
#[derive(Clone, PartialEq, prost::Message)]
#[prost(skip_debug)]
pub struct SubscribeRequest {
    /// Channel name.
    #[prost(string, tag = "1")]
    pub channel: String,
    /// JWT.
    #[prost(string, tag = "2")]
    pub token: String,
    /// Ask for what was missed since the given position.
    #[prost(bool, tag = "3")]
    pub recover: bool,
    /// Epoch of the stream: offsets of different epochs do not compare.
    #[prost(string, tag = "6")]
    pub epoch: String,
    /// Offset in the stream of the channel.
    #[prost(uint64, tag = "7")]
    pub offset: u64,
    /// Payload: raw JSON in the JSON protocol, any bytes in Protobuf.
    #[prost(bytes = "bytes", tag = "8")]
    pub data: Bytes,
    /// The server watches for lost publications.
    #[prost(bool, tag = "9")]
    pub positioned: bool,
    /// Positions may be used to recover.
    #[prost(bool, tag = "10")]
    pub recoverable: bool,
    /// Ask for join and leave events.
    #[prost(bool, tag = "11")]
    pub join_leave: bool,
    /// Delta encoding.
    #[prost(string, tag = "12")]
    pub delta: String,
    /// Filter over publication tags.
    #[prost(message, optional, tag = "13")]
    pub tf: Option<FilterNode>,
    /// Bit flags.
    #[prost(int64, tag = "14")]
    pub flag: i64,
    /// Kind, 0 for a stream.
    #[prost(int32, tag = "15")]
    pub r#type: i32,
    /// Phase of a map subscription.
    #[prost(int32, tag = "16")]
    pub phase: i32,
    /// Page cursor.
    #[prost(string, tag = "17")]
    pub cursor: String,
    /// Page size.
    #[prost(int32, tag = "18")]
    pub limit: i32,
    /// Ascending score order.
    #[prost(bool, tag = "19")]
    pub asc: bool,
}

redacted!(SubscribeRequest);

/// The subscription began.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SubscribeResult {
    /// True if there is an end.
    #[prost(bool, tag = "1")]
    pub expires: bool,
    /// Seconds to the end.
    #[prost(uint32, tag = "2")]
    pub ttl: u32,
    /// Positions may be used to recover.
    #[prost(bool, tag = "3")]
    pub recoverable: bool,
    /// Epoch of the stream: offsets of different epochs do not compare.
    #[prost(string, tag = "6")]
    pub epoch: String,
    /// Publications, oldest first.
    #[prost(message, repeated, tag = "7")]
    pub publications: Vec<Publication>,
    /// All that was missed is here.
    #[prost(bool, tag = "8")]
    pub recovered: bool,
    /// Offset in the stream of the channel.
    #[prost(uint64, tag = "9")]
    pub offset: u64,
    /// The server watches for lost publications.
    #[prost(bool, tag = "10")]
    pub positioned: bool,
    /// Payload: raw JSON in the JSON protocol, any bytes in Protobuf.
    #[prost(bytes = "bytes", tag = "11")]
    pub data: Bytes,
    /// Recovery was tried.
    #[prost(bool, tag = "12")]
    pub was_recovering: bool,
    /// Delta encoding.
    #[prost(bool, tag = "13")]
    pub delta: bool,
    /// Identifier.
    #[prost(int64, tag = "14")]
    pub id: i64,
    /// Kind, 0 for a stream.
    #[prost(int32, tag = "15")]
    pub r#type: i32,
    /// Phase of a map subscription.
    #[prost(int32, tag = "16")]
    pub phase: i32,
    /// Page cursor.
    #[prost(string, tag = "17")]
    pub cursor: String,
    /// State.
    #[prost(message, repeated, tag = "18")]
    pub state: Vec<Publication>,
    /// Publish debounce.
    #[prost(uint32, tag = "19")]
    pub publish_debounce: u32,
}

/// A key of a shared poll channel and its known version.
#[derive(Clone, PartialEq, prost::Message)]
pub struct KeyedItem {
    /// Key.
    #[prost(string, tag = "1")]
    pub key: String,
    /// Version.
    #[prost(uint64, tag = "2")]
    pub version: u64,
}

/// Keys to track, signed by the backend.
#[derive(Clone, PartialEq, prost::Message)]
pub struct TrackBatch {
    /// Signature.
    #[prost(string, tag = "1")]
    pub signature: String,
    /// Items.
    #[prost(message, repeated, tag = "2")]
    pub items: Vec<KeyedItem>,
}

/// Prolong a subscription with a new token.
#[derive(Clone, PartialEq, prost::Message)]
#[prost(skip_debug)]
pub struct SubRefreshRequest {
    /// Channel name.
    #[prost(string, tag = "1")]
    pub channel: String,
    /// JWT.
    #[prost(string, tag = "2")]
    pub token: String,
    /// Kind, 0 for a stream.
    #[prost(int32, tag = "3")]
    pub r#type: i32,
    /// Track.
    #[prost(message, repeated, tag = "4")]
    pub track: Vec<TrackBatch>,
    /// Untrack.
    #[prost(string, repeated, tag = "5")]
    pub untrack: Vec<String>,
}

redacted!(SubRefreshRequest);

/// New lifetime of the subscription.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SubRefreshResult {
    /// True if there is an end.
    #[prost(bool, tag = "1")]
    pub expires: bool,
    /// Seconds to the end.
    #[prost(uint32, tag = "2")]
    pub ttl: u32,
    /// Items.
    #[prost(message, repeated, tag = "3")]
    pub items: Vec<Publication>,
}

/// End a subscription.
#[derive(Clone, PartialEq, prost::Message)]
pub struct UnsubscribeRequest {
    /// Channel name.
    #[prost(string, tag = "1")]
    pub channel: String,
}

/// Publish to a channel.
#[derive(Clone, PartialEq, prost::Message)]
pub struct PublishRequest {
    /// Channel name.
    #[prost(string, tag = "1")]
    pub channel: String,
    /// Payload: raw JSON in the JSON protocol, any bytes in Protobuf.
    #[prost(bytes = "bytes", tag = "2")]
    pub data: Bytes,
    /// Kind, 0 for a stream.
    #[prost(int32, tag = "3")]
    pub r#type: i32,
    /// Key.
    #[prost(string, tag = "4")]
    pub key: String,
    /// Removed.
    #[prost(bool, tag = "5")]
    pub removed: bool,
}

/// Asks for the members of a channel.
#[derive(Clone, PartialEq, prost::Message)]
pub struct PresenceRequest {
    /// Channel name.
    #[prost(string, tag = "1")]
    pub channel: String,
}

/// Members of a channel, by client id.
#[derive(Clone, PartialEq, prost::Message)]
pub struct PresenceResult {
    /// Presence.
    #[prost(btree_map = "string, message", tag = "1")]
    pub presence: BTreeMap<String, ClientInfo>,
}

/// Asks for the number of members of a channel.
#[derive(Clone, PartialEq, prost::Message)]
pub struct PresenceStatsRequest {
    /// Channel name.
    #[prost(string, tag = "1")]
    pub channel: String,
}

/// Number of members of a channel.
#[derive(Clone, PartialEq, prost::Message)]
pub struct PresenceStatsResult {
    /// Num clients.
    #[prost(uint32, tag = "1")]
    pub num_clients: u32,
    /// Num users.
    #[prost(uint32, tag = "2")]
    pub num_users: u32,
}

/// A place in the stream of a channel.
#[derive(Clone, PartialEq, prost::Message)]
pub struct StreamPosition {
    /// Offset in the stream of the channel.
    #[prost(uint64, tag = "1")]
    pub offset: u64,
    /// Epoch of the stream: offsets of different epochs do not compare.
    #[prost(string, tag = "2")]
    pub epoch: String,
}

/// Read the stream of a channel.
#[derive(Clone, PartialEq, prost::Message)]
pub struct HistoryRequest {
    /// Channel name.
    #[prost(string, tag = "1")]
    pub channel: String,
    /// Page size.
    #[prost(int32, tag = "7")]
    pub limit: i32,
    /// Since.
    #[prost(message, optional, tag = "8")]
    pub since: Option<StreamPosition>,
    /// Reverse.
    #[prost(bool, tag = "9")]
    pub reverse: bool,
}

/// A slice of the stream of a channel, and where its top is.
#[derive(Clone, PartialEq, prost::Message)]
pub struct HistoryResult {
    /// Publications, oldest first.
    #[prost(message, repeated, tag = "1")]
    pub publications: Vec<Publication>,
    /// Epoch of the stream: offsets of different epochs do not compare.
    #[prost(string, tag = "2")]
    pub epoch: String,
    /// Offset in the stream of the channel.
    #[prost(uint64, tag = "3")]
    pub offset: u64,
}

/// Call a method of the application.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RPCRequest {
    /// Payload: raw JSON in the JSON protocol, any bytes in Protobuf.
    #[prost(bytes = "bytes", tag = "1")]
    pub data: Bytes,
    /// Method.
    #[prost(string, tag = "2")]
    pub method: String,
}

/// Answer of the method.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RPCResult {
    /// Payload: raw JSON in the JSON protocol, any bytes in Protobuf.
    #[prost(bytes = "bytes", tag = "1")]
    pub data: Bytes,
}

/// A message to the application, unanswered.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SendRequest {
    /// Payload: raw JSON in the JSON protocol, any bytes in Protobuf.
    #[prost(bytes = "bytes", tag = "1")]
    pub data: Bytes,
}

/// A node of a filter over publication tags.
#[derive(Clone, PartialEq, prost::Message)]
pub struct FilterNode {
    /// Op.
    #[prost(string, tag = "1")]
    pub op: String,
    /// Key.
    #[prost(string, tag = "2")]
    pub key: String,
    /// Cmp.
    #[prost(string, tag = "3")]
    pub cmp: String,
    /// Val.
    #[prost(string, tag = "4")]
    pub val: String,
    /// Vals.
    #[prost(string, repeated, tag = "5")]
    pub vals: Vec<String>,
    /// Nodes.
    #[prost(message, repeated, tag = "6")]
    pub nodes: Vec<Self>,
}

/// The subscription ended.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct UnsubscribeResult {}

/// The publication is accepted.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct PublishResult {}

/// Unused by the present protocol.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct PingRequest {}

/// Unused by the present protocol.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct PingResult {}
