//! A node among others: what it tells them, what it does for them, and what it asks them.

mod apply;
mod handler;
mod link;

pub(crate) use apply::Applying;
pub use handler::ClusterHandler;
pub(crate) use handler::NoHandler;
pub(crate) use link::Link;

use crate::cluster::{Counters, NodeStatus, Operation, Outcome, Request, Survey};
use crate::engine::controller::To;
use crate::id::NodeId;
use crate::node::{Done, Node};
use bytes::Bytes;
use std::time::Duration;
use tokio::sync::oneshot;

/// The part of an operation that other nodes do; nothing for a node that is alone.
pub(crate) type Others = Option<oneshot::Receiver<Outcome>>;

impl Node {
    /// The id of this node. It is new with each start.
    #[must_use]
    pub fn id(&self) -> NodeId {
        self.inner.hub.node
    }

    /// The name of this node.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// Returns true if the node has a controller, and may know others.
    #[must_use]
    pub fn is_clustered(&self) -> bool {
        self.inner.link.is_some()
    }

    /// The nodes of the cluster that are known, this one first. The numbers of the others are as old as their last
    /// heartbeat.
    #[must_use]
    pub fn nodes(&self) -> Vec<NodeStatus> {
        let info = self.info();
        let own = NodeStatus {
            id: self.id(),
            name: self.name().to_owned(),
            version: self.inner.version.clone(),
            uptime: info.uptime,
            clients: info.counters.clients,
            users: info.counters.users,
            channels: info.counters.channels,
            subscriptions: info.counters.subscriptions,
            silent: Duration::ZERO,
        };
        let others = self.inner.link.as_ref().map(|link| link.nodes(self.inner.hub.clock.now().mono));
        std::iter::once(own).chain(others.into_iter().flatten()).collect()
    }

    /// Counters of messages between nodes, if this one has a controller.
    #[must_use]
    pub fn control_counters(&self) -> Option<Counters> {
        self.inner.link.as_ref().map(|link| link.counters())
    }

    /// Sends a message of the application's own to the [`ClusterHandler`] of every other node, or of
    /// one node. A message to this node itself is handled here.
    ///
    /// The result names the nodes that did not confirm in time.
    pub fn notify(&self, to: To, op: &str, data: Bytes) -> Done {
        let operation = Operation::Application { op: op.to_owned(), data };
        if to == To::Node(self.id()) {
            let (waiter, waits) = oneshot::channel();
            let (id, applying) = (self.id(), self.apply(&operation));
            self.inner.runtime.spawn(async move {
                let answers = vec![(id, applying.response().await)];
                // Nobody may wait for it, which is not an error.
                let _ = waiter.send(Outcome { answers, missing: Vec::new() });
            });
            return Done::of_others(Some(waits));
        }
        Done::of_others(self.request(to, || Request::Operation(operation)))
    }

    /// Asks every node, this one included, and waits for the answers of their [`ClusterHandler`]s:
    /// until all are there, at most for `timeout`.
    ///
    /// The result names the nodes whose answers are not there.
    pub async fn survey(&self, op: &str, data: Bytes, timeout: Duration) -> Survey {
        let others = self.inner.link.as_ref().map(|link| {
            let request = Request::Survey { op: op.to_owned(), data: data.clone() };
            link.request(self, To::All, request, timeout)
        });
        // What this node does is bounded by the same time.
        let own = self.answer(op, data);
        let own = self.inner.runtime.within(timeout, own).await;
        let mut survey = match others {
            Some(others) => others.await.unwrap_or_default().survey(),
            None => Survey::default(),
        };
        match own {
            Some(Ok(data)) => survey.answers.insert(0, (self.id(), data)),
            Some(Err(why)) => survey.declined.insert(0, (self.id(), why)),
            None => survey.missing.insert(0, self.id()),
        }
        survey
    }

    /// Does something here, and has the other nodes do it.
    pub(crate) fn operate(&self, operation: Operation) -> Done {
        let applying = self.apply(&operation);
        let others = self.request(To::All, || Request::Operation(operation));
        match applying {
            Applying::Walk(here) => Done::of_walk(here, others),
            // Neither comes this way: see `Node::subscribe` and `Node::notify`.
            Applying::Subscribe(_) | Applying::Handler(_) => Done::of_others(others),
        }
    }

    /// Passes a request on to other nodes, if there can be any.
    pub(crate) fn request(&self, to: To, request: impl FnOnce() -> Request) -> Others {
        let link = self.inner.link.as_ref()?;
        Some(link.request(self, to, request(), link.wait()))
    }
}
