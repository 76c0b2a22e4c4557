//! `disconnect`: closes a user's connections.

use super::target::Target;
use super::{Method, Reach};
use crate::api::error::ApiError;
use crate::api::output::Empty;
use crate::api::parameter::{Rejection, parameters};
use crate::api::{Context, log_missing};
use crate::grpc::proto::api as proto;
use spinward::wire::code::DisconnectCode;

/// See [`Method::SUMMARY`].
pub(crate) struct Disconnect;

parameters! {
    /// Parameters of `disconnect`.
    struct Params {
        /// The connections.
        target: Target = flattened,
        /// Ids of connections that stay.
        whitelist: Vec<String>,
        /// The code; 3503 without it.
        disconnect: Option<Code>,
    }
}

parameters! {
    /// A code to close connections with. SDKs reconnect after 3000 to 3499 and 4000 to 4499.
    struct Code as "Disconnect" {
        /// The number; 0 is as good as no code.
        code: u32,
        /// The text.
        reason: String,
    }
}

impl Method for Disconnect {
    const NAME: &'static str = "disconnect";
    const NUMBER: Option<u8> = Some(3);
    const SUMMARY: &'static str = "Closes connections of a user, or of all users.";
    const ERRORS: &'static [ApiError] = &[ApiError::BAD_REQUEST];
    const EXAMPLE: &'static str = r#"{"user": "42", "disconnect": {"code": 4501, "reason": "logged out"}}"#;

    type Params = Box<Params>;
    type Output = Empty;
    type Request = proto::DisconnectRequest;
    type Result = proto::DisconnectResult;

    fn params(request: proto::DisconnectRequest) -> Result<Self::Params, Rejection> {
        let proto::DisconnectRequest {
            user,
            disconnect,
            client,
            whitelist,
            session,
            label_filter,
            all_users,
        } = request;
        let disconnect = disconnect.map(|proto::Disconnect { code, reason }| Code { code, reason });
        let target = Target { user, client, session, label_filter: label_filter.try_into()?, all_users };
        Ok(Box::new(Params { target, whitelist, disconnect }))
    }

    fn reach(params: &Self::Params) -> Reach<'_> {
        params.target.reach()
    }

    async fn call(cx: &Context<'_>, params: Box<Params>) -> Result<Empty, ApiError> {
        let Params { target, whitelist, disconnect } = *params;
        let code = disconnect.filter(|disconnect| disconnect.code != 0).map_or(
            DisconnectCode::FORCE_DISCONNECT,
            |Code { code, reason }| DisconnectCode { code, reason: reason.into() },
        );
        if let Some((user, filter)) = target.select(whitelist)? {
            log_missing(Self::NAME, &cx.node().disconnect(&user, &filter, code).await);
        }
        Ok(Empty {})
    }
}
