//! The application's side of messages between nodes.

use crate::answer::Answer;
use crate::cluster::Declined;
use crate::node::Node;
use bytes::Bytes;

/// Answers of the application to messages of other nodes. All of it is optional.
///
/// Both are called on threads of the controller or of the runtime, and must not block. A clone of `node` that is kept
/// keeps the node alive.
#[allow(unused_variables, reason = "default bodies name their parameters for the documentation")]
pub trait ClusterHandler: Send + Sync + 'static {
    /// Another node sent this with [`Node::notify`]. The answer confirms that it has taken effect.
    fn notified(&self, node: &Node, op: &str, data: Bytes) -> Answer<Result<(), Declined>> {
        Answer::Now(Err(Declined::Unsupported))
    }

    /// A node, perhaps this one, asks with [`Node::survey`].
    fn asked(&self, node: &Node, op: &str, data: Bytes) -> Answer<Result<Bytes, Declined>> {
        Answer::Now(Err(Declined::Unsupported))
    }
}

/// A handler that knows nothing.
pub(crate) struct NoHandler;

impl ClusterHandler for NoHandler {}
