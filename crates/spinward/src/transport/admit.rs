//! Limits on new connections.

use crate::node::Inner;
use std::sync::atomic::Ordering;
use thiserror::Error;

/// Reason that a node does not take a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NotAdmitted {
    /// [`connection_limit`](crate::Config::connection_limit).
    #[error("the node has as many connections as `connection_limit` lets it have")]
    Connections,
    /// [`connection_rate_limit`](crate::Config::connection_rate_limit).
    #[error("connections come faster than `connection_rate_limit` allows")]
    Rate,
    /// The node is shutting down or [drained](crate::Node::drain), or a shard of it has failed.
    #[error("the node takes no further connections")]
    Stopping,
}

/// Counts a connection in, unless the node's limits forbid it or the node is at its end.
pub(super) fn admit(node: &Inner) -> Result<(), NotAdmitted> {
    let hub = &node.hub;
    let limit = hub.config.connection_limit;
    let before = hub.metrics.connections.fetch_add(1, Ordering::Relaxed);
    let refused = if limit > 0 && before >= limit {
        NotAdmitted::Connections
    } else if !hub.connection_rate.admit(hub.clock.now()) {
        NotAdmitted::Rate
    } else if hub.is_stopping() || hub.pulse.is_broken() || node.draining.refuses() {
        NotAdmitted::Stopping
    } else {
        return Ok(());
    };
    hub.metrics.connections.fetch_sub(1, Ordering::Relaxed);
    crate::metrics::bump(&hub.metrics.refused_connections);
    Err(refused)
}
