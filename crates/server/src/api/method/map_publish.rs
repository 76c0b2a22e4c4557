//! `map_publish`: sets an entry of a map channel.

use super::Method;
use super::shared::{Entry, IN_CHANNEL, OF_ANOTHER_KIND, of_another_kind};
use crate::api::Context;
use crate::api::error::ApiError;
use crate::api::output::Empty;
use crate::api::parameter::{Base64, parameters};
use bytes::Bytes;
use spinward::publication::Tags;
use std::sync::Arc;

/// See [`Method::SUMMARY`].
pub(crate) struct MapPublish;

parameters! {
    /// Parameters of `map_publish`.
    #[expect(dead_code, reason = "read for their types: every channel is one of streams")]
    struct Params {
        /// The entry.
        entry: Entry = flattened,
        /// The payload for the stream, where it is another.
        stream_data: Bytes,
        /// The payload for the stream as bytes, in place of `stream_data`.
        b64stream_data: Base64,
        /// Labels.
        tags: Option<Arc<Tags>>,
        /// A repeated key has no effect.
        idempotency_key: String,
        /// Subscribers that negotiated deltas may get a patch.
        delta: bool,
        /// A different version epoch starts over.
        version_epoch: String,
        /// The place in the order.
        score: i64,
        /// Condition on the key: that it exists, or that it does not.
        key_mode: String,
    }
}

impl Method for MapPublish {
    const NAME: &'static str = "map_publish";
    const SUMMARY: &'static str = OF_ANOTHER_KIND;
    const ERRORS: &'static [ApiError] = IN_CHANNEL;
    const EXAMPLE: &'static str = r#"{"channel": "news", "key": "1", "data": {"text": "hello"}}"#;

    type Params = Box<Params>;
    type Output = Empty;

    async fn call(cx: &Context<'_>, params: Box<Params>) -> Result<Empty, ApiError> {
        if params.entry.key.is_empty() {
            return Err(ApiError::BAD_REQUEST);
        }
        of_another_kind(cx, &params.entry.channel)
    }
}
