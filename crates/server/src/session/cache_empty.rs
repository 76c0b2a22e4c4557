//! Channels of cache mode whose cache is empty: the back end is told before a client subscribes to one, and may publish.
//!
//! The cache is looked at before the subscription begins, and the subscription reads it afterwards as always. So what the
//! back end publishes before it answers is there, and nothing else has to know of this.

use super::ActiveConfig;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, WeakShared};
use parking_lot::Mutex;
use spinward::answer::Answer;
use spinward::engine::broker::{HistoryFilter, HistoryOptions};
use spinward::{Node, WeakNode};
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

/// A look at a cache: false if the back end could not be told.
type Look = Shared<BoxFuture<'static, bool>>;
type Looks = Mutex<HashMap<Arc<str>, (u64, WeakShared<BoxFuture<'static, bool>>)>>;

/// Caches that are looked at. There is one look for a channel at a time, which all of its subscribers wait for: so there
/// are no more than subscribers that wait.
#[derive(Default)]
pub(super) struct Caches {
    node: OnceLock<WeakNode>,
    looks: Arc<Looks>,
}

/// Ends a look, whether it was awaited or not.
struct Ended {
    looks: Arc<Looks>,
    channel: Arc<str>,
    number: u64,
}

impl Drop for Ended {
    fn drop(&mut self) {
        let mut looks = self.looks.lock();
        if looks.get(&self.channel).is_some_and(|(number, _)| *number == self.number) {
            looks.remove(&self.channel);
        }
    }
}

impl Caches {
    /// Names the node whose channels these are.
    pub(super) fn attach(&self, node: &Node) {
        let _ = self.node.set(node.downgrade());
    }

    /// Has the back end told of a channel if its cache is empty. False if the cache could not be read, or the back end
    /// has not taken it up.
    pub(super) fn fill(
        &self,
        active: &Arc<ActiveConfig>,
        proxy: &str,
        channel: &str,
        history: HistoryOptions,
    ) -> Answer<bool> {
        let look = {
            let mut looks = self.looks.lock();
            let known = looks.get(channel).and_then(|(_, look)| look.upgrade());
            known.unwrap_or_else(|| {
                let channel: Arc<str> = channel.into();
                let number = looks.get(&channel).map_or(0, |(number, _)| number + 1);
                let ended = Ended { looks: Arc::clone(&self.looks), channel: Arc::clone(&channel), number };
                let look = self.look(active, proxy, ended, history);
                if let Some(weak) = look.downgrade() {
                    looks.insert(channel, (number, weak));
                }
                look
            })
        };
        Answer::later(look)
    }

    fn look(&self, active: &Arc<ActiveConfig>, proxy: &str, ended: Ended, history: HistoryOptions) -> Look {
        let (node, active) = (self.node.get().cloned(), Arc::clone(active));
        let proxy = proxy.to_owned();
        let look = async move {
            let channel = Arc::clone(&ended.channel);
            let Some(node) = node.as_ref().and_then(WeakNode::upgrade) else { return false };
            match node.history(&channel, HistoryFilter::latest(1), history).await {
                Ok(history) if !history.publications.is_empty() => true,
                Ok(_) => active.proxies.cache_empty(&proxy, &channel).wait().await,
                // The subscription would find that too.
                Err(_) => false,
            }
        };
        look.boxed().shared()
    }
}
