//! What an application is asked, and what it answers.

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
