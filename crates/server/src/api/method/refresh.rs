//! `refresh`: extends or ends the login of a user's connections.

use super::target::Target;
use super::{Method, Reach};
use crate::api::error::ApiError;
use crate::api::output::Empty;
use crate::api::parameter::{Rejection, parameters};
use crate::api::{Context, log_missing};
use crate::grpc::proto::api as proto;
use bytes::Bytes;

/// See [`Method::SUMMARY`].
pub(crate) struct Refresh;

parameters! {
    /// Parameters of `refresh`.
    struct Params {
        /// The connections.
        target: Target = flattened,
        /// The new end, in Unix seconds; without it, never.
        expire_at: i64,
        /// End the login now.
        expired: bool,
        /// Data that others see with the connection from now on. Needs `expire_at`.
        info: Bytes,
    }
}

impl Method for Refresh {
    const NAME: &'static str = "refresh";
    const NUMBER: Option<u8> = Some(12);
    const SUMMARY: &'static str = "Extends or ends the login of connections of a user, or of all users.";
    const ERRORS: &'static [ApiError] = &[ApiError::BAD_REQUEST];
    const EXAMPLE: &'static str = r#"{"user": "42", "expire_at": 4102444800}"#;

    type Params = Box<Params>;
    type Output = Empty;
    type Request = proto::RefreshRequest;
    type Result = proto::RefreshResult;

    fn params(request: proto::RefreshRequest) -> Result<Self::Params, Rejection> {
        let proto::RefreshRequest {
            user,
            client,
            expired,
            expire_at,
            info,
            session,
            label_filter,
            all_users,
        } = request;
        let target = Target { user, client, session, label_filter: label_filter.try_into()?, all_users };
        Ok(Box::new(Params { target, expire_at, expired, info }))
    }

    fn reach(params: &Self::Params) -> Reach<'_> {
        params.target.reach()
    }

    async fn call(cx: &Context<'_>, params: Box<Params>) -> Result<Empty, ApiError> {
        let Params { target, expire_at, expired, info } = *params;
        if let Some((user, filter)) = target.select(Vec::new())? {
            // Centrifugo v6.9 takes the info with an end only.
            let info = Some(info).filter(|info| !info.is_empty() && expire_at > 0);
            let done = cx.node().refresh(&user, &filter, expired, expire_at.max(0), info);
            log_missing(Self::NAME, &done.await);
        }
        Ok(Empty {})
    }
}
