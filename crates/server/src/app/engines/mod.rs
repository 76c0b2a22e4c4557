//! The engines that the configuration names: brokers, presence stores, and the controller between nodes.

#![cfg_attr(
    not(all(feature = "nats", feature = "postgres", feature = "redis")),
    allow(unused, unreachable_code, reason = "a build without an engine has no use for its options")
)]

#[cfg(feature = "nats")]
mod nats;
#[cfg(feature = "postgres")]
pub(super) mod postgres;
mod presence;
#[cfg(feature = "redis")]
pub(super) mod redis;

use crate::channel::Registry;
use crate::config::Config;
use crate::config::typed::{BrokerOptions, PresenceOptions};
use presence::ByNamespace;
use spinward::NodeBuilder;
use spinward::engine::broker::Broker;
use spinward::engine::controller::Controller;
use spinward::engine::presence::{MemoryPresence, Presence};
use spinward::id::Entropy;
use spinward_engines::{ProbeConfig, Probed};
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;

/// An engine, or a consumer, cannot be made of its options.
#[derive(Debug, Error)]
#[error("{section}: {source}")]
pub struct EngineError {
    /// The section of the options.
    section: String,
    /// The cause, which names the option within.
    source: Box<dyn Error + Send + Sync>,
}

impl EngineError {
    pub(super) fn new(section: &str, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { section: section.to_owned(), source: source.into() }
    }
}

/// Numbers of one engine for the metrics page, by name.
#[derive(Default)]
pub(super) struct Counted {
    /// Events since the start.
    pub(super) events: Vec<(&'static str, u64)>,
    /// Ages at this moment.
    pub(super) ages: Vec<(&'static str, Duration)>,
}

/// An engine as the metrics page sees it.
#[derive(Clone)]
pub(super) struct Watched {
    /// The engine's part: `broker`, `presence`, or `controller`.
    pub(super) part: &'static str,
    /// `default`, or the name of an entry of `brokers` or `presence_managers`.
    pub(super) name: String,
    /// Type of the engine.
    pub(super) kind: String,
    /// Its counters.
    pub(super) counts: Arc<dyn Fn() -> Counted + Send + Sync>,
    /// The broker's probe.
    pub(super) probe: Option<Arc<Probed>>,
}

/// A part of an engine, with its counters.
struct Made<T: ?Sized> {
    part: Arc<T>,
    counts: Arc<dyn Fn() -> Counted + Send + Sync>,
}

/// Every engine that the configuration names. Without any, a node keeps everything in memory.
#[derive(Default)]
pub(super) struct Engines {
    broker: Option<Arc<dyn Broker>>,
    named: Vec<(String, Arc<dyn Broker>)>,
    presence: Option<Arc<dyn Presence>>,
    controller: Option<Arc<dyn Controller>>,
    pub(super) watched: Vec<Watched>,
}

impl Engines {
    /// Makes the engines. They connect once the node starts.
    ///
    /// # Errors
    /// The options of one cannot be used.
    pub(super) fn new(config: &Config, registry: &Arc<Registry>) -> Result<Self, EngineError> {
        let mut engines = Self::default();
        let own = default_broker(config)?;
        engines.broker = own.map(|made| engines.probed("default", broker_kind(config), made));
        for one in config.brokers.iter().filter(|one| one.enabled) {
            let section = format!("brokers[{}]", one.name);
            if let Some(made) = broker(&one.r#type, &one.options, &section)? {
                let made = engines.probed(&one.name, &one.r#type, made);
                engines.named.push((one.name.clone(), made));
            }
        }
        engines.presence(config, registry)?;
        engines.controller(config)?;
        Ok(engines)
    }

    /// Gives them to a node.
    pub(super) fn install(self, mut builder: NodeBuilder) -> NodeBuilder {
        if let Some(broker) = self.broker {
            builder = builder.broker(broker);
        }
        for (name, broker) in self.named {
            builder = builder.named_broker(&name, broker);
        }
        if let Some(presence) = self.presence {
            builder = builder.presence(presence);
        }
        if let Some(controller) = self.controller {
            builder = builder.controller(controller);
        }
        builder
    }

    /// The brokers that namespaces may name.
    pub(super) fn named_brokers(&self) -> impl Iterator<Item = String> {
        self.named.iter().map(|(name, _)| name.clone())
    }

    fn probed(&mut self, name: &str, kind: &str, made: Made<dyn Broker>) -> Arc<dyn Broker> {
        let probe = Arc::new(Probed::new(made.part, ProbeConfig::default()));
        self.watched.push(Watched {
            part: "broker",
            name: name.to_owned(),
            kind: kind.to_owned(),
            counts: made.counts,
            probe: Some(Arc::clone(&probe)),
        });
        probe
    }

    fn watch<T: ?Sized>(&mut self, part: &'static str, name: &str, kind: &str, made: Made<T>) -> Arc<T> {
        let (name, kind) = (name.to_owned(), kind.to_owned());
        self.watched.push(Watched { part, name, kind, counts: made.counts, probe: None });
        made.part
    }

    fn presence(&mut self, config: &Config, registry: &Arc<Registry>) -> Result<(), EngineError> {
        let own = &config.presence_manager;
        let (kind, made) = if own.enabled {
            (own.r#type.as_str(), presence_store(&own.r#type, &own.options, "presence_manager")?)
        } else {
            let made = match config.engine.r#type.as_str() {
                #[cfg(feature = "redis")]
                "redis" => Some(redis::engine_presence(&config.engine.redis, "engine.redis")?),
                #[cfg(feature = "nats")]
                "nats" => Some(nats::engine_presence(&config.engine.nats, "engine.nats")?),
                #[cfg(feature = "postgres")]
                "postgres" => Some(postgres::engine_presence(&config.engine.postgres, "engine.postgres")?),
                _ => None,
            };
            (config.engine.r#type.as_str(), made)
        };
        self.presence = made.map(|made| self.watch("presence", "default", kind, made));
        let mut named = Vec::new();
        for one in config.presence_managers.iter().filter(|one| one.enabled) {
            let section = format!("presence_managers[{}]", one.name);
            if let Some(made) = presence_store(&one.r#type, &one.options, &section)? {
                named.push((one.name.clone(), self.watch("presence", &one.name, &one.r#type, made)));
            }
        }
        if !named.is_empty() {
            let default = self
                .presence
                .take()
                .unwrap_or_else(|| Arc::new(MemoryPresence::new(Entropy::system().number())));
            self.presence = Some(Arc::new(ByNamespace::new(default, named, Arc::clone(registry))));
        }
        Ok(())
    }

    /// The controller that is named, or that of the broker: nodes that share a broker are one server.
    fn controller(&mut self, config: &Config) -> Result<(), EngineError> {
        let own = &config.controller;
        let named = own.enabled && !own.r#type.is_empty();
        let kind = if named { own.r#type.as_str() } else { broker_kind(config) };
        let (of_engine, options) = (!config.broker.enabled, &config.broker.options);
        let made = match kind {
            #[cfg(feature = "redis")]
            "redis" if named => redis::controller(&own.redis, "controller.redis")?,
            #[cfg(feature = "redis")]
            "redis" if of_engine => redis::engine_controller(&config.engine.redis.broker, "engine.redis")?,
            #[cfg(feature = "redis")]
            "redis" => redis::engine_controller(&options.redis, "broker.redis")?,
            #[cfg(feature = "nats")]
            "nats" if named => nats::controller(&own.nats, "controller.nats")?,
            #[cfg(feature = "nats")]
            "nats" => nats::controller(&options.nats.connection, "broker.nats")?,
            #[cfg(feature = "nats")]
            "jetstream" if of_engine => {
                nats::controller(&config.engine.nats.broker.connection, "engine.nats")?
            }
            #[cfg(feature = "nats")]
            "jetstream" => nats::controller(&options.jetstream.connection, "broker.jetstream")?,
            #[cfg(feature = "postgres")]
            "postgres" if named => postgres::controller(&own.postgres, "controller.postgres")?,
            #[cfg(feature = "postgres")]
            "postgres" if of_engine => {
                postgres::engine_controller(&config.engine.postgres.store, "engine.postgres")?
            }
            #[cfg(feature = "postgres")]
            "postgres" => postgres::engine_controller(&options.postgres.store, "broker.postgres")?,
            _ => return Ok(()),
        };
        self.controller = Some(self.watch("controller", "default", kind, made));
        Ok(())
    }
}

/// The type of the broker of channels that name none.
fn broker_kind(config: &Config) -> &str {
    match (config.broker.enabled, config.engine.r#type.as_str()) {
        (true, _) => &config.broker.r#type,
        (false, "nats") => "jetstream",
        (false, kind) => kind,
    }
}

/// The broker of channels that name none. `None` is that of memory.
fn default_broker(config: &Config) -> Result<Option<Made<dyn Broker>>, EngineError> {
    let kind = broker_kind(config);
    if config.broker.enabled {
        return broker(kind, &config.broker.options, "broker");
    }
    Ok(match kind {
        #[cfg(feature = "redis")]
        "redis" => Some(redis::broker(&config.engine.redis.broker, "engine.redis")?),
        #[cfg(feature = "nats")]
        "jetstream" => Some(nats::jetstream(&config.engine.nats.broker, "engine.nats")?),
        #[cfg(feature = "postgres")]
        "postgres" => Some(postgres::broker(&config.engine.postgres.store, "engine.postgres")?),
        _ => None,
    })
}

/// A broker of a section. `None` is that of memory.
fn broker(
    kind: &str,
    options: &BrokerOptions,
    section: &str,
) -> Result<Option<Made<dyn Broker>>, EngineError> {
    let section = format!("{section}.{kind}");
    Ok(match kind {
        #[cfg(feature = "redis")]
        "redis" => Some(redis::broker(&options.redis, &section)?),
        #[cfg(feature = "nats")]
        "nats" => Some(nats::broker(&options.nats, &section)?),
        #[cfg(feature = "nats")]
        "jetstream" => Some(nats::jetstream(&options.jetstream, &section)?),
        #[cfg(feature = "postgres")]
        "postgres" => Some(postgres::broker(&options.postgres.store, &section)?),
        // Others are refused when the configuration is read.
        _ => None,
    })
}

/// A presence store of a section. `None` is that of memory.
fn presence_store(
    kind: &str,
    options: &PresenceOptions,
    section: &str,
) -> Result<Option<Made<dyn Presence>>, EngineError> {
    let section = format!("{section}.{kind}");
    Ok(match kind {
        #[cfg(feature = "redis")]
        "redis" => Some(redis::presence(&options.redis, &section)?),
        #[cfg(feature = "nats")]
        "nats" => Some(nats::presence(&options.nats, &section)?),
        #[cfg(feature = "postgres")]
        "postgres" => Some(postgres::presence(&options.postgres, &section)?),
        _ => None,
    })
}
