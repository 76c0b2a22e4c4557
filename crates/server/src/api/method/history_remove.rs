//! `history_remove`: deletes the publications of a channel.

use super::Method;
use super::shared::{InChannel, OPTIONAL_IN_CHANNEL, allowed};
use crate::api::Context;
use crate::api::error::ApiError;
use crate::api::output::Empty;
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

    async fn call(cx: &Context<'_>, InChannel { channel }: InChannel) -> Result<Empty, ApiError> {
        allowed(cx.rules(), &channel, api::History)?;
        cx.node().remove_history(&channel).await?;
        Ok(Empty {})
    }
}
