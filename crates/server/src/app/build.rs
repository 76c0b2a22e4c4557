//! From the configuration to the parts of a server.

use super::dev::Dev;
use super::log::Running;
use super::metrics::Metrics;
use super::reload::Reloads;
use super::serve::Router;
use super::tokens::{TokensError, token_settings};
use super::{init, probes};
use crate::admission::{Admission, Caps, Overload, OverloadLimits, Proxies, ProxyError, memory_limit};
use crate::api::http::HttpSettings;
use crate::api::neighbours::Neighbours;
use crate::api::{self, Api};
use crate::auth::jwks::Jwks;
use crate::auth::origin::{OriginError, Origins};
use crate::auth::revoke::StoreError;
use crate::auth::revoke_store::MemoryStore;
use crate::auth::verify::{SettingsError, Verifier};
use crate::channel::Registry;
use crate::config::Config;
use crate::config::typed::{ClientRateLimit, CommandRateLimit, RateLimit};
use crate::http::{Mount, open_files_limit};
use crate::policy::Rules;
use crate::session::{
    ActiveConfig, Explainer, Keys, NoProxies, RefusalLog, Revocations, ServerHooks, Settings, Shared,
};
use spinward::clock::Clock;
use spinward::config::{Bucket, CommandLimits, RateLimits};
use spinward::{Node, NodeBuilder};
use std::path::Path;
use std::sync::Arc;
use thiserror::Error;

/// The configuration does not make a server.
#[derive(Debug, Error)]
pub enum BuildError {
    /// Channels or namespaces.
    #[error(transparent)]
    Channels(#[from] crate::channel::registry::BuildError),
    /// Keys, or what tokens must say.
    #[error(transparent)]
    Tokens(#[from] SettingsError),
    /// Certificates of a key set.
    #[error(transparent)]
    KeySets(#[from] TokensError),
    /// Origins.
    #[error(transparent)]
    Origins(#[from] OriginError),
    /// The file of revocations.
    #[error("client.revocation.file: {0}")]
    Revocation(#[from] StoreError),
    /// Addresses of proxies.
    #[error("{}: {}", .0.option(), .0)]
    Proxies(#[from] ProxyError),
    /// Limits and timings.
    #[error(transparent)]
    Node(#[from] spinward::BuildError),
}

/// The parts of a server.
pub(super) struct Built {
    pub(super) node: Node,
    pub(super) active: Shared<ActiveConfig>,
    pub(super) endpoint: Shared<HttpSettings>,
    pub(super) jwks: Jwks,
    pub(super) clock: Clock,
    pub(super) refusals: Arc<RefusalLog>,
    pub(super) admission: Admission,
    pub(super) explainer: Explainer,
}

impl Built {
    pub(super) fn new(config: &Config) -> Result<Self, BuildError> {
        let clock = Clock::system();
        let jwks = Jwks::current();
        let refusals = Arc::new(RefusalLog::new(clock.clone()));
        let explainer = explainer(config, &jwks, clock.clone(), MemoryStore::open)?;
        let active = explainer.active.clone();
        let hooks = ServerHooks::new(
            active.clone(),
            clock.clone(),
            Arc::clone(&refusals),
            explainer.revocations.clone(),
        );
        let neighbours = Neighbours::new(explainer.revocations.clone());
        let builder = Node::builder(hooks).name(node_name(config)).version(env!("CARGO_PKG_VERSION"));
        let node = node(config, builder.handler(neighbours))?;
        let admission = admission(config, clock.clone())?;
        let endpoint = Shared::new(http_settings(config));
        Ok(Self { node, active, endpoint, jwks, clock, refusals, admission, explainer })
    }

    /// The same, but that clients are told why they are refused: for development only.
    pub(super) fn explaining(config: &Config) -> Result<Self, BuildError> {
        let built = Self::new(config)?;
        let mut explaining = active_config(config, &built.jwks)?;
        explaining.settings.explain = true;
        built.active.set(explaining);
        Ok(built)
    }

    /// The endpoints of the external port, and those of the internal one where there is one.
    pub(super) fn routers(
        &self,
        config: &Config,
        dev: Option<Dev>,
        reloads: &Arc<Reloads>,
        log: &Running,
        apart: bool,
    ) -> (Router, Option<Router>) {
        let mounts = self.mounts(config, dev, reloads, log);
        let router = |websocket, mounts| Router {
            websocket,
            mounts,
            active: self.active.clone(),
            admission: self.admission.clone(),
        };
        let websocket = (!config.websocket.disabled)
            .then(|| (config.websocket.handler_prefix.clone(), self.node.websocket()));
        if !apart {
            return (router(websocket, mounts), None);
        }
        let on = |internal: bool| mounts.iter().filter(|mount| mount.is_on(internal)).cloned().collect();
        (router(websocket, on(false)), Some(router(None, on(true))))
    }

    /// Every endpoint but the WebSocket. The first one that has a path answers.
    fn mounts(&self, config: &Config, dev: Option<Dev>, reloads: &Arc<Reloads>, log: &Running) -> Vec<Mount> {
        let mut mounts = Vec::new();
        if !config.http_api.disabled {
            let (settings, refusals) = (self.endpoint.clone(), Arc::clone(&self.refusals));
            mounts.push(api::http::mount(self.api(config), settings, refusals, config.http_api.external));
        }
        if config.health.enabled {
            let (node, admission) = (self.node.clone(), self.admission.clone());
            mounts.extend(probes::mounts(&config.health.handler_prefix, node, admission));
        }
        if config.prometheus.enabled {
            let metrics = Metrics {
                node: self.node.clone(),
                refusals: Arc::clone(&self.refusals),
                jwks: self.jwks.clone(),
                reloads: Arc::clone(reloads),
                admission: self.admission.clone(),
                log: log.clone(),
                local: dev.is_some(),
            };
            mounts.push(metrics.mount(&config.prometheus.handler_prefix));
        }
        if config.swagger.enabled && !config.http_api.disabled {
            mounts.push(api::openapi::mount(&config.swagger.handler_prefix, self.endpoint.clone()));
        }
        if config.init.enabled {
            mounts.push(init::mount(&config.init.handler_prefix, self.active.clone()));
        }
        mounts.extend(dev.map(Dev::mount));
        mounts
    }

    fn api(&self, config: &Config) -> Api {
        let (revocations, explainer) = (self.explainer.revocations.clone(), self.explainer.clone());
        let interval = config.node.info_metrics_aggregate_interval.get();
        Api::new(self.node.clone(), self.active.clone(), revocations, explainer, interval)
    }
}

/// `node.name`, or a name by host and port, as in Centrifugo.
fn node_name(config: &Config) -> String {
    if !config.node.name.is_empty() {
        return config.node.name.clone();
    }
    let host = std::fs::read_to_string("/etc/hostname").unwrap_or_default();
    let host = host.trim();
    format!("{}_{}", if host.is_empty() { "node" } else { host }, config.http_server.port)
}

/// Returns the admission rules for connections.
fn admission(config: &Config, clock: Clock) -> Result<Admission, BuildError> {
    let client = &config.client;
    let half_of_files = || u32::try_from(open_files_limit() / 2).unwrap_or(u32::MAX);
    let caps = Caps {
        connections: client.ip_connection_limit,
        rate: client.ip_connection_rate_limit,
        unauthenticated: client.ip_unauthenticated_connection_limit,
        unauthenticated_in_all: match client.unauthenticated_connection_limit {
            0 => half_of_files(),
            limit => limit,
        },
    };
    let limits = OverloadLimits {
        memory: match client.overload.memory_limit {
            0 => memory_limit().unwrap_or(0) / 10 * 9,
            limit => limit,
        },
        loop_lag: client.overload.loop_lag_limit.get(),
    };
    let http = &config.http_server;
    let proxies = Proxies::new(&http.trusted_proxies, &http.client_ip_header)?;
    Ok(Admission::new(caps, proxies, Arc::new(Overload::new(limits)), clock))
}

/// Returns the settings of the HTTP API.
pub(super) fn http_settings(config: &Config) -> HttpSettings {
    let http = &config.http_api;
    HttpSettings {
        prefix: http.handler_prefix.clone(),
        key: http.key.clone(),
        insecure: http.insecure,
        no_query_key: http.disable_query_key,
        transport_errors: http.error_mode == "transport",
        max_body: 32 << 20,
        max_batch: 10_000,
    }
}

/// Builds the rules and keys for this configuration. Key sets are kept in `jwks`.
pub(crate) fn active_config(config: &Config, jwks: &Jwks) -> Result<ActiveConfig, BuildError> {
    Ok(ActiveConfig {
        rules: rules(config)?,
        keys: keys(config, jwks)?,
        settings: settings(config),
        origins: Origins::new(config.client.allowed_origins.iter().map(String::as_str))?,
        proxies: Arc::new(NoProxies),
    })
}

/// The rules of channels.
pub(crate) fn rules(config: &Config) -> Result<Rules, BuildError> {
    Ok(Rules {
        registry: Arc::new(Registry::new(&config.channel)?),
        insecure: config.client.insecure,
        channel_limit: config.client.channel_limit as usize,
    })
}

/// Builds the explainer for the command line. The file of revocations belongs to the server: it is read and
/// left alone.
pub(crate) fn onlooker(config: &Config) -> Result<Explainer, BuildError> {
    explainer(config, &Jwks::current(), Clock::system(), MemoryStore::read)
}

type OpenStore = fn(&Path, usize, i64) -> Result<MemoryStore, StoreError>;

fn explainer(config: &Config, jwks: &Jwks, clock: Clock, open: OpenStore) -> Result<Explainer, BuildError> {
    Ok(Explainer {
        active: Shared::new(active_config(config, jwks)?),
        revocations: revocations(config, &clock, open)?,
        clock,
    })
}

/// Loads the revocations, including those before this start if they are kept in a file.
pub(crate) fn revocations(
    config: &Config,
    clock: &Clock,
    open: OpenStore,
) -> Result<Revocations, BuildError> {
    let options = &config.client.revocation;
    let limit = options.max_entries as usize;
    let store = if options.file.is_empty() {
        MemoryStore::new(limit)
    } else {
        open(options.file.as_ref(), limit, clock.now().unix())?
    };
    Ok(Revocations::new(Arc::new(store), clock.clone()))
}

fn settings(config: &Config) -> Settings {
    let client = &config.client;
    let personal = &client.subscribe_to_user_personal_channel;
    Settings {
        insecure: client.insecure,
        anonymous_without_token: client.allow_anonymous_connect_without_token,
        no_anonymous_tokens: client.disallow_anonymous_connection_tokens,
        user_header: client.user_id_http_header.clone(),
        token_header: client.connect_token_http_header.clone(),
        token_cookie: client.connect_token_cookie.clone(),
        personal: personal.enabled.then(|| personal.personal_channel_namespace.clone()),
        single_connection: personal.single_connection,
        ping_method: config.rpc.ping.enabled.then(|| config.rpc.ping.method.clone()),
        explain: false,
    }
}

/// Builds the keys that tokens are checked with.
fn keys(config: &Config, jwks: &Jwks) -> Result<Keys, BuildError> {
    let client = &config.client;
    let skip = client.insecure_skip_token_signature_verify;
    let connection = Verifier::new(&token_settings(&client.token, "client.token", skip)?, jwks)?;
    let separate = &client.subscription_token;
    let subscription = if separate.enabled {
        Verifier::new(&token_settings(&separate.token, "client.subscription_token", skip)?, jwks)?
    } else {
        connection.clone()
    };
    Ok(Keys { connection, subscription })
}

fn node(config: &Config, builder: NodeBuilder) -> Result<Node, BuildError> {
    let client = &config.client;
    let limits = spinward::Config {
        shards: usize::from(config.shards),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ping_interval: client.ping_interval.get(),
        pong_timeout: client.pong_timeout.get(),
        stale_close_delay: client.stale_close_delay.get(),
        expired_close_delay: client.expired_close_delay.get(),
        expired_sub_close_delay: client.expired_sub_close_delay.get(),
        channel_max_length: config.channel.max_length as usize,
        channel_limit: client.channel_limit as usize,
        tags_filter_max_size: usize::try_from(client.tags_filter_max_size).unwrap_or(usize::MAX),
        queue_max_size: usize::try_from(client.queue_max_size).unwrap_or(usize::MAX),
        message_size_limit: config.websocket.socket.message_size_limit,
        channel_position_check_delay: client.channel_position_check_delay.get(),
        connection_limit: client.connection_limit as usize,
        connection_rate_limit: client.connection_rate_limit,
        user_connection_limit: client.user_connection_limit as usize,
        history_max_publication_limit: client.history_max_publication_limit as usize,
        recovery_max_publication_limit: client.recovery_max_publication_limit as usize,
        history_meta_ttl: config.channel.history_meta_ttl.get(),
        connect_include_server_time: client.connect_include_server_time,
        unresponsive_after: config.health.unresponsive_after.get(),
        rate_limits: rate_limits(&client.rate_limit),
        ..spinward::Config::default()
    };
    Ok(builder.config(limits).build()?)
}

fn rate_limits(options: &ClientRateLimit) -> RateLimits {
    let user = &options.user_command;
    let connect = (user.commands.enabled && user.connect.enabled).then(|| buckets(&user.connect));
    let errors = &options.client_error;
    RateLimits {
        commands: command_limits(&options.client_command),
        user_commands: CommandLimits { connect, ..command_limits(&user.commands) },
        errors: if errors.enabled { buckets(&errors.total) } else { Vec::new() },
        bytes: buckets(&options.received_bytes),
    }
}

fn command_limits(options: &CommandRateLimit) -> CommandLimits {
    if !options.enabled {
        return CommandLimits::default();
    }
    let own = |limit: &RateLimit| limit.enabled.then(|| buckets(limit));
    let methods = options.rpc.method_overrides.iter().filter(|one| one.limit.enabled);
    CommandLimits {
        total: buckets(&options.total),
        default: buckets(&options.default),
        connect: None,
        subscribe: own(&options.subscribe),
        unsubscribe: own(&options.unsubscribe),
        publish: own(&options.publish),
        history: own(&options.history),
        presence: own(&options.presence),
        presence_stats: own(&options.presence_stats),
        refresh: own(&options.refresh),
        sub_refresh: own(&options.sub_refresh),
        rpc: own(&options.rpc.base),
        rpc_methods: methods.map(|one| (one.method.clone(), buckets(&one.limit))).collect(),
    }
}

fn buckets(limit: &RateLimit) -> Vec<Bucket> {
    let buckets = limit.buckets.iter().filter(|_| limit.enabled);
    buckets.map(|one| Bucket { interval: one.interval.get(), rate: one.rate }).collect()
}
