//! Requests for interest: sent to the broker in batches, answered one by one.

use crate::backend::remote::Remote;
use crate::channel::record::Channel;
use crate::engine::broker::Interest;
use crate::engine::interest::InterestState;
use crate::hub::Hub;
use crate::mailbox::inbox::Entry;
use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Changes of one batch at most.
const BATCH: usize = 512;

/// Requests of a node. A channel has at most one of them at a time: see [`InterestState`]. So there are no more than
/// channels with subscribers, and as many are unanswered as there may be calls in flight.
#[derive(Default)]
pub(super) struct Requests {
    queue: VecDeque<(Arc<Channel>, Interest)>,
    /// A task takes from the queue.
    sending: bool,
    /// By the id of the channel.
    unanswered: BTreeMap<u64, Unanswered>,
    /// Channels to ask for again, by id.
    lost: BTreeMap<u64, Arc<Channel>>,
}

struct Unanswered {
    channel: Arc<Channel>,
    asked: Interest,
    /// Time at which it is given up, on the monotonic clock.
    due: u64,
}

impl Remote {
    /// Makes a request. It is sent by a task, together with those that come until that runs.
    pub(crate) fn ask(&self, channel: Arc<Channel>, asked: Interest) {
        self.requests.lock().queue.push_back((channel, asked));
        self.send_on();
    }

    /// Starts the task that sends, unless it runs or has nothing to do.
    fn send_on(&self) {
        let Some(me) = self.me.upgrade() else { return };
        {
            let mut requests = self.requests.lock();
            let full = requests.unanswered.len() >= self.most_in_flight;
            if requests.sending || requests.queue.is_empty() || full {
                return;
            }
            requests.sending = true;
        }
        self.runtime.spawn(async move { while me.send_batch() {} });
    }

    fn send_batch(&self) -> bool {
        let hub = self.hub();
        let batch: Vec<_> = {
            let mut requests = self.requests.lock();
            let room = self.most_in_flight.saturating_sub(requests.unanswered.len());
            let count = requests.queue.len().min(BATCH).min(room);
            if count == 0 || hub.is_none() {
                requests.sending = false;
                return false;
            }
            let due = hub.as_ref().map_or(0, |hub| hub.clock.now().mono).saturating_add(self.limit_ms());
            let taken: Vec<_> = requests.queue.drain(..count).collect();
            for (channel, asked) in &taken {
                let unanswered = Unanswered { channel: Arc::clone(channel), asked: *asked, due };
                requests.unanswered.insert(channel.id, unanswered);
            }
            taken.into_iter().map(|(channel, asked)| (Arc::from(&*channel.name), asked)).collect()
        };
        if catch_unwind(AssertUnwindSafe(|| self.broker.interest(&batch))).is_err()
            && let Some(hub) = hub
        {
            hub.panicked("interest");
        }
        true
    }

    fn limit_ms(&self) -> u64 {
        match u64::try_from(self.timeout.as_millis()) {
            Ok(0) | Err(_) => u64::MAX,
            Ok(millis) => millis,
        }
    }

    /// The broker answered a request, or says on its own account that it delivers a channel or does not.
    pub(super) fn interest_answered(&self, hub: &Hub, record: &Arc<Channel>, asked: Interest, ok: bool) {
        // Delivery begins, ends, or was asked for again after a connection was lost.
        self.recent.forget(record.id);
        // Before those who wait are told: they are watched as soon as they read, and have nothing to compare.
        let watched = hub.comparisons.watched_one(record);
        {
            let mut requests = self.requests.lock();
            if requests.unanswered.get(&record.id).is_some_and(|unanswered| unanswered.asked == asked) {
                requests.unanswered.remove(&record.id);
            }
        }
        let (before, now, next, shards) = {
            let mut state = record.lock();
            let before = state.interest;
            let wanted = state.subscribers > 0;
            let next = state.interest.answered(asked, ok, wanted);
            let shards = state.shards;
            if asked == Interest::Wanted {
                for inbox in shards.iter().filter_map(|shard| hub.inboxes.get(shard)) {
                    inbox.push(Entry::Interest { channel: record.id, ok });
                }
            }
            (before, state.interest, next, shards)
        };
        shards.iter().filter_map(|shard| hub.inboxes.get(shard)).for_each(|inbox| inbox.wake());
        match now {
            InterestState::Lost => {
                self.requests.lock().lost.insert(record.id, Arc::clone(record));
            }
            // Subscribers that were here before have missed what was published while the broker did not deliver.
            InterestState::Held if before != now => self.compare_soon(watched),
            _ => {}
        }
        match next {
            Some(next) => self.ask(Arc::clone(record), next),
            None => hub.directory.release(record),
        }
        self.send_on();
    }

    /// Gives up requests that were not answered in time.
    pub(super) fn give_up_overdue(&self, hub: &Hub) {
        let now = hub.clock.now().mono;
        let overdue: Vec<_> = {
            let mut requests = self.requests.lock();
            requests.unanswered.extract_if(.., |_, unanswered| unanswered.due <= now).collect()
        };
        for (_, Unanswered { channel, asked, .. }) in overdue {
            hub.timed_out("interest");
            self.interest_answered(hub, &channel, asked, false);
        }
    }

    /// Asks again for channels that are wanted and not delivered.
    pub(super) fn retry_lost(&self) {
        let lost = std::mem::take(&mut self.requests.lock().lost);
        for channel in lost.into_values() {
            let next = channel.lock().interest.retry();
            if let Some(next) = next {
                self.ask(channel, next);
            }
        }
    }
}
