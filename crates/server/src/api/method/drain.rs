//! `drain`: moves the clients of this node to other nodes.

use super::{Method, Reach};
use crate::api::Context;
use crate::api::error::ApiError;
use crate::api::output::Empty;
use crate::api::parameter::{Rejection, parameters};
use crate::grpc::proto::api as proto;
use spinward::DrainError;
use std::time::Duration;

/// See [`Method::SUMMARY`].
pub(crate) struct Drain;

parameters! {
    /// Parameters of `drain`.
    struct Params {
        /// Seconds between the moment at which `/readyz` fails and the first connection that is closed.
        notice: u32,
        /// Seconds over which connections are closed, evenly and in random order; 0 means 30.
        duration: u32,
        /// Cancels a drain: the node is ready again, and takes connections.
        cancel: bool,
    }
}

impl Method for Drain {
    const NAME: &'static str = "drain";
    const SUMMARY: &'static str =
        "Moves the clients of the node that is asked to other nodes. Does not wait for the end.";
    const ERRORS: &'static [ApiError] = &[ApiError::BAD_REQUEST];
    const EXAMPLE: &'static str = r#"{"notice": 10, "duration": 60}"#;

    type Params = Params;
    type Output = Empty;
    type Request = proto::DrainRequest;
    type Result = proto::DrainResult;

    fn params(
        proto::DrainRequest { notice, duration, cancel }: proto::DrainRequest,
    ) -> Result<Self::Params, Rejection> {
        Ok(Params { notice, duration, cancel })
    }

    fn reach(_: &Self::Params) -> Reach<'_> {
        Reach::Nothing
    }

    async fn call(cx: &Context<'_>, params: Params) -> Result<Empty, ApiError> {
        let Params { notice, duration, cancel } = params;
        let node = cx.node().clone();
        if cancel {
            node.resume();
            return Ok(Empty {});
        }
        if node.health().draining {
            tracing::warn!("not drained: the node is drained already, which `cancel` ends");
            return Err(ApiError::BAD_REQUEST);
        }
        let mut drain = spinward::Drain::default();
        drain.notice = Duration::from_secs(notice.into());
        if duration > 0 {
            drain.over = Duration::from_secs(duration.into());
        }
        tracing::info!(notice = ?drain.notice, duration = ?drain.over, "draining, as the server API asks for");
        tokio::spawn(async move {
            match node.drain(drain).await {
                Ok(()) => tracing::info!("drained"),
                Err(DrainError::Cancelled) => tracing::info!("drain cancelled"),
                Err(error) => tracing::warn!(%error, "not drained"),
            }
        });
        Ok(Empty {})
    }
}
