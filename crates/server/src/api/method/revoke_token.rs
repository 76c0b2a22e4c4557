//! `revoke_token`: revokes one token.

use super::{Method, Reach};
use crate::api::Context;
use crate::api::error::ApiError;
use crate::api::output::Empty;
use crate::api::parameter::{Rejection, parameters};
use crate::auth::revoke::Revocation;
use crate::grpc::proto::api as proto;

/// See [`Method::SUMMARY`].
pub(crate) struct RevokeToken;

parameters! {
    /// Parameters of `revoke_token`.
    struct Params {
        /// The token's claim `jti`.
        uid: String = required,
        /// End of the revocation, in Unix seconds; without it, never.
        expire_at: i64,
    }
}

impl Method for RevokeToken {
    const NAME: &'static str = "revoke_token";
    const SUMMARY: &'static str = "Revokes one token, and closes connections that used it.";
    const ERRORS: &'static [ApiError] = &[ApiError::BAD_REQUEST];
    const EXAMPLE: &'static str = r#"{"uid": "7f9c2ba4", "expire_at": 4102444800}"#;
    const REVOKES: bool = true;

    type Params = Params;
    type Output = Empty;
    type Request = proto::RevokeTokenRequest;
    type Result = proto::RevokeTokenResult;

    fn params(
        proto::RevokeTokenRequest { expire_at, uid }: proto::RevokeTokenRequest,
    ) -> Result<Self::Params, Rejection> {
        Ok(Params { uid, expire_at })
    }

    fn reach(_: &Self::Params) -> Reach<'_> {
        Reach::Nothing
    }

    async fn call(cx: &Context<'_>, Params { uid, expire_at }: Params) -> Result<Empty, ApiError> {
        cx.revoke(Revocation::Token { uid, expire_at }).await
    }
}
