//! Channels that the node wants.
//!
//! Interest is a filter on what the reader reads. A channel that is newly wanted is delivered what was committed after
//! a snapshot that is taken for it, and is confirmed then. The reader may be behind that snapshot: what it reads up to
//! there is left out.

use super::cursor::Snapshot;
use parking_lot::Mutex;
use spinward::engine::broker::Interest;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::Notify;

#[derive(Default)]
pub(super) struct Wanted {
    state: Mutex<State>,
    more: Notify,
}

#[derive(Default)]
struct State {
    /// Each with the snapshot after which it is delivered; `None` for everything that is read.
    channels: HashMap<Arc<str>, Option<Arc<Snapshot>>>,
    /// Waiting for their snapshot. One entry per channel at most, as each change is answered before the next.
    waiting: Vec<Arc<str>>,
    /// The life that the reader reads.
    life: Option<Arc<str>>,
}

impl Wanted {
    /// Takes changes. Those to answer at once are returned.
    pub(super) fn change(&self, changes: &[(Arc<str>, Interest)]) -> Vec<Arc<str>> {
        let mut unwanted = Vec::new();
        let mut state = self.state.lock();
        for (channel, asked) in changes {
            match asked {
                Interest::Wanted => state.waiting.push(Arc::clone(channel)),
                Interest::Unwanted => {
                    state.channels.remove(channel);
                    unwanted.push(Arc::clone(channel));
                }
            }
        }
        let more = !state.waiting.is_empty();
        drop(state);
        if more {
            self.more.notify_one();
        }
        unwanted
    }

    /// Waits for channels to confirm.
    pub(super) async fn waiting(&self) -> Vec<Arc<str>> {
        loop {
            let waiting = std::mem::take(&mut self.state.lock().waiting);
            if !waiting.is_empty() {
                return waiting;
            }
            self.more.notified().await;
        }
    }

    /// Begins delivery after a snapshot. Returns false if the reader reads another life.
    pub(super) fn begin(&self, channels: &[Arc<str>], life: &str, snapshot: Snapshot) -> bool {
        let start = Arc::new(snapshot);
        let mut state = self.state.lock();
        if state.life.as_deref() != Some(life) {
            return false;
        }
        state.channels.extend(channels.iter().map(|channel| (Arc::clone(channel), Some(Arc::clone(&start)))));
        true
    }

    /// The reader reads this life from now on.
    pub(super) fn read_from(&self, life: &Arc<str>) {
        self.state.lock().life = Some(Arc::clone(life));
        self.forget_starts();
    }

    /// The server may have crashed and give ids of transactions again: starts mean nothing any more.
    pub(super) fn forget_starts(&self) {
        self.state.lock().channels.values_mut().for_each(|start| *start = None);
    }

    /// The channel, if a row of this transaction is to be delivered to it.
    pub(super) fn takes(&self, channel: &str, xid: u64) -> Option<Arc<str>> {
        let state = self.state.lock();
        let (name, start) = state.channels.get_key_value(channel)?;
        (!start.as_ref().is_some_and(|start| start.sees(xid))).then(|| Arc::clone(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delivery_begins_after_the_snapshot() {
        let wanted = Wanted::default();
        let channel: Arc<str> = "c".into();
        assert!(wanted.change(&[(Arc::clone(&channel), Interest::Wanted)]).is_empty());
        assert_eq!(wanted.takes("c", 12), None, "not confirmed yet");
        let snapshot = Snapshot::parse("10:13:10").unwrap();
        assert!(!wanted.begin(&[Arc::clone(&channel)], "life", snapshot.clone()), "nothing is read yet");
        wanted.read_from(&"life".into());
        assert!(wanted.begin(&[Arc::clone(&channel)], "life", snapshot));
        assert_eq!(wanted.takes("c", 12), None);
        assert!(wanted.takes("c", 10).is_some() && wanted.takes("c", 13).is_some());
        wanted.forget_starts();
        assert!(wanted.takes("c", 12).is_some());
        assert_eq!(wanted.change(&[(Arc::clone(&channel), Interest::Unwanted)]), [channel]);
        assert_eq!(wanted.takes("c", 13), None);
    }
}
