//! `history`: the publications that a channel keeps.

use super::shared::{StreamPosition, allowed, history_options};
use super::{Method, Reach};
use crate::api::Context;
use crate::api::error::ApiError;
use crate::api::output::output;
use crate::api::parameter::{Rejection, parameters};
use crate::grpc::proto::api as proto;
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
    type Request = proto::HistoryRequest;
    type Result = proto::HistoryResult;

    fn params(request: proto::HistoryRequest) -> Result<Self::Params, Rejection> {
        let proto::HistoryRequest { channel, limit, since, reverse } = request;
        Ok(Params { channel, limit, since: since.map(Into::into), reverse })
    }

    fn reach(params: &Self::Params) -> Reach<'_> {
        Reach::Channel(&params.channel)
    }

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

impl From<Slice> for proto::HistoryResult {
    fn from(Slice { publications, epoch, offset }: Slice) -> Self {
        let publications = publications.iter().map(|publication| proto::Publication {
            data: publication.data.clone(),
            info: publication.info.as_deref().map(Into::into),
            offset: publication.offset,
            tags: publication.tags.as_deref().cloned().unwrap_or_default(),
        });
        Self { publications: publications.collect(), epoch: epoch.to_string(), offset }
    }
}
