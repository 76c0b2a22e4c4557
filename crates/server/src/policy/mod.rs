//! Permissions of users in channels.
//!
//! There is one decision for requests of clients, [`decide()`], and it is a function: the rules of the
//! configuration and the facts of the request go in, a verdict with its reasons comes out. The session, the
//! command line, the server API and the console all ask it, so that an explanation is never a guess. Where a proxy
//! of the application has a part in it, the verdict says so, and [`decide_after`] decides with its reply.
//! [`server_side`] answers the same question for subscriptions that the application makes, [`api`] for calls
//! of the server API.

mod access;
pub mod api;
pub mod ask;
pub mod caps;
pub mod decide;
pub mod decision;
pub mod explain;
pub mod facts;
pub mod request;
pub mod rule;
pub mod server_side;
mod steps;
mod words;

pub use ask::{Ask, ProxyKind, PublishResult, Reply, SubscribeResult};
pub use caps::{Allow, Capabilities, CapabilityError};
pub use decide::{Rules, decide, decide_after};
pub use decision::{
    Decision, Grant, HistoryGrant, PublishGrant, Refused, Source, SubRefreshGrant, SubscribeGrant, Verdict,
};
pub use explain::Explanation;
pub use facts::Facts;
pub use request::{
    Action, HistoryFacts, Override, PresenceFacts, PublishFacts, Request, SubRefreshFacts, SubscribeFacts,
    SubscriptionToken, TokenClaims, Wishes,
};
pub use rule::{Outcome, Rule, Step, Trail};

#[cfg(test)]
mod tests;
