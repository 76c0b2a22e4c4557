//! `publish`: publishes to a channel.

use super::shared::{Message, allowed, history_options, labels};
use super::{Method, Reach};
use crate::api::Context;
use crate::api::error::ApiError;
use crate::api::output::output;
use crate::api::parameter::{Payload, Rejection, parameters};
use crate::grpc::proto::api as proto;
use crate::patience::within;
use crate::policy::{PublishGrant, api};
use spinward::engine::broker::{self, PublishOptions};
use std::sync::Arc;
use std::time::Duration;

/// Time that a publish waits for subscribers that are behind, before the caller is asked to try again later.
const WAIT: Duration = Duration::from_secs(10);

/// See [`Method::SUMMARY`].
pub(crate) struct Publish;

parameters! {
    /// Parameters of `publish`.
    struct Params {
        /// The channel.
        channel: String = required,
        /// The publication.
        message: Message = flattened,
    }
}

output! {
    /// The position of the publication; empty where the channel keeps no history.
    struct Published as "Published" {
        /// The offset.
        offset: Option<u64> = optional,
        /// The epoch.
        epoch: Option<Arc<str>> = optional,
    }
}

impl Method for Publish {
    const NAME: &'static str = "publish";
    const NUMBER: Option<u8> = Some(0);
    const SUMMARY: &'static str = "Publishes to a channel.";
    const ERRORS: &'static [ApiError] =
        &[ApiError::UNKNOWN_CHANNEL, ApiError::BAD_REQUEST, ApiError::TOO_MANY_REQUESTS];
    const EXAMPLE: &'static str = r#"{"channel": "news", "data": {"text": "hello"}, "tags": {"lang": "en"}}"#;

    type Params = Params;
    type Output = Published;
    type Request = proto::PublishRequest;
    type Result = proto::PublishResult;

    fn params(request: proto::PublishRequest) -> Result<Self::Params, Rejection> {
        let proto::PublishRequest {
            channel,
            data,
            b64data,
            skip_history,
            tags,
            idempotency_key,
            delta,
            version,
            version_epoch,
        } = request;
        let data = Payload::of(data, &b64data)?;
        let tags = labels(tags);
        let message = Message { data, skip_history, tags, idempotency_key, delta, version, version_epoch };
        Ok(Params { channel, message })
    }

    fn reach(params: &Self::Params) -> Reach<'_> {
        Reach::Channel(&params.channel)
    }

    async fn call(cx: &Context<'_>, params: Params) -> Result<Published, ApiError> {
        publish(cx, &params.channel, &params.message).await
    }
}

/// Publishes to one channel.
pub(super) async fn publish(
    cx: &Context<'_>,
    channel: &str,
    message: &Message,
) -> Result<Published, ApiError> {
    let data = &message.data.0;
    let call = api::Publish { data, skip_history: message.skip_history, delta: message.delta };
    let PublishGrant { history, delta } = allowed(cx.rules(), channel, call)?;
    let options = PublishOptions {
        history: history_options(history),
        info: None,
        tags: message.tags.clone(),
        idempotency_key: message.idempotency_key.clone(),
        version: message.version,
        version_epoch: message.version_epoch.clone(),
        delta,
    };
    // The node admits a publication once its subscribers have nearly caught up.
    match within(WAIT, cx.node().publish(channel, data.clone(), options)).await {
        Some(published) => Ok(published?.into()),
        None => Err(ApiError::TOO_MANY_REQUESTS),
    }
}

impl From<Published> for proto::PublishResult {
    fn from(Published { offset, epoch }: Published) -> Self {
        Self {
            offset: offset.unwrap_or_default(),
            epoch: epoch.map_or_else(String::new, |epoch| epoch.to_string()),
        }
    }
}

impl From<broker::Published> for Published {
    fn from(published: broker::Published) -> Self {
        let position = published.position;
        let kept = !position.epoch.is_empty();
        Self { offset: kept.then_some(position.offset), epoch: kept.then_some(position.epoch) }
    }
}
