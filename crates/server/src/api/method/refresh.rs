//! `refresh`: extends or ends the login of a user's connections.

use super::shared::Target;
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
    const SUMMARY: &'static str = "Extends or ends the login of a user's connections.";
    const ERRORS: &'static [ApiError] = &[];
    const EXAMPLE: &'static str = r#"{"user": "42", "expire_at": 4102444800}"#;

    type Params = Params;
    type Output = Empty;
    type Request = proto::RefreshRequest;
    type Result = proto::RefreshResult;

    fn params(request: proto::RefreshRequest) -> Result<Self::Params, Rejection> {
        let proto::RefreshRequest { user, client, expired, expire_at, info, session } = request;
        Ok(Params { target: Target { user, client, session }, expire_at, expired, info })
    }

    fn reach(_: &Self::Params) -> Reach<'_> {
        Reach::Nothing
    }

    async fn call(cx: &Context<'_>, params: Params) -> Result<Empty, ApiError> {
        let Params { target, expire_at, expired, info } = params;
        if let Some(filter) = target.filter(Vec::new()) {
            // Centrifugo v6.9 takes the info with an end only.
            let info = Some(info).filter(|info| !info.is_empty() && expire_at > 0);
            let done = cx.node().refresh(&target.user, &filter, expired, expire_at.max(0), info);
            log_missing(Self::NAME, &done.await);
        }
        Ok(Empty {})
    }
}
