//! The part that queues of clouds share: messages are leased for a while, carried out, and forgotten. A lease that is
//! not prolonged ends, and its message is delivered again.

use crate::consumer::Running;
use crate::decode::Message;
use crate::end::End;
use crate::worker::{Attempt, Worker};
use spinward_engines::Backoff;
use std::borrow::Cow;
use std::collections::HashSet;
use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

/// Time that leases may take to be given back at the end.
const GIVE_BACK: Duration = Duration::from_secs(3);

/// Longest wait for messages while others are held back: these are tried again in the meantime.
pub(crate) const SHORT: Duration = Duration::from_secs(1);

/// A message that is leased.
pub(crate) trait Lease: Send + Sync + 'static {
    /// Id, the same in every delivery.
    fn id(&self) -> &str;

    /// Messages of one group are carried out one after another. With an empty one, it depends on no other.
    fn group(&self) -> &str;

    /// Time at which it was sent, in milliseconds since 1970.
    fn sent(&self) -> Option<i64>;

    /// Size in bytes, where that is bounded.
    fn size(&self) -> usize {
        0
    }

    /// The message, or the reason why it can never be read.
    fn message(&self) -> Result<Message<'_>, Cow<'static, str>>;
}

/// A queue that leases messages.
pub(crate) trait Leasing: Send + Sync + 'static {
    type Lease: Lease;
    type Error: fmt::Display + Send;

    /// Name of the queue, for the log.
    fn name(&self) -> &str;

    /// Most messages that one reader holds.
    fn most(&self) -> usize;

    /// Size of the messages that one reader holds, in bytes, at which it takes no further ones.
    fn most_bytes(&self) -> usize {
        usize::MAX
    }

    /// Most messages that are forgotten or prolonged by one request.
    fn batch(&self) -> usize;

    /// Time between two prolongations: well below that of a lease.
    fn keep(&self) -> Duration;

    /// Waits for up to `room` messages. It may be dropped half way: leases that it had taken then end by themselves.
    fn take(
        &self,
        room: usize,
        wait: Duration,
    ) -> impl Future<Output = Result<Vec<Self::Lease>, Self::Error>> + Send;

    /// Forgets messages that are carried out.
    fn forget(&self, leases: &[&Self::Lease]) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Prolongs leases.
    fn prolong(&self, leases: &[&Self::Lease]) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Gives leases back, so that others get the messages at once.
    fn give_back(&self, leases: &[&Self::Lease]) -> impl Future<Output = Result<(), Self::Error>> + Send;
}

/// Runs readers of queues until the worker is stopped.
pub(crate) fn run<L: Leasing>(queues: Vec<Arc<L>>, readers: u32, worker: Worker) -> Running {
    Box::pin(async move {
        let mut tasks = JoinSet::new();
        let mut lag = 0;
        for queue in queues {
            for _ in 0..readers {
                tasks.spawn(read(Arc::clone(&queue), worker.clone(), lag));
                lag += 1;
            }
        }
        while let Some(ended) = tasks.join_next().await {
            if let Err(error) = ended
                && error.is_panic()
            {
                std::panic::resume_unwind(error.into_panic());
            }
        }
    })
}

async fn read<L: Leasing>(queue: Arc<L>, worker: Worker, lag: u64) {
    let mut backoff = Backoff::default();
    loop {
        let mut reader = Reader {
            queue: &*queue,
            worker: &worker,
            lag,
            held: Vec::new(),
            done: Vec::new(),
            prolonged: Instant::now(),
        };
        let Err(ended) = Box::pin(reader.run(&mut backoff)).await;
        // Others get them at once. The last one first: an earlier message of its group still holds it back.
        let _ = timeout(GIVE_BACK, reader.give_back()).await;
        match ended {
            End::Stopped => return,
            End::Failed(error) => worker.source_failed(&error),
        }
        if worker.pause(backoff.pause()).await.is_err() {
            return;
        }
    }
}

/// A message that is held until it is carried out.
struct Held<T> {
    lease: T,
    backoff: Backoff,
    due: Instant,
}

/// Place of a message, for the log.
struct Place<'a>(&'a str, &'a str);

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "message {} of {}", self.1, self.0)
    }
}

/// A reader of a queue.
struct Reader<'a, L: Leasing> {
    queue: &'a L,
    worker: &'a Worker,
    lag: u64,
    /// In the order of delivery.
    held: Vec<Held<L::Lease>>,
    /// Carried out, and not forgotten yet.
    done: Vec<L::Lease>,
    prolonged: Instant,
}

impl<L: Leasing> Reader<'_, L> {
    async fn run(&mut self, backoff: &mut Backoff) -> Result<Infallible, End<L::Error>> {
        // The first look does not wait: it says whether the queue can be read.
        let mut wait = Duration::ZERO;
        loop {
            if self.held.is_empty() {
                self.worker.ready().await?;
            }
            let size: usize = self.held.iter().map(|held| held.lease.size()).sum();
            let room = match size < self.queue.most_bytes() {
                true => self.queue.most().saturating_sub(self.held.len()),
                false => 0,
            };
            if room > 0 && !self.worker.is_paused() {
                self.take(room, wait, backoff).await?;
            } else if let Some(due) = self.due() {
                self.worker.pause(due.saturating_duration_since(Instant::now())).await?;
            }
            self.carry_out().await?;
            wait = match self.due() {
                None => Duration::MAX,
                Some(due) => due.saturating_duration_since(Instant::now()).min(SHORT),
            };
        }
    }

    /// Takes messages. A message that is held already was delivered again: its lease is a new one.
    async fn take(
        &mut self,
        room: usize,
        wait: Duration,
        backoff: &mut Backoff,
    ) -> Result<(), End<L::Error>> {
        let began = Instant::now();
        let taken = tokio::select! {
            biased;
            () = self.worker.stopped() => return Err(End::Stopped),
            taken = self.queue.take(room, wait) => Some(taken.map_err(End::Failed)?),
            // What is held goes on to be carried out.
            () = self.worker.paused() => None,
        };
        let Some(taken) = taken else { return Ok(()) };
        self.worker.source_up();
        backoff.reset();
        if taken.is_empty() && self.held.is_empty() {
            self.worker.lag(self.lag, Duration::ZERO);
        }
        if taken.is_empty() {
            // A queue may answer at once although it was to wait.
            let next = began + wait.min(SHORT);
            self.worker.pause(next.saturating_duration_since(Instant::now())).await?;
        }
        if self.held.is_empty() {
            self.prolonged = Instant::now();
        }
        for lease in taken {
            match self.held.iter_mut().find(|held| held.lease.id() == lease.id()) {
                Some(held) => held.lease = lease,
                None => self.held.push(Held { lease, backoff: Backoff::default(), due: Instant::now() }),
            }
        }
        Ok(())
    }

    /// Time at which the next of the messages that are held is tried. Those behind another of their group have none.
    fn due(&self) -> Option<Instant> {
        let mut groups = HashSet::new();
        let mut first = |group| groups.insert(group) || str::is_empty(group);
        let tried = self.held.iter().filter(|held| first(held.lease.group()));
        tried.map(|held| held.due).min()
    }

    /// Tries every message that is due and not behind another of its group, once.
    async fn carry_out(&mut self) -> Result<(), End<L::Error>> {
        let mut waiting = HashSet::new();
        let mut at = 0;
        while let Some(held) = self.held.get(at) {
            let group = held.lease.group();
            if waiting.contains(group) {
                at += 1;
                continue;
            }
            let attempt = match held.due > Instant::now() {
                true => None,
                false => Some(self.attempt(at).await),
            };
            if let Some((_, prolonged)) = attempt {
                self.prolonged = prolonged;
            }
            let held = &mut self.held[at];
            if let Some((Attempt::Again, _)) = attempt {
                held.due = Instant::now() + held.backoff.pause();
            }
            if let None | Some((Attempt::Again, _)) = attempt {
                let group = held.lease.group();
                if !group.is_empty() {
                    waiting.insert(group.to_owned());
                }
                at += 1;
            } else {
                self.done.push(self.held.remove(at).lease);
            }
            if self.worker.is_stopped() {
                break;
            }
            if self.done.len() >= self.queue.batch() {
                self.forget().await?;
            }
            self.prolong_if_due().await;
        }
        self.forget().await?;
        if self.worker.is_stopped() {
            return Err(End::Stopped);
        }
        Ok(())
    }

    /// Tries a message. It is not dropped half way: it may have had its effect. Returns the time at which leases were
    /// prolonged last, too.
    async fn attempt(&self, at: usize) -> (Attempt, Instant) {
        let Held { lease, .. } = &self.held[at];
        let mut prolonged = self.prolonged;
        if let Some(sent) = lease.sent() {
            self.worker.lag_since(self.lag, sent);
        }
        let place = Place(self.queue.name(), lease.id());
        let message = match lease.message() {
            Ok(message) => message,
            Err(reason) => return (Attempt::Settled(self.worker.undecodable(&place, &reason)), prolonged),
        };
        let mut attempt = std::pin::pin!(self.worker.attempt(&place, &message));
        loop {
            tokio::select! {
                biased;
                attempt = &mut attempt => return (attempt, prolonged),
                () = sleep_until(prolonged + self.queue.keep()) => {
                    self.prolong().await;
                    prolonged = Instant::now();
                }
            }
        }
    }

    async fn prolong_if_due(&mut self) {
        if self.prolonged.elapsed() >= self.queue.keep() {
            self.prolong().await;
            self.prolonged = Instant::now();
        }
    }

    /// Prolongs the leases of all messages that are not forgotten. What cannot be prolonged comes again.
    async fn prolong(&self) {
        let all: Vec<_> = self.done.iter().chain(self.held.iter().map(|held| &held.lease)).collect();
        for leases in all.chunks(self.queue.batch()) {
            if let Err(error) = self.queue.prolong(leases).await {
                self.worker.source_failed(&error);
                return;
            }
        }
    }

    async fn forget(&mut self) -> Result<(), End<L::Error>> {
        let done = std::mem::take(&mut self.done);
        let all: Vec<_> = done.iter().collect();
        for leases in all.chunks(self.queue.batch()) {
            self.queue.forget(leases).await.map_err(End::Failed)?;
        }
        Ok(())
    }

    async fn give_back(&mut self) -> Result<(), L::Error> {
        let held = std::mem::take(&mut self.held);
        let all: Vec<_> = held.iter().rev().map(|held| &held.lease).collect();
        for leases in all.chunks(self.queue.batch()) {
            self.queue.give_back(leases).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "lease/tests.rs"]
mod tests;
