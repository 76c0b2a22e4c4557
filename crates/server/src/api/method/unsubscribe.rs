//! `unsubscribe`: ends subscriptions of a user's connections.

use super::shared::{Target, allowed};
use super::{Method, Reach};
use crate::api::error::ApiError;
use crate::api::output::Empty;
use crate::api::parameter::{Rejection, parameters};
use crate::api::{Context, log_missing};
use crate::grpc::proto::api as proto;
use crate::policy::api;
use spinward::wire::code::UnsubscribeCode;

/// See [`Method::SUMMARY`].
pub(crate) struct Unsubscribe;

parameters! {
    /// Parameters of `unsubscribe`.
    struct Params {
        /// The connections.
        target: Target = flattened,
        /// The channel; without it, all.
        channel: String,
    }
}

impl Method for Unsubscribe {
    const NAME: &'static str = "unsubscribe";
    const NUMBER: Option<u8> = Some(2);
    const SUMMARY: &'static str = "Ends subscriptions of a user's connections.";
    const ERRORS: &'static [ApiError] = &[ApiError::UNKNOWN_CHANNEL];
    const EXAMPLE: &'static str = r#"{"user": "42", "channel": "news"}"#;

    type Params = Params;
    type Output = Empty;
    type Request = proto::UnsubscribeRequest;
    type Result = proto::UnsubscribeResult;

    fn params(request: proto::UnsubscribeRequest) -> Result<Self::Params, Rejection> {
        let proto::UnsubscribeRequest { channel, user, client, session } = request;
        Ok(Params { target: Target { user, client, session }, channel })
    }

    fn reach(params: &Self::Params) -> Reach<'_> {
        if params.channel.is_empty() { Reach::All } else { Reach::Channel(&params.channel) }
    }

    async fn call(cx: &Context<'_>, params: Params) -> Result<Empty, ApiError> {
        let Params { target, channel } = params;
        let channel = (!channel.is_empty()).then_some(channel.as_str());
        if let Some(channel) = channel {
            allowed(cx.rules(), channel, api::Unsubscribe)?;
        }
        if let Some(filter) = target.filter(Vec::new()) {
            let done = cx.node().unsubscribe(&target.user, &filter, channel, UnsubscribeCode::SERVER);
            log_missing(Self::NAME, &done.await);
        }
        Ok(Empty {})
    }
}
