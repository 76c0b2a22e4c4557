//! The HTTP server: accepts connections and routes requests.

use super::dev::Dev;
use super::metrics;
use super::path;
use super::reload::Reloads;
use crate::api::Api;
use crate::api::http::{Answer, HttpSettings, empty, malformed, misplaced, plain};
use crate::api::openapi;
use crate::auth::jwks::Jwks;
use crate::session::{InForce, Refusals, Shared};
use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_ORIGIN, CONNECTION, CONTENT_SECURITY_POLICY,
    CONTENT_TYPE, EXPECT, HOST, HeaderMap, HeaderValue, ORIGIN,
};
use http::{Method, Request, Response, StatusCode, Version};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Body, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use spinward::Node;
use spinward::transport::websocket::WebSocket;
use std::convert::Infallible;
use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// How long a client may take to send the head of a request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a client may take to send a body: 32 MiB at 9 Mbit/s.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// Bytes of a body that are read for nothing, and how long that may take.
const MAX_SPENT: usize = 64 << 10;
const SPEND_TIMEOUT: Duration = Duration::from_secs(1);

/// Bytes of a request to explain a token.
const MAX_EXPLAINED: usize = 128 << 10;

/// What one port serves.
pub(super) struct Routes {
    pub(super) node: Node,
    pub(super) websocket: Option<(String, WebSocket)>,
    pub(super) init: Option<String>,
    pub(super) api: Option<(Api, Shared<HttpSettings>)>,
    pub(super) health: Option<String>,
    pub(super) metrics: Option<String>,
    /// The description of the HTTP API: where, and of which door.
    pub(super) description: Option<(String, Shared<HttpSettings>)>,
    pub(super) in_force: Shared<InForce>,
    pub(super) refusals: Arc<Refusals>,
    pub(super) reloads: Arc<Reloads>,
    pub(super) jwks: Jwks,
    pub(super) dev: Option<Arc<Dev>>,
}

/// Accepts connections until it is told to stop.
pub(super) async fn accept(listener: TcpListener, routes: Arc<Routes>, mut stop: watch::Receiver<bool>) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.changed() => return,
        };
        match accepted {
            Ok((stream, peer)) => {
                tokio::spawn(connection(stream, peer, Arc::clone(&routes), stop.clone()));
            }
            Err(error) => {
                // Out of descriptors, most likely: those who hold them let go in time, and asking again at once
                // would only burn the processor.
                tracing::warn!(%error, "a connection cannot be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    routes: Arc<Routes>,
    mut stop: watch::Receiver<bool>,
) {
    // A socket that cannot be told so is slower, no worse.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let routes = Arc::clone(&routes);
        async move { Ok::<_, Infallible>(routes.answer(request, peer).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        _ = stop.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, %peer, "an HTTP connection ended badly");
    }
}

impl Routes {
    async fn answer(&self, mut request: Request<Incoming>, peer: SocketAddr) -> Answer {
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
            if let Some(refusal) = websocket.refusal(&request) {
                return refusal;
            }
            if !self.in_force.get().origins.admit(request.headers()) {
                return plain(StatusCode::FORBIDDEN, "Forbidden");
            }
            request.extensions_mut().insert(peer);
            return websocket.upgrade(request);
        }
        let mut answer = self.route(&path, &mut request).await;
        if !spend(&mut request).await {
            answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        answer
    }

    async fn route(&self, path: &str, request: &mut Request<Incoming>) -> Answer {
        if let Some((api, settings)) = &self.api {
            let settings = settings.get();
            if let Some(rest) = settings.strip(path) {
                return self.api(api, &settings, rest, request).await;
            }
        }
        let is = |at: &Option<String>| at.as_deref() == Some(path);
        if is(&self.health) {
            return typed("application/json", "{}");
        }
        if is(&self.metrics) {
            return typed(
                "text/plain; version=0.0.4; charset=utf-8",
                metrics::page(&self.node, &self.refusals, self.jwks.stats(), &self.reloads),
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
            let allowed = self.in_force.get().origins.admit(request.headers());
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
                let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
                let host = host.or_else(|| request.uri().authority().map(http::uri::Authority::as_str));
                dev.file(path, host).unwrap_or_else(|| plain(StatusCode::NOT_FOUND, "404 page not found"))
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
        if let Some(answer) = misplaced(path, request.method()) {
            return answer;
        }
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
        api.serve(settings, path, request.headers(), &body).await.unwrap_or_else(|error| {
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

/// Reads a body of at most so many bytes, or says what to answer in its place.
async fn whole<B>(body: B, max: usize) -> Result<Bytes, Answer>
where
    B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>>,
{
    match tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, max).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(_)) => Err(plain(StatusCode::PAYLOAD_TOO_LARGE, "Request Entity Too Large")),
        Err(_) => Err(plain(StatusCode::REQUEST_TIMEOUT, "Request Timeout")),
    }
}

/// Reads what is left of the body of a request that was answered without it, and says whether the connection can
/// go on. Without that it would end after the answer, and a client that keeps it would lose its next request.
/// A client that asks first whether to send the body is not asked for it.
async fn spend(request: &mut Request<Incoming>) -> bool {
    if request.body().is_end_stream() {
        return true;
    }
    if request.headers().contains_key(EXPECT) {
        return false;
    }
    let rest = Limited::new(request.body_mut(), MAX_SPENT).collect();
    tokio::time::timeout(SPEND_TIMEOUT, rest).await.is_ok_and(|rest| rest.is_ok())
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

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::body::{Frame, SizeHint};
    use std::pin::Pin;
    use std::task::{Context, Poll};

    /// Gives these bytes, one at a time and a second apart, and then either ends or keeps quiet.
    struct Dripping {
        left: usize,
        ends: bool,
        pause: Pin<Box<tokio::time::Sleep>>,
    }

    impl Dripping {
        fn new(left: usize, ends: bool) -> Self {
            Self { left, ends, pause: Box::pin(tokio::time::sleep(Duration::from_secs(1))) }
        }
    }

    impl Body for Dripping {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            if self.left == 0 {
                return if self.ends { Poll::Ready(None) } else { Poll::Pending };
            }
            std::task::ready!(self.pause.as_mut().poll(context));
            self.left -= 1;
            self.pause = Box::pin(tokio::time::sleep(Duration::from_secs(1)));
            Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b" ")))))
        }

        fn size_hint(&self) -> SizeHint {
            SizeHint::default()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_has_thirty_seconds() {
        let status = async |left, ends, max| match whole(Dripping::new(left, ends), max).await {
            Ok(body) => (200, body.len()),
            Err(answer) => (answer.status().as_u16(), 0),
        };
        assert_eq!(status(29, true, 100).await, (200, 29));
        assert_eq!(status(60, true, 100).await, (408, 0), "however much comes meanwhile");
        assert_eq!(status(3, false, 100).await, (408, 0));
        assert_eq!(status(4, true, 4).await, (200, 4));
        assert_eq!(status(5, true, 4).await, (413, 0));
    }
}
