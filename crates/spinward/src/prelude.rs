//! Names that most applications need: `use spinward::prelude::*;`.

pub use crate::answer::Answer;
pub use crate::client::Client;
pub use crate::config::Config;
pub use crate::engine::broker::{HistoryFilter, HistoryOptions, PublishOptions};
pub use crate::hooks::{
    AsyncHooks, ConnectEvent, ConnectReply, Decision, HistoryEvent, Hooks, MessageEvent, PresenceEvent,
    PublishEvent, PublishReply, RefreshEvent, RefreshReply, Refusal, RpcEvent, SubRefreshEvent,
    SubRefreshReply, SubscribeEvent, SubscribeOptions,
};
pub use crate::identity::Credentials;
pub use crate::node::Node;
pub use crate::publication::{ClientInfo, Publication};
pub use bytes::Bytes;
pub use spinward_wire::code::{DisconnectCode, ErrorCode, UnsubscribeCode};
