//! Responses: headers, and the pages that are not part of a session.

use super::response::Carrier;
use crate::transport::body::Body;
use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue, IF_NONE_MATCH,
};
use http::{Method, Response, StatusCode};
use http_body_util::Full;

const NO_CACHE: HeaderValue =
    HeaderValue::from_static("no-store, no-cache, no-transform, must-revalidate, max-age=0");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=UTF-8");
/// Keeps proxies from buffering.
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

fn page(status: StatusCode, kind: HeaderValue, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Body::from(Full::new(body.into())));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

pub(super) fn greeting() -> Response<Body> {
    page(StatusCode::OK, TEXT, "Welcome to SockJS!\n")
}

/// The answer that a client asks for first, with some chance in it.
pub(super) fn info(chance: u64) -> Response<Body> {
    let entropy = chance as u32;
    let text = format!(r#"{{"websocket":true,"cookie_needed":false,"origins":["*:*"],"entropy":{entropy}}}"#);
    let mut response =
        page(StatusCode::OK, HeaderValue::from_static("application/json; charset=UTF-8"), text);
    response.headers_mut().insert(CACHE_CONTROL, NO_CACHE);
    response
}

/// The page that a client opens in a frame where it may not ask for anything of another origin itself.
pub(super) fn frame(script: &str, headers: &HeaderMap) -> Response<Body> {
    // A double quote would end the attribute, and a bracket the element.
    let script =
        script.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;").replace('>', "&gt;");
    let html = format!(
        "<!DOCTYPE html>\n<html>\n<head>\n<meta charset=\"UTF-8\">\n<title>SockJS</title>\n\
         <script src=\"{script}\"></script>\n\
         <script>\ndocument.domain = document.domain;\nSockJS.bootstrap_iframe();\n</script>\n\
         </head>\n<body>\n<p>SockJS opens this page in a frame, to reach a server of another origin.</p>\n</body>\n</html>\n"
    );
    // The page depends on the script's address alone.
    let tag = format!("\"{:016x}\"", fnv1a(html.as_bytes()));
    let matches = headers.get(IF_NONE_MATCH).is_some_and(|asked| asked.as_bytes() == tag.as_bytes());
    let mut response = if matches {
        let mut response = Response::new(Body::from(Full::default()));
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        page(StatusCode::OK, HeaderValue::from_static("text/html; charset=UTF-8"), html)
    };
    let own = response.headers_mut();
    own.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000"));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        own.insert(ETAG, tag);
    }
    response
}

/// A hash that is the same in every process.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The response with the output of a session.
pub(super) fn output(carrier: Carrier, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static(match carrier {
            Carrier::Events => "text/event-stream; charset=UTF-8",
            Carrier::Stream | Carrier::Poll => "application/javascript; charset=UTF-8",
        }),
    );
    headers.insert(CACHE_CONTROL, NO_CACHE);
    headers.insert(ACCEL_BUFFERING, HeaderValue::from_static("no"));
    response
}

/// Messages have been taken.
pub(super) fn received() -> Response<Body> {
    let mut response = page(StatusCode::NO_CONTENT, TEXT, Bytes::new());
    response.headers_mut().insert(CACHE_CONTROL, NO_CACHE);
    response
}

/// Messages cannot be read. SockJS has this status for it.
pub(super) fn fault(text: &'static str) -> Response<Body> {
    page(StatusCode::INTERNAL_SERVER_ERROR, TEXT, text)
}

pub(super) fn not_allowed(method: &Method) -> Response<Body> {
    let mut response = page(StatusCode::METHOD_NOT_ALLOWED, TEXT, "Method Not Allowed\n");
    if let Ok(allowed) = HeaderValue::from_str(method.as_str()) {
        response.headers_mut().insert(ALLOW, allowed);
    }
    response
}
