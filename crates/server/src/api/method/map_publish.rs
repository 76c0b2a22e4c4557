//! `map_publish`: sets an entry of a map channel.

use super::shared::{Entry, IN_CHANNEL, OF_ANOTHER_KIND, labels, of_another_kind};
use super::{Method, Reach};
use crate::api::Context;
use crate::api::error::ApiError;
use crate::api::output::Empty;
use crate::api::parameter::{Base64, Rejection, parameters};
use crate::grpc::proto::api as proto;
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
    type Request = proto::MapPublishRequest;
    type Result = proto::MapPublishResult;

    fn params(request: proto::MapPublishRequest) -> Result<Self::Params, Rejection> {
        let proto::MapPublishRequest {
            channel,
            key,
            data,
            b64data: _,
            stream_data,
            b64stream_data: _,
            tags,
            idempotency_key,
            delta,
            version,
            version_epoch,
            score,
            key_mode,
        } = request;
        Ok(Box::new(Params {
            entry: Entry { channel, key, data, b64data: Base64, version },
            stream_data,
            b64stream_data: Base64,
            tags: labels(tags),
            idempotency_key,
            delta,
            version_epoch,
            score,
            key_mode,
        }))
    }

    fn reach(params: &Self::Params) -> Reach<'_> {
        Reach::Channel(&params.entry.channel)
    }

    async fn call(cx: &Context<'_>, params: Box<Params>) -> Result<Empty, ApiError> {
        if params.entry.key.is_empty() {
            return Err(ApiError::BAD_REQUEST);
        }
        of_another_kind(cx, &params.entry.channel)
    }
}
