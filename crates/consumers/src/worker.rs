//! The part that every source shares: a message becomes a call, the call has its effect or is skipped.

use crate::counters::Counters;
use crate::decode::{Decoder, Message};
use crate::target::{Outcome, Target};
use parking_lot::Mutex;
use spinward::clock::Clock;
use spinward_engines::Backoff;
use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::sleep;

/// Lines about skipped messages in one second; the others are only counted.
const LOGGED_PER_SECOND: u32 = 10;

/// The consumer is to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped;

/// End of a message. Either way its source may forget it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The call had its effect.
    Done,
    /// The call can never have an effect. It was logged and counted.
    Skipped,
}

/// Result of one attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// The message is dealt with.
    Settled(Fate),
    /// A failure that passes: the message has to be tried again, and those behind it have to wait.
    Again,
}

/// Carries out the messages of one consumer. A clone is the same worker.
#[derive(Clone)]
pub struct Worker {
    shared: Arc<Shared>,
    stop: watch::Receiver<bool>,
    paused: watch::Receiver<bool>,
}

struct Shared {
    name: String,
    decoder: Decoder,
    target: Arc<dyn Target>,
    counters: Arc<Counters>,
    clock: Clock,
    log: Mutex<LogRate>,
}

#[derive(Default)]
struct LogRate {
    second: u64,
    logged: u32,
    silent: u64,
}

impl Worker {
    pub(crate) fn new(
        name: &str,
        decoder: Decoder,
        target: Arc<dyn Target>,
        counters: Arc<Counters>,
        stop: watch::Receiver<bool>,
        paused: watch::Receiver<bool>,
    ) -> Self {
        let shared = Shared {
            name: name.to_owned(),
            decoder,
            target,
            counters,
            clock: Clock::system(),
            log: Mutex::default(),
        };
        Self { shared: Arc::new(shared), stop, paused }
    }

    /// Name of the consumer.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// Waits until messages may be taken: until the consumer is not paused.
    ///
    /// # Errors
    /// The consumer is to stop.
    pub async fn ready(&self) -> Result<(), Stopped> {
        let mut paused = self.paused.clone();
        tokio::select! {
            biased;
            () = self.stopped() => Err(Stopped),
            // The sender lives as long as the consumer.
            waited = paused.wait_for(|paused| !*paused) => waited.map(drop).map_err(|_| Stopped),
        }
    }

    /// Returns true while no messages may be taken.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        *self.paused.borrow()
    }

    /// Returns true once the consumer is to stop.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        *self.stop.borrow()
    }

    /// Waits until the consumer is to stop.
    pub async fn stopped(&self) {
        let _ = self.stop.clone().wait_for(|stop| *stop).await;
    }

    /// Waits until no messages may be taken.
    pub async fn paused(&self) {
        // The sender lives as long as the consumer.
        let _ = self.paused.clone().wait_for(|paused| *paused).await;
    }

    /// Waits for a while.
    ///
    /// # Errors
    /// The consumer is to stop.
    pub async fn pause(&self, time: Duration) -> Result<(), Stopped> {
        tokio::select! {
            biased;
            () = self.stopped() => Err(Stopped),
            () = sleep(time) => Ok(()),
        }
    }

    /// Tries to carry out a message, once. `place` names it in the log.
    pub async fn attempt(&self, place: &(dyn Display + Sync), message: &Message<'_>) -> Attempt {
        let Shared { decoder, target, counters, .. } = &*self.shared;
        let call = match decoder.decode(message) {
            Ok(call) => call,
            Err(error) => {
                return Attempt::Settled(self.undecodable(place, &error));
            }
        };
        match target.call(call).await {
            Outcome::Done => {
                Counters::add(&counters.processed);
                Attempt::Settled(Fate::Done)
            }
            Outcome::Refused(reason) => {
                Counters::add(&counters.refused);
                self.skipped(place, &reason);
                Attempt::Settled(Fate::Skipped)
            }
            Outcome::Failed(reason) => {
                Counters::add(&counters.failed);
                let consumer = self.name();
                self.logged(|silent| {
                    tracing::warn!(consumer, %place, %reason, silent, "call failed, trying again");
                });
                Attempt::Again
            }
        }
    }

    /// Carries out a message, however often it has to be tried.
    ///
    /// # Errors
    /// The consumer is to stop, and the message has not had its effect.
    pub async fn settle(&self, place: &(dyn Display + Sync), message: &Message<'_>) -> Result<Fate, Stopped> {
        let mut backoff = Backoff::default();
        loop {
            match self.attempt(place, message).await {
                Attempt::Settled(fate) => return Ok(fate),
                Attempt::Again => self.pause(backoff.pause()).await?,
            }
        }
    }

    /// Skips a message that its source cannot read: logs and counts it.
    pub fn undecodable(&self, place: &dyn Display, reason: &dyn Display) -> Fate {
        Counters::add(&self.shared.counters.undecodable);
        self.skipped(place, reason);
        Fate::Skipped
    }

    /// The source works.
    pub fn source_up(&self) {
        if !self.shared.counters.up.swap(true, Relaxed) {
            tracing::info!(consumer = self.name(), "consumer connected");
        }
    }

    /// The source failed.
    pub fn source_failed(&self, error: &dyn Display) {
        let was = self.shared.counters.up.swap(false, Relaxed);
        Counters::add(&self.shared.counters.source_errors);
        let consumer = self.name();
        if was {
            tracing::warn!(consumer, %error, "source of consumer failed, trying again");
        } else {
            self.logged(|silent| {
                tracing::warn!(consumer, %error, silent, "source of consumer failed, trying again");
            });
        }
    }

    /// Sets the age of the message that was taken up last in a partition, and 0 where nothing waits.
    pub fn lag(&self, partition: u64, lag: Duration) {
        self.shared.counters.lag(partition, lag);
    }

    /// The same, by the time of the message in milliseconds since 1970.
    pub fn lag_since(&self, partition: u64, millis: i64) {
        let lag = self.shared.clock.now().wall.saturating_sub(millis);
        self.lag(partition, Duration::from_millis(u64::try_from(lag).unwrap_or(0)));
    }

    /// Forgets the lag of a partition that is not read here any more.
    pub fn lag_unknown(&self, partition: u64) {
        self.shared.counters.forget(partition);
    }

    fn skipped(&self, place: &dyn Display, reason: &dyn Display) {
        let consumer = self.name();
        self.logged(|silent| {
            tracing::error!(consumer, %place, %reason, silent, "message skipped");
        });
    }

    /// Writes a line, unless there are too many.
    fn logged(&self, write: impl FnOnce(u64)) {
        let second = self.shared.clock.now().mono / 1_000;
        let silent = {
            let mut log = self.shared.log.lock();
            if log.second != second {
                (log.second, log.logged) = (second, 0);
            }
            if log.logged == LOGGED_PER_SECOND {
                log.silent += 1;
                return;
            }
            log.logged += 1;
            std::mem::take(&mut log.silent)
        };
        write(silent);
    }
}
