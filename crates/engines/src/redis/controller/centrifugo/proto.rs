//! Control messages of Centrifugo v6. Field numbers are those on its wire; fields that nothing is made of are left
//! out, unless they narrow what is selected.

use bytes::Bytes;
use prost::Message;
use spinward::id::NodeId;

#[derive(Clone, PartialEq, Message)]
pub(super) struct Command {
    #[prost(string, tag = "1")]
    pub(super) uid: String,
    #[prost(message, optional, tag = "4")]
    pub(super) node: Option<Node>,
    #[prost(message, optional, tag = "5")]
    pub(super) unsubscribe: Option<Unsubscribe>,
    #[prost(message, optional, tag = "6")]
    pub(super) disconnect: Option<Disconnect>,
    #[prost(message, optional, tag = "7")]
    pub(super) shutdown: Option<Shutdown>,
    #[prost(message, optional, tag = "8")]
    pub(super) survey_request: Option<SurveyRequest>,
    #[prost(message, optional, tag = "9")]
    pub(super) survey_response: Option<SurveyResponse>,
    #[prost(message, optional, tag = "10")]
    pub(super) subscribe: Option<Subscribe>,
    #[prost(message, optional, tag = "12")]
    pub(super) refresh: Option<Refresh>,
    /// Ours: of a node of this project, whose own nodes have heard it already. Others skip a field that they do not
    /// know.
    #[prost(bool, tag = "2047")]
    pub(super) marked: bool,
}

impl Command {
    /// A message of an own node, without contents.
    pub(super) fn of(node: NodeId) -> Self {
        Self { uid: node.to_string(), marked: true, ..Self::default() }
    }
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Node {
    #[prost(string, tag = "1")]
    pub(super) uid: String,
    #[prost(string, tag = "2")]
    pub(super) name: String,
    #[prost(string, tag = "3")]
    pub(super) version: String,
    #[prost(uint32, tag = "4")]
    pub(super) num_clients: u32,
    #[prost(uint32, tag = "5")]
    pub(super) num_users: u32,
    #[prost(uint32, tag = "6")]
    pub(super) num_channels: u32,
    #[prost(uint32, tag = "7")]
    pub(super) uptime: u32,
    #[prost(uint32, tag = "10")]
    pub(super) num_subs: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Shutdown {}

#[derive(Clone, PartialEq, Message)]
pub(super) struct SurveyRequest {
    #[prost(uint64, tag = "1")]
    pub(super) id: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct SurveyResponse {
    #[prost(uint64, tag = "1")]
    pub(super) id: u64,
    #[prost(uint32, tag = "2")]
    pub(super) code: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct StreamPosition {
    #[prost(uint64, tag = "1")]
    pub(super) offset: u64,
    #[prost(string, tag = "2")]
    pub(super) epoch: String,
}

/// A message that selects connections by a session, by labels, or of all users, which have no counterpart here.
macro_rules! narrower {
    ($($message:ident),+) => {
        $(
            impl $message {
                /// Returns true if connections are selected in a way that has no counterpart here.
                pub(super) fn is_narrower(&self) -> bool {
                    !self.session.is_empty() || self.label_filter.is_some() || self.all_users
                }
            }
        )+
    };
}

narrower!(Disconnect, Unsubscribe, Subscribe, Refresh);

#[derive(Clone, PartialEq, Message)]
pub(super) struct Disconnect {
    #[prost(string, tag = "1")]
    pub(super) user: String,
    #[prost(string, repeated, tag = "2")]
    pub(super) whitelist: Vec<String>,
    #[prost(uint32, tag = "3")]
    pub(super) code: u32,
    #[prost(string, tag = "4")]
    pub(super) reason: String,
    #[prost(string, tag = "6")]
    pub(super) client: String,
    #[prost(string, tag = "7")]
    pub(super) session: String,
    #[prost(bytes = "bytes", optional, tag = "8")]
    pub(super) label_filter: Option<Bytes>,
    #[prost(bool, tag = "9")]
    pub(super) all_users: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Unsubscribe {
    #[prost(string, tag = "1")]
    pub(super) channel: String,
    #[prost(string, tag = "2")]
    pub(super) user: String,
    #[prost(string, tag = "3")]
    pub(super) client: String,
    #[prost(string, tag = "4")]
    pub(super) session: String,
    #[prost(uint32, tag = "5")]
    pub(super) code: u32,
    #[prost(string, tag = "6")]
    pub(super) reason: String,
    #[prost(bytes = "bytes", optional, tag = "7")]
    pub(super) label_filter: Option<Bytes>,
    #[prost(bool, tag = "8")]
    pub(super) all_users: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Subscribe {
    #[prost(string, tag = "1")]
    pub(super) user: String,
    #[prost(string, tag = "2")]
    pub(super) channel: String,
    #[prost(bool, tag = "3")]
    pub(super) emit_presence: bool,
    #[prost(bool, tag = "4")]
    pub(super) emit_join_leave: bool,
    #[prost(int64, tag = "5")]
    pub(super) expire_at: i64,
    #[prost(bool, tag = "6")]
    pub(super) position: bool,
    #[prost(bool, tag = "7")]
    pub(super) recover: bool,
    #[prost(bytes = "bytes", tag = "8")]
    pub(super) channel_info: Bytes,
    #[prost(string, tag = "9")]
    pub(super) client: String,
    #[prost(bytes = "bytes", tag = "10")]
    pub(super) data: Bytes,
    #[prost(message, optional, tag = "11")]
    pub(super) recover_since: Option<StreamPosition>,
    #[prost(string, tag = "12")]
    pub(super) session: String,
    #[prost(bool, tag = "13")]
    pub(super) push_join_leave: bool,
    #[prost(uint32, tag = "14")]
    pub(super) source: u32,
    #[prost(bytes = "bytes", optional, tag = "15")]
    pub(super) label_filter: Option<Bytes>,
    #[prost(bool, tag = "16")]
    pub(super) all_users: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Refresh {
    #[prost(string, tag = "1")]
    pub(super) user: String,
    #[prost(string, tag = "2")]
    pub(super) client: String,
    #[prost(bool, tag = "3")]
    pub(super) expired: bool,
    #[prost(int64, tag = "4")]
    pub(super) expire_at: i64,
    #[prost(bytes = "bytes", tag = "5")]
    pub(super) info: Bytes,
    #[prost(string, tag = "6")]
    pub(super) session: String,
    #[prost(bytes = "bytes", optional, tag = "7")]
    pub(super) label_filter: Option<Bytes>,
    #[prost(bool, tag = "8")]
    pub(super) all_users: bool,
}
