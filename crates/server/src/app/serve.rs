//! The routes of a port.

use super::dev::{self, Dev};
use super::reload::Reloads;
use super::{handshake, log, metrics, path, probes};
use crate::admission::{Admission, Entrance, Refused};
use crate::api::Api;
use crate::api::http::{Answer, HttpSettings, empty, malformed, plain, route};
use crate::api::openapi;
use crate::auth::jwks::Jwks;
use crate::http::{Opened, Peer, Service, spend, whole};
use crate::session::{ActiveConfig, RefusalLog, Shared};
use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_ORIGIN, CONNECTION, CONTENT_SECURITY_POLICY,
    CONTENT_TYPE, COOKIE, HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN,
};
use http::{Method, Request, Response, StatusCode, Version};
use http_body_util::Full;
use hyper::body::Incoming;
use spinward::Node;
use spinward::hooks::Handshake;
use spinward::transport::websocket::{Admitted, Negotiated, NotAdmitted, WebSocket};
use spinward::wire::ws::request::Head;
use std::net::SocketAddr;
use std::sync::Arc;

/// Bytes of a request to explain a token.
const MAX_EXPLAINED: usize = 128 << 10;

/// The endpoints of one port.
pub(super) struct Routes {
    pub(super) node: Node,
    pub(super) websocket: Option<(String, WebSocket)>,
    pub(super) init: Option<String>,
    pub(super) api: Option<(Api, Shared<HttpSettings>)>,
    pub(super) health: Option<String>,
    pub(super) metrics: Option<String>,
    /// The description of the HTTP API: its path, and the settings of its endpoint.
    pub(super) description: Option<(String, Shared<HttpSettings>)>,
    pub(super) active: Shared<ActiveConfig>,
    pub(super) refusals: Arc<RefusalLog>,
    pub(super) reloads: Arc<Reloads>,
    pub(super) log: log::Running,
    pub(super) jwks: Jwks,
    pub(super) admission: Admission,
    pub(super) dev: Option<Arc<Dev>>,
}

impl Service for Routes {
    fn enter(&self, peer: SocketAddr) -> Result<Option<Entrance>, Refused> {
        if self.websocket.is_some() { self.admission.enter(peer.ip()).map(Some) } else { Ok(None) }
    }

    fn open(&self, head: &Head<'_>, peer: &Peer) -> Opened {
        let Some(request) = handshake::request(head, &self.kept_headers(peer)) else { return Opened::Pass };
        let hosts = request.headers().get_all(HOST).iter().count();
        let Some((at, websocket)) = &self.websocket else { return Opened::Pass };
        // What is wrong here is answered as it is for every other request.
        if hosts > 1 || (hosts == 0 && !head.http_10) || path::unescaped(request.uri().path()) != at.as_str()
        {
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
            return path::bad_host(hosts);
        }
        let uri = request.uri().clone();
        if uri.path() == "*" {
            return empty(StatusCode::OK);
        }
        if let Some(location) = path::cleaner(&uri) {
            return path::redirect(&location, request.method());
        }
        let path = path::unescaped(uri.path());
        if let Some((at, websocket)) = &self.websocket
            && path == *at
        {
            return self.upgrade(websocket, request, peer);
        }
        if let Some(entrance) = &mut *peer.entrance.lock() {
            entrance.settle();
        }
        let mut answer = self.route(&path, &mut request).await;
        if !spend(&mut request).await {
            answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        answer
    }
}

impl Routes {
    /// Answers a request for a WebSocket that was not the first of its connection, or that is to be refused.
    fn upgrade(&self, websocket: &WebSocket, mut request: Request<Incoming>, peer: &Peer) -> Answer {
        let negotiated = match websocket.handshake(&request) {
            Ok(negotiated) => negotiated,
            Err(refusal) => return refusal,
        };
        if !self.active.get().origins.admit(request.headers()) {
            return plain(StatusCode::FORBIDDEN, "Forbidden");
        }
        if request.version() < Version::HTTP_11 {
            return plain(StatusCode::BAD_REQUEST, "Bad Request");
        }
        handshake::keep(request.headers_mut(), &self.kept_headers(peer));
        match self.admit(negotiated, &request, peer) {
            Ok(admitted) => crate::http::upgrade(request, admitted),
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
        let (client, login) = opened.map_err(Refused::response)?;
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
            let refused = match cause {
                NotAdmitted::Connections => Refused::Connections,
                NotAdmitted::Rate => Refused::Rate,
                NotAdmitted::Stopping => return cause.response(),
            };
            self.admission.note(refused);
            refused.response()
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

    async fn route(&self, path: &str, request: &mut Request<Incoming>) -> Answer {
        if let Some((api, settings)) = &self.api {
            let settings = settings.get();
            if let Some(rest) = settings.strip(path) {
                return self.api(api, &settings, rest, request).await;
            }
        }
        let is = |at: &Option<String>| at.as_deref() == Some(path);
        let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
        let host = host.or_else(|| request.uri().authority().map(http::uri::Authority::as_str));
        // The pages of `dev` that tell something are for this machine alone.
        if self.dev.is_some()
            && (is(&self.metrics) || path.starts_with("/dev/"))
            && !host.is_some_and(dev::is_local)
        {
            return dev::not_local();
        }
        if is(&self.health) {
            return typed("application/json", "{}");
        }
        if self.health.is_some()
            && let Some(answer) = probes::answer(path, &self.node, self.admission.overload().overloaded())
        {
            return answer;
        }
        if is(&self.metrics) {
            return typed(
                "text/plain; version=0.0.4; charset=utf-8",
                metrics::page(
                    &self.node,
                    &self.refusals,
                    self.jwks.stats(),
                    &self.reloads,
                    &self.admission,
                    self.log.dropped(),
                ),
            );
        }
        if let Some((at, settings)) = &self.description
            && let Some(rest) = path.strip_prefix(at.as_str())
            && let Some(answer) = describe(&settings.get(), at, rest)
        {
            return answer;
        }
        if is(&self.init) {
            if request.method() != Method::GET {
                return empty(StatusCode::METHOD_NOT_ALLOWED);
            }
            let mut answer = typed("application/json; charset=utf-8", "{}");
            let allowed = self.active.get().origins.admit(request.headers());
            share(request.headers(), allowed, &mut answer);
            return answer;
        }
        if let (Some(dev), &Method::POST, "/dev/explain") = (&self.dev, request.method(), path) {
            let dev = Arc::clone(dev);
            return match whole(request.body_mut(), MAX_EXPLAINED).await {
                Ok(body) => dev.explain(&body).await,
                Err(refused) => refused,
            };
        }
        match &self.dev {
            Some(dev) if request.method() == Method::GET => {
                dev.file(path).unwrap_or_else(|| plain(StatusCode::NOT_FOUND, "404 page not found"))
            }
            _ => plain(StatusCode::NOT_FOUND, "404 page not found"),
        }
    }

    async fn api(
        &self,
        api: &Api,
        settings: &HttpSettings,
        path: &str,
        request: &mut Request<Incoming>,
    ) -> Answer {
        let route = match route(path, request.method()) {
            Ok(route) => route,
            Err(answer) => return answer,
        };
        if !settings.admits(request.headers(), request.uri()) {
            let detail = "the key is missing or not that of http_api.key";
            self.refusals.api(path, 401, "key", &detail);
            return empty(StatusCode::UNAUTHORIZED);
        }
        let body = match whole(request.body_mut(), settings.max_body).await {
            Ok(body) => body,
            Err(refused) => {
                let status = refused.status();
                self.refusals.api(path, status.as_u16(), "body", &status);
                return refused;
            }
        };
        api.serve(settings, route, request.headers(), &body).await.unwrap_or_else(|error| {
            self.refusals.api(path, 400, "malformed", &error);
            malformed()
        })
    }
}

/// The description of the HTTP API: a page at `at`, and the document beside it.
fn describe(settings: &HttpSettings, at: &str, rest: &str) -> Option<Answer> {
    match rest {
        "" | "/" => {
            let mut page = typed(
                "text/html; charset=utf-8",
                openapi::page(settings, &format!("{}/openapi.json", at.trim_end_matches('/'))),
            );
            page.headers_mut().insert(
                CONTENT_SECURITY_POLICY,
                HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'"),
            );
            Some(page)
        }
        "/openapi.json" => {
            Some(typed("application/json; charset=utf-8", openapi::document(settings).to_string()))
        }
        _ => None,
    }
}

/// Lets a page of an allowed origin read the answer. Others get it as well, and their browser keeps it from
/// them: it holds nothing, and what the request was for (an affinity, a cookie) is done.
fn share(headers: &HeaderMap, allowed: bool, answer: &mut Answer) {
    if let (true, Some(origin)) = (allowed, headers.get(ORIGIN)) {
        let own = answer.headers_mut();
        own.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        own.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    }
}

/// A response of this content type.
pub(super) fn typed(kind: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut response = Response::new(Full::new(body.into()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
