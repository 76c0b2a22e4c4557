//! Idempotency keys that this node remembers.

use parking_lot::Mutex;
use spinward::engine::broker::IDEMPOTENCY_TTL;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use tokio::time::Instant;

/// Most keys remembered. Further ones replace the oldest.
const MOST: usize = 65_536;

/// A channel and a key in it.
type Key = (String, String);

/// Keys of publications without history, each for [`IDEMPOTENCY_TTL`].
#[derive(Default)]
pub(super) struct Keys(Mutex<Known>);

#[derive(Default)]
struct Known {
    until: HashMap<Key, Instant>,
    /// The keys in the order in which they expire.
    order: VecDeque<(Instant, Key)>,
}

/// A key whose publication is on its way. Dropped, it is forgotten: the publication may not have been sent.
pub(super) struct Pending {
    keys: Arc<Keys>,
    key: Option<Key>,
}

impl Pending {
    /// The publication was sent: the key stays known.
    pub(super) fn sent(mut self) {
        self.key = None;
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if let Some(key) = &self.key {
            self.keys.0.lock().until.remove(key);
        }
    }
}

impl Keys {
    /// Remembers a key. `None` if it is known.
    pub(super) fn begin(self: &Arc<Self>, channel: &str, key: &str) -> Option<Pending> {
        let key = self.add(channel, key)?;
        Some(Pending { keys: Arc::clone(self), key: Some(key) })
    }

    fn add(&self, channel: &str, key: &str) -> Option<Key> {
        let now = Instant::now();
        let known = &mut *self.0.lock();
        while known.order.front().is_some_and(|(until, _)| *until <= now) || known.order.len() >= MOST {
            let Some((until, key)) = known.order.pop_front() else { break };
            if known.until.get(&key) == Some(&until) {
                known.until.remove(&key);
            }
        }
        let key = (channel.to_owned(), key.to_owned());
        if known.until.contains_key(&key) {
            return None;
        }
        let until = now + IDEMPOTENCY_TTL;
        known.until.insert(key.clone(), until);
        known.order.push_back((until, key.clone()));
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn published(keys: &Arc<Keys>, channel: &str, key: &str) -> bool {
        keys.begin(channel, key).map(Pending::sent).is_some()
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_is_known_for_its_time() {
        let keys = Arc::<Keys>::default();
        assert!(published(&keys, "c", "k"));
        assert!(!published(&keys, "c", "k"));
        assert!(published(&keys, "other", "k"));
        tokio::time::advance(IDEMPOTENCY_TTL).await;
        assert!(published(&keys, "c", "k"));
        assert!(!published(&keys, "c", "k"));
    }

    #[test]
    fn a_publication_that_was_given_up_may_be_sent_again() {
        let keys = Arc::<Keys>::default();
        let pending = keys.begin("c", "k").unwrap();
        assert!(keys.begin("c", "k").is_none());
        drop(pending);
        assert!(published(&keys, "c", "k"));
    }

    #[test]
    fn the_oldest_of_too_many_is_forgotten() {
        let keys = Arc::<Keys>::default();
        for number in 0..=MOST {
            assert!(published(&keys, "c", &number.to_string()));
        }
        assert!(published(&keys, "c", "0"));
        assert!(!published(&keys, "c", &MOST.to_string()));
    }
}
