//! An outbox: a task for each partition.

use super::batch::{Batch, METHOD, run};
use super::config::Config;
use super::error::Error;
use super::table::{Ready, answer, connect, has_strays};
use crate::consumer::{Running, Source};
use crate::decode::Decoder;
use crate::worker::{Stopped, Worker};
use parking_lot::Mutex;
use spinward_engines::Backoff;
use spinward_engines::postgres::{Heard, Listener};
use std::sync::Arc;
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Most connections, not counting the one for notifications.
const CONNECTIONS: usize = 16;

/// A table whose rows are carried out and deleted.
///
/// The rows of a partition are carried out by one node at a time, which holds a lock of the database; all nodes look
/// after all partitions.
pub struct Outbox {
    config: Config,
    idle: Mutex<Vec<Ready>>,
    places: Semaphore,
    /// One for each partition, woken by notifications.
    wakes: Arc<[Notify]>,
}

impl Outbox {
    /// An outbox that is not connected yet.
    ///
    /// # Errors
    /// An option is not valid.
    pub fn new(config: Config) -> Result<Self, Error> {
        config.check()?;
        let wakes = (0..config.partitions).map(|_| Notify::new()).collect();
        let places = Semaphore::new(CONNECTIONS.min(config.partitions as usize));
        Ok(Self { config, idle: Mutex::default(), places, wakes })
    }

    /// The decoder of its rows.
    #[must_use]
    pub fn decoder() -> Decoder {
        Decoder { method: METHOD.to_owned(), publications: None }
    }

    /// Connects, to find out whether the table can be used.
    ///
    /// # Errors
    /// The server cannot be reached, the table or a column does not exist, or a right is missing.
    pub async fn probe(&self) -> Result<(), Error> {
        let ready = connect(&self.config, None).await?;
        if has_strays(&self.config, &ready).await? {
            tracing::warn!(
                table = self.config.table,
                num_partitions = self.config.partitions,
                "the outbox has rows whose partition is not below num_partitions: they are never read"
            );
        }
        if !self.config.notification_channel.is_empty() {
            self.config.connection.dial(self.config.listen_dsn(), None).await?;
        }
        self.idle.lock().push(ready);
        Ok(())
    }

    /// Looks after a partition until the worker is stopped.
    async fn partition(self: Arc<Self>, worker: Worker, partition: u32) {
        let mut backoff = Backoff::default();
        while worker.ready().await.is_ok() {
            let went_on = match self.batch(&worker, partition).await {
                Ok(batch) => self.wait(&worker, partition, batch, &mut backoff).await,
                Err(error) => {
                    worker.source_failed(&error);
                    worker.pause(backoff.pause()).await
                }
            };
            if went_on.is_err() {
                return;
            }
        }
    }

    async fn batch(&self, worker: &Worker, partition: u32) -> Result<Batch, Error> {
        // The semaphore is never closed.
        let _place = self.places.acquire().await.ok();
        let idle = self.idle.lock().pop().filter(|ready| !ready.session.client.is_closed());
        let ready = match idle {
            Some(ready) => ready,
            None => connect(&self.config, None).await?,
        };
        // After a failure the connection ends with its transaction.
        let batch = run(&self.config, &ready, worker, partition).await?;
        self.idle.lock().push(ready);
        Ok(batch)
    }

    async fn wait(
        &self,
        worker: &Worker,
        partition: u32,
        batch: Batch,
        backoff: &mut Backoff,
    ) -> Result<(), Stopped> {
        if batch == Batch::Again {
            return worker.pause(backoff.pause()).await;
        }
        backoff.reset();
        let woken = async {
            match self.wakes.get(partition as usize) {
                Some(wake) if batch == Batch::Empty => wake.notified().await,
                _ => std::future::pending().await,
            }
        };
        match batch {
            Batch::More => Ok(()),
            _ => tokio::select! {
                waited = worker.pause(self.config.poll_interval) => waited,
                () = woken => Ok(()),
            },
        }
    }

    /// Listens for notifications until the worker is stopped. Without them rows wait for a poll.
    async fn listen(self: Arc<Self>, worker: Worker) {
        let channel = self.config.notification_channel.replace('"', "\"\"");
        let listen = format!("LISTEN \"{channel}\"");
        let mut backoff = Backoff::default();
        loop {
            let (lost, wakes) = (Arc::new(Notify::new()), Arc::clone(&self.wakes));
            let listener: Listener = {
                let lost = Arc::clone(&lost);
                Arc::new(move |heard: Heard<'_>| match heard {
                    Heard::Notification(payload) => wake(&wakes, payload),
                    Heard::End => lost.notify_one(),
                })
            };
            let listening = async {
                let session = self.config.connection.dial(self.config.listen_dsn(), Some(listener)).await?;
                answer(session.client.batch_execute(&listen)).await?;
                backoff.reset();
                // Rows may have come while nobody listened.
                wake(&self.wakes, "");
                loop {
                    if timeout(PROBE, lost.notified()).await.is_ok() {
                        return Ok::<_, Error>(());
                    }
                    // A way that ends without a word, as through a firewall that forgets, is noticed by this.
                    answer(session.client.batch_execute("")).await?;
                }
            };
            tokio::select! {
                () = worker.stopped() => return,
                listened = listening => match listened {
                    Ok(()) => tracing::warn!(consumer = worker.name(), "connection for notifications lost"),
                    Err(error) => tracing::warn!(consumer = worker.name(), %error, "LISTEN failed: rows wait for polls"),
                },
            }
            if worker.pause(backoff.pause()).await.is_err() {
                return;
            }
        }
    }
}

/// Time between two probes of the connection for notifications.
const PROBE: std::time::Duration = std::time::Duration::from_secs(15);

/// Wakes the partition that a payload names, or all of them.
fn wake(wakes: &[Notify], payload: &str) {
    match payload.trim().parse::<usize>() {
        Ok(partition) => {
            if let Some(wake) = wakes.get(partition) {
                wake.notify_one();
            }
        }
        Err(_) => wakes.iter().for_each(Notify::notify_one),
    }
}

impl Source for Outbox {
    fn run(self: Arc<Self>, worker: Worker) -> Running {
        Box::pin(async move {
            let mut tasks = JoinSet::new();
            for partition in 0..self.config.partitions {
                tasks.spawn(Arc::clone(&self).partition(worker.clone(), partition));
            }
            if !self.config.notification_channel.is_empty() {
                tasks.spawn(Arc::clone(&self).listen(worker.clone()));
            }
            while let Some(ended) = tasks.join_next().await {
                if let Err(error) = ended {
                    // Panics go on to whoever runs the source; the other tasks end with the set.
                    if error.is_panic() {
                        std::panic::resume_unwind(error.into_panic());
                    }
                }
            }
            self.idle.lock().clear();
        })
    }
}
