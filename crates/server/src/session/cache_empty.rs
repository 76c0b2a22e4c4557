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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::policy::{Ask, PublishResult, Reply, SubscribeResult};
    use crate::session::{Proxies, Sender};
    use spinward::engine::broker::PublishOptions;
    use spinward::hooks::{Hooks, PublishEvent, SubscribeEvent};
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
    use std::time::Duration;
    use tokio::sync::Semaphore;

    struct Nothing;

    impl Hooks for Nothing {}

    /// A back end that answers when it has permits.
    struct Gate {
        asked: AtomicUsize,
        permits: Arc<Semaphore>,
    }

    impl Proxies for Arc<Gate> {
        fn has(&self, _: &Ask) -> bool {
            false
        }

        fn subscribe(&self, _: &Ask, _: &Sender<'_>, _: &SubscribeEvent) -> Answer<Reply<SubscribeResult>> {
            Answer::Now(Reply::NoProxy)
        }

        fn publish(&self, _: &Ask, _: &Sender<'_>, _: &PublishEvent) -> Answer<Reply<PublishResult>> {
            Answer::Now(Reply::NoProxy)
        }

        fn cache_empty(&self, _: &str, _: &str) -> Answer<bool> {
            self.asked.fetch_add(1, Relaxed);
            let permits = Arc::clone(&self.permits);
            Answer::later(async move { permits.acquire().await.is_ok() })
        }
    }

    #[tokio::test]
    async fn subscribers_of_a_channel_share_a_look_and_one_that_is_left_makes_room() {
        let node = Node::builder(Nothing).config(spinward::Config { shards: 1, ..Default::default() });
        let node = node.build().unwrap();
        let gate = Arc::new(Gate { asked: AtomicUsize::new(0), permits: Arc::new(Semaphore::new(0)) });
        let jwks = crate::auth::jwks::Jwks::offline();
        let mut active = crate::app::active_config(&Config::default(), &jwks).unwrap();
        active.proxies = Arc::new(Arc::clone(&gate));
        let active = Arc::new(active);
        let caches = Caches::default();
        let history = HistoryOptions { size: 1, ttl: Duration::from_secs(60), ..HistoryOptions::default() };
        let fill = |channel| caches.fill(&active, "default", channel, history).wait();
        assert!(!fill("c").await, "no node yet");
        caches.attach(&node);

        assert_eq!(fill("c").now_or_never(), None);
        assert_eq!((gate.asked.load(Relaxed), caches.looks.lock().len()), (1, 0), "nobody waits any longer");

        let mut looks: Vec<_> = (0..3).map(|_| Box::pin(fill("c"))).collect();
        for look in &mut looks {
            assert_eq!(look.now_or_never(), None);
        }
        assert_eq!(fill("other").now_or_never(), None);
        assert_eq!((gate.asked.load(Relaxed), caches.looks.lock().len()), (3, 1));
        gate.permits.add_permits(1);
        for look in looks {
            assert!(look.await);
        }
        assert_eq!((gate.asked.load(Relaxed), caches.looks.lock().len()), (3, 0));

        let options = PublishOptions { history, ..PublishOptions::default() };
        node.publish("c", "{}".into(), options).await.unwrap();
        assert!(fill("c").await);
        assert_eq!(gate.asked.load(Relaxed), 3, "it is not empty any longer");
        gate.permits.close();
        assert!(!fill("other").await, "the back end fails");
        node.shutdown(Duration::from_secs(10)).await;
    }
}
