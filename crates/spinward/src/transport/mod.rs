//! Ways for clients to reach a node: tower services over `http` types.

mod admit;
mod admitted;
pub mod body;
pub mod emulation;
pub mod escape;
pub mod http_stream;
pub mod opening;
mod refusals;
pub mod sockjs;
mod stream_head;
mod tunnel;
pub mod websocket;

use body::Body;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Body as HttpBody;
use std::borrow::Cow;
use std::error::Error;
use std::time::Duration;

/// Most bytes of the body of a request, unless a service is told otherwise: Centrifugo's `max_request_body_size`.
const MAX_BODY: usize = 65_536;

/// Time that a client may take to send a body.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// Reads a body of at most `max` bytes. The error is the status to answer with.
async fn whole<B>(body: B, max: usize) -> Result<Bytes, StatusCode>
where
    B: HttpBody<Error: Into<Box<dyn Error + Send + Sync>>>,
{
    match tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, max).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(StatusCode::PAYLOAD_TOO_LARGE),
        Ok(Err(_)) => Err(StatusCode::BAD_REQUEST),
        Err(_) => Err(StatusCode::REQUEST_TIMEOUT),
    }
}

/// A response without a body.
fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::from(Full::default()));
    *response.status_mut() = status;
    response
}

/// A response with the name of its status as text.
fn plain(status: StatusCode) -> Response<Body> {
    let text = format!("{}\n", status.canonical_reason().unwrap_or_default());
    let mut response = Response::new(Body::from(Full::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

/// The first value of a parameter of the query, its escapes undone. Centrifugo's rules: a pair with a semicolon or a
/// broken escape is ignored.
#[must_use]
pub fn query_value<'a>(uri: &'a Uri, name: &str) -> Option<Cow<'a, [u8]>> {
    uri.query()?.split('&').filter(|pair| !pair.contains(';')).find_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (*unescape(key)? == *name.as_bytes()).then(|| unescape(value)).flatten()
    })
}

/// In a query a plus is a blank.
fn unescape(text: &str) -> Option<Cow<'_, [u8]>> {
    if !text.contains('+') {
        return escape::unescape(text);
    }
    escape::unescape(&text.replace('+', " ")).map(|bytes| Cow::Owned(bytes.into_owned()))
}
