//! `presence_stats`: the number of clients and users in a channel.

use super::shared::{InChannel, OPTIONAL_IN_CHANNEL, allowed};
use super::{Method, Reach};
use crate::api::Context;
use crate::api::error::ApiError;
use crate::api::output::output;
use crate::api::parameter::Rejection;
use crate::grpc::proto::api as proto;
use crate::policy::api;

/// See [`Method::SUMMARY`].
pub(crate) struct PresenceStats;

output! {
    /// The number of clients and users in a channel.
    struct Stats as "PresenceStats" {
        /// Connections.
        num_clients: u32,
        /// Distinct users.
        num_users: u32,
    }
}

impl Method for PresenceStats {
    const NAME: &'static str = "presence_stats";
    const NUMBER: Option<u8> = Some(5);
    const SUMMARY: &'static str = "Counts the clients and users in a channel.";
    const ERRORS: &'static [ApiError] = OPTIONAL_IN_CHANNEL;
    const EXAMPLE: &'static str = r#"{"channel": "news"}"#;

    type Params = InChannel;
    type Output = Stats;
    type Request = proto::PresenceStatsRequest;
    type Result = proto::PresenceStatsResult;

    fn params(
        proto::PresenceStatsRequest { channel }: proto::PresenceStatsRequest,
    ) -> Result<Self::Params, Rejection> {
        Ok(InChannel { channel })
    }

    fn reach(params: &Self::Params) -> Reach<'_> {
        Reach::Channel(&params.channel)
    }

    async fn call(cx: &Context<'_>, InChannel { channel }: InChannel) -> Result<Stats, ApiError> {
        allowed(cx.rules(), &channel, api::Presence)?;
        match cx.node().presence_stats(&channel).await {
            Ok(stats) => Ok(Stats { num_clients: stats.clients, num_users: stats.users }),
            Err(_) => Err(ApiError::INTERNAL),
        }
    }
}

impl From<Stats> for proto::PresenceStatsResult {
    fn from(Stats { num_clients, num_users }: Stats) -> Self {
        Self { num_clients, num_users }
    }
}
