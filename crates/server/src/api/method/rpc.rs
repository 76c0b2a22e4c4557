//! `rpc`: calls a method of an extension.

use super::{Method, Reach};
use crate::api::Context;
use crate::api::error::ApiError;
use crate::api::output::Empty;
use crate::api::parameter::{Rejection, parameters};
use crate::grpc::proto::api as proto;

/// See [`Method::SUMMARY`].
pub(crate) struct Rpc;

parameters! {
    /// Parameters of `rpc`.
    struct Params {
        /// The method.
        method: String = required,
    }
}

impl Method for Rpc {
    const NAME: &'static str = "rpc";
    const NUMBER: Option<u8> = Some(10);
    const SUMMARY: &'static str = "Calls a method that an extension registered. There are none yet.";
    const ERRORS: &'static [ApiError] = &[ApiError::NOT_FOUND, ApiError::BAD_REQUEST];
    const EXAMPLE: &'static str = r#"{"method": "example"}"#;

    type Params = Params;
    type Output = Empty;
    type Request = proto::RpcRequest;
    type Result = proto::RpcResult;

    fn params(proto::RpcRequest { method, params: _ }: proto::RpcRequest) -> Result<Self::Params, Rejection> {
        Ok(Params { method })
    }

    fn reach(_: &Self::Params) -> Reach<'_> {
        Reach::Nothing
    }

    async fn call(_: &Context<'_>, Params { method }: Params) -> Result<Empty, ApiError> {
        Err(if method.is_empty() { ApiError::BAD_REQUEST } else { ApiError::NOT_FOUND })
    }
}
