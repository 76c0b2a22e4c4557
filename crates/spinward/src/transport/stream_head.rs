//! Heads of responses that are streams.

use super::body::Body;
use crate::clock::Now;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::Full;
use std::time::{Duration, UNIX_EPOCH};

/// Keeps proxies from buffering.
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
/// The first bytes of an event stream: an empty line, which is no event and has proxies begin with the response.
const PREAMBLE: &[u8] = b"\r\n";

/// Head of a response that is a stream.
pub(super) struct StreamHead {
    kind: &'static str,
    events: bool,
    /// Headers that the host adds.
    further: HeaderMap,
}

impl StreamHead {
    /// The head of an event stream, or of a stream of this content type.
    pub(super) fn new(kind: Option<&'static str>) -> Self {
        let (kind, events) = (kind.unwrap_or("text/event-stream; charset=utf-8"), kind.is_none());
        Self { kind, events, further: HeaderMap::new() }
    }

    pub(super) fn add(&mut self, further: HeaderMap) {
        self.further.extend(further);
    }

    pub(super) const fn further(&self) -> &HeaderMap {
        &self.further
    }

    /// The bytes before those of the connection.
    pub(super) const fn preamble(&self) -> &'static [u8] {
        if self.events { PREAMBLE } else { b"" }
    }

    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.kind));
        headers.insert(
            CACHE_CONTROL,
            HeaderValue::from_static("private, no-cache, no-store, must-revalidate, max-age=0"),
        );
        headers.insert(ACCEL_BUFFERING, HeaderValue::from_static("no"));
        headers.extend(self.further.clone());
        headers
    }

    /// The response with this body, for an HTTP server.
    pub(super) fn response(&self, body: Body) -> Response<Body> {
        let mut response = Response::new(body);
        *response.headers_mut() = self.headers();
        response
    }

    /// The response to a login that has failed.
    pub(super) fn refusal(&self, (status, body): (StatusCode, String)) -> Response<Body> {
        let mut response = Response::new(Body::from(Full::from(body)));
        *response.status_mut() = status;
        *response.headers_mut() = refusal_headers(&self.further);
        response
    }

    /// The head for HTTP/1, and the preamble behind it. The stream ends with the connection, so that what the shard sends
    /// needs no frame of its own.
    pub(super) fn text(&self, now: Now) -> String {
        let mut head = status_line(StatusCode::OK, now);
        append(&self.headers(), &mut head);
        head.push_str("Connection: close\r\n\r\n");
        if self.events {
            head.push_str("\r\n");
        }
        head
    }
}

/// The whole response to a login that has failed, for HTTP/1.
pub(super) fn refusal_head(further: &HeaderMap, (status, body): (StatusCode, String), now: Now) -> String {
    let mut head = status_line(status, now);
    append(&refusal_headers(further), &mut head);
    head.push_str(&format!("Content-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len()));
    head
}

fn refusal_headers(further: &HeaderMap) -> HeaderMap {
    let mut headers = further.clone();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(http::header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers
}

fn status_line(status: StatusCode, now: Now) -> String {
    let reason = status.canonical_reason().unwrap_or_default();
    let date = UNIX_EPOCH + Duration::from_secs(u64::try_from(now.unix()).unwrap_or_default());
    format!("HTTP/1.1 {} {reason}\r\nDate: {}\r\n", status.as_u16(), httpdate::fmt_http_date(date))
}

/// Appends headers, their names spelled as they are by HTTP/1 servers.
fn append(headers: &HeaderMap, out: &mut String) {
    for (name, value) in headers {
        // A value that is no text cannot come from a header that this module or a CORS answer has.
        let Ok(value) = value.to_str() else { continue };
        let mut begins = true;
        for character in name.as_str().chars() {
            out.push(if begins { character.to_ascii_uppercase() } else { character });
            begins = character == '-';
        }
        out.push_str(": ");
        out.push_str(value);
        out.push_str("\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use http::header::ACCESS_CONTROL_ALLOW_ORIGIN;

    const NOW: Now = Now { mono: 0, wall: 784_111_777_000 };

    #[test]
    fn heads_are_text() {
        let mut head = StreamHead::new(None);
        let cors =
            HeaderMap::from_iter([(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("https://a"))]);
        head.add(cors.clone());
        let text = head.text(NOW);
        let (head, body) = text.split_once("\r\n\r\n").expect("a head");
        let lines: Vec<&str> = head.split("\r\n").collect();
        assert_eq!(
            lines,
            [
                "HTTP/1.1 200 OK",
                "Date: Sun, 06 Nov 1994 08:49:37 GMT",
                "Content-Type: text/event-stream; charset=utf-8",
                "Cache-Control: private, no-cache, no-store, must-revalidate, max-age=0",
                "X-Accel-Buffering: no",
                "Access-Control-Allow-Origin: https://a",
                "Connection: close",
            ]
        );
        assert_eq!(body, "\r\n");
        let refused = refusal_head(&cors, (StatusCode::FORBIDDEN, "no".to_owned()), NOW);
        assert!(refused.starts_with("HTTP/1.1 403 Forbidden\r\nDate: "), "{refused}");
        assert!(refused.ends_with("Content-Length: 2\r\nConnection: close\r\n\r\nno"), "{refused}");
        let lines = StreamHead::new(Some("text/plain")).text(NOW);
        assert!(lines.ends_with("Connection: close\r\n\r\n"), "{lines}");
    }

    #[test]
    fn responses_carry_the_same_headers() {
        let response = StreamHead::new(Some("text/plain")).response(Body::from(Full::from(Bytes::new())));
        assert_eq!(response.headers()[CONTENT_TYPE], "text/plain");
        assert_eq!(response.headers()[ACCEL_BUFFERING], "no");
    }
}
