//! `unsubscribe`: ends subscriptions of a user's connections.

use super::shared::allowed;
use super::target::Target;
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
    const SUMMARY: &'static str = "Ends subscriptions of connections of a user, or of all users.";
    const ERRORS: &'static [ApiError] = &[ApiError::UNKNOWN_CHANNEL, ApiError::BAD_REQUEST];
    const EXAMPLE: &'static str = r#"{"user": "42", "channel": "news"}"#;

    type Params = Box<Params>;
    type Output = Empty;
    type Request = proto::UnsubscribeRequest;
    type Result = proto::UnsubscribeResult;

    fn params(request: proto::UnsubscribeRequest) -> Result<Self::Params, Rejection> {
        let proto::UnsubscribeRequest { channel, user, client, session, label_filter, all_users } = request;
        let target = Target { user, client, session, label_filter: label_filter.try_into()?, all_users };
        Ok(Box::new(Params { target, channel }))
    }

    fn reach(params: &Self::Params) -> Reach<'_> {
        if params.channel.is_empty() { Reach::All } else { Reach::Channel(&params.channel) }
    }

    async fn call(cx: &Context<'_>, params: Box<Params>) -> Result<Empty, ApiError> {
        let Params { target, channel } = *params;
        let channel = (!channel.is_empty()).then_some(channel.as_str());
        if let Some(channel) = channel {
            allowed(cx.rules(), channel, api::Unsubscribe)?;
        }
        if let Some((user, filter)) = target.select(Vec::new())? {
            let done = cx.node().unsubscribe(&user, &filter, channel, UnsubscribeCode::SERVER);
            log_missing(Self::NAME, &done.await);
        }
        Ok(Empty {})
    }
}
