//! Comparisons of positions with a remote broker: one per channel and period, by the first shard that is due.

use crate::channel::record::Channel;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

/// The channels whose positions shards of this node watch.
#[derive(Default)]
pub(crate) struct Comparisons(Mutex<BTreeMap<u64, Watched>>);

struct Watched {
    channel: Arc<Channel>,
    /// Shards that watch the channel. A shard may count twice for a moment, when it left the channel and came back.
    shards: u32,
    /// The time of the next comparison, in milliseconds on the monotonic clock.
    due: u64,
}

impl Comparisons {
    /// A shard begins to watch a channel.
    pub(crate) fn watch(&self, channel: &Arc<Channel>, now: u64, delay: u64) {
        match self.0.lock().entry(channel.id) {
            Entry::Occupied(watched) => watched.into_mut().shards += 1,
            Entry::Vacant(entry) => {
                entry.insert(Watched { channel: Arc::clone(channel), shards: 1, due: now + delay });
            }
        }
    }

    /// A shard no longer watches a channel.
    pub(crate) fn unwatch(&self, channel: u64) {
        if let Entry::Occupied(mut watched) = self.0.lock().entry(channel) {
            watched.get_mut().shards -= 1;
            if watched.get().shards == 0 {
                watched.remove();
            }
        }
    }

    /// Returns true for the shard that is to compare: the first one to ask in each period.
    pub(crate) fn claim(&self, channel: u64, now: u64, delay: u64) -> bool {
        self.0.lock().get_mut(&channel).is_some_and(|watched| {
            let due = watched.due <= now;
            if due {
                watched.due = now + delay;
            }
            due
        })
    }

    /// The watched channels of these names.
    pub(crate) fn watched(&self, wanted: impl Fn(&str) -> bool) -> Vec<Arc<Channel>> {
        let watched = self.0.lock();
        watched.values().filter(|one| wanted(&one.channel.name)).map(|one| Arc::clone(&one.channel)).collect()
    }

    /// The channel itself, if it is watched.
    pub(crate) fn watched_one(&self, channel: &Arc<Channel>) -> Option<Arc<Channel>> {
        self.0.lock().contains_key(&channel.id).then(|| Arc::clone(channel))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::directory::Directory;
    use crate::channel::record::EngineId;

    #[test]
    fn one_shard_compares_in_each_period() {
        let comparisons = Comparisons::default();
        let directory = Directory::new(1);
        let channel = directory.with("c", EngineId::DEFAULT, |channel, _| Arc::clone(channel));
        let id = channel.id;
        for shard in 0..8 {
            comparisons.watch(&channel, shard * 10, 500);
        }
        assert_eq!(comparisons.watched(|name| name == "c").len(), 1);
        assert!(comparisons.watched(|name| name != "c").is_empty());
        for period in 1..=5 {
            let claims = (0..8).filter(|shard| comparisons.claim(id, period * 500 + shard * 10, 500)).count();
            assert_eq!(claims, 1, "period {period}");
        }
        for _ in 0..8 {
            comparisons.unwatch(id);
        }
        assert!(comparisons.0.lock().is_empty());
        assert!(!comparisons.claim(id, u64::MAX, 500), "nobody watches it");
    }
}
