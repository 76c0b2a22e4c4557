//! The headers of a WebSocket handshake: those that are looked at, and those that are kept until the login.

use crate::admission::Admission;
use crate::session::ActiveConfig;
use http::header::{
    CONNECTION, COOKIE, HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN, SEC_WEBSOCKET_EXTENSIONS,
    SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{Request, Version};
use spinward::wire::ws::request::Head;
use std::net::SocketAddr;

/// The headers that are done with once the handshake is negotiated.
pub(super) static NEGOTIATED: [HeaderName; 7] = [
    HOST,
    UPGRADE,
    CONNECTION,
    SEC_WEBSOCKET_VERSION,
    SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_EXTENSIONS,
];

/// Returns the headers of a handshake that a login may ask for. Others are not kept, and the header that names the user
/// only where a trusted proxy sent it.
pub(super) fn kept_headers(
    active: &ActiveConfig,
    admission: &Admission,
    peer: SocketAddr,
) -> Vec<HeaderName> {
    let settings = &active.settings;
    let trusted = admission.trusts(peer.ip());
    let mut kept = vec![ORIGIN];
    if !settings.token_cookie.is_empty() {
        kept.push(COOKIE);
    }
    let user = Some(&settings.user_header).filter(|_| trusted);
    kept.extend(user.into_iter().chain([&settings.token_header]).filter_map(|name| name.parse().ok()));
    if trusted {
        kept.push(admission.address_header().clone());
    }
    kept.extend_from_slice(active.proxies.headers());
    kept
}

fn counts(name: &HeaderName, kept: &[HeaderName]) -> bool {
    NEGOTIATED.contains(name) || kept.contains(name)
}

/// The request, with the headers that count. `None` for a target that is not a path.
pub(super) fn request(head: &Head<'_>, kept: &[HeaderName]) -> Option<Request<()>> {
    let version = if head.http_10 { Version::HTTP_10 } else { Version::HTTP_11 };
    let mut request = Request::get(head.target.as_ref()).version(version).body(()).ok()?;
    let headers = request.headers_mut();
    for (name, value) in &head.headers {
        // A name that does not parse does not count.
        let Ok(name) = HeaderName::from_bytes(name.as_bytes()) else { continue };
        if counts(&name, kept) {
            headers.append(name, HeaderValue::from_bytes(value).ok()?);
        }
    }
    Some(request)
}

/// Removes the headers that do not count.
pub(super) fn keep(headers: &mut HeaderMap, kept: &[HeaderName]) {
    let gone: Vec<HeaderName> = headers.keys().filter(|name| !counts(name, kept)).cloned().collect();
    for name in gone {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use spinward::wire::ws::request::{Opening, read};

    #[test]
    fn only_headers_that_count_are_copied() {
        let text = "GET /ws?a=\" HTTP/1.0\r\nHost: x\r\nUPGRADE: websocket\r\nCookie: a=b\r\nORIGIN: y\r\nX-Much: z\r\n\
                    origin: w\r\n\r\n";
        let Opening::Upgrade(head) = read(text.as_bytes(), 0) else { panic!() };
        let mut request = request(&head, &[ORIGIN]).unwrap();
        assert_eq!((request.uri().to_string().as_str(), request.version()), ("/ws?a=%22", Version::HTTP_10));
        let names = |request: &Request<()>| {
            let mut names: Vec<String> =
                request.headers().iter().map(|(name, value)| format!("{name}={value:?}")).collect();
            names.sort();
            names
        };
        let expected = ["host=\"x\"", "origin=\"w\"", "origin=\"y\"", "upgrade=\"websocket\""];
        assert_eq!(names(&request), expected);
        request.headers_mut().insert(COOKIE, HeaderValue::from_static("a=b"));
        keep(request.headers_mut(), &[ORIGIN]);
        assert_eq!(names(&request), expected);
    }
}
