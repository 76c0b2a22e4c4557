//! `block_user`: blocks a user.

use super::{Method, Reach};
use crate::api::Context;
use crate::api::error::ApiError;
use crate::api::output::Empty;
use crate::api::parameter::{Rejection, parameters};
use crate::auth::revoke::Revocation;
use crate::grpc::proto::api as proto;

/// See [`Method::SUMMARY`].
pub(crate) struct BlockUser;

parameters! {
    /// Parameters of `block_user`.
    struct Params {
        /// The user.
        user: String = required,
        /// End of the block, in Unix seconds; without it, never.
        expire_at: i64,
    }
}

impl Method for BlockUser {
    const NAME: &'static str = "block_user";
    const SUMMARY: &'static str = "Blocks a user, and closes its connections.";
    const ERRORS: &'static [ApiError] = &[ApiError::BAD_REQUEST];
    const EXAMPLE: &'static str = r#"{"user": "13", "expire_at": 4102444800}"#;
    const REVOKES: bool = true;

    type Params = Params;
    type Output = Empty;
    type Request = proto::BlockUserRequest;
    type Result = proto::BlockUserResult;

    fn params(
        proto::BlockUserRequest { expire_at, user }: proto::BlockUserRequest,
    ) -> Result<Self::Params, Rejection> {
        Ok(Params { user, expire_at })
    }

    fn reach(_: &Self::Params) -> Reach<'_> {
        Reach::Nothing
    }

    async fn call(cx: &Context<'_>, Params { user, expire_at }: Params) -> Result<Empty, ApiError> {
        cx.revoke(Revocation::User { user, expire_at }).await
    }
}
