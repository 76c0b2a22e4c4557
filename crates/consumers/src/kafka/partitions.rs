//! The partitions that this member has.

use super::client::{Place, Position, Rebalance, Record};
use super::config::{Config, Error};
use super::partition::{Bounds, Partition};
use crate::worker::Worker;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::task::JoinError;

/// Partitions with records that were taken since they came to this member.
pub(super) struct Partitions {
    worker: Worker,
    topics: Vec<String>,
    bounds: Bounds,
    all: Mutex<BTreeMap<Place, Partition>>,
}

impl Partitions {
    pub(super) fn new(config: &Config, worker: Worker) -> Self {
        let size = usize::try_from(config.partition_queue).unwrap_or(1);
        let bounds = Bounds { size, batch: config.batch(), room: Arc::default() };
        Self { worker, topics: config.topics.clone(), bounds, all: Mutex::default() }
    }

    /// Waits until a partition that was paused may have room.
    pub(super) async fn room(&self) {
        self.bounds.room.notified().await;
    }

    /// Puts a record into the queue of its partition. Returns false if it has no room, which a partition that is
    /// paused in time always has.
    pub(super) fn add(&self, place: Place, record: Record) -> bool {
        let mut all = self.all.lock();
        let partition = all.entry(place).or_insert_with_key(|place| {
            Partition::start(self.worker.clone(), place.clone(), self.number(place), &self.bounds)
        });
        partition.add(record)
    }

    /// Partitions to pause, since they may not have room for another poll, and those to resume.
    pub(super) fn turns(&self) -> Vec<(Place, bool)> {
        let Bounds { batch, .. } = self.bounds;
        let mut turns = Vec::new();
        for (place, partition) in &mut *self.all.lock() {
            let paused = match partition.paused {
                true => partition.room() < self.bounds.resumed(),
                false => partition.room() < batch,
            };
            if std::mem::replace(&mut partition.paused, paused) != paused {
                turns.push((place.clone(), paused));
            }
        }
        turns
    }

    /// Positions that have moved since they were committed last.
    pub(super) fn moved(&self) -> Vec<(Place, Position)> {
        let all = self.all.lock();
        all.iter().filter_map(|(place, partition)| Some((place.clone(), partition.moved()?))).collect()
    }

    /// Notes that positions were committed.
    pub(super) fn on_committed(&self, positions: &[(Place, Position)]) {
        let mut all = self.all.lock();
        for (place, position) in positions {
            if let Some(partition) = all.get_mut(place) {
                partition.on_committed(*position);
            }
        }
    }

    /// Passes on the panic of a task.
    pub(super) async fn check(&self) {
        let over = {
            let mut all = self.all.lock();
            let over = all.iter().find(|(_, partition)| partition.is_over()).map(|(place, _)| place.clone());
            over.filter(|_| !self.worker.is_stopped()).and_then(|place| all.remove(&place))
        };
        if let Some(partition) = over {
            passed_on(partition.finish().await);
        }
    }

    /// Ends the work on all partitions. Returns the positions to commit.
    pub(super) async fn close(&self) -> Vec<(Place, Position)> {
        let places = self.all.lock().keys().cloned().collect();
        self.finish(places).await
    }

    /// Ends the work on partitions, side by side.
    async fn finish(&self, places: Vec<Place>) -> Vec<(Place, Position)> {
        let partitions: Vec<_> = {
            let mut all = self.all.lock();
            places.into_iter().filter_map(|place| all.remove_entry(&place)).collect()
        };
        partitions.iter().for_each(|(_, partition)| partition.end());
        let mut moved = Vec::new();
        for (place, partition) in partitions {
            if let Some(position) = passed_on(partition.finish().await) {
                moved.push((place, position));
            }
        }
        moved
    }

    /// Number of a partition over all topics, for its lag.
    fn number(&self, place: &Place) -> u64 {
        let topic = self.topics.iter().position(|topic| **topic == *place.topic).unwrap_or(self.topics.len());
        u64::try_from(topic).unwrap_or(0) << 32 | u64::from(place.partition.unsigned_abs())
    }
}

impl Rebalance for Partitions {
    async fn revoked(&self, places: Vec<Place>) -> Vec<(Place, Position)> {
        self.finish(places).await
    }

    async fn lost(&self, places: Vec<Place>) {
        self.finish(places).await;
    }

    fn not_committed(&self, error: &Error) {
        self.worker.source_failed(error);
    }
}

/// Passes on a panic. A task that was cancelled, with its runtime, has nothing to commit.
fn passed_on(ended: Result<Option<Position>, JoinError>) -> Option<Position> {
    match ended.map_err(JoinError::try_into_panic) {
        Ok(position) => position,
        Err(Ok(panic)) => std::panic::resume_unwind(panic),
        Err(Err(_)) => None,
    }
}
