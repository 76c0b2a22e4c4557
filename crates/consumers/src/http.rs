//! Requests to the HTTP APIs of clouds.

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode};
use reqwest::redirect::Policy;
use reqwest::{Client, Request};
use std::time::Duration;
use thiserror::Error;

/// Time that a connection may take.
const CONNECT: Duration = Duration::from_secs(5);

/// A request without a whole answer. Shows neither headers nor bodies.
#[derive(Debug, Error)]
pub enum HttpError {
    /// The client cannot be made.
    #[error("no HTTP client can be made: {0}")]
    Client(#[source] reqwest::Error),
    /// The request failed.
    #[error("{0}")]
    Failed(String),
    /// The answer is too long.
    #[error("the answer has more than {0} bytes")]
    TooLarge(usize),
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// A client that follows no redirects and repeats no request. It uses the proxy of the environment (`HTTPS_PROXY`) and
/// the authorities that the system trusts.
#[derive(Clone, Debug)]
pub(crate) struct Http(Client);

impl Http {
    pub(crate) fn new() -> Result<Self, HttpError> {
        let builder = Client::builder()
            .connect_timeout(CONNECT)
            .redirect(Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .tcp_nodelay(true);
        builder.build().map(Self).map_err(HttpError::Client)
    }

    /// Sends a request. The answer has at most `most` bytes.
    pub(crate) async fn send(
        &self,
        request: http::Request<Bytes>,
        timeout: Duration,
        most: usize,
    ) -> Result<Reply, HttpError> {
        let mut request = Request::try_from(request).map_err(failed)?;
        *request.timeout_mut() = Some(timeout);
        let mut response = self.0.execute(request).await.map_err(failed)?;
        let length = response.content_length().and_then(|length| usize::try_from(length).ok());
        if length.is_some_and(|length| length > most) {
            return Err(HttpError::TooLarge(most));
        }
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > most {
                return Err(HttpError::TooLarge(most));
            }
            body.extend_from_slice(&chunk);
        }
        let headers = std::mem::take(response.headers_mut());
        Ok(Reply { status: response.status(), headers, body: body.freeze() })
    }
}

/// The innermost reason: those around it repeat the address.
fn failed(error: reqwest::Error) -> HttpError {
    if error.is_timeout() {
        return HttpError::Failed("no answer in time".to_owned());
    }
    let error = error.without_url();
    let mut innermost: &dyn std::error::Error = &error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    HttpError::Failed(innermost.to_string())
}
