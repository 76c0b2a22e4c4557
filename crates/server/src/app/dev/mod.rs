//! `spinward dev`: a server to try things on, with a console at `/`.

mod explain;
mod keys;
mod lines;
mod probe;
mod setup;

pub(super) use setup::Setup;

use crate::api::parameter::{Rejection, read};
use crate::http::{Answer, BoxFuture, Endpoint, Mount, Port, plain, typed, whole};
use crate::params::Params;
use crate::session::{Explainer, Question};
use explain::explain;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HOST, HeaderValue, ORIGIN, X_CONTENT_TYPE_OPTIONS,
};
use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use setup::Ready;
use std::net::SocketAddr;
use subtle::ConstantTimeEq as _;

/// The built console, with the licences of what it is made of.
static FILES: [(&str, &str, &[u8]); 6] = [
    ("/", "text/html; charset=utf-8", include_bytes!("../../../console/index.html")),
    ("/app.js", "text/javascript; charset=utf-8", include_bytes!("../../../console/app.js")),
    ("/app.css", "text/css; charset=utf-8", include_bytes!("../../../console/app.css")),
    ("/centrifuge.js", "text/javascript; charset=utf-8", include_bytes!("../../../console/centrifuge.js")),
    ("/icon.svg", "image/svg+xml", include_bytes!("../../../console/icon.svg")),
    ("/LICENSES.txt", "text/plain; charset=utf-8", include_bytes!("../../../console/LICENSES.txt")),
];

/// Nothing but the page's own files runs, and it talks to servers only.
const POLICY: &str = "default-src 'self'; style-src 'self'; script-src 'self'; connect-src 'self' ws: wss: http: https:; frame-ancestors 'none'";

/// Bytes of a question.
const MAX_ASKED: usize = 128 << 10;

/// Header of the console's own requests. No other page can send it, or knows the key.
const KEY_HEADER: &str = "x-console-key";

/// Information for the console, and its files.
pub(super) struct Dev {
    ready: Ready,
    address: SocketAddr,
    explainer: Explainer,
}

impl Endpoint for Dev {
    fn answer<'a>(
        &'a self,
        path: &'a str,
        request: &'a mut Request<Incoming>,
    ) -> BoxFuture<'a, Option<Answer>> {
        Box::pin(async move {
            if path.starts_with("/dev/") && !is_local(request) {
                return Some(not_local());
            }
            match (request.method(), path) {
                (&Method::POST, "/dev/explain" | "/dev/probe") if !self.is_console(request) => {
                    Some(plain(StatusCode::UNAUTHORIZED, "for the console of this server alone"))
                }
                (&Method::POST, "/dev/explain" | "/dev/probe") => Some(self.told(path, request).await),
                (&Method::GET, path) => self.file(path),
                _ => None,
            }
        })
    }
}

impl Dev {
    /// The path where this server tells its keys to pages of this machine.
    pub(super) const INFO: &str = "/dev/info";

    /// The console at the root.
    pub(super) fn mount(self) -> Mount {
        Mount::below("", Port::External, self)
    }

    fn is_console<B>(&self, request: &Request<B>) -> bool {
        let key = request.headers().get(KEY_HEADER).map_or(&b""[..], HeaderValue::as_bytes);
        key.ct_eq(self.ready.console_key.expose().as_bytes()).into()
    }

    async fn told(&self, path: &str, request: &mut Request<Incoming>) -> Answer {
        let body = match whole(request.body_mut(), MAX_ASKED).await {
            Ok(body) => body,
            Err(refused) => return refused,
        };
        if path == "/dev/explain" {
            return self.explain(&body).await;
        }
        let told = match std::str::from_utf8(&body) {
            Ok(url) => probe::probe(url.trim(), request.headers().get(ORIGIN)).await,
            Err(_) => None,
        };
        answer(told.map(|told| told.to_string()))
    }

    /// A file of the console, or what it asks about this server.
    fn file(&self, path: &str) -> Option<Answer> {
        let mut answer = if path == Self::INFO {
            let now = self.explainer.clock.now().unix();
            typed("application/json", self.ready.info(self.address, now).to_string())
        } else {
            let (_, kind, body) = FILES.iter().find(|(name, ..)| *name == path)?;
            typed(kind, *body)
        };
        guard(&mut answer);
        Some(answer)
    }

    /// Returns what this server would decide: with an `action` as in the API method `explain`, and without one the
    /// verification of a `token`, step by step.
    async fn explain(&self, body: &[u8]) -> Answer {
        let asked = std::str::from_utf8(body).ok().and_then(|text| Params::parse(text).ok());
        let asked = asked.and_then(|asked| {
            let (token, action) = (asked.string("token").ok()?, asked.string("action").ok()?);
            match read::<Question>(asked) {
                Ok(question) => Some(Ok(question)),
                Err(Rejection::Refused(_)) if action.is_empty() && !token.is_empty() => Some(Err(token)),
                Err(_) => None,
            }
        });
        let told = match asked {
            Some(Ok(question)) => serde_json::to_string(&self.explainer.explain(&question).await).ok(),
            Some(Err(token)) => Some(explain(&self.explainer, token.trim()).await.to_string()),
            None => None,
        };
        answer(told)
    }
}

/// JSON for the console. `None` is a question that was not understood.
fn answer(told: Option<String>) -> Answer {
    let Some(told) = told else { return plain(StatusCode::BAD_REQUEST, "Bad Request") };
    let mut answer = typed("application/json", told);
    guard(&mut answer);
    answer
}

/// The refusal of a request that does not name this machine.
pub(super) fn not_local() -> Answer {
    let mut answer = plain(StatusCode::FORBIDDEN, "open the console at http://localhost or http://127.0.0.1");
    guard(&mut answer);
    answer
}

/// Returns true if a request names this machine itself.
pub(super) fn is_local<B>(request: &Request<B>) -> bool {
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
    host.or_else(|| request.uri().authority().map(http::uri::Authority::as_str))
        .is_some_and(names_this_machine)
}

/// Returns true if `host`, as a `Host` header has it, names this machine itself.
///
/// Keys, metrics and explanations are for pages of this machine alone: a page from elsewhere whose name was made to
/// resolve to 127.0.0.1 (DNS rebinding) counts as the same origin in a browser, but its requests still carry that
/// name.
fn names_this_machine(host: &str) -> bool {
    let name = host
        .rsplit_once(':')
        .map_or(host, |(name, port)| if port.bytes().all(|b| b.is_ascii_digit()) { name } else { host });
    name.eq_ignore_ascii_case("localhost") || ["127.0.0.1", "[::1]"].contains(&name)
}

/// Nothing but the console's own files runs in it, and nothing of it is kept.
fn guard(answer: &mut Answer) {
    let headers = answer.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
}

#[cfg(test)]
mod tests {
    use super::names_this_machine;

    #[test]
    fn keys_are_for_names_of_this_machine() {
        for host in ["localhost", "LocalHost:8000", "127.0.0.1:8000", "127.0.0.1", "[::1]", "[::1]:8000"] {
            assert!(names_this_machine(host), "{host}");
        }
        for host in
            ["", ":8000", "evil.example:8000", "127.0.0.1.evil.example", "localhost.evil.example:80", "::1"]
        {
            assert!(!names_this_machine(host), "{host}");
        }
    }
}
