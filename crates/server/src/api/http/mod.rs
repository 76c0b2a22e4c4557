//! The server API over HTTP: a path per method, `batch`, and the old single endpoint.

mod batch;
mod endpoint;
mod lines;

pub(crate) use endpoint::mount;

use super::Api;
use super::access::{Caller, Callers, Denied, Refused};
use super::error::ApiError;
use super::method::{Command, Descriptor, Reply, by_name};
use super::output::ToJson;
use super::parameter::Rejection;
use crate::http::{Answer, empty, plain, typed};
use crate::params::{Malformed, Params};
use http::header::{AUTHORIZATION, HeaderValue, RETRY_AFTER};
use http::{HeaderMap, Method, StatusCode, Uri};
use spinward::transport::websocket::query_value;
use std::borrow::Cow;
use std::sync::Arc;

/// Settings of the HTTP endpoint.
#[derive(Debug)]
pub(crate) struct HttpSettings {
    /// `http_api.handler_prefix`.
    pub(crate) prefix: String,
    /// Callers that are admitted.
    pub(crate) callers: Callers,
    /// `http_api.insecure`: no key is asked for.
    pub(crate) insecure: bool,
    /// `http_api.disable_query_key`: the key is not taken from the query.
    pub(crate) no_query_key: bool,
    /// `http_api.error_mode` is `transport`.
    pub(crate) transport_errors: bool,
    /// Most bytes of a body.
    pub(crate) max_body: usize,
    /// Most commands of a batch.
    pub(crate) max_batch: usize,
}

impl HttpSettings {
    /// Returns the caller of a request, by its key or token.
    ///
    /// # Errors
    /// Nobody has it.
    pub(crate) async fn caller(&self, headers: &HeaderMap, uri: &Uri) -> Result<Arc<Caller>, Refused> {
        if let Some(caller) = self.callers.open() {
            return Ok(Arc::clone(caller));
        }
        let authorization = |scheme: &[u8]| {
            let value = headers.get(AUTHORIZATION)?.as_bytes();
            let (named, rest) = value.split_at_checked(scheme.len())?;
            let parted = rest.first().is_some_and(u8::is_ascii_whitespace);
            (parted && named.eq_ignore_ascii_case(scheme)).then(|| rest.trim_ascii())
        };
        let header = headers.get("x-api-key").map(HeaderValue::as_bytes).or_else(|| authorization(b"apikey"));
        let query = query_value(uri, "api_key").filter(|_| !self.no_query_key);
        // A wrong key in one place does not spoil the right one in the other.
        let mut refused = Refused::Key;
        for shown in header.into_iter().chain(query.as_deref()) {
            match self.callers.with_key(shown) {
                Ok(caller) => return Ok(caller),
                Err(Refused::Key) => {}
                Err(other) => refused = other,
            }
        }
        match authorization(b"bearer").and_then(|token| std::str::from_utf8(token).ok()) {
            Some(token) => self.callers.with_token(token).await,
            None => Err(refused),
        }
    }
}

/// Endpoint below the prefix.
#[derive(Clone, Copy, Debug)]
enum Route {
    /// A method.
    Method(&'static Descriptor),
    /// Many calls.
    Batch,
    /// The old form: one command, or many a line each.
    Lines,
}

/// Returns the endpoint that a path behind the prefix names.
///
/// # Errors
/// There is none, or the method is not POST. The response needs neither key nor body.
#[allow(clippy::result_large_err, reason = "it is the response, and moved once")]
fn route(path: &str, method: &Method) -> Result<Route, Answer> {
    let route = match path {
        "" => Some(Route::Lines),
        "batch" => Some(Route::Batch),
        path => by_name(path).map(Route::Method),
    };
    match route {
        None => Err(plain(StatusCode::NOT_FOUND, "404 page not found")),
        Some(_) if method != Method::POST => Err(empty(StatusCode::METHOD_NOT_ALLOWED)),
        Some(route) => Ok(route),
    }
}

/// The response to a malformed call. As in Centrifugo v6.9 it does not say what is wrong; the log does.
fn malformed() -> Answer {
    plain(StatusCode::BAD_REQUEST, "Bad Request")
}

impl Api {
    /// Answers a POST below the prefix whose key is checked and whose body is read.
    ///
    /// # Errors
    /// The call is malformed. The response is then the one of `malformed`.
    async fn serve(
        &self,
        settings: &HttpSettings,
        caller: &Caller,
        route: Route,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<Answer, Malformed> {
        // Bytes that are not UTF-8 are replaced, as JSON texts have none. Looking for them first is faster.
        let text = str::from_utf8(body).map_or_else(|_| String::from_utf8_lossy(body), Cow::Borrowed);
        match route {
            // In boxes, like other large futures here: a connection has room for the answer to each of its requests,
            // and most of them are a publish.
            Route::Lines => Box::pin(self.serve_lines(settings, caller, &text)).await,
            Route::Batch => Box::pin(self.serve_batch(settings, caller, &text)).await,
            Route::Method(method) => {
                let transport = settings.transport_errors
                    || headers
                        .get("x-centrifugo-error-mode")
                        .is_some_and(|mode| mode.as_bytes() == b"transport");
                self.serve_method(caller, method, &text, transport).await
            }
        }
    }

    async fn serve_method(
        &self,
        caller: &Caller,
        method: &Descriptor,
        text: &str,
        transport: bool,
    ) -> Result<Answer, Malformed> {
        let reply = match read(method, text)? {
            Ok(command) => match caller.admit(&command) {
                Ok(()) => self.call(command).await,
                Err(denied) => return Ok(self::denied(denied)),
            },
            Err(refused) => Err(refused),
        };
        let mut out = Vec::with_capacity(64);
        if let (Err(error), true) = (&reply, transport) {
            error.append(&mut out);
            let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            return Ok(json(status, out));
        }
        reply.append(&mut out);
        Ok(json(StatusCode::OK, out))
    }
}

/// Reads a call. The inner error is the answer to the call, the outer one to the request.
fn read(method: &Descriptor, params: &str) -> Result<Result<Command, ApiError>, Malformed> {
    match method.read(Params::parse(params)?) {
        Ok(command) => Ok(Ok(command)),
        Err(Rejection::Refused(error)) => Ok(Err(error)),
        Err(Rejection::Malformed(malformed)) => Err(malformed),
    }
}

/// The response to a call that the key does not allow.
fn denied(denied: Denied) -> Answer {
    let rate = matches!(denied, Denied::Rate { .. });
    let status = if rate { StatusCode::TOO_MANY_REQUESTS } else { StatusCode::FORBIDDEN };
    let mut out = Vec::with_capacity(128);
    Err::<Reply, _>(ApiError::from(denied)).append(&mut out);
    let mut answer = json(status, out);
    if rate {
        answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    answer
}

fn json(status: StatusCode, body: Vec<u8>) -> Answer {
    let mut response = typed("application/json", body);
    *response.status_mut() = status;
    response
}

#[cfg(test)]
pub(in crate::api) mod tests;
