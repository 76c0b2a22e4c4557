//! A controller within one process.

use crate::answer::Answer;
use crate::engine::EngineHealth;
use crate::engine::controller::{ControlError, ControlSink, Controller, To};
use crate::id::NodeId;
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Connects nodes of one process, for tests and for applications with several nodes. Cheap to clone; clones are the
/// same bus.
///
/// A message is handed over by the call that sends it, so nothing is lost, and the order of a sender is kept. Nothing
/// waits in the bus.
///
/// ```
/// use spinward::{Node, cluster::LocalBus, hooks::Hooks};
///
/// struct Open;
/// impl Hooks for Open {}
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let bus = LocalBus::new();
/// let one = Node::builder(Open).controller(bus.controller()).build()?;
/// let two = Node::builder(Open).controller(bus.controller()).build()?;
/// # while one.nodes().len() < 2 { tokio::task::yield_now().await; }
/// assert_eq!(one.nodes().len(), 2);
/// # let second = std::time::Duration::from_secs(5);
/// # one.shutdown(second).await;
/// # two.shutdown(second).await;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Default)]
pub struct LocalBus(Arc<Mutex<BTreeMap<NodeId, ControlSink>>>);

impl LocalBus {
    /// A bus without nodes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A controller for one node.
    #[must_use]
    pub fn controller(&self) -> Arc<dyn Controller> {
        Arc::new(Link { bus: self.clone(), node: Mutex::new(None) })
    }
}

/// The end of the bus at one node.
struct Link {
    bus: LocalBus,
    node: Mutex<Option<NodeId>>,
}

impl Link {
    fn leave(&self) {
        if let Some(node) = self.node.lock().take() {
            self.bus.0.lock().remove(&node);
        }
    }
}

impl Controller for Link {
    fn name(&self) -> &'static str {
        "local"
    }

    fn start(&self, node: NodeId, sink: ControlSink) -> Result<(), ControlError> {
        *self.node.lock() = Some(node);
        self.bus.0.lock().insert(node, sink);
        Ok(())
    }

    fn send(&self, to: To, message: Bytes) -> Answer<Result<(), ControlError>> {
        let Some(own) = *self.node.lock() else { return Answer::Now(Err(ControlError::Closed)) };
        // Handed over without a lock: a node may send an answer at once.
        let sinks: Vec<ControlSink> = {
            let nodes = self.bus.0.lock();
            match to {
                To::All => {
                    nodes.iter().filter(|(node, _)| **node != own).map(|(_, sink)| sink.clone()).collect()
                }
                To::Node(node) => nodes.get(&node).cloned().into_iter().collect(),
            }
        };
        for sink in sinks {
            sink.receive(message.clone());
        }
        Answer::Now(Ok(()))
    }

    fn health(&self) -> EngineHealth {
        if self.node.lock().is_some() {
            EngineHealth::Up
        } else {
            EngineHealth::Down { reason: ControlError::Closed.to_string() }
        }
    }

    fn close(&self) -> Answer<()> {
        self.leave();
        Answer::Now(())
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.leave();
    }
}
