//! The connection of an engine: made, watched, and made again when it is lost.

use super::config::{Address, Config, ConfigError};
use super::counters::Counters;
use super::error::NatsError;
use super::life::Life;
use crate::backoff::Backoff;
use parking_lot::Mutex;
use spinward::engine::EngineHealth;
use std::sync::Arc;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// An engine's way to NATS. At most one connection is in use at a time; each is a [`Life`].
pub(super) struct Link {
    config: Config,
    addresses: Vec<Address>,
    counters: Arc<Counters>,
    life: watch::Sender<Option<Arc<Life>>>,
    problem: Mutex<String>,
    stop: watch::Sender<bool>,
    tasks: Mutex<Option<Vec<JoinHandle<()>>>>,
}

impl Link {
    pub(super) fn new(config: Config) -> Result<Arc<Self>, ConfigError> {
        Ok(Arc::new(Self {
            addresses: config.addresses()?,
            config,
            counters: Arc::default(),
            life: watch::channel(None).0,
            problem: Mutex::new("not started".to_owned()),
            stop: watch::channel(false).0,
            tasks: Mutex::new(None),
        }))
    }

    pub(super) const fn config(&self) -> &Config {
        &self.config
    }

    pub(super) const fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// Starts connecting. Must be called within a Tokio runtime, once.
    pub(super) fn start(self: &Arc<Self>) -> Result<(), NatsError> {
        let mut tasks = self.tasks.lock();
        if tasks.is_some() {
            return Err(NatsError::Start);
        }
        let runtime = tokio::runtime::Handle::try_current().map_err(|_| NatsError::Start)?;
        *tasks = Some(vec![runtime.spawn(Arc::clone(self).run())]);
        Ok(())
    }

    /// Runs a task until it ends or the link is closed.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut stop = self.stop.subscribe();
        let task = tokio::spawn(async move {
            tokio::select! {
                () = task => {}
                _ = stop.wait_for(|stop| *stop) => {}
            }
        });
        if let Some(tasks) = &mut *self.tasks.lock() {
            tasks.push(task);
        }
    }

    /// The connection in use.
    pub(super) fn life(&self) -> Result<Arc<Life>, NatsError> {
        self.life.borrow().clone().filter(|life| !life.is_over()).ok_or(NatsError::NotConnected)
    }

    /// The connection in use, and those that follow.
    pub(super) fn lives(&self) -> watch::Receiver<Option<Arc<Life>>> {
        self.life.subscribe()
    }

    pub(super) fn health(&self) -> EngineHealth {
        match self.life() {
            Ok(_) => EngineHealth::Up,
            Err(_) => {
                EngineHealth::Down { reason: format!("not connected to NATS: {}", self.problem.lock()) }
            }
        }
    }

    /// Ends the connection and every task. What was sent before is with the server by then, if it can be reached.
    pub(super) async fn close(&self) {
        if let Ok(life) = self.life() {
            let _ = life.confirmed().await;
        }
        self.stop.send_replace(true);
        let tasks = self.tasks.lock().replace(Vec::new()).unwrap_or_default();
        for task in tasks {
            let _ = task.await;
        }
        self.life.send_replace(None);
        *self.problem.lock() = "closed".to_owned();
    }

    /// Ends the connection and every task soon. What was sent before may not arrive.
    pub(super) fn abandon(&self) {
        self.stop.send_replace(true);
    }

    async fn run(self: Arc<Self>) {
        let mut stop = self.stop.subscribe();
        let mut backoff = Backoff::default();
        let mut connected_before = false;
        for address in self.addresses.iter().cycle() {
            let begun = tokio::select! {
                begun = Life::begin(&self.config, address, &self.counters) => begun,
                _ = stop.wait_for(|stop| *stop) => return,
            };
            match begun {
                Ok(life) => {
                    backoff.reset();
                    if std::mem::replace(&mut connected_before, true) {
                        self.counters.reconnects.bump();
                    }
                    tracing::info!(server = %address.url, "connected to NATS");
                    let life = Arc::new(life);
                    self.life.send_replace(Some(Arc::clone(&life)));
                    tokio::select! {
                        () = life.ended() => {}
                        _ = stop.wait_for(|stop| *stop) => return,
                    }
                    self.life.send_replace(None);
                    *self.problem.lock() = format!("{} does not answer", address.url);
                    tracing::warn!(server = %address.url, "connection to NATS lost");
                }
                Err(error) => {
                    self.counters.failed_connects.bump();
                    let problem = format!("{}: {error}", address.url);
                    // Said once for each problem: the next attempt is near.
                    if *self.problem.lock() != problem {
                        tracing::warn!(server = %address.url, %error, "cannot connect to NATS");
                        *self.problem.lock() = problem;
                    }
                }
            }
            tokio::select! {
                () = sleep(backoff.pause()) => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
        }
    }
}
