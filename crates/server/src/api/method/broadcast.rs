//! `broadcast`: publishes the same to many channels.

use super::publish::{Published, publish};
use super::shared::{Message, labels};
use super::{Method, Reach};
use crate::api::Context;
use crate::api::concurrent::in_order;
use crate::api::describe::{Describe, Schemas};
use crate::api::error::ApiError;
use crate::api::output::output;
use crate::api::parameter::{Arguments, Name, Parameter, Payload, Rejection, parameters};
use crate::grpc::proto::api as proto;
use crate::params::Malformed;
use serde_json::{Value, json};

/// Most channels of a call.
const MAX_CHANNELS: usize = 10_000;

/// See [`Method::SUMMARY`].
pub(crate) struct Broadcast;

parameters! {
    /// Parameters of `broadcast`.
    struct Params {
        /// The channels.
        channels: Channels = required,
        /// The publication.
        message: Message = flattened,
    }
}

impl Params {
    /// Parameters of a call that does not come as JSON. `None`: too many channels.
    pub(super) fn new(channels: Vec<String>, message: Message) -> Option<Self> {
        (channels.len() <= MAX_CHANNELS).then_some(Self { channels: Channels(channels), message })
    }
}

/// At most [`MAX_CHANNELS`] channels.
#[derive(Clone, Debug, Default)]
pub(crate) struct Channels(Vec<String>);

impl Channels {
    fn of(channels: Vec<String>) -> Result<Self, Malformed> {
        if channels.len() > MAX_CHANNELS { Err(Malformed("channels")) } else { Ok(Self(channels)) }
    }
}

impl Parameter for Channels {
    fn read(arguments: &Arguments<'_>, name: Name) -> Result<Self, Malformed> {
        Self::of(Vec::read(arguments, name)?)
    }
}

impl Describe for Channels {
    const LABEL: &'static str = Vec::<String>::LABEL;

    fn schema(_: &mut Schemas) -> Value {
        json!({"type": "array", "items": {"type": "string"}, "maxItems": MAX_CHANNELS})
    }
}

output! {
    /// Results of a broadcast.
    struct Responses as "Broadcast" {
        /// One for each channel, in their order.
        responses: Vec<Result<Published, ApiError>>,
    }
}

impl Method for Broadcast {
    const NAME: &'static str = "broadcast";
    const NUMBER: Option<u8> = Some(1);
    const SUMMARY: &'static str = "Publishes the same to many channels, at most 10,000.";
    const ERRORS: &'static [ApiError] = &[ApiError::BAD_REQUEST];
    const EXAMPLE: &'static str = r#"{"channels": ["news", "sports"], "data": {"text": "hello"}}"#;

    type Params = Params;
    type Output = Responses;
    type Request = proto::BroadcastRequest;
    type Result = proto::BroadcastResult;

    fn params(request: proto::BroadcastRequest) -> Result<Self::Params, Rejection> {
        let proto::BroadcastRequest {
            channels,
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
        Ok(Params { channels: Channels::of(channels)?, message })
    }

    fn reach(params: &Self::Params) -> Reach<'_> {
        Reach::Channels(&params.channels.0)
    }

    async fn call(cx: &Context<'_>, params: Params) -> Result<Responses, ApiError> {
        let Params { channels: Channels(channels), message } = params;
        if channels.is_empty() {
            return Err(ApiError::BAD_REQUEST);
        }
        let channels = channels.iter().map(String::as_str);
        let publish = |channel| publish(cx, channel, &message);
        Ok(Responses { responses: Box::pin(in_order(channels, cx.concurrency(), publish)).await })
    }
}

impl From<Responses> for proto::BroadcastResult {
    fn from(Responses { responses }: Responses) -> Self {
        let response = |published: Result<Published, ApiError>| match published {
            Ok(published) => proto::PublishResponse { error: None, result: Some(published.into()) },
            Err(error) => proto::PublishResponse { error: Some(error.into()), result: None },
        };
        Self { responses: responses.into_iter().map(response).collect() }
    }
}
