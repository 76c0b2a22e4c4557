//! `map_stats`: counts the entries of a map channel.

use super::shared::{IN_CHANNEL, InChannel, OF_ANOTHER_KIND, of_another_kind};
use super::{Method, Reach};
use crate::api::Context;
use crate::api::error::ApiError;
use crate::api::output::Empty;
use crate::api::parameter::Rejection;
use crate::grpc::proto::api as proto;

/// See [`Method::SUMMARY`].
pub(crate) struct MapStats;

impl Method for MapStats {
    const NAME: &'static str = "map_stats";
    const SUMMARY: &'static str = OF_ANOTHER_KIND;
    const ERRORS: &'static [ApiError] = IN_CHANNEL;
    const EXAMPLE: &'static str = r#"{"channel": "news"}"#;

    type Params = InChannel;
    type Output = Empty;
    type Request = proto::MapStatsRequest;
    type Result = proto::MapStatsResult;

    fn params(proto::MapStatsRequest { channel }: proto::MapStatsRequest) -> Result<Self::Params, Rejection> {
        Ok(InChannel { channel })
    }

    fn reach(params: &Self::Params) -> Reach<'_> {
        Reach::Channel(&params.channel)
    }

    async fn call(cx: &Context<'_>, params: InChannel) -> Result<Empty, ApiError> {
        of_another_kind(cx, &params.channel)
    }
}
