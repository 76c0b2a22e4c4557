//! `broadcast`: publishes the same to many channels.

use super::Method;
use super::publish::{Published, publish};
use super::shared::Message;
use crate::api::Context;
use crate::api::concurrent::in_order;
use crate::api::describe::{Describe, Schemas};
use crate::api::error::ApiError;
use crate::api::output::output;
use crate::api::parameter::{Arguments, Name, Parameter, parameters};
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

/// At most [`MAX_CHANNELS`] channels.
#[derive(Clone, Debug, Default)]
pub(crate) struct Channels(Vec<String>);

impl Parameter for Channels {
    fn read(arguments: &Arguments<'_>, name: Name) -> Result<Self, Malformed> {
        let channels = Vec::read(arguments, name)?;
        if channels.len() > MAX_CHANNELS { Err(Malformed(name.plain)) } else { Ok(Self(channels)) }
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
