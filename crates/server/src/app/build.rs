//! From the configuration to the parts of a server.

use super::callers::{KeyError, Ledger};
use super::consumers::{self, Consumers};
use super::dev::Dev;
use super::engines::{EngineError, Engines, Watched};
use super::log::Running;
use super::metrics::Metrics;
use super::node::{Deciders, Reports};
use super::reload::Reloads;
use super::serve::Router;
use super::sockjs::MountedSockJs;
use super::tokens::{TokensError, token_settings};
use super::{callers, clients, emulation, init, probes, tls};
use crate::admission::{Admission, Caps, Overload, OverloadLimits, Proxies, ProxyError, memory_limit};
use crate::api::access::Usages;
use crate::api::grpc::GrpcSettings;
use crate::api::http::HttpSettings;
use crate::api::{self, Api};
use crate::auth::jwks::Jwks;
use crate::auth::origin::{OriginError, Origins};
use crate::auth::revoke::StoreError;
use crate::auth::revoke_store::MemoryStore;
use crate::auth::verify::{SettingsError, Verifier};
use crate::channel::Registry;
use crate::config::Config;
use crate::config::typed::Token;
use crate::http::{Mount, open_files_limit};
use crate::policy::Rules;
use crate::proxy::configured;
use crate::session::{
    ActiveConfig, ClientEventKind, ClientEventLimits, ClientEventsWanted, Explainer, Keys, Limits,
    RefusalLog, Revocations, Settings, Shared,
};
use spinward::Node;
use spinward::clock::Clock;
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
    /// Event proxies.
    #[error(transparent)]
    EventProxies(#[from] crate::proxy::ProxyError),
    /// Certificates and keys of TLS.
    #[error(transparent)]
    Tls(#[from] crate::tls::TlsError),
    /// Keys of the server API.
    #[error(transparent)]
    ApiKeys(#[from] KeyError),
    /// Engines.
    #[error(transparent)]
    Engines(#[from] EngineError),
    /// Limits and timings.
    #[error(transparent)]
    Node(#[from] spinward::BuildError),
}

/// The parts of a server.
pub(super) struct Built {
    pub(super) node: Node,
    pub(super) active: Shared<ActiveConfig>,
    pub(super) api: Api,
    pub(super) endpoint: Shared<HttpSettings>,
    pub(super) ledger: Ledger,
    pub(super) grpc: Shared<GrpcSettings>,
    pub(super) jwks: Jwks,
    pub(super) clock: Clock,
    pub(super) refusals: Arc<RefusalLog>,
    pub(super) admission: Admission,
    pub(super) explainer: Explainer,
    pub(super) tls: tls::Ports,
    /// Engines with something to count.
    pub(super) watched: Vec<Watched>,
    /// Consumers, once they are started.
    pub(super) consumers: Consumers,
    pub(super) reports: Reports,
}

impl Built {
    pub(super) fn new(config: &Config) -> Result<Self, BuildError> {
        let deciders = Deciders::new(config)?;
        let (clock, jwks) = (deciders.clock.clone(), deciders.jwks.clone());
        let tls = tls::Ports::new(config, &clock)?;
        let (refusals, explainer) = (Arc::clone(&deciders.refusals), deciders.explainer.clone());
        let (active, reports) = (explainer.active.clone(), deciders.reports.clone());
        let watched = deciders.engines.watched.clone();
        let hooks = deciders.hooks.clone();
        let node = deciders.node(config, hooks)?;
        let admission = admission(config, clock.clone())?;
        let ledger = Ledger { usages: Usages::default(), jwks: jwks.clone(), clock: clock.clone() };
        let endpoint = Shared::new(http_settings(config, &ledger)?);
        let grpc = Shared::new(grpc_settings(config, &ledger)?);
        let consumers = Consumers::default();
        let interval = config.node.info_metrics_aggregate_interval.get();
        let revocations = explainer.revocations.clone();
        let api = Api::new(node.clone(), active.clone(), revocations, explainer.clone(), interval);
        Ok(Self {
            node,
            active,
            api,
            endpoint,
            ledger,
            grpc,
            jwks,
            clock,
            refusals,
            admission,
            explainer,
            tls,
            watched,
            consumers,
            reports,
        })
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
        let router = |clients, sockjs, mounts| Router {
            clients,
            sockjs,
            mounts,
            active: self.active.clone(),
            admission: self.admission.clone(),
        };
        let (clients, sockjs) = (clients::endpoints(config, &self.node), self.sockjs(config));
        if !apart {
            return (router(clients, sockjs, mounts), None);
        }
        let on = |internal: bool| mounts.iter().filter(|mount| mount.is_on(internal)).cloned().collect();
        (router(clients, sockjs, on(false)), Some(router(Vec::new(), None, on(true))))
    }

    /// SockJS comes and goes with the clients that load it.
    fn sockjs(&self, config: &Config) -> Option<MountedSockJs> {
        let options = &config.sockjs;
        (options.enabled && config.client.legacy).then(|| MountedSockJs {
            at: options.handler_prefix.trim_end_matches('/').to_owned(),
            service: self.node.sockjs().script(&options.url),
        })
    }

    /// Every endpoint that no connection of a client begins at. The first one that has a path answers.
    fn mounts(&self, config: &Config, dev: Option<Dev>, reloads: &Arc<Reloads>, log: &Running) -> Vec<Mount> {
        let mut mounts = Vec::new();
        if !config.http_api.disabled {
            let (settings, refusals) = (self.endpoint.clone(), Arc::clone(&self.refusals));
            mounts.push(api::http::mount(self.api.clone(), settings, refusals, config.http_api.external));
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
                tls: self.tls.clone(),
                engines: self.watched.clone(),
                active: self.active.clone(),
                consumers: self.consumers.clone(),
                reports: self.reports.clone(),
                usages: self.ledger.usages.clone(),
                stats: Arc::clone(self.api.stats()),
                local: dev.is_some(),
            };
            mounts.push(metrics.mount(&config.prometheus.handler_prefix));
        }
        if config.swagger.enabled && !config.http_api.disabled {
            let info = dev.is_some().then_some(Dev::INFO);
            mounts.push(api::openapi::mount(&config.swagger.handler_prefix, info, self.endpoint.clone()));
        }
        if config.init.enabled {
            mounts.push(init::mount(&config.init.handler_prefix, self.active.clone()));
        }
        if config.sse.enabled || config.http_stream.enabled {
            let max_body = config.emulation.max_request_body_size as usize;
            let service = self.node.emulation().max_body(max_body);
            mounts.push(emulation::mount(&config.emulation.handler_prefix, service, self.active.clone()));
        }
        mounts.extend(dev.map(Dev::mount));
        mounts
    }
}

/// `node.name`, or a name by host and port, as in Centrifugo.
pub(super) fn node_name(config: &Config) -> String {
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
        node_rate: client.connection_rate_limit,
        node_rate_wait: client.connection_rate_wait.get(),
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
pub(super) fn http_settings(config: &Config, ledger: &Ledger) -> Result<HttpSettings, BuildError> {
    let http = &config.http_api;
    Ok(HttpSettings {
        prefix: http.handler_prefix.clone(),
        callers: callers::http(config, ledger)?,
        insecure: http.insecure,
        no_query_key: http.disable_query_key,
        transport_errors: http.error_mode == "transport",
        max_body: 32 << 20,
        max_batch: api::MAX_COMMANDS,
    })
}

/// Returns the settings of the gRPC API.
pub(super) fn grpc_settings(config: &Config, ledger: &Ledger) -> Result<GrpcSettings, BuildError> {
    let transport_errors = config.grpc_api.error_mode == "transport";
    Ok(GrpcSettings { callers: callers::grpc(config, ledger)?, transport_errors })
}

/// Builds the rules and keys for this configuration. Key sets are kept in `jwks`.
pub(crate) fn active_config(config: &Config, jwks: &Jwks) -> Result<ActiveConfig, BuildError> {
    Ok(ActiveConfig {
        rules: rules(config)?,
        keys: keys(config, jwks)?,
        settings: settings(config),
        origins: Origins::new(config.client.allowed_origins.iter().map(String::as_str))?,
        proxies: configured(config)?,
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

/// Reasons why a configuration whose options are right does not make a server, for `checkconfig`. Runs in a runtime
/// that need not be driven: nothing connects.
pub(crate) fn faults(config: &Config) -> Vec<BuildError> {
    let (client, jwks) = (&config.client, Jwks::current());
    let mut faults = Vec::new();
    match Registry::new(&config.channel).map(Arc::new) {
        Ok(registry) => faults.extend(Engines::new(config, &registry).err().map(BuildError::from)),
        Err(error) => faults.push(error.into()),
    }
    faults.extend(verifier(config, &client.token, "client.token", &jwks).err());
    if client.subscription_token.enabled {
        let token = &client.subscription_token.token;
        faults.extend(verifier(config, token, "client.subscription_token", &jwks).err());
    }
    let origins = Origins::new(client.allowed_origins.iter().map(String::as_str));
    faults.extend(origins.err().map(BuildError::from));
    faults.extend(configured(config).err().map(BuildError::from));
    faults.extend(revocations(config, &Clock::system(), MemoryStore::read).err());
    faults.extend(tls::faults(config).into_iter().map(BuildError::from));
    faults.extend(consumers::faults(config, &node_name(config)).into_iter().map(BuildError::from));
    let ledger = Ledger { usages: Usages::default(), jwks, clock: Clock::system() };
    // The keys are those of both: one that cannot be used is named once.
    let callers = callers::http(config, &ledger).and_then(|_| callers::grpc(config, &ledger));
    faults.extend(callers.err());
    faults
}

/// Builds the explainer for the command line. The file of revocations belongs to the server: it is read and
/// left alone.
pub(crate) fn onlooker(config: &Config) -> Result<Explainer, BuildError> {
    let (jwks, clock) = (Jwks::offline(), Clock::system());
    let ledger = Ledger { usages: Usages::default(), jwks, clock };
    callers::http(config, &ledger)?;
    explainer(config, &Jwks::current(), Clock::system(), MemoryStore::read)
}

pub(super) type OpenStore = fn(&Path, usize, i64) -> Result<MemoryStore, StoreError>;

pub(super) fn explainer(
    config: &Config,
    jwks: &Jwks,
    clock: Clock,
    open: OpenStore,
) -> Result<Explainer, BuildError> {
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
        channel_events: channel_events(config),
        client_events: client_events(config),
    }
}

/// Limits of channel events, if a namespace asks for them.
fn channel_events(config: &Config) -> Option<Limits> {
    let namespaces = config.channel.namespaces.iter().map(|namespace| &namespace.options);
    let mut all = namespaces.chain([&config.channel.without_namespace]);
    let options = &config.channel.state;
    all.any(|options| options.state_proxy_enabled).then(|| Limits {
        vacated_delay_ms: u64::try_from(options.vacated_event_delay.get().as_millis()).unwrap_or(u64::MAX),
        max_waiting: options.max_waiting as usize,
        max_events: options.max_events as usize,
    })
}

/// Client events, if there is a proxy for them.
fn client_events(config: &Config) -> Option<ClientEventsWanted> {
    let options = &config.client.events;
    let wants = |kind: &ClientEventKind| {
        options.types.is_empty() || options.types.iter().any(|name| name == kind.name())
    };
    config.client.proxy.events.enabled.then(|| ClientEventsWanted {
        kinds: ClientEventKind::ALL.into_iter().filter(wants).collect(),
        limits: ClientEventLimits {
            max_waiting: options.max_waiting as usize,
            max_events: options.max_events as usize,
        },
    })
}

/// Builds the keys that tokens are checked with.
fn keys(config: &Config, jwks: &Jwks) -> Result<Keys, BuildError> {
    let client = &config.client;
    let connection = verifier(config, &client.token, "client.token", jwks)?;
    let separate = &client.subscription_token;
    let subscription = if separate.enabled {
        verifier(config, &separate.token, "client.subscription_token", jwks)?
    } else {
        connection.clone()
    };
    Ok(Keys { connection, subscription })
}

fn verifier(config: &Config, token: &Token, path: &str, jwks: &Jwks) -> Result<Verifier, BuildError> {
    let skip = config.client.insecure_skip_token_signature_verify;
    Ok(Verifier::new(&token_settings(token, path, skip)?, jwks)?)
}
