//! Presence in JetStream: one message for each connection in a channel, which the server removes after its time.

use super::api::{self, code};
use super::config::{Config, ConfigError};
use super::counters::Counts;
use super::error::NatsError;
use super::jetstream::nanos;
use super::life::Life;
use super::link::Link;
use super::subject::encode;
use crate::codec;
use async_nats::HeaderMap;
use bytes::Bytes;
use serde_json::json;
use spinward::ClientInfo;
use spinward::answer::Answer;
use spinward::engine::EngineHealth;
use spinward::engine::presence::{Member, Members, Presence as PresenceTrait, PresenceError, PresenceStats};
use spinward::id::ClientId;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// Entries of one request.
const BATCH: usize = 256;
/// Time that a refresh may take.
const PATIENCE: Duration = Duration::from_secs(4);
/// The entry of a connection that was removed: it takes the place of the one before.
const GONE: Bytes = Bytes::new();

/// Settings of [`Presence`].
#[derive(Clone, Debug)]
pub struct PresenceConfig {
    /// The connection. Wildcards and raw mode are not for this store.
    pub connection: Config,
    /// Time that an entry lives without being refreshed, at least 2 seconds. The server counts in whole seconds, by its
    /// own clock.
    pub presence_ttl: Duration,
    /// Copies of the stream, 1 to 5. With more than one, a read may be some milliseconds behind.
    pub replicas: u8,
}

impl Default for PresenceConfig {
    fn default() -> Self {
        Self { connection: Config::default(), presence_ttl: Duration::from_secs(60), replicas: 1 }
    }
}

/// A presence store on JetStream of nats-server 2.11 or newer.
///
/// Entries are in the memory of the servers. If it is lost, they are back after the next refresh, at most a third of
/// their time to live later. Adding and removing is one round trip, and so is reading up to 256 members.
pub struct Presence {
    link: Arc<Link>,
    store: Arc<Store>,
    ttl: Duration,
}

struct Store {
    prefix: String,
    stream: String,
    seconds: u64,
    replicas: u8,
}

impl Presence {
    /// A store with these settings. It connects at once, in the background, so it has to be made within a Tokio runtime.
    ///
    /// # Errors
    /// A setting cannot be used, or there is no runtime.
    pub fn new(config: PresenceConfig) -> Result<Self, ConfigError> {
        let PresenceConfig { connection, presence_ttl: ttl, replicas } = config;
        if ttl < Duration::from_secs(2) {
            return Err(ConfigError::PresenceTtl(ttl));
        }
        if !(1..=5).contains(&replicas) {
            return Err(ConfigError::Replicas(replicas));
        }
        let prefix = format!("{}.presence", connection.prefix);
        let stream = format!("{}_presence", connection.prefix);
        let seconds = ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0);
        let link = Link::new(connection)?;
        link.start().map_err(|_| ConfigError::Runtime)?;
        Ok(Self { link, store: Arc::new(Store { prefix, stream, seconds, replicas }), ttl })
    }

    /// Counters since the start.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.link.counters().snapshot()
    }

    fn ask<T, F>(&self, call: impl FnOnce(Arc<Store>, Arc<Life>) -> F) -> Answer<Result<T, PresenceError>>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, NatsError>> + Send + 'static,
    {
        let counters = Arc::clone(self.link.counters());
        let life = match self.link.life() {
            Ok(life) => life,
            Err(error) => {
                counters.errors.bump();
                return Answer::Now(Err(error.into()));
            }
        };
        let call = call(Arc::clone(&self.store), life);
        Answer::later(async move {
            call.await.map_err(|error| {
                counters.errors.bump();
                error.into()
            })
        })
    }
}

impl PresenceTrait for Presence {
    fn add(
        &self,
        channel: &str,
        client: ClientId,
        info: Arc<ClientInfo>,
    ) -> Answer<Result<(), PresenceError>> {
        let subject = self.store.subject(channel, Some(client));
        self.ask(|store, life| async move { store.put(&life, subject, codec::info(&info).into()).await })
    }

    fn remove(&self, channel: &str, client: ClientId, _: &str) -> Answer<Result<(), PresenceError>> {
        let subject = self.store.subject(channel, Some(client));
        self.ask(|store, life| async move { store.put(&life, subject, GONE).await })
    }

    fn members(&self, channel: &str) -> Answer<Result<Members, PresenceError>> {
        let subject = self.store.subject(channel, None);
        self.ask(|store, life| async move { Ok(store.list(&life, &subject).await?.into()) })
    }

    fn stats(&self, channel: &str) -> Answer<Result<PresenceStats, PresenceError>> {
        let subject = self.store.subject(channel, None);
        self.ask(|store, life| async move {
            let members = store.list(&life, &subject).await?;
            let users: HashSet<&str> = members.iter().map(|info| &*info.user).collect();
            let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
            Ok(PresenceStats { clients: count(members.len()), users: count(users.len()) })
        })
    }

    fn refresh_interval(&self) -> Option<Duration> {
        Some(self.ttl / 3)
    }

    fn refresh(&self, members: &[Member]) -> Answer<Result<(), PresenceError>> {
        let entry = |member: &Member| {
            let subject = self.store.subject(&member.channel, Some(member.client));
            (subject, Bytes::from(codec::info(&member.info)))
        };
        let entries: Vec<_> = members.iter().map(entry).collect();
        self.ask(|store, life| async move { store.refresh(&life, entries).await })
    }

    fn health(&self) -> EngineHealth {
        match self.link.life().map(|life| api::too_old(&life)) {
            Ok(Some(reason)) => EngineHealth::Down { reason },
            _ => self.link.health(),
        }
    }

    fn close(&self) -> Answer<()> {
        let link = Arc::clone(&self.link);
        Answer::later(async move { link.close().await })
    }
}

impl Store {
    /// Subject of an entry, or of all in a channel.
    fn subject(&self, channel: &str, client: Option<ClientId>) -> String {
        let mut subject = format!("{}.", self.prefix);
        encode(channel, false, &mut subject);
        match client {
            Some(client) => subject + "." + &client.to_string(),
            None => subject + ".*",
        }
    }

    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("Nats-TTL", format!("{}s", self.seconds).as_str());
        headers
    }

    async fn put(&self, life: &Life, subject: String, payload: Bytes) -> Result<(), NatsError> {
        match api::publish(life, subject.clone(), self.headers(), payload.clone()).await {
            Err(NatsError::NoResponders) => {
                self.make(life).await?;
                api::publish(life, subject, self.headers(), payload).await?;
                Ok(())
            }
            ack => ack.map(drop),
        }
    }

    /// Puts many entries. The last one is acknowledged, and with it those before: a stream takes what one connection sends
    /// in order. One that is refused alone is there again after the next refresh.
    async fn refresh(&self, life: &Life, mut entries: Vec<(String, Bytes)>) -> Result<(), NatsError> {
        let Some((subject, payload)) = entries.pop() else { return Ok(()) };
        for made in [false, true] {
            let send = async {
                for (subject, payload) in &entries {
                    life.check_length(payload.len())?;
                    let (subject, payload) = (subject.clone(), payload.clone());
                    let sent = life.client().publish_with_headers(subject, self.headers(), payload);
                    sent.await.map_err(NatsError::client)?;
                }
                Ok(())
            };
            timeout(PATIENCE, send).await.unwrap_or(Err(NatsError::WriteTimeout))?;
            match api::publish(life, subject.clone(), self.headers(), payload.clone()).await {
                Err(NatsError::NoResponders) if !made => self.make(life).await?,
                ack => return ack.map(drop),
            }
        }
        Ok(())
    }

    async fn list(&self, life: &Life, subject: &str) -> Result<Vec<Arc<ClientInfo>>, NatsError> {
        // An entry that is refreshed in the meantime comes a second time, later.
        let mut found = BTreeMap::new();
        let mut sequence = 1;
        loop {
            let (batch, more) = match api::batch(life, &self.stream, subject, sequence, BATCH).await {
                Err(NatsError::NoResponders) => {
                    // A stream that is made has nothing in it. One that is there without a leader is an error.
                    self.make(life).await?;
                    break;
                }
                batch => batch?,
            };
            let Some(last) = batch.last() else { break };
            sequence = last.sequence + 1;
            for stored in batch {
                if stored.payload.is_empty() {
                    found.remove(&stored.subject);
                } else {
                    let info = codec::read_info(stored.payload).map_err(|_| NatsError::Malformed)?;
                    found.insert(stored.subject, Arc::new(info));
                }
            }
            if !more {
                break;
            }
        }
        Ok(found.into_values().collect())
    }

    async fn make(&self, life: &Life) -> Result<(), NatsError> {
        let config = json!({
            "name": self.stream,
            "description": "Members of channels. Made by Spinward.",
            "subjects": [format!("{}.>", self.prefix)],
            "retention": "limits",
            "discard": "old",
            "storage": "memory",
            "num_replicas": self.replicas,
            "max_consumers": -1,
            "max_msgs": -1,
            "max_bytes": -1,
            "max_age": 0,
            "max_msgs_per_subject": 1,
            "duplicate_window": nanos(Duration::from_secs(1)),
            "allow_direct": true,
            "allow_msg_ttl": true,
        });
        match api::create(life, &self.stream, &config).await {
            Ok(_) | Err(NatsError::JetStream { code: code::NAME_IN_USE, .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
