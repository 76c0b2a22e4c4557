//! `invalidate_user_tokens`: revokes a user's tokens that were issued before a time.

use super::{Method, Reach};
use crate::api::Context;
use crate::api::error::ApiError;
use crate::api::output::Empty;
use crate::api::parameter::{Rejection, parameters};
use crate::auth::revoke::Revocation;
use crate::grpc::proto::api as proto;

/// See [`Method::SUMMARY`].
pub(crate) struct InvalidateUserTokens;

parameters! {
    /// Parameters of `invalidate_user_tokens`.
    struct Params {
        /// The user.
        user: String = required,
        /// Tokens with an earlier `iat`, or without one, are revoked. In Unix seconds.
        issued_before: i64 = required,
        /// Only subscription tokens of this channel.
        channel: String,
        /// End of the revocation, in Unix seconds; without it, never.
        expire_at: i64,
    }
}

impl Method for InvalidateUserTokens {
    const NAME: &'static str = "invalidate_user_tokens";
    const SUMMARY: &'static str = "Revokes a user's tokens that were issued before a time.";
    const ERRORS: &'static [ApiError] = &[ApiError::BAD_REQUEST];
    const EXAMPLE: &'static str = r#"{"user": "13", "issued_before": 1800000000, "expire_at": 4102444800}"#;
    const REVOKES: bool = true;

    type Params = Params;
    type Output = Empty;
    type Request = proto::InvalidateUserTokensRequest;
    type Result = proto::InvalidateUserTokensResult;

    fn params(request: proto::InvalidateUserTokensRequest) -> Result<Self::Params, Rejection> {
        let proto::InvalidateUserTokensRequest { expire_at, user, issued_before, channel } = request;
        Ok(Params { user, issued_before, channel, expire_at })
    }

    fn reach(params: &Self::Params) -> Reach<'_> {
        Reach::named(&params.channel)
    }

    async fn call(cx: &Context<'_>, params: Params) -> Result<Empty, ApiError> {
        let Params { user, issued_before, channel, expire_at } = params;
        // Every token was issued after 1970: the parameter was left out.
        if issued_before <= 0 {
            return Err(ApiError::BAD_REQUEST);
        }
        cx.revoke(Revocation::UserTokens { user, issued_before, channel, expire_at }).await
    }
}
