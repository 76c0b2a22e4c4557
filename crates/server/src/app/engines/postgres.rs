//! Engines on PostgreSQL.

use super::{Counted, EngineError, Made};
use crate::config::typed::{PostgresController, PostgresEngine, PostgresPresence, PostgresStore, Tls};
use crate::secret::Secret;
use crate::tls;
use spinward::engine::broker::Broker;
use spinward::engine::controller::Controller;
use spinward::engine::presence::Presence;
use spinward_engines::postgres;
use std::sync::Arc;

pub(super) fn broker(options: &PostgresStore, section: &str) -> Result<Made<dyn Broker>, EngineError> {
    let outbox = postgres::Outbox {
        poll_interval: options.outbox.poll_interval.get(),
        batch_size: options.outbox.batch_size,
    };
    let config = postgres::Config {
        connection: of_store(options, section)?,
        num_shards: options.num_shards,
        outbox,
        stream_retention: options.stream_retention.get(),
        idempotent_result_ttl: options.idempotent_result_ttl.get(),
        binary_data: options.binary_data,
        partition_lookahead_days: options.partition_lookahead_days,
        partition_retention_days: options.partition_retention_days,
        cleanup_interval: options.cleanup_interval.get(),
    };
    let broker = postgres::Broker::new(config).map_err(|error| EngineError::new(section, error))?;
    let broker = Arc::new(broker);
    let counted = Arc::clone(&broker);
    Ok(Made { part: broker, counts: Arc::new(move || counts(counted.counts())) })
}

pub(super) fn engine_presence(
    engine: &PostgresEngine,
    section: &str,
) -> Result<Made<dyn Presence>, EngineError> {
    let config = postgres::PresenceConfig {
        connection: of_store(&engine.store, section)?,
        ttl: engine.presence_ttl.get(),
        cleanup_interval: engine.store.cleanup_interval.get(),
    };
    store(config, section)
}

pub(super) fn presence(options: &PostgresPresence, section: &str) -> Result<Made<dyn Presence>, EngineError> {
    let connection = postgres::Connection {
        dsn: options.dsn.expose().to_owned(),
        tls: encryption(&options.tls, &options.dsn, section)?,
        pool_size: options.pool_size as usize,
        table_prefix: options.table_prefix.clone(),
        skip_schema_init: options.skip_schema_init,
        ..postgres::Connection::default()
    };
    let ttl = options.presence_ttl.get();
    store(postgres::PresenceConfig { connection, ttl, ..postgres::PresenceConfig::default() }, section)
}

fn store(config: postgres::PresenceConfig, section: &str) -> Result<Made<dyn Presence>, EngineError> {
    let store = postgres::Presence::new(config).map_err(|error| EngineError::new(section, error))?;
    let store = Arc::new(store);
    let counted = Arc::clone(&store);
    Ok(Made { part: store, counts: Arc::new(move || counts(counted.counts())) })
}

pub(super) fn controller(
    options: &PostgresController,
    section: &str,
) -> Result<Made<dyn Controller>, EngineError> {
    let connection = postgres::Connection {
        dsn: options.dsn.expose().to_owned(),
        tls: encryption(&options.tls, &options.dsn, section)?,
        pool_size: options.pool_size as usize,
        table_prefix: options.table_prefix.clone(),
        skip_schema_init: options.skip_schema_init,
        use_notify: options.use_notify,
        notify_dsn: options.notify_dsn.expose().to_owned(),
    };
    let config = postgres::ControllerConfig {
        connection,
        poll_interval: options.poll_interval.get(),
        batch_size: options.batch_size,
        partition_retention_days: options.partition_retention_days,
        partition_lookahead_days: options.partition_lookahead_days,
        partition_cleanup_interval: options.partition_cleanup_interval.get(),
    };
    link(config, section)
}

/// The controller of nodes that share a broker.
pub(super) fn engine_controller(
    options: &PostgresStore,
    section: &str,
) -> Result<Made<dyn Controller>, EngineError> {
    let defaults = postgres::ControllerConfig::default();
    let pool_size = defaults.connection.pool_size;
    let connection = postgres::Connection { pool_size, ..of_store(options, section)? };
    link(postgres::ControllerConfig { connection, ..defaults }, section)
}

fn link(config: postgres::ControllerConfig, section: &str) -> Result<Made<dyn Controller>, EngineError> {
    let controller = postgres::Controller::new(config).map_err(|error| EngineError::new(section, error))?;
    let controller = Arc::new(controller);
    let counted = Arc::clone(&controller);
    Ok(Made { part: controller, counts: Arc::new(move || counts(counted.counts())) })
}

fn of_store(options: &PostgresStore, section: &str) -> Result<postgres::Connection, EngineError> {
    Ok(postgres::Connection {
        dsn: options.dsn.expose().to_owned(),
        tls: encryption(&options.tls, &options.dsn, section)?,
        pool_size: options.pool_size as usize,
        table_prefix: options.table_prefix.clone(),
        skip_schema_init: options.skip_schema_init,
        use_notify: options.use_notify,
        notify_dsn: options.notify_dsn.expose().to_owned(),
    })
}

/// TLS that a connection string asks for needs no further options where the certificate is one that the system trusts.
pub(in crate::app) fn encryption(
    options: &Tls,
    dsn: &Secret,
    section: &str,
) -> Result<Option<Arc<rustls::ClientConfig>>, EngineError> {
    let asked = ["sslmode=require", "sslmode=verify-ca", "sslmode=verify-full"];
    let asked = asked.iter().any(|mode| dsn.expose().contains(mode));
    let path = format!("{section}.tls");
    let options = Tls { enabled: options.enabled || asked, ..options.clone() };
    tls::client(&options, &path).map_err(|error| EngineError::new(&path, error))
}

fn counts(counts: postgres::Counts) -> Counted {
    let events = vec![
        ("reconnects", counts.reconnects),
        ("polls", counts.polls),
        ("rows", counts.rows),
        ("dropped", counts.dropped),
        ("blocked", counts.blocked),
        ("cleanups_failed", counts.cleanups_failed),
    ];
    let ages = vec![("delivered", counts.lag), ("oldest_transaction", counts.oldest_transaction)];
    Counted { events, ages }
}
