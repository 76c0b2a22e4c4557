//! Paths of requests, and what is wrong with a request before its path counts: as Go's HTTP server has it, behind
//! which Centrifugo's endpoints are.

use super::{Answer, Body, empty, plain_line};
use http::header::{CONTENT_TYPE, HeaderValue, LOCATION};
use http::{Method, StatusCode, Uri};
use hyper::ext::ReasonPhrase;
use spinward::transport::escape::unescape;
use std::borrow::Cow;

/// The path with its escapes undone, part by part: an escaped slash parts nothing. One with a broken escape
/// stays as it is.
pub(crate) fn unescaped(path: &str) -> Cow<'_, str> {
    if !path.contains('%') {
        return Cow::Borrowed(path);
    }
    let part = |part: &str| {
        let text = String::from_utf8(unescape(part)?.into_owned()).ok()?;
        if text.contains('/') { Some(part.to_owned()) } else { Some(text) }
    };
    let parts: Option<Vec<String>> = path.split('/').map(part).collect();
    parts.map_or(Cow::Borrowed(path), |parts| Cow::Owned(parts.join("/")))
}

/// Returns the redirect for a path with doubled slashes or dots: the path without them, and the query.
pub(crate) fn cleaner(uri: &Uri) -> Option<String> {
    let path = uri.path();
    // Nearly every path: a look at pairs of bytes is all it takes.
    if !path.as_bytes().windows(2).any(|pair| matches!(pair, b"//" | b"/.")) {
        return None;
    }
    if !path.contains("//") && !path.split('/').any(|part| matches!(part, "." | "..")) {
        return None;
    }
    let mut kept: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(kept.pop()),
            part => kept.push(part),
        }
    }
    let end = if path.ends_with('/') && !kept.is_empty() { "/" } else { "" };
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    Some(format!("/{}{end}{query}", kept.join("/")))
}

/// Redirects a request. Readers are told where to.
pub(crate) fn redirect(location: &str, method: &Method) -> Answer {
    let mut answer = empty(StatusCode::TEMPORARY_REDIRECT);
    if matches!(*method, Method::GET | Method::HEAD) {
        let escaped =
            location.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&#34;");
        *answer.body_mut() = Body::from(format!("<a href=\"{escaped}\">Temporary Redirect</a>.\n\n"));
        answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    }
    match HeaderValue::from_str(location) {
        Ok(location) => drop(answer.headers_mut().insert(LOCATION, location)),
        Err(_) => return empty(StatusCode::BAD_REQUEST),
    }
    answer
}

/// A request of HTTP/1.1 names its host once.
pub(crate) fn bad_host(hosts: usize) -> Answer {
    if hosts > 0 {
        return plain_line(StatusCode::BAD_REQUEST, "400 Bad Request");
    }
    let mut answer = plain_line(StatusCode::BAD_REQUEST, "400 Bad Request: missing required Host header");
    let reason = ReasonPhrase::from_static(b"Bad Request: missing required Host header");
    answer.extensions_mut().insert(reason);
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_undone_part_by_part() {
        for (path, meant) in [
            ("/api/publish", "/api/publish"),
            ("/%61pi/%70ublish", "/api/publish"),
            ("/api%2fpublish", "/api%2fpublish"),
            ("/api/%2570ublish", "/api/%70ublish"),
            ("/api/%zz", "/api/%zz"),
            ("/api/%ff", "/api/%ff"),
            ("/api/%4", "/api/%4"),
            ("/api/%C3%A9", "/api/\u{e9}"),
        ] {
            assert_eq!(unescaped(path), meant);
        }
    }

    #[test]
    fn doubled_slashes_and_dots_are_sent_elsewhere() {
        for (path, to) in [
            ("/api/publish", None),
            ("/api/publish/", None),
            ("/", None),
            ("/a.b/..c", None),
            ("//api/publish?a=b", Some("/api/publish?a=b")),
            ("/api//publish", Some("/api/publish")),
            ("/api/./publish/", Some("/api/publish/")),
            ("/api/x/../publish", Some("/api/publish")),
            ("/../..//", Some("/")),
            ("/api/..", Some("/")),
        ] {
            let uri: Uri = format!("http://x{path}").parse().unwrap();
            assert_eq!(cleaner(&uri).as_deref(), to, "{path}");
        }
    }
}
