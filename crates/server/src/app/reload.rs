//! Configuration reloads while the server runs.
//!
//! What decisions are made by is exchanged as a whole; sockets, threads and stores stay as they are, so nobody is
//! disconnected. A configuration that cannot be used changes nothing. What only a restart changes is named.

use super::build::{BuildError, Built, active_config, grpc_settings, http_settings};
use super::callers::Ledger;
use super::log::Running;
use super::tls;
use crate::api::grpc::GrpcSettings;
use crate::api::http::HttpSettings;
use crate::auth::jwks::Jwks;
use crate::config::catalogue::Section as _;
use crate::config::typed::{Channel, ChannelOptions};
use crate::config::{self, Config, Loaded, Vars, Warning};
use crate::proxy::same_proxies;
use crate::session::{ActiveConfig, Shared};
use crate::tls::TlsError;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use thiserror::Error;

/// Options, and sections with all that is in them, that a reload applies.
const LIVE: &[&str] = &[
    "log.level",
    "client.allowed_origins",
    "client.proxy",
    "client.token",
    "client.subscription_token",
    "client.allow_anonymous_connect_without_token",
    "client.disallow_anonymous_connection_tokens",
    "client.insecure",
    "client.insecure_skip_token_signature_verify",
    "client.user_id_http_header",
    "client.connect_token_cookie",
    "client.connect_token_http_header",
    "client.subscribe_to_user_personal_channel",
    "channel",
    "rpc",
    "proxies",
    "http_server.tls.cert_pem",
    "http_server.tls.key_pem",
    "http_server.tls.client_ca_pem",
    "http_server.tls.min_version",
    "http_server.internal_tls.cert_pem",
    "http_server.internal_tls.key_pem",
    "http_server.internal_tls.client_ca_pem",
    "http_server.internal_tls.min_version",
    "uni_grpc.tls.cert_pem",
    "uni_grpc.tls.key_pem",
    "uni_grpc.tls.client_ca_pem",
    "uni_grpc.tls.min_version",
    "grpc_api.tls.cert_pem",
    "grpc_api.tls.key_pem",
    "grpc_api.tls.client_ca_pem",
    "grpc_api.tls.min_version",
    "api_keys",
    "grpc_api.key",
    "grpc_api.jwks",
    "grpc_api.error_mode",
    "http_api.key",
    "http_api.jwks",
    "http_api.insecure",
    "http_api.disable_query_key",
    "http_api.error_mode",
    "shutdown",
    "production",
];

/// Those within that are not.
const FIXED: &[&str] = &["channel.history_meta_ttl"];

/// Source of the configuration.
#[derive(Debug)]
pub struct Source {
    /// The file.
    pub file: PathBuf,
    /// Options set by flags.
    pub flags: Vec<(String, String)>,
}

/// Reasons to keep the previous configuration.
#[derive(Debug, Error)]
enum ReloadError {
    #[error(transparent)]
    Config(#[from] config::Error),
    /// It was there at the start: moving it away for a moment does not mean to lose every key.
    #[error("{0} does not exist any longer")]
    Gone(String),
    #[error(transparent)]
    Build(#[from] BuildError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The active options and those that have to wait do not make a configuration. A test rules it out.
    #[error("the new options do not fit together with those that take a restart")]
    Mixture(#[source] serde_json::Error),
}

/// Numbers of configuration reloads.
#[derive(Debug, Default)]
pub(super) struct Reloads {
    succeeded: AtomicU64,
    failed: AtomicU64,
}

impl Reloads {
    /// By result.
    pub(super) fn counts(&self) -> [(&'static str, u64); 2] {
        [("success", &self.succeeded), ("failure", &self.failed)]
            .map(|(result, count)| (result, count.load(Ordering::Relaxed)))
    }
}

/// Reloads and exchanges.
pub(super) struct Reloader {
    source: Source,
    found: bool,
    /// The running configuration.
    config: Config,
    warnings: Vec<Warning>,
    active: Shared<ActiveConfig>,
    endpoint: Shared<HttpSettings>,
    ledger: Ledger,
    grpc: Shared<GrpcSettings>,
    jwks: Jwks,
    tls: tls::Ports,
    log: Running,
    reloads: Arc<Reloads>,
}

impl Reloader {
    pub(super) fn new(loaded: Loaded, source: Source, built: &Built, log: Running) -> Self {
        Self {
            source,
            found: loaded.found,
            config: loaded.config,
            warnings: loaded.warnings,
            active: built.active.clone(),
            endpoint: built.endpoint.clone(),
            ledger: built.ledger.clone(),
            grpc: built.grpc.clone(),
            jwks: built.jwks.clone(),
            tls: built.tls.clone(),
            log,
            reloads: Arc::default(),
        }
    }

    /// Returns the running configuration.
    pub(super) const fn config(&self) -> &Config {
        &self.config
    }

    /// Returns the warnings about the running configuration.
    pub(super) fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    pub(super) fn counts(&self) -> Arc<Reloads> {
        Arc::clone(&self.reloads)
    }

    /// Reloads the configuration and applies it if it can be used. The log's file is reopened in any case.
    pub(super) fn reload(&mut self) {
        self.log.reopen();
        match self.try_reload() {
            Ok(changes) => {
                self.reloads.succeeded.fetch_add(1, Ordering::Relaxed);
                tracing::info!(changed = changes.live.join(" "), "configuration reloaded");
                for option in changes.fixed {
                    tracing::warn!(option, "{option}: the change needs a restart");
                }
            }
            Err(error) => {
                self.reloads.failed.fetch_add(1, Ordering::Relaxed);
                tracing::error!(%error, "configuration reload failed, keeping the current one");
            }
        }
    }

    fn try_reload(&mut self) -> Result<Changes, ReloadError> {
        let mut vars = Vars::system();
        vars.add_file(Path::new(config::ENV_FILE)).map_err(config::Error::from)?;
        let source = config::Source { file: Some(&self.source.file), vars, flags: self.source.flags.clone() };
        let loaded = config::load(&source)?;
        if self.found && !loaded.found {
            return Err(ReloadError::Gone(self.source.file.display().to_string()));
        }
        let (running, mut changes) = merge(self.config.to_section(), &loaded.config.to_section());
        let config: Config = serde_json::from_value(Value::Object(running)).map_err(ReloadError::Mixture)?;
        changes.fixed.extend(moved(&self.config.channel, &config.channel));
        let mut active = active_config(&config, &self.jwks)?;
        if same_proxies(&self.config, &config) {
            // Connections, breakers and counts go on.
            active.proxies = Arc::clone(&self.active.get().proxies);
        }
        let (http, grpc) = (http_settings(&config, &self.ledger)?, grpc_settings(&config, &self.ledger)?);
        self.tls.exchange(&config)?;
        self.active.set(active);
        self.endpoint.set(http);
        self.grpc.set(grpc);
        self.log.set_level(&config.log);
        for warning in loaded.warnings.iter().filter(|warning| !self.warnings.contains(warning)) {
            tracing::warn!("{warning}");
        }
        (self.config, self.warnings, self.found) = (config, loaded.warnings, loaded.found);
        Ok(changes)
    }
}

/// Names of options that differ.
#[derive(Debug, Default, PartialEq, Eq)]
struct Changes {
    /// In force now.
    live: Vec<String>,
    /// In force after a restart.
    fixed: Vec<String>,
}

/// Merges configurations: takes from `fresh` what can be exchanged, and keeps the rest as it was.
fn merge(mut running: Map<String, Value>, fresh: &Map<String, Value>) -> (Map<String, Value>, Changes) {
    let mut changes = Changes::default();
    section("", &mut running, fresh, &mut changes);
    (running, changes)
}

fn section(path: &str, running: &mut Map<String, Value>, fresh: &Map<String, Value>, changes: &mut Changes) {
    for (name, new) in fresh {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        match (running.get_mut(name), new) {
            (Some(old), new) if old == new => {}
            // A section is looked into; the values of a map, which has no names of its own, are one value.
            (Some(Value::Object(old)), Value::Object(new)) if is_section(&path) => {
                section(&path, old, new, changes);
            }
            (_, new) if is_live(&path) => {
                running.insert(name.clone(), new.clone());
                changes.live.push(path);
            }
            _ => changes.fixed.push(path),
        }
    }
}

/// Options of namespaces that name another engine than before. Namespaces are exchanged as a whole, but channels in use
/// do not change their engine.
fn moved(before: &Channel, after: &Channel) -> Vec<String> {
    let engines = |options: &ChannelOptions| {
        [
            ("broker_name", options.broker_name.clone()),
            ("presence_manager_name", options.presence_manager_name.clone()),
        ]
    };
    let before_of = |name: &str| {
        let found = before.namespaces.iter().find(|namespace| namespace.name == name);
        found.map_or_else(|| engines(&ChannelOptions::default()), |namespace| engines(&namespace.options))
    };
    let names = after.namespaces.iter().map(|namespace| {
        (format!("namespaces[{}]", namespace.name), before_of(&namespace.name), engines(&namespace.options))
    });
    let outside = (
        "without_namespace".to_owned(),
        engines(&before.without_namespace),
        engines(&after.without_namespace),
    );
    let mut moved = Vec::new();
    for (place, before, after) in std::iter::once(outside).chain(names) {
        for ((option, before), (_, after)) in before.into_iter().zip(after) {
            if before != after {
                moved.push(format!("channel.{place}.{option}"));
            }
        }
    }
    moved
}

fn is_section(path: &str) -> bool {
    use config::catalogue::{Kind, find};
    matches!(find(Config::fields(), path).map(|field| field.kind), Some(Kind::Section(_)))
}

fn is_live(path: &str) -> bool {
    let below =
        |entry: &&str| path.strip_prefix(*entry).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    LIVE.iter().any(below) && !FIXED.iter().any(below)
}

#[cfg(test)]
#[path = "reload_tests.rs"]
mod tests;
