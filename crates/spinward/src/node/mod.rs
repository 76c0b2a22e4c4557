//! A node: shards, what they share, and the application's way to both.

mod api;
mod builder;
mod done;
pub(crate) mod execute;
mod health;
pub(crate) mod runtime;
pub(crate) mod threads;
mod watchdog;

pub use api::{ClientFilter, NodeInfo, ServerSubscribe, SubscribeError};
pub use builder::{BuildError, NodeBuilder};
pub use done::Done;
pub use health::{Health, ShardHealth, ShardState};

use crate::engine::presence::PresenceStore;
use crate::hooks::Hooks;
use crate::hub::Hub;
use std::sync::Arc;
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
    pub(crate) hooks: Arc<dyn Hooks>,
    pub(crate) presence: Arc<dyn PresenceStore>,
    pub(crate) runtime: runtime::Runtime,
    pub(crate) bulkheads: execute::Bulkheads,
    /// Time at which the node was made, on the monotonic clock.
    pub(crate) started_ms: u64,
}

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

    /// Closes every connection with 3001, waits until they have taken leave, and ends the shards. At the deadline
    /// the connections that are left are dropped; a shard that is busy then ends as soon as it can, and is not
    /// waited for.
    pub async fn shutdown(&self, deadline: Duration) {
        self.threads.stop();
        let hub = &self.inner.hub;
        if tokio::time::timeout(deadline, hub.pulse.all_ended()).await.is_ok() {
            self.threads.join();
        } else {
            tracing::warn!("shutdown timeout: dropped connections that did not close in time");
            hub.halt();
        }
    }
}
