//! A node: shards, what they share, and the application's way to both.

mod api;
pub(crate) mod ask;
pub(crate) mod builder;
pub(crate) mod cluster;
mod done;
pub(crate) mod drain;
mod health;
pub(crate) mod input;
mod presence;
pub(crate) mod threads;
mod watchdog;

pub use api::{NodeInfo, SubscribeError};
pub use builder::{BuildError, NodeBuilder};
pub use cluster::ClusterHandler;
pub use done::Done;
pub use drain::{Drain, DrainError};
pub use health::{Health, ShardHealth, ShardState};

use crate::answer::Answer;
use crate::backend::Channels;
use crate::bulkhead::Bulkhead;
use crate::engine::presence::Presence;
use crate::hooks::Hooks;
use crate::hub::Hub;
use crate::runtime::Runtime;
use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;
use threads::Threads;

/// A node: the whole of a messaging server but for its HTTP side. Cheap to clone.
///
/// Its threads end with [`Node::shutdown`], which waits for that, or by themselves once the last handle is dropped:
/// every clone, and every [`WebSocket`](crate::transport::websocket::WebSocket) service of it. Hooks that keep a
/// clone keep the node alive; such an application has to call `shutdown`.
///
/// ```no_run
/// use spinward::{Node, hooks::Hooks};
///
/// struct Open;
/// impl Hooks for Open {}
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let node = Node::builder(Open).build()?;
/// node.publish("news", "{\"hello\":1}".into(), Default::default()).await?;
/// node.shutdown(std::time::Duration::from_secs(5)).await;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Node {
    pub(crate) inner: Arc<Inner>,
    pub(crate) threads: Arc<Threads>,
}

/// State shared by the parts of a node.
pub(crate) struct Inner {
    pub(crate) hub: Arc<Hub>,
    pub(crate) channels: Arc<Channels>,
    pub(crate) hooks: Arc<dyn Hooks>,
    pub(crate) presence: Arc<dyn Presence>,
    pub(crate) runtime: Runtime,
    pub(crate) bulkheads: Bulkheads,
    /// Time at which the node was made, on the monotonic clock.
    pub(crate) started_ms: u64,
    /// Name among other nodes.
    pub(crate) name: String,
    /// Version of the application.
    pub(crate) version: String,
    /// Answers messages of other nodes.
    pub(crate) handler: Arc<dyn ClusterHandler>,
    pub(crate) draining: drain::Draining,
    /// The way to other nodes; a node that is alone has none.
    pub(crate) link: Option<Arc<cluster::Link>>,
}

/// Bounds on the calls to the application and to the presence store. Those of a broker are its own.
pub(crate) struct Bulkheads {
    pub(crate) hooks: Bulkhead,
    pub(crate) presence: Bulkhead,
}

impl Bulkheads {
    /// Each for `calls` calls at once.
    pub(crate) fn new(calls: usize) -> Self {
        Self { hooks: Bulkhead::new(calls), presence: Bulkhead::new(calls) }
    }
}

/// A handle that does not keep its node alive, for hooks and handlers that need the node now and then.
#[derive(Clone)]
pub struct WeakNode {
    inner: Weak<Inner>,
    threads: Weak<Threads>,
}

impl WeakNode {
    /// Returns the node, unless it is gone.
    #[must_use]
    pub fn upgrade(&self) -> Option<Node> {
        Some(Node { inner: self.inner.upgrade()?, threads: self.threads.upgrade()? })
    }
}

impl fmt::Debug for WeakNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WeakNode")
    }
}

/// Least time to tell other nodes of the end.
const GOODBYE: Duration = Duration::from_millis(100);

impl Node {
    /// Begins a node with the application's decisions.
    pub fn builder(hooks: impl Hooks) -> NodeBuilder {
        NodeBuilder::new(Arc::new(hooks))
    }

    /// A node whose shards are stepped by hand.
    #[cfg(feature = "simulation")]
    pub(crate) fn simulated(inner: Arc<Inner>) -> Self {
        let threads = Arc::new(Threads::new(Arc::clone(&inner.hub)));
        Self { inner, threads }
    }

    /// Returns a handle that does not keep the node alive.
    #[must_use]
    pub fn downgrade(&self) -> WeakNode {
        WeakNode { inner: Arc::downgrade(&self.inner), threads: Arc::downgrade(&self.threads) }
    }

    /// Closes every connection with 3001, waits until they have taken leave, and ends the shards. At the deadline
    /// the connections that are left are dropped; a shard that is busy then ends as soon as it can, and is not
    /// waited for. Other nodes are told last, for which there is a tenth of a second even after the deadline.
    pub async fn shutdown(&self, deadline: Duration) {
        self.threads.stop();
        let hub = &self.inner.hub;
        let began = hub.clock.now().mono;
        if tokio::time::timeout(deadline, hub.pulse.all_ended()).await.is_ok() {
            self.threads.join();
        } else {
            tracing::warn!("shutdown timeout: dropped connections that did not close in time");
            hub.halt();
        }
        if let Some(link) = &self.inner.link {
            let passed = Duration::from_millis(hub.clock.now().mono.saturating_sub(began));
            let left = deadline.saturating_sub(passed).max(GOODBYE);
            if tokio::time::timeout(left, link.close(self)).await.is_err() {
                tracing::warn!("the controller did not take the goodbye of this node in time");
            }
        }
        for closed in self.inner.channels.close() {
            self.close(deadline, "broker", closed).await;
        }
        self.close(deadline, "presence store", self.inner.presence.close()).await;
    }

    async fn close(&self, deadline: Duration, engine: &str, closed: Answer<()>) {
        if tokio::time::timeout(deadline, closed.wait()).await.is_err() {
            tracing::warn!(engine, "not closed in time");
        }
    }
}
