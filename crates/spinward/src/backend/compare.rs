//! Comparisons of positions with a remote broker's: from time to time, and at once where deliveries may be missing.

use crate::backend::remote::Remote;
use crate::channel::record::Channel;
use crate::engine::broker::HistoryOptions;
use crate::hub::Hub;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

/// Tasks that compare, at most.
const COMPARERS: usize = 64;

/// Channels to compare. Each is in the queue once at most, so that there are no more than watched channels.
#[derive(Default)]
pub(super) struct Comparing {
    queue: VecDeque<Arc<Channel>>,
    queued: BTreeSet<u64>,
    comparers: usize,
}

impl Remote {
    /// Compares a channel in its turn, once a period.
    pub(crate) fn compare(&self, hub: &Hub, channel: Arc<Channel>) {
        if self.loses() {
            self.compare_soon([channel]);
        } else {
            // Only the life of its store may have ended without notice.
            let incarnation = self.broker.incarnation(&channel.name);
            hub.incarnation_told(&channel, &incarnation);
        }
    }

    /// Compares these channels as soon as there is a place for it.
    pub(super) fn compare_soon(&self, channels: impl IntoIterator<Item = Arc<Channel>>) {
        {
            let mut comparing = self.comparing.lock();
            for channel in channels {
                if comparing.queued.insert(channel.id) {
                    comparing.queue.push_back(channel);
                }
            }
        }
        self.compare_on();
    }

    /// Starts as many tasks as have something to compare.
    pub(super) fn compare_on(&self) {
        let Some(me) = self.me.upgrade() else { return };
        // Counted once: a runtime that is shutting down drops a task at once, and another one would end the same way.
        let missing = {
            let mut comparing = self.comparing.lock();
            let missing = COMPARERS.min(comparing.queue.len()).saturating_sub(comparing.comparers);
            comparing.comparers += missing;
            missing
        };
        let comparers: Vec<_> = (0..missing).map(|_| Comparer(Arc::clone(&me))).collect();
        for comparer in comparers {
            let job = async move {
                while let Some(channel) = comparer.next() {
                    comparer.0.compare_one(&channel).await;
                }
            };
            // Without room it is tried again within a second.
            if !self.bulkhead.post(&self.runtime, Box::pin(job)) {
                return;
            }
        }
    }

    async fn compare_one(&self, channel: &Arc<Channel>) {
        let options = match self.hub() {
            Some(hub) => hub.with_meta_ttl(HistoryOptions::default()),
            None => return,
        };
        let read = self.runtime.within(self.timeout, self.top(&channel.name, options)).await;
        let Some(hub) = self.hub() else { return };
        match read {
            // An answer from an earlier life of the store is late, and says nothing about the present one.
            Some(Ok(slice)) if slice.top.stream.incarnation == self.broker.incarnation(&channel.name) => {
                let top = self.epochs.position(&slice.top);
                self.recent.position_told(channel.id, &top);
                hub.position_told(channel, &top);
            }
            // Nothing is known: the next period asks again.
            Some(Ok(_)) => {}
            Some(Err(error)) => hub.engine_failed("position", &error),
            None => hub.timed_out("position"),
        }
    }
}

/// Counts a task until it ends, even by a panic of the broker or without having run.
struct Comparer(Arc<Remote>);

impl Comparer {
    fn next(&self) -> Option<Arc<Channel>> {
        let mut comparing = self.0.comparing.lock();
        let channel = comparing.queue.pop_front()?;
        comparing.queued.remove(&channel.id);
        Some(channel)
    }
}

impl Drop for Comparer {
    fn drop(&mut self) {
        self.0.comparing.lock().comparers -= 1;
    }
}
