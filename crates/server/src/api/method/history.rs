//! `history`: the publications that a channel keeps.

use super::Method;
use super::shared::{StreamPosition, allowed, history_options};
use crate::api::Context;
use crate::api::error::ApiError;
use crate::api::output::output;
use crate::api::parameter::parameters;
use crate::policy::api;
use spinward::Publication;
use spinward::engine::broker::HistoryFilter;
use std::sync::Arc;

/// See [`Method::SUMMARY`].
pub(crate) struct History;

parameters! {
    /// Parameters of `history`.
    struct Params {
        /// The channel.
        channel: String = required,
        /// Most publications to return; 0 returns the position alone, -1 everything.
        limit: i32,
        /// Read after this position, or before it with `reverse`.
        since: Option<StreamPosition>,
        /// Newest first.
        reverse: bool,
    }
}

output! {
    /// Publications of a channel.
    struct Slice as "History" {
        /// The publications.
        publications: Vec<Arc<Publication>>,
        /// The epoch.
        epoch: Arc<str>,
        /// The offset of the newest publication.
        offset: u64,
    }
}

impl Method for History {
    const NAME: &'static str = "history";
    const NUMBER: Option<u8> = Some(6);
    const SUMMARY: &'static str = "Reads the publications that a channel keeps.";
    const ERRORS: &'static [ApiError] = &[
        ApiError::UNKNOWN_CHANNEL,
        ApiError::BAD_REQUEST,
        ApiError::NOT_AVAILABLE,
        ApiError::UNRECOVERABLE_POSITION,
    ];
    const EXAMPLE: &'static str = r#"{"channel": "news", "limit": 20}"#;

    type Params = Params;
    type Output = Slice;

    async fn call(cx: &Context<'_>, params: Params) -> Result<Slice, ApiError> {
        let Params { channel, limit, since, reverse } = params;
        let grant = allowed(cx.rules(), &channel, api::History)?;
        let filter = HistoryFilter { limit: i64::from(limit), since: since.map(Into::into), reverse };
        // Not the caller's fault there, as in Centrifugo v6.9.
        if filter.is_backwards_from_nothing() {
            return Err(ApiError::INTERNAL);
        }
        let history = cx.node().history(&channel, filter, history_options(grant)).await?;
        Ok(Slice { publications: history.publications, epoch: history.top.epoch, offset: history.top.offset })
    }
}
