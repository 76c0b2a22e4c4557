//! The end of the process: told by a signal or decided within, and over by `shutdown.timeout` in any case.
//!
//! Signals are heard on a thread of their own, and the same thread ends the process if the orderly end takes
//! longer: whatever blocks a shard, the runtime or the log, nothing of it is needed for that.

use super::log;
use super::signals::{Heard, Signals};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, mpsc};

/// The exit code of a process whose orderly end took longer than `shutdown.timeout`.
pub(super) const EXIT_DEADLINE: u8 = 75;
/// The exit code of a process in which a shard has failed.
pub(super) const EXIT_SHARD: u8 = 70;

/// Most time for the last lines of the log.
pub(super) const LAST_LINES: Duration = Duration::from_millis(500);

/// Signals that wait to be acted upon. More than one of a kind say nothing new.
const WAITING: usize = 8;

/// Signals from outside, and the deadline that begins with "stop".
pub(super) struct Ending {
    heard: mpsc::Receiver<Heard>,
    deadline: Arc<Deadline>,
}

#[derive(Default)]
struct Deadline {
    timeout_ms: AtomicU64,
    begun: Notify,
}

/// Division of `shutdown.timeout`.
struct Times {
    /// For the orderly end.
    orderly: Duration,
    /// Time at which an orderly end is given up: after as much time again as the log may take.
    abandoned: Duration,
    /// For the last lines of the log.
    lines: Duration,
}

impl Deadline {
    fn times(&self) -> Times {
        let timeout = Duration::from_millis(self.timeout_ms.load(Ordering::Relaxed));
        let lines = LAST_LINES.min(timeout / 10);
        Times { orderly: timeout - 2 * lines, abandoned: timeout - lines, lines }
    }
}

impl Ending {
    /// Listens from now on. Without `reload`, SIGHUP ends the process as usual.
    ///
    /// # Errors
    /// The thread or its runtime could not be started, or signals cannot be heard.
    pub(super) fn listen(reload: bool, timeout: Duration, log: log::Running) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let entered = runtime.enter();
        let signals = Signals::listen(reload)?;
        drop(entered);
        let (sender, heard) = mpsc::channel(WAITING);
        let ending = Self { heard, deadline: Arc::default() };
        ending.set_timeout(timeout);
        let deadline = Arc::clone(&ending.deadline);
        std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
            let times = runtime.block_on(listen(signals, sender, &deadline));
            tracing::error!("shutdown exceeded shutdown.timeout: aborting the rest");
            log.drain(times.lines);
            std::process::exit(EXIT_DEADLINE.into());
        })?;
        Ok(ending)
    }

    /// The next thing that the process is asked for.
    pub(super) async fn next(&mut self) -> Heard {
        // The thread listens as long as the process lives.
        self.heard.recv().await.unwrap_or(Heard::Stop)
    }

    /// `shutdown.timeout` as it is now.
    pub(super) fn set_timeout(&self, timeout: Duration) {
        let millis = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        self.deadline.timeout_ms.store(millis, Ordering::Relaxed);
    }

    /// The end begins, if no signal has begun it. Returns the time for all that is done in order.
    pub(super) fn begin(&self) -> Duration {
        self.deadline.begun.notify_one();
        self.deadline.times().orderly
    }
}

/// Passes signals on, and returns when the end, which one of them or the process has begun, should be over.
async fn listen(mut signals: Signals, sender: mpsc::Sender<Heard>, deadline: &Deadline) -> Times {
    loop {
        let heard = tokio::select! {
            heard = signals.next() => heard,
            () = deadline.begun.notified() => break,
        };
        let stop = heard == Heard::Stop;
        // Where so many wait already, one more changes nothing.
        let _ = sender.try_send(heard);
        if stop {
            break;
        }
    }
    let times = deadline.times();
    let abandoned = tokio::time::sleep(times.abandoned);
    tokio::pin!(abandoned);
    loop {
        tokio::select! {
            () = &mut abandoned => return times,
            // A second one ends a drain.
            heard = signals.next() => drop(sender.try_send(heard)),
        }
    }
}
