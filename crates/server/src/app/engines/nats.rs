//! Engines on NATS.

use super::{Counted, EngineError, Made};
use crate::config::typed::{
    JetStreamBroker, NatsBroker, NatsConnection, NatsEngine, NatsPresence, NatsRawMode,
};
use crate::tls;
use spinward::engine::broker::Broker;
use spinward::engine::controller::Controller;
use spinward::engine::presence::Presence;
use spinward_engines::nats;
use std::sync::Arc;
use std::time::Duration;

pub(super) fn broker(options: &NatsBroker, section: &str) -> Result<Made<dyn Broker>, EngineError> {
    let NatsRawMode { enabled, channel_replacements, prefix } = &options.raw_mode;
    let raw = nats::RawMode { channel_replacements: channel_replacements.clone(), prefix: prefix.clone() };
    let config = nats::Config {
        allow_wildcards: options.allow_wildcards,
        raw: enabled.then_some(raw),
        ..settings(&options.connection, section)?
    };
    let broker = nats::Broker::new(config).map_err(|error| EngineError::new(section, error))?;
    let broker = Arc::new(broker);
    let counted = Arc::clone(&broker);
    Ok(Made { part: broker, counts: Arc::new(move || counts(counted.counts())) })
}

pub(super) fn jetstream(options: &JetStreamBroker, section: &str) -> Result<Made<dyn Broker>, EngineError> {
    let config = nats::JetStreamConfig {
        connection: settings(&options.connection, section)?,
        num_streams: options.num_streams,
        replicas: options.replicas,
        in_memory: options.in_memory,
    };
    let broker = nats::JetStreamBroker::new(config).map_err(|error| EngineError::new(section, error))?;
    let broker = Arc::new(broker);
    let counted = Arc::clone(&broker);
    Ok(Made { part: broker, counts: Arc::new(move || counts(counted.counts())) })
}

pub(super) fn engine_presence(engine: &NatsEngine, section: &str) -> Result<Made<dyn Presence>, EngineError> {
    let connection = settings(&engine.broker.connection, section)?;
    store(connection, engine.presence_ttl.get(), engine.broker.replicas, section)
}

pub(super) fn presence(options: &NatsPresence, section: &str) -> Result<Made<dyn Presence>, EngineError> {
    let connection = settings(&options.connection, section)?;
    store(connection, options.presence_ttl.get(), options.replicas, section)
}

fn store(
    connection: nats::Config,
    ttl: Duration,
    replicas: u8,
    section: &str,
) -> Result<Made<dyn Presence>, EngineError> {
    let store = nats::Presence::new(nats::PresenceConfig { connection, presence_ttl: ttl, replicas });
    let store = Arc::new(store.map_err(|error| EngineError::new(section, error))?);
    let counted = Arc::clone(&store);
    Ok(Made { part: store, counts: Arc::new(move || counts(counted.counts())) })
}

pub(super) fn controller(
    options: &NatsConnection,
    section: &str,
) -> Result<Made<dyn Controller>, EngineError> {
    let controller = nats::Controller::new(settings(options, section)?);
    let controller = Arc::new(controller.map_err(|error| EngineError::new(section, error))?);
    let counted = Arc::clone(&controller);
    Ok(Made { part: controller, counts: Arc::new(move || counts(counted.counts())) })
}

fn settings(options: &NatsConnection, section: &str) -> Result<nats::Config, EngineError> {
    let path = format!("{section}.tls");
    let tls = tls::client(&options.tls, &path).map_err(|error| EngineError::new(&path, error))?;
    Ok(nats::Config {
        urls: vec![options.url.expose().to_owned()],
        tls,
        prefix: options.prefix.clone(),
        dial_timeout: options.dial_timeout.get(),
        write_timeout: options.write_timeout.get(),
        ..nats::Config::default()
    })
}

fn counts(counts: nats::Counts) -> Counted {
    let events = vec![
        ("reconnects", counts.reconnects),
        ("failed_connects", counts.failed_connects),
        ("gaps", counts.gaps),
        ("dropped", counts.dropped),
        ("late", counts.late),
        ("malformed", counts.malformed),
        ("errors", counts.errors),
        ("conflicts", counts.conflicts),
    ];
    Counted { events, ..Counted::default() }
}
