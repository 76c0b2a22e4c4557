//! The channels that a node is delivered: one subscription each, asked for again on every new connection.

use super::error::NatsError;
use super::feed::{Feed, Reader};
use super::life::Life;
use super::link::Link;
use super::subject::Subjects;
use crate::fault::{Fault, holds};
use parking_lot::Mutex;
use spinward::engine::broker::{BrokerError, Interest, Scope, Sink};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// Time in which losses of unknown channels are gathered before the node is told once.
const GATHER: Duration = Duration::from_millis(200);

/// Changes of interest that wait. There is at most one for each channel, since each is answered before the next.
#[derive(Default)]
pub(super) struct Changes {
    waiting: Mutex<Vec<(Arc<str>, Interest)>>,
    wake: Notify,
}

impl Changes {
    /// Adds changes. Does not block.
    pub(super) fn ask(&self, changes: &[(Arc<str>, Interest)]) {
        self.waiting.lock().extend_from_slice(changes);
        self.wake.notify_one();
    }

    fn take(&self) -> Vec<(Arc<str>, Interest)> {
        std::mem::take(&mut *self.waiting.lock())
    }
}

/// A channel that is subscribed to.
struct Subscription<R: Reader> {
    feed: JoinHandle<()>,
    seen: Arc<tokio::sync::Mutex<R::Seen>>,
}

/// The task that subscribes.
pub(super) struct Interests<R: Reader> {
    link: Arc<Link>,
    changes: Arc<Changes>,
    subjects: Subjects,
    reader: Arc<R>,
    sink: Sink,
    channels: HashMap<Arc<str>, Subscription<R>>,
    /// A connection was there before: what was delivered by it may have a gap now.
    served: bool,
}

/// Reason that the task looks up from a connection.
enum Next {
    Changes,
    Overflow,
    Refused(Vec<String>),
    Over,
}

impl<R: Reader> Interests<R> {
    pub(super) fn new(
        link: &Arc<Link>,
        changes: &Arc<Changes>,
        subjects: Subjects,
        reader: R,
        sink: Sink,
    ) -> Self {
        Self {
            link: Arc::clone(link),
            changes: Arc::clone(changes),
            subjects,
            reader: Arc::new(reader),
            sink,
            channels: HashMap::new(),
            served: false,
        }
    }

    /// Runs until the node is gone or the link is closed.
    pub(super) async fn run(mut self) {
        let mut lives = self.link.lives();
        while !self.sink.is_closed() {
            let life = lives.borrow_and_update().clone();
            match life {
                Some(life) => self.serve(&life).await,
                None => {
                    self.refuse();
                    tokio::select! {
                        changed = lives.changed() => if changed.is_err() { return },
                        () = self.changes.wake.notified() => {}
                    }
                    continue;
                }
            }
            if lives.changed().await.is_err() {
                return;
            }
        }
    }

    /// Answers what cannot be done without a connection. The node asks again.
    fn refuse(&mut self) {
        for (channel, asked) in self.changes.take() {
            let result = match asked {
                Interest::Unwanted => {
                    // The connection that it was of is gone.
                    self.channels.remove(&channel);
                    Ok(())
                }
                Interest::Wanted => Err(NatsError::NotConnected.into()),
            };
            self.sink.interest(&channel, asked, result);
        }
    }

    /// Serves one connection until it is over.
    async fn serve(&mut self, life: &Life) {
        while let Err(error) = self.resume(life).await {
            if life.is_over() {
                return;
            }
            tracing::debug!(%error, "cannot subscribe yet");
            sleep(GATHER).await;
        }
        let mut overflows = life.overflows();
        loop {
            let next = tokio::select! {
                () = life.ended() => Next::Over,
                () = self.changes.wake.notified() => Next::Changes,
                subjects = life.refused() => Next::Refused(subjects),
                changed = overflows.changed() => if changed.is_ok() { Next::Overflow } else { Next::Over },
            };
            match next {
                Next::Over => return,
                Next::Changes => self.change(life).await,
                Next::Refused(subjects) => self.withdraw(&subjects).await,
                Next::Overflow => {
                    sleep(GATHER).await;
                    overflows.mark_unchanged();
                    self.link.counters().gaps.bump();
                    self.sink.interrupted(Scope::All);
                }
            }
        }
    }

    /// Subscribes to everything that the node wants, and says that something may be missing.
    async fn resume(&mut self, life: &Life) -> Result<(), NatsError> {
        let wanted = self.sink.wanted();
        let mut former = std::mem::take(&mut self.channels);
        let mut confirmed = Vec::new();
        for channel in wanted {
            let before = former.remove(&channel);
            let known = before.is_some();
            let seen = stopped(before).await;
            match self.subscribe(life, &channel, seen).await {
                Ok(()) if known => {}
                Ok(()) => confirmed.push(channel),
                Err(error @ NatsError::Subject(_)) => {
                    self.sink.interest(&channel, Interest::Wanted, Err(error.into()));
                }
                Err(error) => return Err(error),
            }
        }
        for (_, subscription) in former {
            stopped(Some(subscription)).await;
        }
        life.confirmed().await?;
        // These were refused while there was no connection. Those that were asked for since are answered as any change.
        let waiting = self.changes.take();
        for channel in confirmed {
            if !waiting.iter().any(|(other, _)| *other == channel) {
                self.sink.interest(&channel, Interest::Wanted, Ok(()));
            }
        }
        self.changes.ask(&waiting);
        if std::mem::replace(&mut self.served, true) && !holds(Fault::SilentReconnect) {
            self.link.counters().gaps.bump();
            self.sink.interrupted(Scope::All);
        }
        Ok(())
    }

    /// Makes the changes that wait, and answers them.
    async fn change(&mut self, life: &Life) {
        let mut wanted = Vec::new();
        for (channel, asked) in self.changes.take() {
            match asked {
                Interest::Unwanted => {
                    stopped(self.channels.remove(&channel)).await;
                    self.sink.interest(&channel, asked, Ok(()));
                }
                Interest::Wanted => {
                    let result = if self.channels.contains_key(&channel) {
                        Ok(())
                    } else {
                        self.subscribe(life, &channel, Arc::default()).await
                    };
                    match result {
                        Ok(()) => wanted.push(channel),
                        Err(error) => self.sink.interest(&channel, asked, Err(error.into())),
                    }
                }
            }
        }
        if wanted.is_empty() {
            return;
        }
        let confirmed = life.confirmed().await;
        for channel in wanted {
            let result = match &confirmed {
                Ok(()) => Ok(()),
                Err(_) => {
                    stopped(self.channels.remove(&channel)).await;
                    Err(BrokerError::from(NatsError::Lost))
                }
            };
            self.sink.interest(&channel, Interest::Wanted, result);
        }
    }

    /// Takes back channels whose subjects the server does not permit. The node asks again about once a second.
    async fn withdraw(&mut self, subjects: &[String]) {
        let refused = |channel: &&Arc<str>| {
            self.subjects.of(channel).is_ok_and(|subject| subjects.contains(&subject.text))
        };
        let channels: Vec<_> = self.channels.keys().filter(refused).cloned().collect();
        for channel in channels {
            stopped(self.channels.remove(&channel)).await;
            self.sink.interest(&channel, Interest::Wanted, Err(NatsError::Forbidden.into()));
        }
    }

    async fn subscribe(
        &mut self,
        life: &Life,
        channel: &Arc<str>,
        seen: Arc<tokio::sync::Mutex<R::Seen>>,
    ) -> Result<(), NatsError> {
        let subject = self.subjects.of(channel)?;
        let subscriber = life.subscribe(subject.text).await?;
        let feed = Feed {
            channel: Arc::clone(channel),
            pattern: subject.pattern,
            reader: Arc::clone(&self.reader),
            seen: Arc::clone(&seen),
            sink: self.sink.clone(),
            counters: Arc::clone(self.link.counters()),
        };
        let feed = tokio::spawn(feed.run(subscriber));
        self.channels.insert(Arc::clone(channel), Subscription { feed, seen });
        Ok(())
    }
}

/// Ends a feed, and waits until it delivers nothing more. Returns what it has seen.
async fn stopped<R: Reader>(subscription: Option<Subscription<R>>) -> Arc<tokio::sync::Mutex<R::Seen>> {
    let Some(mut subscription) = subscription else { return Arc::default() };
    subscription.feed.abort();
    let _ = (&mut subscription.feed).await;
    Arc::clone(&subscription.seen)
}

impl<R: Reader> Drop for Subscription<R> {
    fn drop(&mut self) {
        self.feed.abort();
    }
}
