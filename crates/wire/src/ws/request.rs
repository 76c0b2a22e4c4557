//! The request of a client, read from the bytes of a fresh connection: an opening handshake, or one whose response is a
//! stream.
//!
//! A general HTTP server is more of an obstacle to the handshake than a help: it refuses HTTP/1.0 and
//! query strings that every other server takes, and spells the names of response headers its own way. So a server
//! that owns its sockets reads the first request itself and passes on to its HTTP server, byte for byte, all that
//! is not plainly what it can answer. [`read`] recognizes a request, [`super::handshake::check`] judges a handshake,
//! [`response`] answers it.

use std::borrow::Cow;

/// Most bytes of a request's head, from the first byte to the empty line.
pub const MAX_HEAD: usize = 32 << 10;

/// The beginning of a connection.
#[derive(Debug, PartialEq, Eq)]
pub enum Opening<'a> {
    /// It may become a request: more bytes are needed.
    Partial,
    /// A GET request that asks for an upgrade.
    Upgrade(Head<'a>),
    /// Another GET or POST request. An HTTP server answers it, unless the one who reads it can.
    Request(Head<'a>),
    /// Anything else. An HTTP server answers it.
    Other,
}

/// The head of a GET or POST request.
#[derive(Debug, PartialEq, Eq)]
pub struct Head<'a> {
    /// The method is POST and not GET.
    pub post: bool,
    /// Path and query, in a form that `http::Uri` takes.
    pub target: Cow<'a, str>,
    /// The request is one of HTTP/1.0 and not of HTTP/1.1.
    pub http_10: bool,
    /// Names and values of the headers, as they came.
    pub headers: Vec<(&'a str, &'a [u8])>,
    /// Bytes of the head. Everything after it belongs to the WebSocket, or is the body.
    pub len: usize,
}

/// Reads the beginning of a connection. The first `seen` bytes were there at the last call, which answered
/// [`Opening::Partial`]; they are not searched again.
#[must_use]
pub fn read(bytes: &[u8], seen: usize) -> Opening<'_> {
    let begins = |with: &[u8]| {
        let begun = bytes.len().min(with.len());
        bytes[..begun] == with[..begun]
    };
    if !begins(b"GET /") && !begins(b"POST /") {
        return Opening::Other;
    }
    match end(bytes, seen) {
        Some(end) if end <= MAX_HEAD => parse(&bytes[..end]).unwrap_or(Opening::Other),
        None if bytes.len() < MAX_HEAD => Opening::Partial,
        _ => Opening::Other,
    }
}

/// The end of the first empty line. Lines may end in a bare line feed (RFC 9112 §2.2).
fn end(bytes: &[u8], seen: usize) -> Option<usize> {
    let from = seen.saturating_sub(3).min(bytes.len());
    memchr::memchr_iter(b'\n', &bytes[from..]).find_map(|at| {
        let rest = &bytes[from + at + 1..];
        match rest {
            [b'\n', ..] => Some(from + at + 2),
            [b'\r', b'\n', ..] => Some(from + at + 3),
            _ => None,
        }
    })
}

fn parse(head: &[u8]) -> Option<Opening<'_>> {
    let lines = memchr::memchr_iter(b'\n', head).count();
    let mut headers = vec![httparse::EMPTY_HEADER; lines];
    let mut request = httparse::Request::new(&mut headers);
    let Ok(httparse::Status::Complete(len)) = request.parse(head) else { return None };
    if len != head.len() {
        return None;
    }
    let post = request.method? == "POST";
    let upgrade = request.headers.iter().any(|header| header.name.eq_ignore_ascii_case("upgrade"));
    let head = Head {
        post,
        target: escaped(request.path?),
        http_10: request.version? == 0,
        headers: request.headers.iter().map(|header| (header.name, header.value)).collect(),
        len,
    };
    Some(if upgrade && !post { Opening::Upgrade(head) } else { Opening::Request(head) })
}

/// The target with those bytes of its query escaped that RFC 3986 does not allow there. Some clients send them
/// bare, and Go's server takes them.
fn escaped(target: &str) -> Cow<'_, str> {
    let bare = |byte: u8| !byte.is_ascii_graphic() || matches!(byte, b'"' | b'<' | b'>' | b'#');
    let Some((path, query)) = target.split_once('?').filter(|(_, query)| query.bytes().any(bare)) else {
        return Cow::Borrowed(target);
    };
    let mut out = String::with_capacity(target.len() + 16);
    out.push_str(path);
    out.push('?');
    for byte in query.bytes() {
        if bare(byte) {
            const HEX: &[u8; 16] = b"0123456789ABCDEF";
            out.extend([
                '%',
                char::from(HEX[usize::from(byte >> 4)]),
                char::from(HEX[usize::from(byte & 15)]),
            ]);
        } else {
            out.push(char::from(byte));
        }
    }
    Cow::Owned(out)
}

/// The head of the response that accepts a handshake. Names are spelled as in RFC 6455: HTTP does not care, but
/// clients are in use that compare them to the letter.
#[must_use]
pub fn response(accept: &str, subprotocol: Option<&str>, extensions: Option<&str>) -> String {
    let mut head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n"
    );
    if let Some(subprotocol) = subprotocol {
        head.extend(["Sec-WebSocket-Protocol: ", subprotocol, "\r\n"]);
    }
    if let Some(extensions) = extensions {
        head.extend(["Sec-WebSocket-Extensions: ", extensions, "\r\n"]);
    }
    head.push_str("\r\n");
    head
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: &str = "GET /ws?a=b HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\r\n";

    fn head(bytes: &[u8]) -> Head<'_> {
        match read(bytes, 0) {
            Opening::Upgrade(head) => head,
            other => panic!("{other:?} for {}", String::from_utf8_lossy(bytes)),
        }
    }

    #[test]
    fn a_handshake_is_recognized_however_it_comes_in() {
        let with_more = format!("{REQUEST}\u{81}");
        for split in 0..REQUEST.len() {
            assert_eq!(read(&REQUEST.as_bytes()[..split], 0), Opening::Partial, "{split}");
            for text in [REQUEST, &with_more] {
                let Opening::Upgrade(head) = read(text.as_bytes(), split) else { panic!("{split}") };
                assert_eq!((head.target.as_ref(), head.http_10, head.len), ("/ws?a=b", false, REQUEST.len()));
                assert_eq!(head.headers, [("Host", &b"x"[..]), ("Upgrade", b"websocket")]);
            }
        }
    }

    #[test]
    fn lines_may_end_in_a_line_feed_and_the_version_may_be_1_0() {
        let text = "GET /ws HTTP/1.0\nupgrade: websocket\n\n";
        let head = head(text.as_bytes());
        assert!(head.http_10);
        assert_eq!(head.len, text.len());
    }

    #[test]
    fn a_request_that_is_no_handshake_is_read_with_its_method() {
        for (text, post) in [
            ("GET /sse?a=b HTTP/1.1\r\nHost: x\r\n\r\n", false),
            ("POST /sse?a=b HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}", true),
            ("POST /sse?a=b HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\n\r\n", true),
        ] {
            let Opening::Request(head) = read(text.as_bytes(), 0) else { panic!("{text}") };
            assert_eq!((head.post, head.target.as_ref()), (post, "/sse?a=b"), "{text}");
            assert!(text[..head.len].ends_with("\r\n\r\n"), "{text}");
            assert_eq!(read(&text.as_bytes()[..head.len - 1], 0), Opening::Partial, "{text}");
        }
    }

    #[test]
    fn what_is_no_request_of_a_client_is_left_to_others() {
        for text in [
            "PUT /ws HTTP/1.1\r\nUpgrade: websocket\r\n\r\n",
            "GET http://x/ws HTTP/1.1\r\nUpgrade: websocket\r\n\r\n",
            "GET /ws HTTP/2.0\r\nUpgrade: websocket\r\n\r\n",
            "GET /w s HTTP/1.1\r\nUpgrade: websocket\r\n\r\n",
            "GET /ws HTTP/1.1\r\nUp grade: websocket\r\nUpgrade: websocket\r\n\r\n",
            "GET /ws HTTP/1.1\r\nA: b\r\n c\r\nUpgrade: websocket\r\n\r\n",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            "\r\nGET /ws HTTP/1.1\r\nUpgrade: websocket\r\n\r\n",
            "\x16\x03\x01",
        ] {
            assert_eq!(read(text.as_bytes(), 0), Opening::Other, "{text}");
        }
    }

    #[test]
    fn the_bytes_of_a_head_are_limited_and_not_its_lines() {
        let mut text = "GET /ws HTTP/1.1\r\nUpgrade: websocket\r\n".to_owned();
        for at in 0..2000 {
            text.push_str(&format!("X-H{at}: v\r\n"));
        }
        let begun = text.len();
        text.push_str("\r\n");
        assert_eq!(head(text.as_bytes()).headers.len(), 2001);
        let filler = "x".repeat(MAX_HEAD - text.len() - "Y: \r\n".len());
        let fits = format!("{}Y: {filler}\r\n\r\n", &text[..begun]);
        assert_eq!(fits.len(), MAX_HEAD);
        assert_eq!(head(fits.as_bytes()).len, MAX_HEAD);
        assert_eq!(read(&fits.as_bytes()[..MAX_HEAD - 1], 0), Opening::Partial);
        let longer = format!("{}Y: {filler}y\r\n\r\n", &text[..begun]);
        assert_eq!(read(longer.as_bytes(), 0), Opening::Other);
        assert_eq!(read(&longer.as_bytes()[..MAX_HEAD], 0), Opening::Other, "before its end is seen");
    }

    #[test]
    fn bare_bytes_of_a_query_are_escaped() {
        for (target, escaped) in [
            ("/ws?a=b&c=%22", "/ws?a=b&c=%22"),
            ("/ws?a=\"", "/ws?a=%22"),
            ("/ws?a=<b>&c=#d", "/ws?a=%3Cb%3E&c=%23d"),
            ("/ws?a=\u{e9}", "/ws?a=%C3%A9"),
            ("/w\"s", "/w\"s"),
        ] {
            let text = format!("GET {target} HTTP/1.1\r\nUpgrade: websocket\r\n\r\n");
            assert_eq!(head(text.as_bytes()).target, escaped);
        }
    }

    #[test]
    fn the_response_spells_names_as_the_rfc() {
        assert_eq!(
            response("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", Some("centrifuge-json"), None),
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: centrifuge-json\r\n\r\n"
        );
        assert!(response("x", None, None).ends_with("Accept: x\r\n\r\n"));
        assert!(response("x", None, Some("a; b")).ends_with("x\r\nSec-WebSocket-Extensions: a; b\r\n\r\n"));
    }
}
