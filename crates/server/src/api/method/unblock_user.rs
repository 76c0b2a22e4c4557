//! `unblock_user`: ends the block of a user.

use super::{Method, Reach};
use crate::api::error::ApiError;
use crate::api::output::Empty;
use crate::api::parameter::{Rejection, parameters};
use crate::api::{Context, log_missing, neighbours};
use crate::grpc::proto::api as proto;

/// See [`Method::SUMMARY`].
pub(crate) struct UnblockUser;

parameters! {
    /// Parameters of `unblock_user`.
    struct Params {
        /// The user.
        user: String = required,
    }
}

impl Method for UnblockUser {
    const NAME: &'static str = "unblock_user";
    const SUMMARY: &'static str = "Ends the block of a user.";
    const ERRORS: &'static [ApiError] = &[ApiError::BAD_REQUEST];
    const EXAMPLE: &'static str = r#"{"user": "13"}"#;

    type Params = Params;
    type Output = Empty;
    type Request = proto::UnblockUserRequest;
    type Result = proto::UnblockUserResult;

    fn params(
        proto::UnblockUserRequest { user }: proto::UnblockUserRequest,
    ) -> Result<Self::Params, Rejection> {
        Ok(Params { user })
    }

    fn reach(_: &Self::Params) -> Reach<'_> {
        Reach::Nothing
    }

    async fn call(cx: &Context<'_>, Params { user }: Params) -> Result<Empty, ApiError> {
        let others = cx.node().is_clustered().then(|| user.clone());
        cx.in_store(move |api| api.revocations.unblock_user(&user)).await?;
        if let Some(user) = others {
            log_missing(Self::NAME, &neighbours::unblock_user(cx.node(), &user).await);
        }
        Ok(Empty {})
    }
}
