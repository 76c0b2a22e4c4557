//! `map_remove`: removes an entry of a map channel.

use super::Method;
use super::shared::{IN_CHANNEL, OF_ANOTHER_KIND, of_another_kind};
use crate::api::Context;
use crate::api::error::ApiError;
use crate::api::output::Empty;
use crate::api::parameter::parameters;

/// See [`Method::SUMMARY`].
pub(crate) struct MapRemove;

parameters! {
    /// Parameters of `map_remove`.
    #[expect(dead_code, reason = "read for their types: every channel is one of streams")]
    struct Params {
        /// The channel.
        channel: String = required,
        /// The key.
        key: String = required,
        /// A repeated key has no effect.
        idempotency_key: String,
    }
}

impl Method for MapRemove {
    const NAME: &'static str = "map_remove";
    const SUMMARY: &'static str = OF_ANOTHER_KIND;
    const ERRORS: &'static [ApiError] = IN_CHANNEL;
    const EXAMPLE: &'static str = r#"{"channel": "news", "key": "1"}"#;

    type Params = Params;
    type Output = Empty;

    async fn call(cx: &Context<'_>, params: Params) -> Result<Empty, ApiError> {
        if params.key.is_empty() {
            return Err(ApiError::BAD_REQUEST);
        }
        of_another_kind(cx, &params.channel)
    }
}
