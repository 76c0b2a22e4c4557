//! Periodic work: partitions, and removal of what has expired.
//!
//! Every node does it. Rows and tables that another one is at are skipped, and nothing here waits long for a lock.

use super::counters::Counters;
use super::error::Error;
use super::rows::column;
use super::store::Store;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::time::sleep;

/// Longest wait for a lock on a whole table, which holds back every later request.
const PATIENCE_MILLIS: u32 = 200;

/// Most batches of one removal per round.
const BATCHES: usize = 200;

/// Age at which a transaction is named in the log.
const OLD: Duration = Duration::from_secs(10);

/// Repeats tasks.
pub(super) struct Maintenance {
    pub(super) store: Arc<Store>,
    pub(super) interval: Duration,
    pub(super) tasks: Vec<Task>,
}

/// One thing to do.
pub(super) enum Task {
    /// A statement.
    Once(String),
    /// A statement that removes some rows, to repeat while it does.
    Batches(String),
    /// A statement that returns the age of the oldest transaction that has published, in milliseconds.
    Oldest(String),
}

impl Task {
    /// Settings of a partitioned log.
    pub(super) fn of_log(prefix: &str, part: &str, ahead: u32, keep: u32, notify: bool) -> Vec<Self> {
        let mut tasks = vec![
            Self::Once(format!("SELECT {prefix}_{part}_log_add({ahead}, {PATIENCE_MILLIS})")),
            Self::Once(format!("SELECT {prefix}_{part}_log_drop({keep}, {PATIENCE_MILLIS})")),
        ];
        if notify {
            // Publishers notify as long as somebody says that they listen.
            tasks.push(Self::Once(format!(
                "UPDATE {prefix}_{part}_store SET notify_until = now() + interval '1 hour' \
                 WHERE notify_until < now() + interval '30 minutes'"
            )));
        }
        tasks
    }
}

impl Maintenance {
    /// Works until `over`, at once and then at each interval.
    pub(super) async fn run(self, over: impl Fn() -> bool + Send) {
        // The longest that a task sleeps before it looks whether it is still needed.
        const NAP: Duration = Duration::from_secs(1);
        while !over() {
            let mut wait = self.interval;
            for task in &self.tasks {
                if let Err(error) = self.perform(task).await {
                    Counters::add(&self.store.counters.cleanups_failed, 1);
                    tracing::warn!(%error, "cleanup in PostgreSQL failed, to be tried again");
                    // Not connected yet, most likely.
                    wait = wait.min(5 * NAP);
                }
            }
            while !wait.is_zero() && !over() {
                let nap = wait.min(NAP);
                sleep(nap).await;
                wait -= nap;
            }
        }
    }

    async fn perform(&self, task: &Task) -> Result<(), Error> {
        match task {
            Task::Once(text) => self.store.query(text, &[]).await.map(drop),
            Task::Batches(text) => {
                let counted = format!("WITH removed AS ({text} RETURNING 1) SELECT count(*) FROM removed");
                for _ in 0..BATCHES {
                    let rows = self.store.query(&counted, &[]).await?;
                    let removed: i64 = rows.first().map_or(Ok(0), |row| column(row, 0))?;
                    if removed == 0 {
                        break;
                    }
                }
                Ok(())
            }
            Task::Oldest(text) => {
                let rows = self.store.query(text, &[]).await?;
                let age: Option<i64> = rows.first().map_or(Ok(None), |row| column(row, 0))?;
                let gauge = &self.store.counters.oldest_transaction;
                Counters::set(gauge, age.unwrap_or(0));
                let age = Duration::from_millis(gauge.load(Relaxed));
                if age > OLD {
                    tracing::warn!(
                        seconds = age.as_secs(),
                        "a transaction that has published does not end: its channels cannot be published to"
                    );
                }
                Ok(())
            }
        }
    }
}
