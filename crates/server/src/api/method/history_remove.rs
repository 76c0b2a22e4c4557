//! `history_remove`: deletes the publications of a channel.

use super::shared::{InChannel, OPTIONAL_IN_CHANNEL, allowed};
use super::{Method, Reach};
use crate::api::Context;
use crate::api::error::ApiError;
use crate::api::output::Empty;
use crate::api::parameter::Rejection;
use crate::grpc::proto::api as proto;
use crate::policy::api;

/// See [`Method::SUMMARY`].
pub(crate) struct HistoryRemove;

impl Method for HistoryRemove {
    const NAME: &'static str = "history_remove";
    const NUMBER: Option<u8> = Some(7);
    const SUMMARY: &'static str = "Deletes the publications of a channel. Offsets continue.";
    const ERRORS: &'static [ApiError] = OPTIONAL_IN_CHANNEL;
    const EXAMPLE: &'static str = r#"{"channel": "news"}"#;

    type Params = InChannel;
    type Output = Empty;
    type Request = proto::HistoryRemoveRequest;
    type Result = proto::HistoryRemoveResult;

    fn params(
        proto::HistoryRemoveRequest { channel }: proto::HistoryRemoveRequest,
    ) -> Result<Self::Params, Rejection> {
        Ok(InChannel { channel })
    }

    fn reach(params: &Self::Params) -> Reach<'_> {
        Reach::Channel(&params.channel)
    }

    async fn call(cx: &Context<'_>, InChannel { channel }: InChannel) -> Result<Empty, ApiError> {
        allowed(cx.rules(), &channel, api::History)?;
        cx.node().remove_history(&channel).await?;
        Ok(Empty {})
    }
}
