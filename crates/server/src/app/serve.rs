//! The endpoints of a port: the WebSocket, and what is mounted beside it.

use super::handshake;
use crate::admission::{Admission, Entrance, Refused};
use crate::http::{
    Answer, Mount, Opened, Peer, Service, bad_host, cleaner, empty, find, from_library, plain, redirect,
    refused, spend, unescaped,
};
use crate::session::{ActiveConfig, Shared};
use http::header::{CONNECTION, COOKIE, HOST, HeaderName, HeaderValue, ORIGIN};
use http::{Request, StatusCode, Version};
use hyper::body::Incoming;
use spinward::hooks::Handshake;
use spinward::transport::websocket::{Admitted, Negotiated, NotAdmitted, WebSocket};
use spinward::wire::ws::request::Head;
use std::net::SocketAddr;
use std::sync::Arc;

/// The endpoints of one port.
pub(super) struct Router {
    pub(super) websocket: Option<(String, WebSocket)>,
    pub(super) mounts: Vec<Mount>,
    pub(super) active: Shared<ActiveConfig>,
    pub(super) admission: Admission,
}

impl Service for Router {
    fn enter(&self, peer: SocketAddr) -> Result<Option<Entrance>, Refused> {
        if self.websocket.is_some() { self.admission.enter(peer.ip()).map(Some) } else { Ok(None) }
    }

    fn open(&self, head: &Head<'_>, peer: &Peer) -> Opened {
        let Some(request) = handshake::request(head, &self.kept_headers(peer)) else { return Opened::Pass };
        let hosts = request.headers().get_all(HOST).iter().count();
        let Some((at, websocket)) = &self.websocket else { return Opened::Pass };
        // What is wrong here is answered as it is for every other request.
        if hosts > 1 || (hosts == 0 && !head.http_10) || unescaped(request.uri().path()) != at.as_str() {
            return Opened::Pass;
        }
        let Ok(negotiated) = websocket.handshake(&request) else { return Opened::Pass };
        if !self.active.get().origins.admit(request.headers()) {
            return Opened::Pass;
        }
        match self.admit(negotiated, &request, peer) {
            Ok(admitted) => Opened::Accepted(Box::new(admitted)),
            Err(answer) => Opened::Refused(answer),
        }
    }

    async fn answer(&self, mut request: Request<Incoming>, peer: &Peer) -> Answer {
        let hosts = request.headers().get_all(HOST).iter().count();
        if hosts > 1 || (hosts == 0 && request.version() == Version::HTTP_11) {
            return bad_host(hosts);
        }
        let uri = request.uri().clone();
        if uri.path() == "*" {
            return empty(StatusCode::OK);
        }
        if let Some(location) = cleaner(&uri) {
            return redirect(&location, request.method());
        }
        let path = unescaped(uri.path());
        if let Some((at, websocket)) = &self.websocket
            && path == *at
        {
            return self.upgrade(websocket, request, peer);
        }
        if let Some(entrance) = &mut *peer.entrance.lock() {
            entrance.settle();
        }
        let found = find(&self.mounts, &path, &mut request).await;
        let mut answer = found.unwrap_or_else(|| plain(StatusCode::NOT_FOUND, "404 page not found"));
        // By HTTP/2 the stream of the request ends, and not the connection.
        if request.version() < Version::HTTP_2 && !spend(&mut request).await {
            answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        answer
    }
}

impl Router {
    /// Answers a request for a WebSocket that was not the first of its connection, or that is to be refused.
    fn upgrade(&self, websocket: &WebSocket, mut request: Request<Incoming>, peer: &Peer) -> Answer {
        let negotiated = match websocket.handshake(&request) {
            Ok(negotiated) => negotiated,
            Err(refusal) => return from_library(refusal),
        };
        if !self.active.get().origins.admit(request.headers()) {
            return plain(StatusCode::FORBIDDEN, "Forbidden");
        }
        if request.version() != Version::HTTP_11 {
            return plain(StatusCode::BAD_REQUEST, "Bad Request");
        }
        handshake::keep(request.headers_mut(), &self.kept_headers(peer));
        match self.admit(negotiated, &request, peer) {
            Ok(admitted) => peer.upgrade(request, admitted),
            Err(answer) => answer,
        }
    }

    /// Counts in a client whose handshake is in order.
    #[allow(clippy::result_large_err, reason = "it is the answer, and moved once")]
    fn admit<B>(
        &self,
        negotiated: Negotiated<'_>,
        request: &Request<B>,
        peer: &Peer,
    ) -> Result<Admitted, Answer> {
        let opened = self.admission.open(&mut peer.entrance.lock(), peer.address, request.headers());
        let (client, login) = opened.map_err(refused)?;
        let mut headers = request.headers().clone();
        for name in handshake::NEGOTIATED {
            headers.remove(name);
        }
        let handshake = Handshake {
            headers,
            uri: request.uri().clone(),
            credentials: None,
            peer: Some(client),
            extension: Some(Arc::new(login)),
        };
        negotiated.admit(handshake).map_err(|cause| {
            let limit = match cause {
                NotAdmitted::Connections => Refused::Connections,
                NotAdmitted::Rate => Refused::Rate,
                NotAdmitted::Stopping => return from_library(cause.response()),
            };
            self.admission.note(limit);
            refused(limit)
        })
    }

    /// The headers of a handshake that a login may ask for. Others are not kept, and the header that names the user
    /// only where a trusted proxy sent it.
    fn kept_headers(&self, peer: &Peer) -> Vec<HeaderName> {
        let active = self.active.get();
        let settings = &active.settings;
        let trusted = self.admission.trusts(peer.address.ip());
        let mut kept = vec![ORIGIN];
        if !settings.token_cookie.is_empty() {
            kept.push(COOKIE);
        }
        let user = Some(&settings.user_header).filter(|_| trusted);
        kept.extend(user.into_iter().chain([&settings.token_header]).filter_map(|name| name.parse().ok()));
        if trusted {
            kept.push(self.admission.address_header().clone());
        }
        kept.extend_from_slice(active.proxies.headers());
        kept
    }
}
