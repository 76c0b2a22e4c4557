//! The source: takes records, has each partition carried out, and commits.

use super::client::{Group, METADATA};
use super::config::{Config, Error};
use super::partitions::Partitions;
use crate::consumer::{Running, Source};
use crate::worker::{Stopped, Worker};
use spinward_engines::Backoff;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Longest wait for records, and with it for a look at all else.
const POLL: Duration = Duration::from_millis(500);

/// Shortest time between two commits.
const COMMIT: Duration = Duration::from_millis(500);

/// Looks at the brokers after which a group must have been joined. It is joined within seconds.
const LOOKS: u32 = 3;

/// Topics of one cluster.
pub struct Topics {
    config: Config,
}

/// End of taking records.
enum End {
    Stopped,
    /// The group is to be left, and joined again when records may be taken.
    Left,
    Failed(Error),
}

impl From<Error> for End {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<Stopped> for End {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

impl Topics {
    /// A source that is not connected yet.
    ///
    /// # Errors
    /// An option is not valid.
    pub fn new(config: Config) -> Result<Self, Error> {
        config.check()?;
        Ok(Self { config })
    }

    /// Joins the group, takes records until something ends that, and leaves the group.
    async fn member(&self, worker: &Worker, backoff: &mut Backoff) -> Result<(), End> {
        worker.ready().await?;
        let partitions = Arc::new(Partitions::new(&self.config, worker.clone()));
        let group = tokio::select! {
            biased;
            () = worker.stopped() => return Err(End::Stopped),
            group = Group::connect(&self.config, Arc::clone(&partitions)) => group?,
        };
        let taking = Taking {
            worker,
            group: &group,
            partitions: &partitions,
            health: Health::default(),
            changed: Notify::new(),
        };
        let ended = tokio::select! {
            biased;
            ended = taking.run(backoff) => ended,
            never = taking.watch() => match never {},
        };
        // Calls under way end before the group is left, however long that takes.
        let moved = partitions.close().await;
        let left = group.commit(moved).await.and(group.leave().await);
        if let (Err(End::Stopped | End::Left), Err(error)) = (&ended, left) {
            worker.source_failed(&error);
        }
        ended
    }
}

impl Source for Topics {
    fn run(self: Arc<Self>, worker: Worker) -> Running {
        Box::pin(async move {
            let mut backoff = Backoff::default();
            loop {
                match Box::pin(self.member(&worker, &mut backoff)).await {
                    Ok(()) | Err(End::Stopped) => return,
                    Err(End::Left) => continue,
                    Err(End::Failed(error)) => worker.source_failed(&error),
                }
                if worker.pause(backoff.pause()).await.is_err() {
                    return;
                }
            }
        })
    }
}

/// Findings of the watch over the brokers.
#[derive(Default)]
struct Health {
    /// A broker has answered last.
    answers: AtomicBool,
    /// A topic has other partitions than before.
    changed: AtomicBool,
}

/// Records taken by a member of the group.
struct Taking<'a> {
    worker: &'a Worker,
    group: &'a Group,
    partitions: &'a Partitions,
    health: Health,
    /// Notified with [`Health::changed`].
    changed: Notify,
}

/// The watch has no end of its own.
enum Never {}

impl Taking<'_> {
    /// Takes records until the worker is stopped or paused, or the group has to be joined anew.
    async fn run(&self, backoff: &mut Backoff) -> Result<(), End> {
        let mut committed = Instant::now();
        loop {
            if self.worker.is_stopped() {
                return Err(End::Stopped);
            }
            if self.worker.is_paused() || self.health.changed.load(Relaxed) {
                return Err(End::Left);
            }
            match self.group.poll(POLL, self.interrupted()).await {
                Ok(records) => {
                    for (place, record) in records {
                        if !self.partitions.add(place, record) {
                            // Left out, its partition would go on behind it.
                            return Err(End::Left);
                        }
                    }
                    if self.health.answers.load(Relaxed) && self.group.is_joined().await {
                        backoff.reset();
                        self.worker.source_up();
                    }
                }
                Err(Error::Kafka { error, fatal: false }) => {
                    self.worker.source_failed(&Error::Kafka { error, fatal: false });
                    // Partitions go on with what they have.
                    self.worker.pause(backoff.pause()).await?;
                }
                Err(error) => return Err(error.into()),
            }
            self.partitions.check().await;
            for (place, paused) in self.partitions.turns() {
                self.group.pause(&place, paused).await;
            }
            if committed.elapsed() >= COMMIT {
                self.commit().await;
                committed = Instant::now();
            }
        }
    }

    /// Waits for a reason to end a poll early.
    async fn interrupted(&self) {
        tokio::select! {
            () = self.worker.stopped() => {}
            () = self.partitions.room() => {}
            () = self.changed.notified() => {}
        }
    }

    /// Commits what has moved. A failure is of no harm: the next commit contains it.
    async fn commit(&self) {
        let moved = self.partitions.moved();
        if moved.is_empty() {
            return;
        }
        match self.group.commit(moved.clone()).await {
            Ok(true) => self.partitions.on_committed(&moved),
            Ok(false) => {}
            Err(error) => self.worker.source_failed(&error),
        }
    }

    /// Asks the brokers again and again whether they are there, and for the partitions of the topics: the client
    /// library tries for ever without a word, and a member does not notice new partitions.
    async fn watch(&self) -> Never {
        let mut known: Option<BTreeMap<String, usize>> = None;
        let mut looks = 0;
        loop {
            match self.group.sizes().await {
                Ok(sizes) => {
                    if known.as_ref() != Some(&sizes) {
                        for (topic, _) in sizes.iter().filter(|(_, size)| **size == 0) {
                            let consumer = self.worker.name();
                            tracing::warn!(
                                consumer,
                                topic,
                                "topic of consumer does not exist, waiting for it"
                            );
                        }
                        if known.replace(sizes).is_some() {
                            self.health.changed.store(true, Relaxed);
                            self.changed.notify_one();
                        }
                    }
                    self.health.answers.store(true, Relaxed);
                    looks = if self.group.is_joined().await { 0 } else { looks + 1 };
                    if looks >= LOOKS {
                        self.worker.source_failed(&Error::NotJoined);
                    }
                }
                Err(error) => {
                    self.health.answers.store(false, Relaxed);
                    self.worker.source_failed(&error);
                }
            }
            tokio::time::sleep(METADATA).await;
        }
    }
}
