//! The partitions as one store: which one has a channel, publishes and reads by the last message of a subject.

use super::clock::ServerClock;
use super::entry::Entry;
use super::partition::{Layout, Partition};
use super::slots::{Known, Slot, Slots};
use super::sweep::Sweep;
use crate::codec;
use crate::nats::api::{self, Extent, code};
use crate::nats::error::NatsError;
use crate::nats::life::Life;
use crate::nats::link::Link;
use crate::nats::subject::encode;
use async_nats::HeaderMap;
use bytes::Bytes;
use parking_lot::Mutex;
use spinward::engine::broker::{BrokerError, HistoryOptions, Place, PublishOptions, Receipt, Scope, Sink};
use spinward::id::Entropy;
use spinward::publication::Publication;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::{Notify, Semaphore};
use tokio::time::sleep;

/// Times that a publish is tried. Only other nodes that publish to the same channel, or a stream that was replaced, make
/// it fail.
const ATTEMPTS: u32 = 24;
/// Requests to remove old messages that may run at once. Further ones are left to the next publish.
const TRIMS: usize = 4;

/// Histories in JetStream.
pub(super) struct Store {
    pub(super) link: Arc<Link>,
    pub(super) partitions: Vec<Partition>,
    pub(super) slots: Slots,
    pub(super) clock: ServerClock,
    pub(super) sink: OnceLock<Sink>,
    /// Wakes the task that checks the streams.
    pub(super) suspicion: Notify,
    /// Reason for which JetStream cannot be used, for people.
    pub(super) problem: Mutex<Option<String>>,
    /// Reason for which a stream takes no publications, for people.
    pub(super) unwritable: Mutex<Option<String>>,
    pub(super) sweep: Sweep,
    trims: Arc<Semaphore>,
}

/// A channel, by one connection and in one life of its partition.
pub(super) struct Spot<'a> {
    pub(super) connection: Arc<Life>,
    pub(super) partition: &'a Partition,
    pub(super) life: Arc<str>,
    pub(super) subject: String,
}

/// Result of storing an entry.
enum Stored {
    At(u64),
    /// The idempotency key is known, with this sequence.
    Known(u64),
    /// Another message came first.
    Conflict,
    /// The life is over.
    Replaced,
}

impl Store {
    pub(super) fn new(link: Arc<Link>, layout: &Layout) -> Arc<Self> {
        let partitions =
            (0..layout.partitions).map(|number| Partition::new(layout.clone(), number)).collect();
        Arc::new(Self {
            link,
            partitions,
            slots: Slots::default(),
            clock: ServerClock::new(),
            sink: OnceLock::new(),
            suspicion: Notify::new(),
            problem: Mutex::new(Some(super::NOT_CHECKED.to_owned())),
            unwritable: Mutex::new(Some(super::NOT_CHECKED.to_owned())),
            sweep: Sweep::default(),
            trims: Arc::new(Semaphore::new(TRIMS)),
        })
    }

    /// Reason for which JetStream cannot be used, if it cannot.
    pub(super) fn trouble(&self) -> Option<String> {
        let problem = self.problem.lock().clone();
        problem.or_else(|| self.unwritable.lock().clone())
    }

    /// The partition of a channel. Every node has to choose the same, so this never changes: FNV-1a, 64 bits.
    pub(super) fn partition(&self, channel: &str) -> Result<&Partition, NatsError> {
        let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        let hash = channel.as_bytes().iter().fold(0xcbf2_9ce4_8422_2325, step);
        let count = self.partitions.len().max(1) as u64;
        self.partitions.get((hash % count) as usize).ok_or(NatsError::Malformed)
    }

    /// The channel, with the present life of its partition.
    pub(super) async fn spot(&self, channel: &str) -> Result<Spot<'_>, NatsError> {
        let partition = self.partition(channel)?;
        let connection = self.link.life()?;
        let life = match partition.checked(&connection) {
            Some(life) => life,
            None => self.check(partition, &connection).await?,
        };
        let mut token = String::new();
        encode(channel, false, &mut token);
        let subject = partition.subject(&life, &token);
        Ok(Spot { connection, partition, life, subject })
    }

    /// Checks a partition, and tells the node if its life is another one.
    pub(super) async fn check(
        &self,
        partition: &Partition,
        connection: &Life,
    ) -> Result<Arc<str>, NatsError> {
        let checked = partition.check(connection, &self.clock).await?;
        if checked.replaced
            && let Some(sink) = self.sink.get()
        {
            let wanted = sink.wanted();
            let of_it = |channel: &&Arc<str>| {
                self.partition(channel).is_ok_and(|other| std::ptr::eq(other, partition))
            };
            let channels: Vec<&str> = wanted.iter().filter(of_it).map(|channel| &**channel).collect();
            self.link.counters().gaps.bump();
            sink.replaced(Scope::Channels(&channels), &checked.life);
        }
        Ok(checked.life)
    }

    /// The last message of a channel, by the leader of its partition. `None` if the partition has another life by now.
    pub(super) async fn last(&self, spot: &Spot<'_>) -> Result<Option<Known>, NatsError> {
        let found = match api::last(&spot.connection, &spot.partition.name, &spot.subject).await {
            Err(NatsError::NoResponders | NatsError::JetStream { code: code::NO_STREAM, .. }) => {
                self.check(spot.partition, &spot.connection).await?;
                return Ok(None);
            }
            found => found?,
        };
        let (sequence, entry) = match found {
            Some(stored) => {
                spot.partition.has(&spot.life, stored.sequence);
                (stored.sequence, Some(Entry::read(stored.payload).ok_or(NatsError::Malformed)?))
            }
            None => (0, None),
        };
        Ok(Some(Known { sequence, entry, life: Arc::clone(&spot.life) }))
    }

    /// The present state of a stream, begun if it is missing, in `known` at the end.
    pub(super) async fn begun(
        &self,
        spot: &Spot<'_>,
        known: &mut Known,
        history: &HistoryOptions,
    ) -> Result<Option<Entry>, NatsError> {
        let now = self.clock.now();
        if let Some(entry) = known.entry.as_ref().filter(|entry| !entry.is_over(now)) {
            return Ok(Some(entry.clone()));
        }
        let epoch = format!("{:x}", Entropy::system().number());
        let mark = Entry::beginning(&spot.life, epoch, history, now);
        Ok(self.mark(spot, known, mark.clone()).await?.then_some(mark))
    }

    /// Stores a mark after the message that is known. Returns false if another one came first.
    pub(super) async fn mark(
        &self,
        spot: &Spot<'_>,
        known: &mut Known,
        mark: Entry,
    ) -> Result<bool, NatsError> {
        match self.store(spot, known.sequence, &mark, None).await? {
            Stored::At(sequence) => {
                *known = Known { sequence, entry: Some(mark), life: Arc::clone(&spot.life) };
                Ok(true)
            }
            Stored::Known(_) | Stored::Conflict | Stored::Replaced => Ok(false),
        }
    }

    /// Publishes to a channel with history.
    pub(super) async fn publish(
        self: Arc<Self>,
        channel: Arc<str>,
        publication: Publication,
        options: PublishOptions,
    ) -> Result<Receipt, BrokerError> {
        let slot = self.slots.of(&channel);
        let mut slot = slot.lock_owned().await;
        for attempt in 0..ATTEMPTS {
            if attempt > 2 {
                // Nodes that compete do not all come back in one moment.
                let jitter = Entropy::system().number() % 16;
                sleep(Duration::from_millis(u64::from(attempt) * 2 + jitter)).await;
            }
            let spot = self.spot(&channel).await?;
            match self.attempt(&spot, &mut slot, &publication, &options).await {
                Ok(Some(receipt)) => {
                    if let Receipt::Stored(place) = &receipt {
                        self.trim(&spot, &mut slot, place, &options.history);
                        self.sweep.later(&channel, &mut slot);
                    }
                    return Ok(receipt);
                }
                Ok(None) => slot.known = None,
                Err(error) => {
                    // Whether it was stored is not known.
                    slot.known = None;
                    return Err(error.into());
                }
            }
        }
        Err(NatsError::Contended.into())
    }

    /// One attempt to publish. `None` if it has to be tried again.
    async fn attempt(
        &self,
        spot: &Spot<'_>,
        slot: &mut Slot,
        publication: &Publication,
        options: &PublishOptions,
    ) -> Result<Option<Receipt>, NatsError> {
        let fresh = slot.known.as_ref().is_none_or(|known| known.life != spot.life);
        let mut known = match slot.known.take() {
            Some(known) if !fresh => known,
            _ => match self.last(spot).await? {
                Some(known) => known,
                None => return Ok(None),
            },
        };
        let now = self.clock.now();
        let present = known.entry.take().filter(|entry| !entry.is_over(now));
        if let Some(entry) = &present
            && entry.suppresses(options)
        {
            // Another node may have published a version of another epoch since.
            let receipt = fresh.then(|| Receipt::Suppressed(Some(entry.place())));
            return Ok(receipt);
        }
        let before = present.unwrap_or_else(|| {
            let epoch = format!("{:x}", Entropy::system().number());
            Entry::beginning(&spot.life, epoch, &options.history, now)
        });
        let publication = Publication { time: now, ..publication.clone() };
        let entry = before.next(codec::publication(&publication).into(), options, now);
        let key = (!options.idempotency_key.is_empty()).then_some(&*options.idempotency_key);
        match self.store(spot, known.sequence, &entry, key).await? {
            Stored::At(sequence) => {
                let place = entry.place();
                slot.known = Some(Known { sequence, entry: Some(entry), life: Arc::clone(&spot.life) });
                Ok(Some(Receipt::Stored(place)))
            }
            Stored::Known(sequence) => {
                let first = api::at(&spot.connection, &spot.partition.name, sequence).await?;
                let place = first.and_then(|first| Entry::read(first.payload)).map(|entry| entry.place());
                Ok(Some(Receipt::Suppressed(place)))
            }
            Stored::Conflict => {
                self.link.counters().conflicts.bump();
                Ok(None)
            }
            Stored::Replaced => Ok(None),
        }
    }

    async fn store(
        &self,
        spot: &Spot<'_>,
        after: u64,
        entry: &Entry,
        key: Option<&str>,
    ) -> Result<Stored, NatsError> {
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Expected-Last-Subject-Sequence", after.to_string().as_str());
        headers.insert("Nats-TTL", format!("{}s", entry.seconds(self.clock.now())).as_str());
        if let Some(key) = key {
            headers.insert("Nats-Msg-Id", message_id(&spot.subject, key).as_str());
        }
        let result = api::publish(&spot.connection, spot.subject.clone(), headers, entry.encoded()).await;
        spot.partition.answered(&result);
        match result {
            Ok(ack) => {
                spot.partition.has(&spot.life, ack.sequence);
                Ok(if ack.duplicate { Stored::Known(ack.sequence) } else { Stored::At(ack.sequence) })
            }
            Err(NatsError::JetStream {
                code:
                    code::WRONG_LAST_SEQUENCE | code::WRONG_LAST_SEQUENCE_UNKNOWN | code::DUPLICATE_IN_FLIGHT,
                ..
            }) => Ok(Stored::Conflict),
            Err(NatsError::NoResponders) => {
                // The life is over, or JetStream is not there: then this fails too.
                self.check(spot.partition, &spot.connection).await?;
                Ok(Stored::Replaced)
            }
            Err(error) => Err(error),
        }
    }

    /// Removes messages that are no longer kept, in the background, once as many are there as are kept.
    fn trim(&self, spot: &Spot<'_>, slot: &mut Slot, place: &Place, history: &HistoryOptions) {
        let size = history.size as u64;
        if place.offset < slot.trimmed {
            slot.trimmed = 0;
        }
        if place.offset - slot.trimmed < size.saturating_add(size / 2).max(16) {
            return;
        }
        let Ok(permit) = Arc::clone(&self.trims).try_acquire_owned() else { return };
        slot.trimmed = place.offset;
        let (connection, subject) = (Arc::clone(&spot.connection), spot.subject.clone());
        let stream = spot.partition.name.clone();
        // A few more than the size, since marks count too.
        let keep = size + size / 4 + 8;
        tokio::spawn(async move {
            let _permit = permit;
            if let Err(error) = api::purge(&connection, &stream, &subject, Extent::Keep(keep)).await {
                tracing::debug!(%error, "cannot remove old messages of a history");
            }
        });
    }

    /// Drops the publications of a channel.
    pub(super) async fn forget(self: Arc<Self>, channel: Arc<str>) -> Result<(), BrokerError> {
        let slot = self.slots.of(&channel);
        let mut slot = slot.lock_owned().await;
        slot.known = None;
        for _ in 0..ATTEMPTS {
            let spot = self.spot(&channel).await?;
            let Some(mut known) = self.last(&spot).await? else { continue };
            let now = self.clock.now();
            let Some(entry) = known.entry.clone().filter(|entry| !entry.is_over(now)) else { return Ok(()) };
            if self.mark(&spot, &mut known, entry.forgotten()).await? {
                let before = Extent::Before(known.sequence);
                api::purge(&spot.connection, &spot.partition.name, &spot.subject, before).await?;
                slot.known = Some(known);
                return Ok(());
            }
        }
        Err(NatsError::Contended.into())
    }
}

/// Id by which JetStream knows a publication again.
pub(super) fn message_id(subject: &str, key: &str) -> String {
    let mut id = format!("{subject}/");
    encode(key, false, &mut id);
    id
}

/// The publication of an entry.
pub(super) fn publication(entry: &Entry) -> Option<Publication> {
    let bytes: Bytes = entry.publication.clone()?;
    let publication = codec::read_publication(bytes).ok()?;
    Some(Publication { offset: entry.offset, ..publication })
}
