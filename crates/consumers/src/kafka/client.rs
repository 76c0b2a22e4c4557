//! The client library: nothing else in this crate knows it.

use super::config::{Config, Error, Mechanism, Sasl, Tls};
use bytes::Bytes;
use krafka::auth::{AuthConfig, TlsConfig};
use krafka::consumer::{
    AutoOffsetReset, Consumer, ConsumerRebalanceListener, ConsumerRecord, IsolationLevel, OffsetAndMetadata,
    PartitionAssignmentStrategy, TopicPartition,
};
use krafka::error::{ErrorCode, KrafkaError};
use krafka::{CloseOptions, Kafka};
use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

/// Time without a heartbeat after which the group gives the partitions of a node to others.
const SESSION: Duration = Duration::from_secs(10);

/// Time between heartbeats.
const HEARTBEAT: Duration = Duration::from_secs(3);

/// Time that a group waits for the call under way when it moves a partition.
const REBALANCE: Duration = Duration::from_secs(60);

/// Request timeout.
const REQUEST: Duration = Duration::from_secs(30);

/// Age at which what is known of brokers and topics is asked for again.
pub(super) const METADATA: Duration = Duration::from_secs(10);

/// Time that leaving a group may take.
const LEAVE: Duration = Duration::from_secs(10);

/// A partition.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) topic: Arc<str>,
    pub(super) partition: i32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "partition {} of topic {}", self.partition, self.topic)
    }
}

/// A record, without its place.
pub(super) struct Record {
    pub(super) offset: i64,
    pub(super) epoch: Option<i32>,
    /// Milliseconds since 1970, by the clock of the producer or the broker.
    pub(super) time: i64,
    pub(super) headers: Vec<(String, Option<Bytes>)>,
    pub(super) payload: Bytes,
}

/// The position up to which a partition is carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    /// Offset of the next record.
    pub(super) next: i64,
    /// Leader epoch of the record before.
    pub(super) epoch: Option<i32>,
}

/// Changes of the partitions of this member. The client waits for each.
pub(super) trait Rebalance: Send + Sync + 'static {
    /// Ends the work on partitions that go to another member. Returns the positions to commit.
    fn revoked(&self, places: Vec<Place>) -> impl Future<Output = Vec<(Place, Position)>> + Send;

    /// Ends the work on partitions that another member may have already.
    fn lost(&self, places: Vec<Place>) -> impl Future<Output = ()> + Send;

    /// The positions of revoked partitions could not be committed.
    fn not_committed(&self, error: &Error);
}

/// A member of a consumer group.
pub(super) struct Group {
    consumer: Arc<Consumer>,
    topics: Vec<String>,
}

impl Group {
    /// Connects. The group is joined by the first poll.
    pub(super) async fn connect<R: Rebalance>(config: &Config, rebalance: Arc<R>) -> Result<Self, Error> {
        let mut builder = Kafka::builder(config.brokers.join(","))
            .client_id("spinward")
            .connect_timeout(config.dial_timeout)
            .request_timeout(REQUEST)
            .metadata_max_age(METADATA);
        if let Some(security) = security(config) {
            builder = builder.security(security);
        }
        let kafka = builder.connect().await.map_err(failed)?;
        let listener = Arc::new(Listener { rebalance, consumer: OnceLock::new() });
        let isolation = match config.read_uncommitted {
            true => IsolationLevel::ReadUncommitted,
            false => IsolationLevel::ReadCommitted,
        };
        let mut builder = kafka
            .consumer(&config.group)
            .auto_offset_reset(AutoOffsetReset::Earliest)
            .enable_auto_commit(false)
            .fetch_max_wait(config.fetch_max_wait)
            .isolation_level(isolation)
            .max_poll_records(i32::try_from(config.batch()).unwrap_or(i32::MAX))
            // No limit over all partitions: records of one that is paused would stop the others. The limit of each is
            // two polls, since one that has records is not fetched.
            .max_buffered_records(0)
            .max_poll_interval(REBALANCE)
            .session_timeout(SESSION)
            .heartbeat_interval(HEARTBEAT)
            .metrics_push(false)
            // As Centrifugo's members of a group: those of both can share one.
            .partition_assignment_strategy(PartitionAssignmentStrategy::CooperativeSticky)
            .rebalance_listener(Arc::clone(&listener));
        if config.fetch_max_bytes > 0 {
            builder = builder.fetch_max_bytes(config.fetch_max_bytes);
        }
        if !config.instance.is_empty() {
            builder = builder.group_instance_id(&config.instance);
        }
        let consumer = Arc::new(builder.build().await.map_err(failed)?);
        // Set once, here.
        let _ = listener.consumer.set(Arc::downgrade(&consumer));
        consumer.subscribe(&config.topics).await.map_err(failed)?;
        Ok(Self { consumer, topics: config.topics.clone() })
    }

    /// Takes records, for at most this time. Nothing is lost and no change of partitions is left half way: `interrupt`
    /// ends the wait in order.
    pub(super) async fn poll(
        &self,
        time: Duration,
        interrupt: impl Future<Output = ()>,
    ) -> Result<Vec<(Place, Record)>, Error> {
        let mut polling = std::pin::pin!(self.consumer.poll(time));
        let polled = tokio::select! {
            biased;
            polled = &mut polling => polled,
            () = interrupt => {
                self.consumer.wakeup();
                polling.await
            }
        };
        match polled {
            Ok(records) => Ok(records.into_iter().map(record).collect()),
            Err(KrafkaError::Wakeup) => Ok(Vec::new()),
            Err(error) => Err(failed(error)),
        }
    }

    /// Returns true once the group was joined.
    pub(super) async fn is_joined(&self) -> bool {
        self.consumer.group_metadata().await.is_some()
    }

    /// Commits positions. Returns false if the group is changing, or goes on without this member: then nothing is
    /// committed, and what was carried out may be again.
    pub(super) async fn commit(&self, positions: Vec<(Place, Position)>) -> Result<bool, Error> {
        commit(&self.consumer, positions).await
    }

    /// Stops reading a partition, or goes on.
    pub(super) async fn pause(&self, place: &Place, paused: bool) {
        let partitions = [place.partition];
        match paused {
            true => self.consumer.pause(&place.topic, &partitions).await,
            false => self.consumer.resume(&place.topic, &partitions).await,
        }
    }

    /// Asks the brokers for the number of partitions of each topic; 0 where it does not exist.
    pub(super) async fn sizes(&self) -> Result<BTreeMap<String, usize>, Error> {
        let mut sizes = BTreeMap::new();
        for topic in &self.topics {
            let known = self.consumer.fetch_metadata(Some(topic)).await.map_err(failed)?;
            let size = known.topics.iter().find(|known| known.name == *topic);
            sizes.insert(topic.clone(), size.map_or(0, |known| known.partition_count()));
        }
        Ok(sizes)
    }

    /// Revokes every partition, and leaves the group. A static member keeps its place in it.
    pub(super) async fn leave(&self) -> Result<(), Error> {
        self.consumer.close_with(CloseOptions::new().timeout(LEAVE)).await.map_err(failed)
    }
}

/// Hands changes of the partitions on.
struct Listener<R> {
    rebalance: Arc<R>,
    consumer: OnceLock<Weak<Consumer>>,
}

impl<R: Rebalance> ConsumerRebalanceListener for Listener<R> {
    async fn on_partitions_assigned(&self, _: &[TopicPartition]) {}

    async fn on_partitions_revoked(&self, partitions: &[TopicPartition]) {
        let positions = self.rebalance.revoked(places(partitions)).await;
        let Some(consumer) = self.consumer.get().and_then(Weak::upgrade) else { return };
        if let Err(error) = commit(&consumer, positions).await {
            self.rebalance.not_committed(&error);
        }
    }

    async fn on_partitions_lost(&self, partitions: &[TopicPartition]) {
        self.rebalance.lost(places(partitions)).await;
    }
}

fn places(partitions: &[TopicPartition]) -> Vec<Place> {
    let place = |one: &TopicPartition| Place { topic: one.topic().into(), partition: one.partition() };
    partitions.iter().map(place).collect()
}

fn record(record: ConsumerRecord) -> (Place, Record) {
    let place = Place { topic: record.topic, partition: record.partition };
    let record = Record {
        offset: record.offset,
        epoch: record.leader_epoch,
        time: record.timestamp,
        headers: record.headers,
        payload: record.value.unwrap_or_default(),
    };
    (place, record)
}

async fn commit(consumer: &Consumer, positions: Vec<(Place, Position)>) -> Result<bool, Error> {
    if positions.is_empty() {
        return Ok(true);
    }
    let offsets = positions.into_iter().map(|(place, Position { next, epoch })| {
        let offset = match epoch {
            Some(epoch) => OffsetAndMetadata::with_epoch(next, epoch),
            None => OffsetAndMetadata::new(next),
        };
        (TopicPartition::new(&*place.topic, place.partition), offset)
    });
    match consumer.commit_offsets(offsets).await {
        Ok(()) => Ok(true),
        Err(KrafkaError::Broker {
            code: ErrorCode::RebalanceInProgress | ErrorCode::IllegalGeneration | ErrorCode::UnknownMemberId,
            ..
        }) => Ok(false),
        Err(error) => Err(failed(error)),
    }
}

fn failed(error: KrafkaError) -> Error {
    let fatal = error.is_fatal();
    Error::Kafka { error: Box::new(error), fatal }
}

fn security(config: &Config) -> Option<AuthConfig> {
    let tls = config.tls.as_ref().map(encryption);
    let login = config.sasl.as_ref().map(|Sasl { mechanism, user, password }| match mechanism {
        Mechanism::Plain => AuthConfig::sasl_plain(user, password),
        Mechanism::ScramSha256 => AuthConfig::sasl_scram_sha256(user, password),
        Mechanism::ScramSha512 => AuthConfig::sasl_scram_sha512(user, password),
    });
    match (login, tls) {
        (Some(login), Some(tls)) => Some(login.with_tls(tls)),
        (Some(login), None) => Some(login),
        (None, Some(tls)) => Some(AuthConfig::ssl(tls)),
        (None, None) => None,
    }
}

fn encryption(tls: &Tls) -> TlsConfig {
    let mut made = match (&tls.authorities, tls.insecure) {
        (_, true) => TlsConfig::insecure(),
        (Some(authorities), false) => TlsConfig::new().with_ca_cert_pem(authorities.clone()),
        (None, false) => TlsConfig::new().with_native_roots(),
    };
    if let Some((chain, key)) = &tls.identity {
        made = made.with_client_cert_pem(chain.clone(), key.clone());
    }
    if !tls.server_name.is_empty() {
        made = made.with_sni_hostname(&tls.server_name);
    }
    made
}
