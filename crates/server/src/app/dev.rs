//! `spinward dev`: a server to try things on, with a console at `/`.

use super::explain::explain;
use crate::api::parameter::{Rejection, read};
use crate::config::typed::DeltaType;
use crate::config::{Config, Duration};
use crate::http::{Answer, BoxFuture, Endpoint, Mount, Port, plain, typed, whole};
use crate::params::Params;
use crate::secret::Secret;
use crate::session::{Explainer, Question};
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, HOST, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use serde_json::json;
use spinward::id::Entropy;
use std::net::SocketAddr;

/// The built console, with the licences of what it is made of.
static FILES: [(&str, &str, &[u8]); 6] = [
    ("/", "text/html; charset=utf-8", include_bytes!("../../console/index.html")),
    ("/app.js", "text/javascript; charset=utf-8", include_bytes!("../../console/app.js")),
    ("/app.css", "text/css; charset=utf-8", include_bytes!("../../console/app.css")),
    ("/centrifuge.js", "text/javascript; charset=utf-8", include_bytes!("../../console/centrifuge.js")),
    ("/icon.svg", "image/svg+xml", include_bytes!("../../console/icon.svg")),
    ("/LICENSES.txt", "text/plain; charset=utf-8", include_bytes!("../../console/LICENSES.txt")),
];

/// Nothing but the page's own files runs, and it talks to servers only.
const POLICY: &str = "default-src 'self'; style-src 'self'; script-src 'self'; connect-src 'self' ws: wss: http: https:; frame-ancestors 'none'";

/// Bytes of a request to explain a token.
const MAX_EXPLAINED: usize = 128 << 10;

/// Information for the console, and its files.
pub(super) struct Dev {
    info: String,
    explainer: Explainer,
}

/// Keys and a token, made for one run or by the keys of a configuration. Empty means none.
pub(super) struct Made {
    token: String,
    api_key: String,
}

/// The user of the ready-made token, and a channel to begin with.
const USER: &str = "developer";
const CHANNEL: &str = "playground";

/// A configuration in which everything can be tried: for this machine only, since it opens every channel.
pub(super) fn configure(port: u16) -> (Config, Made) {
    let secret = || Entropy::system().client_id().to_string();
    let (token_key, api_key) = (secret() + &secret(), secret());
    let mut config = Config::default();
    config.http_server.address = "127.0.0.1".to_owned();
    config.http_server.port = port;
    config.client.allowed_origins = vec!["*".to_owned()];
    config.client.token.own.hmac_secret_key = Secret::new(token_key.clone());
    config.http_api.key = Secret::new(api_key.clone());
    config.health.enabled = true;
    config.prometheus.enabled = true;
    let options = &mut config.channel.without_namespace;
    options.presence = true;
    options.join_leave = true;
    options.history_size = 100;
    options.history_ttl = Duration::secs(3600);
    options.allow_recovery = true;
    options.allow_positioning = true;
    options.allow_tags_filter = true;
    options.allowed_delta_types = vec![DeltaType::Fossil];
    options.allow_user_limited_channels = true;
    options.allow_subscribe_for_client = true;
    options.allow_publish_for_subscriber = true;
    options.allow_presence_for_subscriber = true;
    options.allow_history_for_subscriber = true;
    let token = crate::auth::sign::hs256(&token_key, &json!({ "sub": USER }));
    (config, Made { token, api_key })
}

/// Has the console beside a configuration of one's own, on this machine only.
pub(super) fn adopt(config: &mut Config, port: Option<u16>) -> Made {
    config.http_server.address = "127.0.0.1".to_owned();
    config.http_server.internal_port = String::new();
    if let Some(port) = port {
        config.http_server.port = port;
    }
    let keys = &config.client.token.own;
    let token = if keys.hmac_secret_key.is_empty() {
        String::new()
    } else {
        crate::auth::sign::hs256(keys.hmac_secret_key.expose(), &json!({ "sub": USER }))
    };
    Made { token, api_key: config.http_api.key.expose().to_owned() }
}

impl Made {
    /// Prints what a developer needs, and gives the console its part.
    #[allow(clippy::print_stdout, reason = "this is for the person at the terminal")]
    pub(super) fn announce(&self, address: SocketAddr, explainer: Explainer) -> Dev {
        let ready =
            Ready { address, token: &self.token, api_key: &self.api_key, user: USER, channel: CHANNEL };
        println!("Spinward {} in development mode, for this machine alone.\n", env!("CARGO_PKG_VERSION"));
        println!("  console   http://{address}/");
        println!("  token     {}\n", self.token);
        println!("Publish from another terminal:\n\n{}\n", ready.curl());
        println!("A page that listens:\n\n{}\n", ready.snippet());
        Dev::new(&ready, explainer)
    }
}

/// Information that a developer needs to begin.
pub(super) struct Ready<'a> {
    pub(super) address: SocketAddr,
    pub(super) token: &'a str,
    pub(super) api_key: &'a str,
    pub(super) user: &'a str,
    pub(super) channel: &'a str,
}

impl Ready<'_> {
    /// A line for the shell that publishes.
    pub(super) fn curl(&self) -> String {
        format!(
            "curl -X POST http://{}/api/publish -H 'X-API-Key: {}' -d '{{\"channel\":\"{}\",\"data\":{{\"hello\":\"world\"}}}}'",
            self.address, self.api_key, self.channel
        )
    }

    /// A page that connects and listens, with the official SDK from wherever the application has it.
    pub(super) fn snippet(&self) -> String {
        format!(
            "<!doctype html>\n<script src=\"http://{0}/centrifuge.js\"></script>\n<script>\n  \
             const centrifuge = new Centrifuge(\"ws://{}/connection/websocket\");\n  \
             centrifuge.setToken(\"{}\");\n  \
             const sub = centrifuge.newSubscription(\"{}\");\n  \
             sub.on(\"publication\", (ctx) => console.log(ctx.data));\n  \
             sub.subscribe();\n  centrifuge.connect();\n</script>",
            self.address, self.token, self.channel
        )
    }
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
                (&Method::POST, "/dev/explain") => match whole(request.body_mut(), MAX_EXPLAINED).await {
                    Ok(body) => Some(self.explain(&body).await),
                    Err(refused) => Some(refused),
                },
                (&Method::GET, path) => self.file(path),
                _ => None,
            }
        })
    }
}

impl Dev {
    /// The console at the root.
    pub(super) fn mount(self) -> Mount {
        Mount::below("", Port::External, self)
    }

    pub(super) fn new(ready: &Ready<'_>, explainer: Explainer) -> Self {
        let info = json!({
            "token": ready.token,
            "api_key": ready.api_key,
            "websocket": "/connection/websocket",
            "version": env!("CARGO_PKG_VERSION"),
            "user": ready.user,
            "channel": ready.channel,
            "curl": ready.curl(),
            "snippet": ready.snippet(),
        });
        Self { info: info.to_string(), explainer }
    }

    /// A file of the console, or what it asks about this server.
    fn file(&self, path: &str) -> Option<Answer> {
        let mut answer = if path == "/dev/info" {
            typed("application/json", self.info.clone())
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
        let Some(told) = told else { return plain(StatusCode::BAD_REQUEST, "Bad Request") };
        let mut answer = typed("application/json", told);
        guard(&mut answer);
        answer
    }
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
