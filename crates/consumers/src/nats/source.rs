//! The source: takes messages, has them carried out, and acknowledges them.

use super::config::{Config, DeliverPolicy, Error};
use super::queue::{Held, Queue};
use crate::consumer::{Running, Source};
use crate::decode::Message;
use crate::end;
use crate::worker::{Attempt, Fate, Worker};
use async_nats::jetstream::consumer::pull::{self, Batch};
use async_nats::jetstream::consumer::{self, AckPolicy, PullConsumer};
use async_nats::jetstream::context::ConsumerInfoErrorKind;
use async_nats::jetstream::{self, AckKind};
use futures_util::{FutureExt as _, StreamExt as _};
use spinward_engines::Backoff;
use spinward_engines::nats::{Connection, Connector};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

/// Time after which JetStream delivers a message again that a new consumer has not acknowledged.
const ACK_WAIT: Duration = Duration::from_secs(10);

/// Time that a request for messages waits for them.
const PULL: Duration = Duration::from_secs(2);

/// Most messages per request.
const TAKEN: usize = 200;

/// Time between two looks at what was delivered before this node began.
const LOOK: Duration = Duration::from_millis(250);

/// Longest wait for an answer.
const ANSWER: Duration = Duration::from_secs(5);

/// A durable pull consumer of JetStream.
pub struct JetStream {
    config: Config,
}

/// End of taking messages.
type End = end::End<Error>;

impl From<Error> for End {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// Place of a message, for the log.
struct Place<'a>(&'a str, u64);

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "message {} of stream {}", self.1, self.0)
    }
}

impl JetStream {
    /// A source that is not connected yet.
    ///
    /// # Errors
    /// An option is not valid.
    pub fn new(config: Config) -> Result<Self, Error> {
        config.check()?;
        Ok(Self { config })
    }

    /// Takes messages by connections one after the other.
    async fn take(&self, worker: &Worker) -> Result<(), Error> {
        let connector = Connector::start(self.config.connection.clone())?;
        let mut backoff = Backoff::default();
        loop {
            let connection = loop {
                tokio::select! {
                    () = worker.stopped() => return Ok(()),
                    connection = connector.connected() => break connection?,
                    () = sleep(ANSWER) => {
                        worker.source_failed(&connector.problem().unwrap_or_default());
                    }
                }
            };
            match self.by(&connection, worker, &mut backoff).await {
                End::Stopped => {
                    // Acknowledgements are on their way.
                    connector.close().await;
                    return Ok(());
                }
                End::Failed(error) => worker.source_failed(&error),
            }
            if worker.pause(backoff.pause()).await.is_err() {
                return Ok(());
            }
        }
    }

    /// Takes messages by one connection until it fails.
    async fn by(&self, connection: &Connection, worker: &Worker, backoff: &mut Backoff) -> End {
        let mut context = jetstream::new(connection.client().clone());
        context.set_timeout(ANSWER);
        let found = async {
            let consumer = self.consumer(&context).await?;
            let info = consumer.get_info().await.map_err(Error::jetstream)?;
            Ok::<_, Error>((consumer, info))
        };
        let (consumer, info) = match found.await {
            Ok(found) => found,
            Err(error) => return error.into(),
        };
        worker.source_up();
        backoff.reset();
        let pending = info.num_ack_pending > 0;
        let mut taking = Taking {
            stream: &self.config.stream,
            worker,
            connection,
            queue: Queue::new(pending.then_some(info.delivered.stream_sequence)),
            keep: (info.config.ack_wait / 3).clamp(Duration::from_millis(100), Duration::from_secs(10)),
            limit: TAKEN.min(usize::try_from(info.config.max_ack_pending).unwrap_or(TAKEN).max(1)),
        };
        loop {
            if let Err(end) = taking.round(&consumer).await {
                if matches!(end, End::Stopped) {
                    // Others get them at once, and in their order.
                    let _ = timeout(ANSWER, taking.queue.tell(AckKind::Nak(None))).await;
                }
                return end;
            }
        }
    }

    /// The consumer, made or changed as the settings say.
    async fn consumer(&self, context: &jetstream::Context) -> Result<PullConsumer, Error> {
        let Config { stream, durable, existing, subjects, max_ack_pending, .. } = &self.config;
        let stream = context.get_stream_no_info(stream).await.map_err(Error::jetstream)?;
        let found = match stream.consumer_info(durable).await {
            Ok(info) => Some(info.config),
            Err(error) if error.kind() == ConsumerInfoErrorKind::NotFound && !existing => None,
            Err(error) => return Err(Error::jetstream(error)),
        };
        let pending = i64::from(*max_ack_pending);
        let config = match found {
            Some(config) if config.ack_policy != AckPolicy::Explicit => {
                return Err(Error::Policy(durable.clone()));
            }
            Some(config)
                if *existing || (config.max_ack_pending == pending && self.has_subjects(&config)) =>
            {
                return stream.get_consumer(durable).await.map_err(Error::jetstream);
            }
            Some(config) => {
                let config: pull::Config =
                    consumer::FromConsumer::try_from_consumer_config(config).map_err(Error::jetstream)?;
                pull::Config { max_ack_pending: pending, ..self.subjects(config) }
            }
            None => self.subjects(pull::Config {
                durable_name: Some(durable.clone()),
                deliver_policy: match self.config.deliver {
                    DeliverPolicy::New => consumer::DeliverPolicy::New,
                    DeliverPolicy::All => consumer::DeliverPolicy::All,
                },
                ack_policy: AckPolicy::Explicit,
                ack_wait: ACK_WAIT,
                max_ack_pending: pending,
                ..pull::Config::default()
            }),
        };
        tracing::info!(durable, ?subjects, max_ack_pending, "creating or changing a JetStream consumer");
        stream.create_consumer(config).await.map_err(Error::jetstream)
    }

    fn has_subjects(&self, config: &consumer::Config) -> bool {
        let one = Some(&config.filter_subject).filter(|subject| !subject.is_empty());
        let found: Vec<_> = one.into_iter().chain(&config.filter_subjects).collect();
        found.len() == self.config.subjects.len()
            && found.iter().all(|one| self.config.subjects.contains(one))
    }

    fn subjects(&self, config: pull::Config) -> pull::Config {
        // One subject alone is understood by servers older than 2.10 too.
        let (one, more) = match &*self.config.subjects {
            [one] => (one.clone(), Vec::new()),
            more => (String::new(), more.to_vec()),
        };
        pull::Config { filter_subject: one, filter_subjects: more, ..config }
    }
}

impl Source for JetStream {
    fn run(self: Arc<Self>, worker: Worker) -> Running {
        Box::pin(async move {
            let mut backoff = Backoff::default();
            // Only a connector that cannot start ends with an error.
            while let Err(error) = self.take(&worker).await {
                worker.source_failed(&error);
                if worker.pause(backoff.pause()).await.is_err() {
                    return;
                }
            }
        })
    }
}

/// Messages taken by one connection.
struct Taking<'a> {
    stream: &'a str,
    worker: &'a Worker,
    connection: &'a Connection,
    queue: Queue,
    /// Time after which JetStream is told that the work goes on.
    keep: Duration,
    limit: usize,
}

impl Taking<'_> {
    /// Requests messages, and carries them out until there are none.
    async fn round(&mut self, consumer: &PullConsumer) -> Result<(), End> {
        self.worker.ready().await?;
        self.check_barrier(consumer).await?;
        // Behind a barrier messages that are held back count as taken.
        let room = self.limit.saturating_sub(self.queue.len()).max(1);
        let wait = if self.queue.barrier().is_some() { LOOK } else { PULL };
        let request = consumer.batch().max_messages(room).expires(wait).messages();
        let mut batch = request.await.map_err(Error::jetstream)?;
        loop {
            if self.queue.front().is_some() {
                self.carry_out(&mut batch).await?;
                continue;
            }
            let next = tokio::select! {
                biased;
                () = self.worker.stopped() => return Err(End::Stopped),
                () = self.connection.lost() => return Err(Error::Lost.into()),
                // The end of the request is told by the server; a server that is gone does not.
                next = timeout(wait + ANSWER, batch.next()) => next.map_err(|_| Error::Lost)?,
            };
            let Some(message) = next else { break };
            self.queue.push(Held::new(message.map_err(Error::jetstream)?)?);
        }
        if self.queue.len() == 0 {
            self.worker.lag(0, Duration::ZERO);
        } else {
            self.queue.tell(AckKind::Progress).await?;
        }
        Ok(())
    }

    /// Lifts the barrier once everything before it is acknowledged.
    async fn check_barrier(&mut self, consumer: &PullConsumer) -> Result<(), Error> {
        let Some(barrier) = self.queue.barrier() else { return Ok(()) };
        let info = consumer.get_info().await.map_err(Error::jetstream)?;
        if info.ack_floor.stream_sequence >= barrier || info.num_ack_pending <= self.queue.len() {
            self.queue.lift();
        }
        Ok(())
    }

    /// Carries out the first message, however often it has to be tried.
    async fn carry_out(&mut self, batch: &mut Batch) -> Result<(), End> {
        let Some(held) = self.queue.front() else { return Ok(()) };
        let (message, sequence, published) = (held.message.clone(), held.sequence, held.published);
        let headers = message.headers.iter().flat_map(|headers| headers.iter());
        let attributes = headers
            .filter_map(|(name, values)| Some((AsRef::<str>::as_ref(name), values.first()?.as_str())))
            .collect();
        let wanted = Message { attributes, payload: message.payload.clone() };
        let place = Place(self.stream, sequence);
        self.worker.lag_since(0, published);
        let mut keep = interval(self.keep);
        keep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        keep.reset();
        let mut backoff = Backoff::default();
        let fate = loop {
            let attempt = self.worker.attempt(&place, &wanted);
            let mut attempt = std::pin::pin!(attempt);
            // An attempt is never dropped: it may have had its effect.
            let attempt = loop {
                tokio::select! {
                    biased;
                    attempt = &mut attempt => break attempt,
                    _ = keep.tick() => keep_all(&mut self.queue, batch).await,
                }
            };
            if let Attempt::Settled(fate) = attempt {
                break fate;
            }
            let pause = self.worker.pause(backoff.pause());
            let mut pause = std::pin::pin!(pause);
            loop {
                tokio::select! {
                    biased;
                    paused = &mut pause => break paused?,
                    () = self.connection.lost() => return Err(Error::Lost.into()),
                    _ = keep.tick() => keep_all(&mut self.queue, batch).await,
                }
            }
        };
        let kind = match fate {
            Fate::Done => AckKind::Ack,
            Fate::Skipped => AckKind::Term,
        };
        message.ack_with(kind).await.map_err(Error::jetstream)?;
        self.queue.pop();
        if self.worker.is_stopped() {
            return Err(End::Stopped);
        }
        Ok(())
    }
}

/// Tells JetStream that the work on all messages that have come goes on. If it cannot be told, they come again.
async fn keep_all(queue: &mut Queue, batch: &mut Batch) {
    while let Some(Some(Ok(message))) = batch.next().now_or_never() {
        if let Ok(held) = Held::new(message) {
            queue.push(held);
        }
    }
    let _ = queue.tell(AckKind::Progress).await;
}
