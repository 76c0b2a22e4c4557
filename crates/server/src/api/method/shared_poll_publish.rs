//! `shared_poll_publish`: publishes to a shared poll channel.

use super::Method;
use super::shared::{Entry, IN_CHANNEL, OF_ANOTHER_KIND, of_another_kind};
use crate::api::Context;
use crate::api::error::ApiError;
use crate::api::output::Empty;
use crate::api::parameter::parameters;

/// See [`Method::SUMMARY`].
pub(crate) struct SharedPollPublish;

parameters! {
    /// Parameters of `shared_poll_publish`.
    #[expect(dead_code, reason = "read for their types: every channel is one of streams")]
    struct Params {
        /// The entry.
        entry: Entry = flattened,
        /// The epoch of the entry.
        epoch: String,
    }
}

impl Method for SharedPollPublish {
    const NAME: &'static str = "shared_poll_publish";
    const SUMMARY: &'static str = OF_ANOTHER_KIND;
    const ERRORS: &'static [ApiError] = IN_CHANNEL;
    const EXAMPLE: &'static str =
        r#"{"channel": "news", "key": "1", "data": {"text": "hello"}, "version": 1}"#;

    type Params = Params;
    type Output = Empty;

    async fn call(cx: &Context<'_>, params: Params) -> Result<Empty, ApiError> {
        if params.entry.key.is_empty() || params.entry.version == 0 {
            return Err(ApiError::BAD_REQUEST);
        }
        of_another_kind(cx, &params.entry.channel)
    }
}
