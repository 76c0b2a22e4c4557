//! `map_stats`: counts the entries of a map channel.

use super::Method;
use super::shared::{IN_CHANNEL, InChannel, OF_ANOTHER_KIND, of_another_kind};
use crate::api::Context;
use crate::api::error::ApiError;
use crate::api::output::Empty;

/// See [`Method::SUMMARY`].
pub(crate) struct MapStats;

impl Method for MapStats {
    const NAME: &'static str = "map_stats";
    const SUMMARY: &'static str = OF_ANOTHER_KIND;
    const ERRORS: &'static [ApiError] = IN_CHANNEL;
    const EXAMPLE: &'static str = r#"{"channel": "news"}"#;

    type Params = InChannel;
    type Output = Empty;

    async fn call(cx: &Context<'_>, params: InChannel) -> Result<Empty, ApiError> {
        of_another_kind(cx, &params.channel)
    }
}
