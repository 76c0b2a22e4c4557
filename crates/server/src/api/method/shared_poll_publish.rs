//! `shared_poll_publish`: publishes to a shared poll channel.

use super::shared::{Entry, IN_CHANNEL, OF_ANOTHER_KIND, of_another_kind};
use super::{Method, Reach};
use crate::api::Context;
use crate::api::error::ApiError;
use crate::api::output::Empty;
use crate::api::parameter::{Base64, Rejection, parameters};
use crate::grpc::proto::api as proto;

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
    type Request = proto::SharedPollPublishRequest;
    type Result = proto::SharedPollPublishResult;

    fn params(request: proto::SharedPollPublishRequest) -> Result<Self::Params, Rejection> {
        let proto::SharedPollPublishRequest { channel, key, data, b64data: _, version, epoch } = request;
        Ok(Params { entry: Entry { channel, key, data, b64data: Base64, version }, epoch })
    }

    fn reach(params: &Self::Params) -> Reach<'_> {
        Reach::Channel(&params.entry.channel)
    }

    async fn call(cx: &Context<'_>, params: Params) -> Result<Empty, ApiError> {
        if params.entry.key.is_empty() || params.entry.version == 0 {
            return Err(ApiError::BAD_REQUEST);
        }
        of_another_kind(cx, &params.entry.channel)
    }
}
