//! A broker with history, in JetStream.

mod clock;
mod entry;
mod keyed;
mod partition;
mod probe;
mod read;
mod reader;
mod slots;
mod store;
mod sweep;

pub(super) use partition::nanos;

use super::api::too_old;
use super::broker::Sender;
use super::config::{Config, ConfigError};
use super::counters::Counts;
use super::error::NatsError;
use super::interests::{Changes, Interests};
use super::link::Link;
use super::subject::Subjects;
use bytes::Bytes;
use keyed::Keyed;
use partition::Layout;
use reader::JetStreamReader;
use spinward::answer::Answer;
use spinward::engine::EngineHealth;
use spinward::engine::broker::{
    Broker, BrokerError, Event, HistoryOptions, Interest, JoinLeave, PublishOptions, Read, Receipt, Scope,
    Sink, Slice,
};
use std::sync::Arc;
use std::time::Duration;
use store::Store;
use tokio::time::sleep;

/// Interval between checks of the streams.
const CHECK_INTERVAL: Duration = Duration::from_secs(2);
/// The same, after a check has failed.
const SOON: Duration = Duration::from_millis(250);
/// The problem until the first check on a connection.
const NOT_CHECKED: &str = "JetStream has not answered yet";
/// Most streams.
const MOST_STREAMS: u16 = 256;

/// Settings of [`JetStreamBroker`].
#[derive(Clone, Debug)]
pub struct JetStreamConfig {
    /// The connection. Wildcards and raw mode are not for this broker.
    pub connection: Config,
    /// Streams that channels are distributed over, 1 to 256. Every node has to have the same number, and it cannot be
    /// changed while the streams exist.
    pub num_streams: u16,
    /// Copies of each stream, 1 to 5. With 3, no acknowledged publication is lost when one server is.
    pub replicas: u8,
    /// Keeps histories in the memory of the servers in place of their disks.
    pub in_memory: bool,
}

impl Default for JetStreamConfig {
    fn default() -> Self {
        Self { connection: Config::default(), num_streams: 4, replicas: 1, in_memory: false }
    }
}

/// A broker with history and recovery, on JetStream of nats-server 2.11 or newer.
///
/// # Promises
/// - A publish with history is answered once its stream has it: on the disk cache of the server, or of most replicas.
///   nats-server writes to the disk itself every two minutes unless it is configured to do it at once (`sync_interval:
///   always`): a power failure of all replicas may lose what was acknowledged.
/// - Offsets of a channel are consecutive, also when several nodes publish. Deliveries come after storage, in order; losses are
///   noticed by their offsets.
/// - A stream that is gone, or lacks what this node knows to be stored, gets a new incarnation, within two seconds.
/// - Publications without history are as in [`Broker`](super::Broker), but idempotency keys hold for all nodes.
///
/// # Cost
/// A publish is one round trip to the leader of a stream if the last publication of the channel was this node's, two if
/// the node does not know the channel, three if another node was first. A read is one round trip, and one more for each
/// 256 messages if it returns more than the last publication; the first read of a channel that was never used is two.
pub struct JetStreamBroker {
    link: Arc<Link>,
    store: Arc<Store>,
    changes: Arc<Changes>,
    subjects: Subjects,
    sender: Arc<Sender>,
    keyed: Arc<Keyed>,
}

impl JetStreamBroker {
    /// A broker with these settings. It connects when the node starts it, and makes the streams that it needs.
    ///
    /// # Errors
    /// A setting cannot be used.
    pub fn new(config: JetStreamConfig) -> Result<Self, ConfigError> {
        let JetStreamConfig { connection, num_streams, replicas, in_memory } = config;
        if !(1..=MOST_STREAMS).contains(&num_streams) {
            return Err(ConfigError::Streams(num_streams));
        }
        if !(1..=5).contains(&replicas) {
            return Err(ConfigError::Replicas(replicas));
        }
        let prefix = connection.prefix.clone();
        let layout = Layout { prefix, partitions: num_streams, replicas, in_memory };
        let subjects = Subjects::new(&connection, "client");
        let link = Link::new(connection)?;
        Ok(Self {
            store: Store::new(Arc::clone(&link), &layout),
            keyed: Arc::new(Keyed::new(layout)),
            link,
            changes: Arc::default(),
            subjects,
            sender: Sender::new(),
        })
    }

    /// Counters since the start.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.link.counters().snapshot()
    }

    /// Answers later, and counts what fails.
    fn later<T: Send + 'static>(
        &self,
        call: impl Future<Output = Result<T, BrokerError>> + Send + 'static,
    ) -> Answer<Result<T, BrokerError>> {
        let counters = Arc::clone(self.link.counters());
        Answer::later(async move {
            let result = call.await;
            if matches!(result, Err(BrokerError::Failed(_))) {
                counters.errors.bump();
            }
            result
        })
    }

    fn send(&self, channel: &str, event: Event) -> Answer<Result<(), BrokerError>> {
        let found = self.subjects.exact(channel).and_then(|subject| Ok((subject, self.link.life()?)));
        let sender = Arc::clone(&self.sender);
        self.later(async move {
            let (subject, life) = found?;
            Ok(sender.send(&life, subject, event).await?)
        })
    }
}

impl Broker for JetStreamBroker {
    fn name(&self) -> &'static str {
        "nats_jetstream"
    }

    fn start(&self, sink: Sink) -> Result<(), BrokerError> {
        self.link.start()?;
        if self.store.sink.set(sink.clone()).is_err() {
            return Err(NatsError::Start.into());
        }
        self.link.spawn(watch(Arc::clone(&self.store), sink.clone()));
        self.link.spawn(probe::run(Arc::clone(&self.store), sink.clone()));
        let reader = JetStreamReader(Arc::clone(&self.store));
        let interests = Interests::new(&self.link, &self.changes, self.subjects.clone(), reader, sink);
        self.link.spawn(interests.run());
        Ok(())
    }

    fn incarnation(&self, channel: &str) -> Arc<str> {
        let life = self.store.partition(channel).ok().and_then(|partition| partition.life());
        life.unwrap_or_else(|| "unknown".into())
    }

    fn publish(
        &self,
        channel: &str,
        data: Bytes,
        options: PublishOptions,
    ) -> Answer<Result<Receipt, BrokerError>> {
        let subject = match self.subjects.exact(channel) {
            Ok(subject) => subject,
            Err(error) => return Answer::Now(Err(error.into())),
        };
        if options.history.enabled() {
            let publication = self.sender.publication(data, options.clone());
            let store = Arc::clone(&self.store);
            return self.later(store.publish(channel.into(), publication, options));
        }
        let key = options.idempotency_key.clone();
        let event = Event::Publication(Arc::new(self.sender.publication(data, options)));
        if key.is_empty() {
            return self.send(channel, event).map(|sent| sent.map(|()| Receipt::Sent));
        }
        let (life, keyed) = (self.link.life(), Arc::clone(&self.keyed));
        self.later(async move { Ok(keyed.publish(&*life?, &subject, &key, &event).await?) })
    }

    fn announce(&self, channel: &str, change: JoinLeave) -> Answer<Result<(), BrokerError>> {
        self.send(channel, Event::JoinLeave(change))
    }

    fn read(&self, channel: &str, read: Read, history: HistoryOptions) -> Answer<Result<Slice, BrokerError>> {
        if let Err(error) = self.subjects.exact(channel) {
            return Answer::Now(Err(error.into()));
        }
        self.later(Arc::clone(&self.store).read(channel.into(), read, history))
    }

    fn forget(&self, channel: &str) -> Answer<Result<(), BrokerError>> {
        self.later(Arc::clone(&self.store).forget(channel.into()))
    }

    fn interest(&self, changes: &[(Arc<str>, Interest)]) {
        self.changes.ask(changes);
    }

    fn health(&self) -> EngineHealth {
        match self.link.health() {
            EngineHealth::Up => match self.store.trouble() {
                Some(reason) => EngineHealth::Down { reason },
                None => EngineHealth::Up,
            },
            down => down,
        }
    }

    fn close(&self) -> Answer<()> {
        let link = Arc::clone(&self.link);
        Answer::later(async move { link.close().await })
    }
}

/// Checks the streams on every new connection, every two seconds, and when a delivery is of another life.
async fn watch(store: Arc<Store>, sink: Sink) {
    let mut lives = store.link.lives();
    while !sink.is_closed() {
        let connection = lives.borrow_and_update().clone();
        let pause = match connection {
            None => CHECK_INTERVAL,
            Some(connection) => {
                let mut problem = too_old(&connection);
                for partition in &store.partitions {
                    if problem.is_some() {
                        break;
                    }
                    if let Err(error) = store.check(partition, &connection).await {
                        problem = Some(format!("stream {}: {error}", partition.name));
                    }
                }
                let pause = if problem.is_some() { SOON } else { CHECK_INTERVAL };
                if problem.is_none() {
                    store.sweep().await;
                }
                let mut before = store.problem.lock();
                if let Some(problem) = &problem
                    && before.as_ref() != Some(problem)
                {
                    tracing::warn!(%problem, "JetStream cannot be used");
                }
                *before = problem;
                pause
            }
        };
        tokio::select! {
            changed = lives.changed() => {
                if changed.is_err() {
                    return;
                }
                *store.problem.lock() = Some(NOT_CHECKED.to_owned());
            }
            () = store.suspicion.notified() => {
                // What is of the new life and came before the check is missing.
                if let Ok(connection) = store.link.life() {
                    for partition in &store.partitions {
                        let _ = store.check(partition, &connection).await;
                    }
                }
                sink.interrupted(Scope::All);
                sleep(SOON).await;
            }
            () = sleep(pause) => {}
        }
    }
}
