//! `map_read_state`: reads the entries of a map channel.

use super::shared::{IN_CHANNEL, OF_ANOTHER_KIND, of_another_kind};
use super::{Method, Reach};
use crate::api::Context;
use crate::api::error::ApiError;
use crate::api::output::Empty;
use crate::api::parameter::{Rejection, parameters};
use crate::grpc::proto::api as proto;

/// See [`Method::SUMMARY`].
pub(crate) struct MapReadState;

parameters! {
    /// Parameters of `map_read_state`.
    #[expect(dead_code, reason = "read for their types: every channel is one of streams")]
    struct Params {
        /// The channel.
        channel: String = required,
        /// Only the entry with this key.
        key: String,
        /// The end of the page before.
        cursor: String,
        /// Most entries to return.
        limit: i32,
        /// Lowest score first.
        asc: bool,
        /// The offset of the revision.
        revision_offset: u64,
        /// The epoch of the revision.
        revision_epoch: String,
    }
}

impl Method for MapReadState {
    const NAME: &'static str = "map_read_state";
    const SUMMARY: &'static str = OF_ANOTHER_KIND;
    const ERRORS: &'static [ApiError] = IN_CHANNEL;
    const EXAMPLE: &'static str = r#"{"channel": "news"}"#;

    type Params = Params;
    type Output = Empty;
    type Request = proto::MapReadStateRequest;
    type Result = proto::MapReadStateResult;

    fn params(request: proto::MapReadStateRequest) -> Result<Self::Params, Rejection> {
        let proto::MapReadStateRequest { channel, cursor, limit, key, asc, revision_offset, revision_epoch } =
            request;
        Ok(Params { channel, key, cursor, limit, asc, revision_offset, revision_epoch })
    }

    fn reach(params: &Self::Params) -> Reach<'_> {
        Reach::Channel(&params.channel)
    }

    async fn call(cx: &Context<'_>, params: Params) -> Result<Empty, ApiError> {
        of_another_kind(cx, &params.channel)
    }
}
