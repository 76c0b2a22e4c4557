//! A consumer: a task that takes messages from a source until it is stopped.

use crate::counters::{Counters, Counts};
use crate::decode::Decoder;
use crate::target::Target;
use crate::worker::Worker;
use spinward_engines::Backoff;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The future of a source.
pub type Running = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A place that messages come from.
pub trait Source: Send + Sync + 'static {
    /// Takes messages and has the worker carry them out, in order within a partition; forgets each after that. Ends
    /// when the worker is stopped, and not before: it connects again for as long as it takes.
    fn run(self: Arc<Self>, worker: Worker) -> Running;
}

/// A consumer that runs. It ends with this value; [`Consumer::stop`] has it end in order.
pub struct Consumer {
    name: String,
    counters: Arc<Counters>,
    stop: watch::Sender<bool>,
    paused: watch::Sender<bool>,
    task: Option<JoinHandle<()>>,
}

impl Consumer {
    /// Starts a consumer on the present tokio runtime.
    ///
    /// # Errors
    /// There is no such runtime.
    pub fn start(
        name: &str,
        source: Arc<dyn Source>,
        decoder: Decoder,
        target: Arc<dyn Target>,
    ) -> Result<Self, tokio::runtime::TryCurrentError> {
        let runtime = tokio::runtime::Handle::try_current()?;
        let counters = Arc::<Counters>::default();
        let (stop, stopped) = watch::channel(false);
        let (paused, waits) = watch::channel(false);
        let worker = Worker::new(name, decoder, target, Arc::clone(&counters), stopped, waits);
        let task = runtime.spawn(keep(source, worker));
        Ok(Self { name: name.to_owned(), counters, stop, paused, task: Some(task) })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Counts since the start.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counters.counts()
    }

    /// Takes no further messages until this is called with false. Those that were taken are carried out.
    pub fn pause(&self, paused: bool) {
        self.paused.send_if_modified(|present| std::mem::replace(present, paused) != paused);
    }

    /// Takes no further messages, and waits until the calls under way have ended and their messages are forgotten by the
    /// source.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        if let Some(task) = self.task.take() {
            let _ = task.await;
        }
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer")
            .field("name", &self.name)
            .field("counts", &self.counts())
            .finish_non_exhaustive()
    }
}

/// Runs a source until it is stopped. One that panics is run again: its messages have not been forgotten.
async fn keep(source: Arc<dyn Source>, worker: Worker) {
    let mut backoff = Backoff::default();
    loop {
        let mut running = Aborting(tokio::spawn(Arc::clone(&source).run(worker.clone())));
        let Err(error) = (&mut running.0).await else { return };
        worker.source_failed(&format_args!("the task of the consumer ended: {error}"));
        if worker.pause(backoff.pause()).await.is_err() {
            return;
        }
    }
}

/// A task that ends with this value.
struct Aborting(JoinHandle<()>);

impl Drop for Aborting {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
#[path = "consumer/tests.rs"]
mod tests;
