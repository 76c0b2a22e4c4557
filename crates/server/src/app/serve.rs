//! The endpoints of a port: those that connections of clients begin at, and what is mounted beside them.

use super::clients::{ClientEndpoint, ClientService};
use super::handshake;
use super::sockjs::MountedSockJs;
use crate::admission::{Admission, Entrance, Refused};
use crate::http::{
    Answer, Mount, Opened, Peer, Service, bad_host, cleaner, empty, find, from_library, from_pulled, message,
    plain, preflight, redirect, refused, sharing, spend, unescaped,
};
use crate::session::{ActiveConfig, Shared};
use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_REQUEST_HEADERS, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HOST, HeaderMap,
    HeaderName, HeaderValue, SEC_WEBSOCKET_VERSION, TRANSFER_ENCODING, UPGRADE,
};
use http::{Method, Request, StatusCode, Version};
use hyper::body::Incoming;
use spinward::hooks::Handshake;
use spinward::identity::Transport;
use spinward::transport::http_stream::{HttpStream, LAST_EVENT_ID};
use spinward::transport::websocket::{Admitted, NotAdmitted, WebSocket};
use spinward::wire::ws::handshake::VERSION;
use spinward::wire::ws::request::Head;
use std::net::SocketAddr;
use std::sync::Arc;

/// The endpoints of one port.
pub(super) struct Router {
    pub(super) clients: Vec<ClientEndpoint>,
    pub(super) sockjs: Option<MountedSockJs>,
    pub(super) mounts: Vec<Mount>,
    pub(super) active: Shared<ActiveConfig>,
    pub(super) admission: Admission,
}

impl Service for Router {
    fn enter(&self, peer: SocketAddr) -> Result<Option<Entrance>, Refused> {
        if self.clients.is_empty() && self.sockjs.is_none() {
            Ok(None)
        } else {
            self.admission.enter(peer.ip()).map(Some)
        }
    }

    fn open(&self, head: &Head<'_>, peer: &Peer) -> Opened {
        let Some(request) = handshake::request(head, &self.kept_headers(peer)) else { return Opened::Pass };
        // What is wrong here is answered as it is for every other request.
        if !has_host(&request) {
            return Opened::Pass;
        }
        let path = unescaped(request.uri().path());
        let Some(ClientService::WebSocket(websocket)) = self.client(&path) else { return Opened::Pass };
        let Ok(negotiated) = websocket.handshake(&request) else { return Opened::Pass };
        if !self.active.get().origins.admit(request.headers()) || !self.admission.take_turn() {
            return Opened::Pass;
        }
        match self.admit(&request, peer, |handshake| negotiated.admit(handshake)) {
            Ok(admitted) => Opened::Accepted(Box::new(admitted)),
            Err(answer) => Opened::Refused(answer),
        }
    }

    fn expects(&self, head: &Head<'_>) -> Option<usize> {
        let path = head.target.split('?').next().unwrap_or_default();
        let Some(ClientService::Stream(stream)) = self.client(&unescaped(path)) else { return None };
        if !head.post && !has_get(stream) {
            return None;
        }
        let length = first_body(head)?;
        (length <= stream.body_limit()).then_some(length)
    }

    fn open_stream(&self, head: &Head<'_>, body: Bytes, peer: &Peer) -> Opened {
        let mut kept = self.kept_headers(peer);
        kept.extend([CONTENT_TYPE, ACCESS_CONTROL_REQUEST_HEADERS, LAST_EVENT_ID]);
        let Some(mut request) = handshake::request(head, &kept) else { return Opened::Pass };
        if head.post {
            *request.method_mut() = Method::POST;
        }
        let path = unescaped(request.uri().path()).into_owned();
        let Some(ClientService::Stream(stream)) = self.client(&path) else { return Opened::Pass };
        if !has_host(&request) || self.forbids(request.headers()) || !self.admission.take_turn() {
            return Opened::Pass;
        }
        match self.begin(stream, request, body, peer) {
            Ok(admitted) => Opened::Accepted(Box::new(admitted)),
            // It is answered as it is for every other request.
            Err(Refusal::Request(_)) => Opened::Pass,
            Err(Refusal::Limit(answer)) => Opened::Refused(answer),
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
        if let Some(sockjs) = &self.sockjs
            && let Some(rest) = sockjs.rest(&path)
        {
            return Box::pin(self.sockjs(sockjs, rest, request, peer)).await;
        }
        let mut answer = match self.client(&path) {
            Some(ClientService::WebSocket(websocket)) => {
                return self.upgrade(websocket, false, request, peer).await;
            }
            Some(ClientService::Stream(stream)) => self.stream(stream, &mut request, peer).await,
            None => self.mounted(&path, &mut request, peer).await,
        };
        // By HTTP/2 the stream of the request ends, and not the connection.
        if request.version() < Version::HTTP_2 && !spend(&mut request).await {
            answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        answer
    }
}

impl Router {
    /// The paths of all endpoints, for people.
    pub(super) fn paths(&self) -> String {
        let clients = self.clients.iter().map(|endpoint| endpoint.at.clone());
        let sockjs = self.sockjs.iter().map(|sockjs| format!("{}/…", sockjs.at));
        clients.chain(sockjs).chain(self.mounts.iter().map(Mount::shown)).collect::<Vec<_>>().join(", ")
    }

    /// The service of clients at a path.
    fn client(&self, path: &str) -> Option<&ClientService> {
        self.clients.iter().find(|endpoint| endpoint.at == path).map(|endpoint| &endpoint.service)
    }

    async fn mounted(&self, path: &str, request: &mut Request<Incoming>, peer: &Peer) -> Answer {
        if let Some(entrance) = &mut *peer.entrance.lock() {
            entrance.settle();
        }
        let found = find(&self.mounts, path, request).await;
        found.unwrap_or_else(|| plain(StatusCode::NOT_FOUND, "404 page not found"))
    }

    /// Answers a request for a stream that was not the first of its connection, or that is to be refused.
    async fn stream(&self, stream: &HttpStream, request: &mut Request<Incoming>, peer: &Peer) -> Answer {
        if let Some(entrance) = &mut *peer.entrance.lock()
            && !matches!(*request.method(), Method::GET | Method::POST)
        {
            entrance.settle();
        }
        let allowed = self.active.get().origins.admit(request.headers());
        let sharing = sharing(request.headers(), allowed);
        let mut answer = match *request.method() {
            _ if self.forbids(request.headers()) => plain(StatusCode::FORBIDDEN, "Forbidden"),
            Method::OPTIONS if !has_get(stream) => preflight(),
            Method::POST => self.read_and_stream(stream, request, peer).await,
            Method::GET if has_get(stream) => self.begin_stream(stream, request, Bytes::new(), peer).await,
            _ => empty(StatusCode::METHOD_NOT_ALLOWED),
        };
        answer.headers_mut().extend(sharing);
        answer
    }

    async fn read_and_stream(
        &self,
        stream: &HttpStream,
        request: &mut Request<Incoming>,
        peer: &Peer,
    ) -> Answer {
        match message(request.body_mut(), stream.body_limit()).await {
            Ok(body) => self.begin_stream(stream, request, body, peer).await,
            Err(refusal) => empty(refusal.status()),
        }
    }

    async fn begin_stream(
        &self,
        stream: &HttpStream,
        request: &Request<Incoming>,
        body: Bytes,
        peer: &Peer,
    ) -> Answer {
        let mut kept = self.kept_headers(peer);
        kept.extend([CONTENT_TYPE, ACCESS_CONTROL_REQUEST_HEADERS, LAST_EVENT_ID]);
        let mut bare = Request::new(());
        *bare.method_mut() = request.method().clone();
        *bare.uri_mut() = request.uri().clone();
        *bare.headers_mut() = request.headers().clone();
        handshake::keep(bare.headers_mut(), &kept);
        if let Err(limit) = self.admission.turn().await {
            return refused(limit);
        }
        match self.begin(stream, bare, body, peer) {
            Ok(admitted) if request.version() < Version::HTTP_2 => peer.leave_http1(admitted).await,
            Ok(admitted) => from_pulled(admitted.respond().await),
            Err(Refusal::Request(status)) => empty(status),
            Err(Refusal::Limit(answer)) => answer,
        }
    }

    /// Counts in a client whose request for a stream is in order.
    #[allow(clippy::result_large_err, reason = "it is the answer, and moved once")]
    fn begin(
        &self,
        stream: &HttpStream,
        mut request: Request<()>,
        body: Bytes,
        peer: &Peer,
    ) -> Result<Admitted, Refusal> {
        let begun = stream.begin(request.method(), request.uri(), request.headers(), body);
        let begun = begun.map_err(Refusal::Request)?;
        let sharing = sharing(request.headers(), self.active.get().origins.admit(request.headers()));
        for name in [CONTENT_TYPE, ACCESS_CONTROL_REQUEST_HEADERS, LAST_EVENT_ID] {
            request.headers_mut().remove(name);
        }
        let admitted = self.admit(&request, peer, |handshake| begun.admit(handshake));
        let mut admitted = admitted.map_err(Refusal::Limit)?;
        admitted.add_headers(sharing);
        Ok(admitted)
    }

    /// Returns true if a page of an origin that is not allowed asks for a stream, and connections log in by something that
    /// its browser adds. Other pages get a stream that their browser keeps from them, as from Centrifugo v6.9; this one
    /// would be a session of somebody else.
    fn forbids(&self, headers: &HeaderMap) -> bool {
        let active = self.active.get();
        active.logs_in_by_request() && !active.origins.admit(headers)
    }

    /// Answers a request for a WebSocket that was not the first of its connection, that is to be refused, or whose
    /// messages are to go in SockJS frames, if `packed`.
    pub(super) async fn upgrade(
        &self,
        websocket: &WebSocket,
        packed: bool,
        mut request: Request<Incoming>,
        peer: &Peer,
    ) -> Answer {
        let negotiated = match websocket.handshake(&request) {
            Ok(negotiated) if packed => negotiated.in_sockjs_frames(),
            Ok(negotiated) => negotiated,
            Err(refusal) => return from_library(refusal),
        };
        if !self.active.get().origins.admit(request.headers()) {
            let mut answer = plain(StatusCode::FORBIDDEN, "Forbidden");
            answer.headers_mut().insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static(VERSION));
            return answer;
        }
        if request.version() < Version::HTTP_11 {
            return plain(StatusCode::BAD_REQUEST, "Bad Request");
        }
        handshake::keep(request.headers_mut(), &self.kept_headers(peer));
        if let Err(limit) = self.admission.turn().await {
            return refused(limit);
        }
        match self.admit(&request, peer, |handshake| negotiated.admit(handshake)) {
            Ok(admitted) => peer.leave(request, admitted).await,
            Err(answer) => answer,
        }
    }

    /// Counts in a client whose request is in order.
    #[allow(clippy::result_large_err, reason = "it is the answer, and moved once")]
    fn admit<B>(
        &self,
        request: &Request<B>,
        peer: &Peer,
        admit: impl FnOnce(Handshake) -> Result<Admitted, NotAdmitted>,
    ) -> Result<Admitted, Answer> {
        let opened = self.admission.open(&mut peer.entrance.lock(), peer.address, request.headers());
        let (client, login) = opened.map_err(refused)?;
        let kept = request.headers().iter().filter(|(name, _)| !handshake::NEGOTIATED.contains(name));
        let headers = kept.map(|(name, value)| (name.clone(), value.clone())).collect();
        let handshake = Handshake {
            headers,
            uri: request.uri().clone(),
            credentials: None,
            peer: Some(client),
            extension: Some(Arc::new(login)),
        };
        admit(handshake).map_err(|cause| {
            let limit = match cause {
                NotAdmitted::Connections => Refused::Connections,
                NotAdmitted::Rate => Refused::Rate,
                NotAdmitted::Stopping => return from_library(cause.response()),
            };
            self.admission.note(limit);
            refused(limit)
        })
    }

    pub(super) fn kept_headers(&self, peer: &Peer) -> Vec<HeaderName> {
        handshake::kept_headers(&self.active.get(), &self.admission, peer.address)
    }
}

/// The reason why a request for a stream does not get one.
enum Refusal {
    Request(StatusCode),
    Limit(Answer),
}

/// Returns true if the service takes GET requests: one of server-sent events, for `EventSource`.
const fn has_get(stream: &HttpStream) -> bool {
    matches!(stream.transport(), Transport::Sse | Transport::UniSse)
}

/// Returns true if a request names its host as HTTP has it.
fn has_host<B>(request: &Request<B>) -> bool {
    let hosts = request.headers().get_all(HOST).iter().count();
    hosts == 1 || hosts == 0 && request.version() == Version::HTTP_10
}

/// The length of the body of a first request. `None` where it takes more than a glance to say: such a request is hyper's.
fn first_body(head: &Head<'_>) -> Option<usize> {
    let mut length = None;
    for (name, value) in &head.headers {
        let is = |other: &HeaderName| name.eq_ignore_ascii_case(other.as_str());
        if is(&TRANSFER_ENCODING) || is(&EXPECT) || is(&UPGRADE) {
            return None;
        }
        if is(&CONTENT_LENGTH) {
            let digits = !value.is_empty() && value.len() < 10 && value.iter().all(u8::is_ascii_digit);
            if !digits || length.is_some() {
                return None;
            }
            length = std::str::from_utf8(value).ok()?.parse().ok();
        }
    }
    Some(length.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use spinward::wire::ws::request::{Opening, read};

    #[test]
    fn a_body_of_a_first_request_has_a_plain_length() {
        let length = |headers: &str| {
            let text = format!("POST /a HTTP/1.1\r\nHost: x\r\n{headers}\r\n");
            let Opening::Request(head) = read(text.as_bytes(), 0) else { panic!("{text}") };
            first_body(&head)
        };
        assert_eq!(length(""), Some(0));
        assert_eq!(length("content-length: 15\r\n"), Some(15));
        for other in [
            "Content-Length: 1\r\nContent-Length: 1\r\n",
            "Content-Length: 1, 1\r\n",
            "Content-Length: +1\r\n",
            "Content-Length: 0x1\r\n",
            "Content-Length: -1\r\n",
            "Content-Length: \r\n",
            "Content-Length: 99999999999999999999\r\n",
            "Transfer-Encoding: chunked\r\n",
            "Content-Length: 1\r\nTRANSFER-ENCODING: identity\r\n",
            "Expect: 100-continue\r\nContent-Length: 1\r\n",
            "Upgrade: h2c\r\n",
        ] {
            assert_eq!(length(other), None, "{other}");
        }
    }
}
