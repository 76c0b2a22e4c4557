//! The messages as Protobuf has them. Numbers are never used again for something else.

use bytes::Bytes;
use spinward_wire::message::FilterNode;

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Envelope {
    #[prost(uint32, tag = "1")]
    pub(super) version: u32,
    #[prost(bytes = "bytes", tag = "2")]
    pub(super) from: Bytes,
    #[prost(bytes = "bytes", tag = "3")]
    pub(super) to: Bytes,
    #[prost(uint64, tag = "4")]
    pub(super) number: u64,
    #[prost(oneof = "Body", tags = "10, 11, 12, 13")]
    pub(super) body: Option<Body>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum Body {
    #[prost(message, tag = "10")]
    Heartbeat(Heartbeat),
    #[prost(message, tag = "11")]
    Goodbye(Nothing),
    #[prost(message, tag = "12")]
    Request(Box<Request>),
    #[prost(message, tag = "13")]
    Response(Response),
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(super) struct Nothing {}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Heartbeat {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, tag = "2")]
    pub(super) version: String,
    /// Nanoseconds.
    #[prost(uint64, tag = "3")]
    pub(super) uptime: u64,
    #[prost(uint64, tag = "4")]
    pub(super) clients: u64,
    #[prost(uint64, tag = "5")]
    pub(super) users: u64,
    #[prost(uint64, tag = "6")]
    pub(super) channels: u64,
    #[prost(uint64, tag = "7")]
    pub(super) subscriptions: u64,
    #[prost(bool, tag = "8")]
    pub(super) asks: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Request {
    #[prost(uint64, tag = "1")]
    pub(super) id: u64,
    #[prost(oneof = "What", tags = "10, 11, 12, 13, 14, 15, 16")]
    pub(super) what: Option<What>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum What {
    #[prost(message, tag = "10")]
    Survey(Named),
    #[prost(message, tag = "11")]
    Application(Named),
    #[prost(message, tag = "12")]
    Disconnect(Disconnect),
    #[prost(message, tag = "13")]
    Unsubscribe(Unsubscribe),
    #[prost(message, tag = "14")]
    Subscribe(Box<Subscribe>),
    #[prost(message, tag = "15")]
    Refresh(Refresh),
    #[prost(message, tag = "16")]
    Input(Input),
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Response {
    #[prost(uint64, tag = "1")]
    pub(super) id: u64,
    #[prost(oneof = "Outcome", tags = "10, 11, 12, 13")]
    pub(super) what: Option<Outcome>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum Outcome {
    #[prost(message, tag = "10")]
    Applied(Nothing),
    #[prost(message, tag = "11")]
    Expired(Nothing),
    #[prost(bytes = "bytes", tag = "12")]
    Answer(Bytes),
    #[prost(uint32, tag = "13")]
    Declined(u32),
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Named {
    #[prost(string, tag = "1")]
    pub(super) op: String,
    #[prost(bytes = "bytes", tag = "2")]
    pub(super) data: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Input {
    #[prost(string, tag = "1")]
    pub(super) session: String,
    #[prost(bytes = "bytes", tag = "2")]
    pub(super) message: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Filter {
    #[prost(string, optional, tag = "1")]
    pub(super) client: Option<String>,
    #[prost(string, repeated, tag = "2")]
    pub(super) except: Vec<String>,
    #[prost(message, optional, tag = "3")]
    pub(super) labels: Option<FilterNode>,
    #[prost(bool, tag = "4")]
    pub(super) all_users: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Disconnect {
    #[prost(string, tag = "1")]
    pub(super) user: String,
    #[prost(message, optional, tag = "2")]
    pub(super) filter: Option<Filter>,
    /// In place of the filter where labels or all users are meant. An older node, which would take no notice of them in
    /// the filter, finds none and does nothing.
    #[prost(message, optional, tag = "15")]
    pub(super) selection: Option<Filter>,
    #[prost(uint32, tag = "3")]
    pub(super) code: u32,
    #[prost(string, tag = "4")]
    pub(super) reason: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Unsubscribe {
    #[prost(string, tag = "1")]
    pub(super) user: String,
    #[prost(message, optional, tag = "2")]
    pub(super) filter: Option<Filter>,
    /// In place of the filter where labels or all users are meant. An older node, which would take no notice of them in
    /// the filter, finds none and does nothing.
    #[prost(message, optional, tag = "15")]
    pub(super) selection: Option<Filter>,
    #[prost(string, optional, tag = "3")]
    pub(super) channel: Option<String>,
    #[prost(uint32, tag = "4")]
    pub(super) code: u32,
    #[prost(string, tag = "5")]
    pub(super) reason: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Subscribe {
    #[prost(string, tag = "1")]
    pub(super) user: String,
    #[prost(message, optional, tag = "2")]
    pub(super) filter: Option<Filter>,
    /// In place of the filter where labels or all users are meant. An older node, which would take no notice of them in
    /// the filter, finds none and does nothing.
    #[prost(message, optional, tag = "15")]
    pub(super) selection: Option<Filter>,
    #[prost(string, tag = "3")]
    pub(super) channel: String,
    #[prost(message, optional, tag = "4")]
    pub(super) options: Option<Options>,
    #[prost(message, optional, tag = "5")]
    pub(super) since: Option<Position>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Position {
    #[prost(uint64, tag = "1")]
    pub(super) offset: u64,
    #[prost(string, tag = "2")]
    pub(super) epoch: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Options {
    #[prost(int64, tag = "1")]
    pub(super) expire_at: i64,
    #[prost(bytes = "bytes", tag = "2")]
    pub(super) info: Bytes,
    #[prost(bytes = "bytes", tag = "3")]
    pub(super) data: Bytes,
    #[prost(bool, tag = "4")]
    pub(super) presence: bool,
    #[prost(bool, tag = "5")]
    pub(super) join_leave: bool,
    #[prost(bool, tag = "6")]
    pub(super) push_join_leave: bool,
    #[prost(bool, tag = "7")]
    pub(super) positioning: bool,
    #[prost(bool, tag = "8")]
    pub(super) recovery: bool,
    #[prost(bool, tag = "9")]
    pub(super) cache: bool,
    #[prost(bool, tag = "10")]
    pub(super) auto_recover: bool,
    #[prost(bool, tag = "11")]
    pub(super) delta: bool,
    #[prost(bool, tag = "12")]
    pub(super) tags_filter: bool,
    #[prost(uint64, tag = "13")]
    pub(super) history_size: u64,
    /// Nanoseconds.
    #[prost(uint64, tag = "14")]
    pub(super) history_ttl: u64,
    /// Nanoseconds.
    #[prost(uint64, tag = "15")]
    pub(super) history_meta_ttl: u64,
    #[prost(uint32, tag = "16")]
    pub(super) source: u32,
    #[prost(bool, tag = "17")]
    pub(super) server_side_refresh: bool,
    #[prost(bool, tag = "18")]
    pub(super) by_login: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Refresh {
    #[prost(string, tag = "1")]
    pub(super) user: String,
    #[prost(message, optional, tag = "2")]
    pub(super) filter: Option<Filter>,
    /// In place of the filter where labels or all users are meant. An older node, which would take no notice of them in
    /// the filter, finds none and does nothing.
    #[prost(message, optional, tag = "15")]
    pub(super) selection: Option<Filter>,
    #[prost(bool, tag = "3")]
    pub(super) expired: bool,
    #[prost(int64, tag = "4")]
    pub(super) expire_at: i64,
    #[prost(bytes = "bytes", optional, tag = "5")]
    pub(super) info: Option<Bytes>,
}
