//! Consumers: the sources that the configuration names, and the server API as the place where their messages go.

#![cfg_attr(
    not(all(feature = "nats", feature = "postgres", feature = "redis")),
    allow(unused, reason = "a build without a source has no use for its options")
)]

#[cfg(feature = "kafka")]
mod kafka;
#[cfg(feature = "nats")]
mod nats;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "pubsub")]
mod pubsub;
#[cfg(feature = "redis")]
mod redis;
#[cfg(feature = "servicebus")]
mod servicebus;
#[cfg(feature = "sqs")]
mod sqs;
mod target;

use super::engines::EngineError;
use crate::api::Api;
use crate::config::Config;
#[cfg(any(feature = "pubsub", feature = "sqs"))]
use crate::config::typed::AttributeDataMode;
use crate::config::typed::{Consumer as Options, HeaderDataMode, ValueDataMode};
use parking_lot::Mutex;
use spinward::Node;
use spinward_consumers::{Consumer, Counts, Decoder, PublicationNames, Source};
use std::sync::Arc;
use std::time::Duration;
use target::ApiTarget;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::interval;

/// Interval between two looks at whether the node drains.
const LOOK: Duration = Duration::from_millis(250);

/// A source with the way to read its messages.
struct Made {
    name: String,
    source: Arc<dyn Source>,
    decoder: Decoder,
}

/// Sources that can be used, and are not read yet.
pub(super) struct Prepared(Vec<Made>);

/// Consumers that run. A clone is the same ones.
#[derive(Clone, Default)]
pub(super) struct Consumers(Arc<Mutex<Vec<Consumer>>>);

/// Makes the sources of the configuration.
///
/// # Errors
/// The options of one cannot be used, or its database.
pub(super) async fn prepare(config: &Config, node: &str) -> Result<Prepared, EngineError> {
    let mut made = Vec::new();
    for options in config.consumers.iter().filter(|options| options.enabled) {
        let (source, decoder) = source(options, &section(options), node).await?;
        made.push(Made { name: options.name.clone(), source, decoder });
    }
    Ok(Prepared(made))
}

/// Makes every source without a connection, for `checkconfig`. Returns those that cannot be made.
pub(super) fn faults(config: &Config, node: &str) -> Vec<EngineError> {
    let used = config.consumers.iter().filter(|options| options.enabled);
    used.filter_map(|options| fault(options, &section(options), node)).collect()
}

fn fault(options: &Options, section: &str, node: &str) -> Option<EngineError> {
    match options.r#type.as_str() {
        #[cfg(feature = "postgres")]
        "postgresql" => postgres::outbox(&options.postgresql, section).err(),
        #[cfg(feature = "kafka")]
        "kafka" => kafka::source(&options.kafka, section).err(),
        #[cfg(feature = "nats")]
        "nats_jetstream" => nats::source(&options.nats_jetstream, section).err(),
        #[cfg(feature = "redis")]
        "redis_stream" => redis::source(&options.redis_stream, section, node).err(),
        #[cfg(feature = "sqs")]
        "aws_sqs" => sqs::source(&options.aws_sqs, section).err(),
        #[cfg(feature = "pubsub")]
        "google_pub_sub" => pubsub::source(&options.google_pub_sub, section).err(),
        #[cfg(feature = "servicebus")]
        "azure_service_bus" => servicebus::source(&options.azure_service_bus, section).err(),
        // Others are refused when the configuration is read.
        _ => None,
    }
}

/// The section of the options of a consumer's source.
fn section(options: &Options) -> String {
    format!("consumers[{}].{}", options.name, options.r#type)
}

async fn source(
    options: &Options,
    section: &str,
    node: &str,
) -> Result<(Arc<dyn Source>, Decoder), EngineError> {
    match options.r#type.as_str() {
        #[cfg(feature = "postgres")]
        "postgresql" => postgres::source(&options.postgresql, section).await,
        #[cfg(feature = "kafka")]
        "kafka" => kafka::source(&options.kafka, section),
        #[cfg(feature = "nats")]
        "nats_jetstream" => nats::source(&options.nats_jetstream, section),
        #[cfg(feature = "redis")]
        "redis_stream" => redis::source(&options.redis_stream, section, node),
        #[cfg(feature = "sqs")]
        "aws_sqs" => sqs::source(&options.aws_sqs, section),
        #[cfg(feature = "pubsub")]
        "google_pub_sub" => pubsub::source(&options.google_pub_sub, section),
        #[cfg(feature = "servicebus")]
        "azure_service_bus" => servicebus::source(&options.azure_service_bus, section),
        // Others are refused when the configuration is read.
        kind => Err(EngineError::new(section, format!("{kind:?} is not built"))),
    }
}

impl Prepared {
    /// Starts to take messages.
    ///
    /// # Errors
    /// There is no runtime.
    pub(super) fn start(self, into: &Consumers, api: &Api) -> Result<(), tokio::runtime::TryCurrentError> {
        let target = Arc::new(ApiTarget::new(api.clone()));
        let mut running = Vec::with_capacity(self.0.len());
        for Made { name, source, decoder } in self.0 {
            tracing::info!(consumer = name, "starting consumer");
            running.push(Consumer::start(&name, source, decoder, target.clone())?);
        }
        *into.0.lock() = running;
        Ok(())
    }
}

impl Consumers {
    /// Names and counts.
    pub(super) fn counts(&self) -> Vec<(String, Counts)> {
        self.0.lock().iter().map(|consumer| (consumer.name().to_owned(), consumer.counts())).collect()
    }

    /// Has them pause while the node drains: other nodes have its clients then, and take its messages.
    pub(super) async fn follow(self, node: Node, mut stopped: watch::Receiver<bool>) {
        if self.0.lock().is_empty() {
            return;
        }
        let mut look = interval(LOOK);
        loop {
            tokio::select! {
                _ = stopped.wait_for(|stopped| *stopped) => return,
                _ = look.tick() => {
                    let draining = node.health().draining;
                    self.0.lock().iter().for_each(|consumer| consumer.pause(draining));
                }
            }
        }
    }

    /// Takes no further messages, and waits until those that were taken are carried out.
    pub(super) async fn stop(&self) {
        let running = std::mem::take(&mut *self.0.lock());
        let mut ending: JoinSet<()> = running.into_iter().map(Consumer::stop).collect();
        while ending.join_next().await.is_some() {}
    }
}

fn headers(mode: &HeaderDataMode) -> Option<PublicationNames> {
    mode.enabled.then(|| PublicationNames {
        channels: mode.channels_header.clone(),
        idempotency_key: mode.idempotency_key_header.clone(),
        delta: mode.delta_header.clone(),
        version: mode.version_header.clone(),
        version_epoch: mode.version_epoch_header.clone(),
        tag_prefix: mode.tags_header_prefix.clone(),
    })
}

fn values(mode: &ValueDataMode) -> Option<PublicationNames> {
    mode.enabled.then(|| PublicationNames {
        channels: mode.channels_value.clone(),
        idempotency_key: mode.idempotency_key_value.clone(),
        delta: mode.delta_value.clone(),
        version: mode.version_value.clone(),
        version_epoch: mode.version_epoch_value.clone(),
        tag_prefix: mode.tags_value_prefix.clone(),
    })
}

#[cfg(any(feature = "pubsub", feature = "sqs"))]
fn attributes(mode: &AttributeDataMode) -> Option<PublicationNames> {
    mode.enabled.then(|| PublicationNames {
        channels: mode.channels_attribute.clone(),
        idempotency_key: mode.idempotency_key_attribute.clone(),
        delta: mode.delta_attribute.clone(),
        version: mode.version_attribute.clone(),
        version_epoch: mode.version_epoch_attribute.clone(),
        tag_prefix: mode.tags_attribute_prefix.clone(),
    })
}
