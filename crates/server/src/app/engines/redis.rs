//! Engines on Redis and Valkey.

use super::{Counted, EngineError, Made};
use crate::config::typed::{
    Redis, RedisBroker, RedisConnection, RedisEngine, RedisPresence, RedisPresenceManager, Tls,
};
use crate::secret::Secret;
use crate::tls;
use spinward::engine::broker::Broker;
use spinward::engine::controller::Controller;
use spinward::engine::presence::Presence;
use spinward_engines::redis;
use std::sync::Arc;

pub(super) fn broker(options: &RedisBroker, section: &str) -> Result<Made<dyn Broker>, EngineError> {
    let broker = redis::Broker::new(of_broker(options, section)?);
    let broker = Arc::new(broker.map_err(|error| EngineError::new(section, error))?);
    let counted = Arc::clone(&broker);
    Ok(Made { part: broker, counts: Arc::new(move || counts(counted.counts())) })
}

pub(super) fn engine_presence(
    engine: &RedisEngine,
    section: &str,
) -> Result<Made<dyn Presence>, EngineError> {
    store(of_broker(&engine.broker, section)?, &engine.presence, section)
}

pub(super) fn presence(
    options: &RedisPresenceManager,
    section: &str,
) -> Result<Made<dyn Presence>, EngineError> {
    store(settings(&options.redis, section)?, &options.presence, section)
}

fn store(
    config: redis::Config,
    options: &RedisPresence,
    section: &str,
) -> Result<Made<dyn Presence>, EngineError> {
    let presence = redis::PresenceConfig {
        time_to_live: options.presence_ttl.get(),
        hash_field_ttl: options.presence_hash_field_ttl,
        user_mapping: options.presence_user_mapping,
    };
    let store = redis::PresenceStore::new(config, presence);
    let store = Arc::new(store.map_err(|error| EngineError::new(section, error))?);
    // The server may be away now: its version is known once it answers.
    let (checked, section) = (Arc::clone(&store), section.to_owned());
    tokio::spawn(async move {
        if let Err(error) = checked.check().await {
            tracing::error!("{section}: {error}");
        }
    });
    let counted = Arc::clone(&store);
    Ok(Made { part: store, counts: Arc::new(move || counts(counted.counts())) })
}

pub(super) fn controller(options: &Redis, section: &str) -> Result<Made<dyn Controller>, EngineError> {
    link(settings(options, section)?, section)
}

pub(super) fn engine_controller(
    options: &RedisBroker,
    section: &str,
) -> Result<Made<dyn Controller>, EngineError> {
    link(of_broker(options, section)?, section)
}

fn link(config: redis::Config, section: &str) -> Result<Made<dyn Controller>, EngineError> {
    let controller = redis::Controller::new(config).map_err(|error| EngineError::new(section, error))?;
    let controller = Arc::new(controller);
    let counted = Arc::clone(&controller);
    Ok(Made { part: controller, counts: Arc::new(move || counts(counted.counts())) })
}

fn of_broker(options: &RedisBroker, section: &str) -> Result<redis::Config, EngineError> {
    Ok(redis::Config {
        history_use_lists: options.history_use_lists,
        wait_replicas: options.wait_replicas,
        wait_timeout: options.wait_replicas_timeout.get(),
        ..settings(&options.redis, section)?
    })
}

fn settings(options: &Redis, section: &str) -> Result<redis::Config, EngineError> {
    Ok(redis::Config {
        prefix: options.prefix.clone(),
        layout: match options.layout.as_str() {
            "centrifugo" => redis::Layout::Centrifugo,
            _ => redis::Layout::Spinward,
        },
        ..connection(&options.connection, section)?
    })
}

/// The settings of connections.
pub(in crate::app) fn connection(
    connection: &RedisConnection,
    section: &str,
) -> Result<redis::Config, EngineError> {
    let shown = |list: &[Secret]| list.iter().map(|one| one.expose().to_owned()).collect::<Vec<_>>();
    let (address, cluster) = (shown(&connection.address), shown(&connection.cluster_address));
    let sentinels = shown(&connection.sentinel_address);
    let encrypted = |list: &[String]| list.iter().any(|address| address.starts_with("rediss"));
    let tls =
        encryption(&connection.tls, encrypted(&address) || encrypted(&cluster), &format!("{section}.tls"))?;
    let sentinel_tls =
        encryption(&connection.sentinel_tls, encrypted(&sentinels), &format!("{section}.sentinel_tls"))?;
    Ok(redis::Config {
        address,
        connect_timeout: connection.connect_timeout.get(),
        io_timeout: connection.io_timeout.get(),
        db: connection.db,
        user: connection.user.clone(),
        password: connection.password.expose().to_owned(),
        client_name: connection.client_name.clone(),
        force_resp2: connection.force_resp2,
        cluster_address: cluster,
        tls,
        sentinel_address: sentinels,
        sentinel_user: connection.sentinel_user.clone(),
        sentinel_password: connection.sentinel_password.expose().to_owned(),
        sentinel_master_name: connection.sentinel_master_name.clone(),
        sentinel_client_name: connection.sentinel_client_name.clone(),
        sentinel_tls,
        ..redis::Config::default()
    })
}

/// TLS of an address that asks for it needs no further options where the certificate is one that the system trusts.
fn encryption(options: &Tls, asked: bool, section: &str) -> Result<Option<redis::Tls>, EngineError> {
    let options = Tls { enabled: options.enabled || asked, ..options.clone() };
    let config = tls::client(&options, section).map_err(|error| EngineError::new(section, error))?;
    let server_name = (!options.server_name.is_empty()).then(|| options.server_name.clone());
    Ok(config.map(|config| redis::Tls { config, server_name }))
}

fn counts(counts: redis::Counts) -> Counted {
    let events = vec![
        ("calls", counts.calls),
        ("errors", counts.errors),
        ("reconnects", counts.reconnects),
        ("gaps", counts.gaps),
        ("dropped", counts.dropped),
        ("messages", counts.messages),
        ("malformed", counts.malformed),
        ("replaced", counts.replaced),
        ("redirects", counts.redirects),
        ("scripts_loaded", counts.scripts_loaded),
    ];
    Counted { events, ..Counted::default() }
}
