//! Pages of other origins that may read an answer.
//!
//! As in Centrifugo v6.9, other pages get the answer as well, without the headers by which their browser would let them
//! read it. A request without an origin gets an empty one, which names nobody.

use super::{Answer, empty};
use http::StatusCode;
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS, HeaderMap,
    HeaderValue, ORIGIN,
};

/// The headers by which a page of an allowed origin may read the answer to a request.
pub(crate) fn sharing(request: &HeaderMap, allowed: bool) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if allowed {
        let origin = request.get(ORIGIN).cloned().unwrap_or(HeaderValue::from_static(""));
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        if let Some(asked) = request.get(ACCESS_CONTROL_REQUEST_HEADERS) {
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, asked.clone());
        }
    }
    headers
}

/// Lets a page of an allowed origin read the answer. Others get it as well, and their browser keeps it from them.
pub(crate) fn share(headers: &HeaderMap, allowed: bool, answer: &mut Answer) {
    if let (true, Some(origin)) = (allowed, headers.get(ORIGIN)) {
        let own = answer.headers_mut();
        own.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        own.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    }
}

/// The answer to a browser that asks whether a page may send a POST request.
pub(crate) fn preflight() -> Answer {
    let mut answer = empty(StatusCode::NO_CONTENT);
    let headers = answer.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST, OPTIONS"));
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("300"));
    answer
}
