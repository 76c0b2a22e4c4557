//! Parameters that methods share, and values made from them.

use crate::api::Context;
use crate::api::error::ApiError;
use crate::api::output::Empty;
use crate::api::parameter::{Base64, Payload, parameters};
use crate::grpc::proto::api as proto;
use crate::policy::api::{Call, Publish, check};
use crate::policy::{HistoryGrant, Rules};
use bytes::Bytes;
use spinward::Position;
use spinward::engine::broker::HistoryOptions;
use spinward::publication::Tags;
use std::sync::Arc;

parameters! {
    /// A channel.
    struct InChannel {
        /// The channel.
        channel: String = required,
    }
}

parameters! {
    /// Data to publish.
    struct Message {
        /// The payload. JSON subscribers get it byte for byte.
        data: Payload,
        /// Deliver without storing.
        skip_history: bool,
        /// Labels, for subscribers and their filters.
        tags: Option<Arc<Tags>>,
        /// A repeated key in the same channel within five minutes has no effect and gets the first result.
        idempotency_key: String,
        /// Subscribers that negotiated deltas may get a patch.
        delta: bool,
        /// A version not above the channel's last one is dropped. Needs history.
        version: u64,
        /// A different version epoch starts over.
        version_epoch: String,
    }
}

parameters! {
    /// A position in the stream of a channel.
    struct StreamPosition as "Position" {
        /// The offset.
        offset: u64,
        /// The epoch.
        epoch: String,
    }
}

impl From<proto::StreamPosition> for StreamPosition {
    fn from(proto::StreamPosition { offset, epoch }: proto::StreamPosition) -> Self {
        Self { offset, epoch }
    }
}

impl From<StreamPosition> for Position {
    fn from(position: StreamPosition) -> Self {
        Self { offset: position.offset, epoch: position.epoch.into() }
    }
}

parameters! {
    /// An entry of a channel with keys.
    #[expect(dead_code, reason = "read for their types: every channel is one of streams")]
    struct Entry {
        /// The channel.
        channel: String = required,
        /// The key.
        key: String = required,
        /// The payload.
        data: Bytes,
        /// The payload as bytes, in place of `data`.
        b64data: Base64,
        /// The version.
        version: u64,
    }
}

/// Answers a call for a channel of another kind than streams. Every channel is one of streams.
pub(super) fn of_another_kind(cx: &Context<'_>, channel: &str) -> Result<Empty, ApiError> {
    allowed(cx.rules(), channel, Publish { data: b"{}", skip_history: false, delta: false })?;
    Err(ApiError::BAD_REQUEST)
}

/// The effect of a method for channels of another kind than streams.
pub(super) const OF_ANOTHER_KIND: &str =
    "For channels of another kind, which are not built: refused in every channel.";

/// Errors of a call in a channel.
pub(super) const IN_CHANNEL: &[ApiError] = &[ApiError::UNKNOWN_CHANNEL, ApiError::BAD_REQUEST];
/// Errors of a call for something that may be off in the channel.
pub(super) const OPTIONAL_IN_CHANNEL: &[ApiError] =
    &[ApiError::UNKNOWN_CHANNEL, ApiError::BAD_REQUEST, ApiError::NOT_AVAILABLE];

/// Returns the grant for a call in the channel, or the reason why there is none.
pub(super) fn allowed<C: Call>(rules: &Rules, channel: &str, call: C) -> Result<C::Grant, ApiError> {
    check(rules, channel, call).map_err(|refused| ApiError::from(&refused.code))
}

pub(super) fn history_options(grant: HistoryGrant) -> HistoryOptions {
    HistoryOptions { size: grant.size as usize, ttl: grant.ttl, meta_ttl: grant.meta_ttl }
}

/// Returns the labels of a publication, if there are any.
pub(super) fn labels(tags: Tags) -> Option<Arc<Tags>> {
    (!tags.is_empty()).then(|| Arc::new(tags))
}

impl From<ApiError> for proto::Error {
    fn from(ApiError { code, message }: ApiError) -> Self {
        Self { code, message: message.into_owned() }
    }
}

/// Results that say nothing.
macro_rules! empty {
    ($($result:ident)+) => {$(
        impl From<Empty> for proto::$result {
            fn from(Empty {}: Empty) -> Self {
                Self::default()
            }
        }
    )+};
}

empty! {
    SubscribeResult UnsubscribeResult DisconnectResult HistoryRemoveResult RpcResult RefreshResult
    BlockUserResult UnblockUserResult RevokeTokenResult InvalidateUserTokensResult DrainResult
    MapPublishResult MapRemoveResult MapReadStateResult MapReadStreamResult MapStatsResult MapClearResult
    SharedPollPublishResult
}
