//! `map_read_stream`: reads the changes of a map channel.

use super::shared::{IN_CHANNEL, OF_ANOTHER_KIND, of_another_kind};
use super::{Method, Reach};
use crate::api::Context;
use crate::api::error::ApiError;
use crate::api::output::Empty;
use crate::api::parameter::{Rejection, parameters};
use crate::grpc::proto::api as proto;

/// See [`Method::SUMMARY`].
pub(crate) struct MapReadStream;

parameters! {
    /// Parameters of `map_read_stream`.
    #[expect(dead_code, reason = "read for their types: every channel is one of streams")]
    struct Params {
        /// The channel.
        channel: String = required,
        /// Read after this offset.
        since_offset: u64,
        /// The epoch of the offset.
        since_epoch: String,
        /// Most changes to return.
        limit: i32,
        /// Newest first.
        reverse: bool,
    }
}

impl Method for MapReadStream {
    const NAME: &'static str = "map_read_stream";
    const SUMMARY: &'static str = OF_ANOTHER_KIND;
    const ERRORS: &'static [ApiError] = IN_CHANNEL;
    const EXAMPLE: &'static str = r#"{"channel": "news"}"#;

    type Params = Params;
    type Output = Empty;
    type Request = proto::MapReadStreamRequest;
    type Result = proto::MapReadStreamResult;

    fn params(request: proto::MapReadStreamRequest) -> Result<Self::Params, Rejection> {
        let proto::MapReadStreamRequest { channel, since_offset, since_epoch, limit, reverse } = request;
        Ok(Params { channel, since_offset, since_epoch, limit, reverse })
    }

    fn reach(params: &Self::Params) -> Reach<'_> {
        Reach::Channel(&params.channel)
    }

    async fn call(cx: &Context<'_>, params: Params) -> Result<Empty, ApiError> {
        of_another_kind(cx, &params.channel)
    }
}
