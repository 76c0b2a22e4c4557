//! Partitions: the JetStream streams that hold the histories of channels, and their incarnations.
//!
//! The incarnation of a partition is a random word, its *life*. It is in the metadata of the stream and in the subjects
//! that the stream takes: what is published for another life is taken by nobody. A stream that is gone is made again with
//! a new life. A stream that is there but lacks messages that were acknowledged gets a new life by an update.

use super::clock::ServerClock;
use crate::nats::api::{self, Info, code};
use crate::nats::error::NatsError;
use crate::nats::life::Life;
use parking_lot::Mutex;
use serde_json::{Value, json};
use spinward::engine::broker::IDEMPOTENCY_TTL;
use spinward::id::Entropy;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

/// Layout of the streams.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    pub(super) prefix: String,
    pub(super) partitions: u16,
    pub(super) replicas: u8,
    pub(super) in_memory: bool,
}

/// One stream.
pub(super) struct Partition {
    layout: Layout,
    number: u16,
    /// Name of the stream.
    pub(super) name: String,
    known: Mutex<Known>,
    /// Highest sequence that the stream was seen to have in its present life.
    highest: AtomicU64,
    /// The latest publish got no answer.
    silent: AtomicBool,
    checking: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Known {
    life: Option<Arc<str>>,
    /// The connection by which it was checked.
    checked_by: u64,
}

/// Result of a check.
pub(super) struct Checked {
    pub(super) life: Arc<str>,
    /// It is not the one known before.
    pub(super) replaced: bool,
}

impl Partition {
    pub(super) fn new(layout: Layout, number: u16) -> Self {
        let name = format!("{}_history_{number}", layout.prefix);
        Self {
            layout,
            number,
            name,
            known: Mutex::default(),
            highest: AtomicU64::new(0),
            silent: AtomicBool::new(false),
            checking: tokio::sync::Mutex::default(),
        }
    }

    /// The life known at present.
    pub(super) fn life(&self) -> Option<Arc<str>> {
        self.known.lock().life.clone()
    }

    /// The life, if it was checked by this connection.
    pub(super) fn checked(&self, connection: &Life) -> Option<Arc<str>> {
        let known = self.known.lock();
        known.life.clone().filter(|_| known.checked_by == connection.id())
    }

    /// Subject of a channel in a life.
    pub(super) fn subject(&self, life: &str, channel: &str) -> String {
        format!("{}{channel}", self.subjects(life))
    }

    fn subjects(&self, life: &str) -> String {
        format!("{}.history.{}.{life}.", self.layout.prefix, self.number)
    }

    /// Takes note of a message that the stream has.
    pub(super) fn has(&self, life: &str, sequence: u64) {
        let known = self.known.lock();
        if known.life.as_deref() == Some(life) {
            self.highest.fetch_max(sequence, SeqCst);
        }
    }

    /// Takes note of the result of a publish, and logs when the stream stops or starts to answer.
    ///
    /// Checks of the stream do not tell: nats-server answers them for a stream that it cannot write.
    pub(super) fn answered<T>(&self, result: &Result<T, NatsError>) {
        match result {
            Err(error @ NatsError::NoAnswer) => {
                if !self.silent.swap(true, SeqCst) {
                    tracing::warn!(stream = %self.name, %error, "JetStream does not answer publishes");
                }
            }
            // These say nothing about the stream.
            Err(NatsError::Lost | NatsError::NoResponders | NatsError::TooLong { .. }) => {}
            _ => {
                if self.silent.swap(false, SeqCst) {
                    tracing::info!(stream = %self.name, "JetStream answers publishes again");
                }
            }
        }
    }

    fn config(&self, life: &str) -> Value {
        let prefix = &self.layout.prefix;
        let all = format!("{}>", self.subjects(life));
        json!({
            "name": self.name,
            "description": "Histories of channels. Made by Spinward.",
            "subjects": [all],
            "retention": "limits",
            "discard": "old",
            "storage": if self.layout.in_memory { "memory" } else { "file" },
            "num_replicas": self.layout.replicas,
            "max_consumers": -1,
            "max_msgs": -1,
            "max_bytes": -1,
            "max_age": 0,
            "max_msgs_per_subject": -1,
            "duplicate_window": nanos(IDEMPOTENCY_TTL),
            "allow_direct": true,
            "allow_msg_ttl": true,
            "republish": { "src": all, "dest": format!("{prefix}.client.>") },
            "metadata": { "life": life, "partitions": self.layout.partitions.to_string() },
        })
    }

    /// Looks at the stream, and makes it if it does not exist.
    pub(super) async fn check(&self, connection: &Life, clock: &ServerClock) -> Result<Checked, NatsError> {
        let _turn = self.checking.lock().await;
        let highest = self.highest.load(SeqCst);
        let known = self.life();
        let asked = clock.asked();
        let info = match api::info(connection, &self.name).await {
            Err(NatsError::JetStream { code: code::NO_STREAM, .. }) => self.make(connection).await?,
            answer => answer?,
        };
        clock.answered(asked, &info.time);
        let mut life = self.life_of(&info)?;
        if known.as_deref() == Some(&life) && info.state.last_sequence < highest {
            tracing::warn!(
                stream = %self.name,
                known = highest,
                found = info.state.last_sequence,
                "JetStream lacks acknowledged messages: histories begin a new life"
            );
            let config = self.config(&new_life());
            life = self.life_of(&api::update(connection, &self.name, &config).await?)?;
        }
        let replaced = known.as_deref() != Some(&*life);
        let life = known.filter(|_| !replaced).unwrap_or_else(|| Arc::from(life));
        let mut known = self.known.lock();
        if replaced {
            self.highest.store(info.state.last_sequence, SeqCst);
        }
        let before = known.life.replace(Arc::clone(&life));
        known.checked_by = connection.id();
        Ok(Checked { replaced: replaced && before.is_some(), life })
    }

    async fn make(&self, connection: &Life) -> Result<Info, NatsError> {
        match api::create(connection, &self.name, &self.config(&new_life())).await {
            // Another node was quicker.
            Err(NatsError::JetStream { code: code::NAME_IN_USE, .. }) => {
                api::info(connection, &self.name).await
            }
            made => {
                tracing::info!(stream = %self.name, "made a stream in JetStream");
                made
            }
        }
    }

    fn life_of(&self, info: &Info) -> Result<String, NatsError> {
        let metadata = &info.config.metadata;
        let partitions = metadata.get("partitions").map(String::as_str).unwrap_or_default();
        if partitions != self.layout.partitions.to_string() {
            return Err(NatsError::Partitions {
                stream: self.name.clone(),
                found: partitions.to_owned(),
                configured: self.layout.partitions,
            });
        }
        metadata.get("life").filter(|life| !life.is_empty()).cloned().ok_or(NatsError::Malformed)
    }
}

/// A word that no stream had before.
fn new_life() -> String {
    format!("{:016x}", Entropy::system().number())
}

pub(in crate::nats) fn nanos(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
