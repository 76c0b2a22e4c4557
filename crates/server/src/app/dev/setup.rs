//! Preparation of `spinward dev`: a configuration for this machine alone, a token, a channel, and the lines to copy.

use super::keys::Keys;
use super::{Dev, lines};
use crate::app::RunError;
use crate::app::build::Built;
use crate::app::ports::Bound;
use crate::auth::sign::{hs256, required_claims};
use crate::config::typed::DeltaType;
use crate::config::{Config, Duration, Loaded};
use crate::secret::Secret;
use crate::session::{Asked, Explainer, Question};
use http::HeaderMap;
use serde_json::{Value, json};
use std::io::{self, Write};
use std::net::SocketAddr;
use tokio::runtime::Handle;

/// The user of the ready-made token, and a channel to begin with.
const USER: &str = "developer";
const CHANNEL: &str = "playground";

/// Names that a restricted channel may take.
const NAMES: [&str; 4] = [CHANNEL, "1", "a", "00000000-0000-4000-8000-000000000000"];

/// Ports that are tried after a taken one.
const FURTHER_PORTS: u16 = 20;

/// Seconds for which a token is valid where tokens must expire.
const TOKEN_TTL: i64 = 3600;

/// A development server that is being put together.
pub(in crate::app) struct Setup {
    config: Config,
    keys: Keys,
    /// The port was named by the user, and no other will do.
    asked: bool,
    ready: Ready,
}

/// Information that a developer needs to begin, besides the address.
pub(super) struct Ready {
    pub(super) signer: Option<Signer>,
    pub(super) api_key: Secret,
    pub(super) console_key: Secret,
    pub(super) channel: String,
    /// Paths of the endpoints; that of the API is `None` where it is off.
    pub(super) websocket: String,
    pub(super) api: Option<String>,
    pub(super) swagger: Option<String>,
    /// Remarks for the terminal.
    notes: Vec<String>,
}

/// Makes tokens for the console.
pub(super) struct Signer {
    key: Secret,
    claims: Value,
    expires: bool,
}

impl Signer {
    /// A token for a connection of the developer.
    pub(super) fn token(&self, now: i64) -> String {
        let mut claims = self.claims.clone();
        if self.expires {
            claims["exp"] = json!(now + TOKEN_TTL);
        }
        hs256(self.key.expose(), &claims)
    }
}

impl Setup {
    /// A configuration in which everything can be tried, or the one of the user.
    pub(in crate::app) fn new(port: Option<u16>, own: Option<Loaded>) -> Self {
        let keys = Keys::of_user();
        let named = own.as_ref().is_some_and(|own| {
            own.file.get("http_server").is_some_and(|server| !server["port"].is_null())
                || own.config.http_server.port != Config::default().http_server.port
        });
        let adopted = own.is_some();
        let mut config = own.map_or_else(open, |own| own.config);
        if let Some(port) = port {
            config.http_server.port = port;
        }
        keep_local(&mut config);
        let mut notes = Vec::new();
        let signer = signer(&mut config, &keys, &mut notes);
        if config.http_api.key.is_empty() {
            config.http_api.key = keys.api.clone();
        }
        let made = [
            ("client.token.hmac_secret_key", config.client.token.own.hmac_secret_key == keys.token),
            ("http_api.key", config.http_api.key == keys.api),
        ];
        for (option, _) in made.iter().filter(|(_, made)| adopted && *made) {
            notes.push(format!("{option} is not set: a key of development takes its place here."));
        }
        let ready = Ready {
            signer,
            api_key: config.http_api.key.clone(),
            console_key: keys.console.clone(),
            channel: CHANNEL.to_owned(),
            websocket: config.websocket.handler_prefix.clone(),
            api: (!config.http_api.disabled).then(|| config.http_api.handler_prefix.clone()),
            swagger: (config.swagger.enabled && !config.http_api.disabled)
                .then(|| config.swagger.handler_prefix.clone()),
            notes,
        };
        Self { config, keys, asked: named || port.is_some(), ready }
    }

    pub(in crate::app) const fn config(&self) -> &Config {
        &self.config
    }

    /// Listens on the port, or on the next one that is free if nobody asked for this one. Its pages are admitted.
    ///
    /// # Errors
    /// The port, or every one of them, is taken.
    pub(in crate::app) fn listen(&mut self) -> Result<Bound, RunError> {
        let server = &mut self.config.http_server;
        let wanted = server.port;
        let last = if self.asked { wanted } else { wanted.saturating_add(FURTHER_PORTS) };
        let bound = loop {
            let bound = Bound::bind("http_server.port", &server.address, server.port);
            match Handle::current().block_on(bound) {
                Err(RunError::Listen { source, .. })
                    if source.kind() == io::ErrorKind::AddrInUse && server.port < last =>
                {
                    server.port += 1;
                }
                bound => break bound?,
            }
        };
        server.port = bound.socket_address().map_err(RunError::Start)?.port();
        if wanted != 0 && server.port != wanted {
            self.ready.notes.push(format!("Port {wanted} is taken: this server is on {}.", server.port));
        }
        let origins = ["127.0.0.1", "localhost"].map(|host| format!("http://{host}:{}", server.port));
        self.config.client.allowed_origins.extend(origins);
        Ok(bound)
    }

    /// Tries token and channel, prints what a developer needs, and gives the console its part.
    pub(in crate::app) fn announce(self, address: SocketAddr, built: &Built) -> Dev {
        let Self { config, keys, mut ready, .. } = self;
        let (explainer, now) = (built.explainer.clone(), built.clock.now().unix());
        let token = ready.signer.as_ref().map(|signer| signer.token(now));
        if let Some(token) = &token
            && let Some(refused) = refusal(&explainer, Asked::Connect, "", token)
        {
            ready.notes.push(format!("The configuration takes no token made here: {refused}."));
            ready.signer = None;
        }
        let token = token.filter(|_| ready.signer.is_some()).unwrap_or_default();
        let allowed = candidates(&config)
            .find(|channel| refusal(&explainer, Asked::Subscribe, channel, &token).is_none());
        match allowed {
            Some(channel) => ready.channel = channel,
            None => {
                let refused = refusal(&explainer, Asked::Subscribe, CHANNEL, &token).unwrap_or_default();
                ready.notes.push(format!("No channel was found that a client may subscribe to: {refused}."));
            }
        }
        // A terminal that is gone, or a reader such as `head`, does not end the server.
        let _ = write(&mut io::stdout().lock(), &ready, &keys, address, &token);
        Dev { ready, address, explainer }
    }
}

/// The reason for which something is refused, and a change that would allow it: an option rather than a token.
fn refusal(explainer: &Explainer, action: Asked, channel: &str, token: &str) -> Option<String> {
    let question = Question {
        // Without a token made here, that of the backend will be for some user.
        user: token.is_empty().then(|| USER.to_owned()),
        client: None,
        channel: channel.to_owned(),
        action,
        token: token.to_owned(),
        headers: HeaderMap::new(),
        subscription_token: String::new(),
        subscribed: false,
        ask_proxy: false,
    };
    let told = Handle::current().block_on(explainer.explain(&question));
    let option = told.change.iter().find(|change| change.starts_with("set "));
    let change =
        option.or(told.change.first()).map_or_else(String::new, |change| format!("; to allow it: {change}"));
    told.code.map(|_| told.reason + &change)
}

/// Writes what a person at the terminal needs.
fn write(
    out: &mut impl Write,
    ready: &Ready,
    keys: &Keys,
    address: SocketAddr,
    token: &str,
) -> io::Result<()> {
    writeln!(out, "Spinward {} in development mode, for this machine alone.\n", env!("CARGO_PKG_VERSION"))?;
    writeln!(out, "  console   http://{address}/")?;
    if let Some(path) = &ready.swagger {
        writeln!(out, "  API       http://{address}{path}")?;
    }
    if !token.is_empty() {
        writeln!(out, "  token     {token}")?;
    }
    let made =
        ready.api_key == keys.api || ready.signer.as_ref().is_some_and(|signer| signer.key == keys.token);
    if made {
        let replaced =
            if keys.replaced { "; new ones, the old file was damaged or readable for others" } else { "" };
        match &keys.kept {
            Ok(file) => writeln!(out, "  keys      kept for the next run in {}{replaced}", file.display())?,
            Err(reason) => writeln!(out, "  keys      for this run alone: {reason}")?,
        }
    }
    writeln!(out)?;
    for note in &ready.notes {
        writeln!(out, "{note}\n")?;
    }
    if let Some(curl) = ready.curl(address) {
        writeln!(out, "Publish from another terminal:\n\n{curl}\n")?;
    }
    if !token.is_empty() {
        writeln!(out, "A page that listens:\n\n{}\n", ready.page(address, token))?;
    }
    out.flush()
}

impl Ready {
    pub(super) fn curl(&self, address: SocketAddr) -> Option<String> {
        let api = format!("http://{address}{}", self.api.as_ref()?);
        Some(lines::curl(&api, self.api_key.expose(), &self.channel))
    }

    pub(super) fn page(&self, address: SocketAddr, token: &str) -> String {
        let websocket = format!("ws://{address}{}", self.websocket);
        lines::page(&format!("http://{address}"), &websocket, token, &self.channel)
    }

    /// Information for the console, asked for when it is loaded and when its token has expired.
    pub(super) fn info(&self, address: SocketAddr, now: i64) -> Value {
        let token = self.signer.as_ref().map(|signer| signer.token(now));
        json!({
            "token": token,
            "api_key": self.api.as_ref().map(|_| self.api_key.expose()),
            "console_key": self.console_key.expose(),
            "websocket": self.websocket,
            "api": self.api,
            "swagger": self.swagger,
            "version": env!("CARGO_PKG_VERSION"),
            "user": USER,
            "channel": self.channel,
            "curl": self.curl(address),
            "snippet": token.map(|token| self.page(address, &token)),
        })
    }
}

/// Everything can be tried: for this machine only, since it opens every channel.
fn open() -> Config {
    let mut config = Config::default();
    config.client.allowed_origins = vec!["*".to_owned()];
    config.health.enabled = true;
    config.prometheus.enabled = true;
    config.swagger.enabled = true;
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
    config
}

/// One port, and every address that of this machine.
fn keep_local(config: &mut Config) {
    let local = "127.0.0.1";
    let server = &mut config.http_server;
    server.address = local.to_owned();
    server.internal_address = String::new();
    server.internal_port = String::new();
    // A browser on this machine has no proxy in front, and knows no certificate of it.
    server.proxy_protocol_sources = Vec::new();
    server.tls.enabled = false;
    server.tls_autocert.enabled = false;
    config.uni_grpc.address = local.to_owned();
    config.grpc_api.address = local.to_owned();
}

/// Tokens are signed by the configured secret, or by one of development where the configuration has no key at all.
fn signer(config: &mut Config, keys: &Keys, notes: &mut Vec<String>) -> Option<Signer> {
    let token = &mut config.client.token;
    let own = &mut token.own;
    if own.hmac_secret_key.is_empty() {
        let public =
            [&own.rsa_public_key, &own.ecdsa_public_key, &own.ed25519_public_key, &own.jwks_public_endpoint];
        if public.iter().any(|key| !key.is_empty()) || !own.keys.is_empty() || !token.issuers.is_empty() {
            notes.push(
                "No token is made here, since client.token.hmac_secret_key is not set: paste one that your backend \
                 has signed into the console."
                    .to_owned(),
            );
            return None;
        }
        own.hmac_secret_key = keys.token.clone();
    }
    let claims = required_claims(own, USER);
    Some(Signer { key: own.hmac_secret_key.clone(), claims, expires: token.require_exp })
}

/// Channels that might be allowed, the plainest first.
fn candidates(config: &Config) -> impl Iterator<Item = String> {
    let channel = &config.channel;
    let prefixes = std::iter::once(String::new())
        .chain(channel.namespaces.iter().map(|one| format!("{}{}", one.name, channel.namespace_boundary)));
    let plain = prefixes.flat_map(|prefix| NAMES.map(|name| format!("{prefix}{name}")));
    let shaped = channel.namespaces.iter().filter(|one| channel.patterns && !one.pattern.is_empty());
    let shaped = shaped.map(|one| {
        let parts = one.pattern.split('/').map(|part| match part.split_once(':') {
            Some((fixed, _)) => format!("{fixed}{CHANNEL}"),
            None => part.to_owned(),
        });
        parts.collect::<Vec<_>>().join("/")
    });
    let all: Vec<String> = plain.chain(shaped).collect();
    let limited: Vec<String> = match channel.user_boundary.as_str() {
        "" => Vec::new(),
        boundary => all.iter().map(|name| format!("{name}{boundary}{USER}")).collect(),
    };
    all.into_iter().chain(limited)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channels(config: Value) -> Vec<String> {
        let config: Config = serde_json::from_value(config).unwrap();
        candidates(&config).filter(|name| name.contains(CHANNEL)).collect()
    }

    #[test]
    fn channels_of_every_namespace_are_tried() {
        assert_eq!(channels(json!({})), ["playground", "playground#developer"]);
        let config = json!({"channel": {
            "patterns": true, "user_boundary": "", "namespace_boundary": "/",
            "namespaces": [{"name": "chat"}, {"name": "users", "pattern": "/users/u-:id/x"}],
        }});
        assert_eq!(
            channels(config),
            ["playground", "chat/playground", "users/playground", "/users/u-playground/x"]
        );
    }

    #[test]
    fn a_token_has_the_claims_that_the_configuration_wants() {
        let mut config = Config::default();
        config.client.token.require_exp = true;
        let own = &mut config.client.token.own;
        (own.issuer, own.audience, own.user_id_claim) = ("i".to_owned(), "a".to_owned(), "x.user".to_owned());
        own.hmac_secret_key = Secret::from("a-secret-of-the-test");
        let signer = signer(&mut config, &Keys::new(), &mut Vec::new()).unwrap();
        let expected =
            json!({"sub": USER, "iss": "i", "aud": "a", "x": {"user": USER}, "exp": 10 + TOKEN_TTL});
        assert_eq!(signer.token(10), hs256("a-secret-of-the-test", &expected));
    }
}
