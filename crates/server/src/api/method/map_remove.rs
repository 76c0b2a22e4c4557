//! `map_remove`: removes an entry of a map channel.

use super::shared::{IN_CHANNEL, OF_ANOTHER_KIND, of_another_kind};
use super::{Method, Reach};
use crate::api::Context;
use crate::api::error::ApiError;
use crate::api::output::Empty;
use crate::api::parameter::{Rejection, parameters};
use crate::grpc::proto::api as proto;

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
    type Request = proto::MapRemoveRequest;
    type Result = proto::MapRemoveResult;

    fn params(request: proto::MapRemoveRequest) -> Result<Self::Params, Rejection> {
        let proto::MapRemoveRequest { channel, key, idempotency_key } = request;
        Ok(Params { channel, key, idempotency_key })
    }

    fn reach(params: &Self::Params) -> Reach<'_> {
        Reach::Channel(&params.channel)
    }

    async fn call(cx: &Context<'_>, params: Params) -> Result<Empty, ApiError> {
        if params.key.is_empty() {
            return Err(ApiError::BAD_REQUEST);
        }
        of_another_kind(cx, &params.channel)
    }
}
