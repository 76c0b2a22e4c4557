//! SockJS, whose sessions count as the clients that they are, however many requests each of them takes.

use super::handshake;
use super::serve::Router;
use crate::http::{Answer, Peer, empty, from_pulled, plain, refused, share};
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_HEADERS, HeaderMap, HeaderName, HeaderValue, ORIGIN,
};
use http::{Method, Request, StatusCode, Uri};
use hyper::body::Incoming;
use spinward::identity::Extension;
use spinward::transport::sockjs::SockJs;
use std::sync::Arc;

/// Tells where a request comes from, in browsers of today.
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The SockJS service, and where it is.
pub(super) struct MountedSockJs {
    pub(super) at: String,
    pub(super) service: SockJs,
}

impl MountedSockJs {
    /// Returns the path behind that of the service: empty, or with a slash first.
    pub(super) fn rest<'p>(&self, path: &'p str) -> Option<&'p str> {
        path.strip_prefix(self.at.as_str()).filter(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl Router {
    pub(super) async fn sockjs(
        &self,
        sockjs: &MountedSockJs,
        rest: &str,
        mut request: Request<Incoming>,
        peer: &Peer,
    ) -> Answer {
        if let Some((websocket, packed)) = sockjs.service.websocket(rest) {
            return self.upgrade(websocket, packed, request, peer).await;
        }
        if !self.active.get().origins.admit(request.headers()) {
            return plain(StatusCode::FORBIDDEN, "Forbidden");
        }
        let origin: HeaderMap =
            request.headers().get(ORIGIN).map(|own| (ORIGIN, own.clone())).into_iter().collect();
        let mut answer = if *request.method() == Method::OPTIONS {
            preflight(request.headers())
        } else {
            let Some(uri) = below(rest, request.uri()) else {
                return plain(StatusCode::NOT_FOUND, "Not Found");
            };
            *request.uri_mut() = uri;
            if sockjs.service.opens(&request) {
                if let Err(limit) = self.admission.turn().await {
                    return refused(limit);
                }
                if let Err(answer) = self.open_session(&mut request, peer) {
                    return answer;
                }
            } else if let Some(entrance) = &mut *peer.entrance.lock() {
                entrance.settle();
            }
            from_pulled(sockjs.service.clone().answer(request).await)
        };
        share(&origin, true, &mut answer);
        answer
    }

    /// Counts in the client of a new session.
    #[allow(clippy::result_large_err, reason = "it is the answer, and moved once")]
    fn open_session(&self, request: &mut Request<Incoming>, peer: &Peer) -> Result<(), Answer> {
        let headers = request.headers();
        // A picture on another's page, say. Its owner would know the name of the session.
        if !headers.contains_key(ORIGIN) && headers.get(FETCH_SITE).is_some_and(|site| site == "cross-site") {
            return Err(plain(StatusCode::FORBIDDEN, "Forbidden"));
        }
        // The connection that the request came over counts for the first of its sessions.
        let before = peer.entrance.lock().take();
        let entered = before.map_or_else(|| self.admission.enter(peer.address.ip()), Ok);
        let opened = entered.and_then(|own| self.admission.open(&mut Some(own), peer.address, headers));
        let (client, login) = opened.map_err(refused)?;
        handshake::keep(request.headers_mut(), &self.kept_headers(peer));
        request.extensions_mut().insert(client);
        request.extensions_mut().insert::<Extension>(Arc::new(login));
        Ok(())
    }
}

/// The target of a request behind the path of the service.
fn below(rest: &str, uri: &Uri) -> Option<Uri> {
    let path = if rest.is_empty() { "/" } else { rest };
    match uri.query() {
        Some(query) => format!("{path}?{query}").parse().ok(),
        None => path.parse().ok(),
    }
}

/// The answer to a browser that asks what a page may send.
fn preflight(headers: &HeaderMap) -> Answer {
    let mut answer = empty(StatusCode::NO_CONTENT);
    let own = answer.headers_mut();
    own.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("OPTIONS, GET, POST"));
    own.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400"));
    if let Some(asked) = headers.get(ACCESS_CONTROL_REQUEST_HEADERS) {
        own.insert(ACCESS_CONTROL_ALLOW_HEADERS, asked.clone());
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_behind_the_path() {
        let target = |rest, uri: &str| below(rest, &uri.parse().unwrap()).map(|uri| uri.to_string());
        assert_eq!(target("", "/connection/sockjs").as_deref(), Some("/"));
        assert_eq!(target("/info", "/connection/sockjs/info?t=1").as_deref(), Some("/info?t=1"));
        assert_eq!(target("/a b", "/x"), None);
    }
}
