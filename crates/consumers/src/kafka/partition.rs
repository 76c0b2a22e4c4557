//! One partition: its queue, and the task that carries its records out.

use super::client::{Place, Position, Record};
use crate::decode::Message;
use crate::worker::{Attempt, Worker};
use bytes::Bytes;
use parking_lot::Mutex;
use spinward_engines::Backoff;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::{JoinError, JoinHandle};

/// A partition that this member has. Its task ends with this value.
pub(super) struct Partition {
    queue: mpsc::Sender<Record>,
    /// The position up to which everything is carried out.
    settled: Arc<Mutex<Option<Position>>>,
    committed: Option<Position>,
    pub(super) paused: bool,
    end: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Partition {
    /// Starts the work on a partition. `lag` is its number among those of the consumer.
    pub(super) fn start(worker: Worker, place: Place, lag: u64, bounds: &Bounds) -> Self {
        let (queue, records) = mpsc::channel(bounds.size);
        let (end, ended) = watch::channel(false);
        let settled = Arc::<Mutex<Option<Position>>>::default();
        let work = Work {
            worker,
            place,
            lag,
            wanted: bounds.size.saturating_sub(bounds.resumed()),
            room: Arc::clone(&bounds.room),
            settled: Arc::clone(&settled),
            ended,
        };
        let task = tokio::spawn(work.run(records));
        Self { queue, settled, committed: None, paused: false, end, task }
    }

    /// Adds a record. Returns false if the queue is full or its task has ended, which it must not have.
    pub(super) fn add(&self, record: Record) -> bool {
        self.queue.try_send(record).is_ok()
    }

    /// Number of records that the queue has room for.
    pub(super) fn room(&self) -> usize {
        self.queue.capacity()
    }

    /// The position to commit, if it has moved.
    pub(super) fn moved(&self) -> Option<Position> {
        let settled = *self.settled.lock();
        settled.filter(|_| settled != self.committed)
    }

    /// Notes that a position was committed.
    pub(super) const fn on_committed(&mut self, position: Position) {
        self.committed = Some(position);
    }

    /// Returns true if the task has ended by itself: it has panicked, or the consumer is to stop.
    pub(super) fn is_over(&self) -> bool {
        self.task.is_finished()
    }

    /// Has the work end after the call under way.
    pub(super) fn end(&self) {
        self.end.send_replace(true);
    }

    /// Waits until the call under way has ended, and drops what was not begun. Returns the position to commit, if it
    /// has moved.
    ///
    /// # Errors
    /// The task panicked.
    pub(super) async fn finish(mut self) -> Result<Option<Position>, JoinError> {
        self.end();
        (&mut self.task).await?;
        Ok(self.moved())
    }
}

impl Drop for Partition {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Bounds of the queue of each partition.
pub(super) struct Bounds {
    /// Most records in a queue.
    pub(super) size: usize,
    /// Most records of a poll, all of which may be of one partition. No more than `size`.
    pub(super) batch: usize,
    /// Notified when a queue has become short enough for its partition to be read again.
    pub(super) room: Arc<Notify>,
}

impl Bounds {
    /// Room that the queue of a partition must have to be read again.
    pub(super) fn resumed(&self) -> usize {
        self.batch.max(self.size / 2)
    }
}

/// The task of a partition.
struct Work {
    worker: Worker,
    place: Place,
    lag: u64,
    /// Length of the queue at which the partition may be read again.
    wanted: usize,
    room: Arc<Notify>,
    settled: Arc<Mutex<Option<Position>>>,
    ended: watch::Receiver<bool>,
}

/// A record in the log.
struct At<'a>(&'a Place, i64);

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "offset {} of {}", self.1, self.0)
    }
}

impl Work {
    async fn run(self, mut records: mpsc::Receiver<Record>) {
        loop {
            let record = tokio::select! {
                biased;
                () = self.over() => break,
                record = records.recv() => match record {
                    Some(record) => record,
                    None => break,
                },
            };
            if records.len() == self.wanted {
                self.room.notify_one();
            }
            if !self.settle(&record).await {
                break;
            }
            *self.settled.lock() = Some(Position { next: record.offset + 1, epoch: record.epoch });
            if records.is_empty() {
                self.worker.lag(self.lag, Duration::ZERO);
            }
        }
        self.worker.lag_unknown(self.lag);
    }

    /// Carries out a record, however often it has to be tried. Returns false if the work ends before.
    async fn settle(&self, record: &Record) -> bool {
        let message = message(record);
        let mut backoff = Backoff::default();
        loop {
            self.worker.lag_since(self.lag, record.time);
            let place = At(&self.place, record.offset);
            let Attempt::Again = self.worker.attempt(&place, &message).await else { return true };
            tokio::select! {
                biased;
                () = self.over() => return false,
                _ = self.worker.pause(backoff.pause()) => {}
            }
        }
    }

    /// Waits until the work is to end.
    async fn over(&self) {
        let mut ended = self.ended.clone();
        tokio::select! {
            biased;
            // The sender ends with the partition, which ends this task.
            _ = ended.wait_for(|ended| *ended) => {}
            () = self.worker.stopped() => {}
        }
    }
}

/// The message of a record. Headers without a value, and those that are no text, do not count.
fn message<'a>(record: &'a Record) -> Message<'a> {
    let text = |(name, value): &'a (String, Option<Bytes>)| {
        Some((name.as_str(), str::from_utf8(value.as_ref()?).ok()?))
    };
    Message { attributes: record.headers.iter().filter_map(text).collect(), payload: record.payload.clone() }
}

#[cfg(test)]
#[path = "partition/tests.rs"]
mod tests;
