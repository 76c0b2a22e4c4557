//! Events that the library asks an application about, and its replies.

mod command;
mod connect;
mod refusal;
mod subscribe;

pub use command::{HistoryEvent, MessageEvent, PresenceEvent, PublishEvent, PublishReply, RpcEvent};
pub use connect::{ConnectEvent, ConnectReply, Handshake, RefreshEvent, RefreshReply};
pub use refusal::{Decision, Refusal};
pub use subscribe::{
    FailureCause, SubRefreshEvent, SubRefreshReply, SubscribeEvent, SubscribeFailure, SubscribeOptions,
};
