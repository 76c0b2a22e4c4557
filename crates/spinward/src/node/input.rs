//! Messages of clients that come by requests: from the request to the shard of the connection.

use crate::cluster::{Declined, Operation, Request};
use crate::engine::controller::{MAX_MESSAGE, To};
use crate::hub::Hub;
use crate::mailbox::inbox::Entry;
use crate::node::{Done, Node};
use crate::session_id::SessionId;
use bytes::Bytes;
use std::time::Duration;

/// Time that a message may wait for room in the inbox of a shard.
const PATIENCE: Duration = Duration::from_secs(5);

/// Bytes of a message between nodes that are not the client's, at most.
const OVERHEAD: usize = 1024;

/// A message for a session of another node was not taken there.
pub(crate) enum Elsewhere {
    /// No such node is known.
    Unknown,
    /// It is too long for a message between nodes.
    TooLong,
    /// The node did not confirm in time, or has no room.
    Unconfirmed,
}

impl Node {
    /// Passes a message on to the node of its session, which is another one.
    pub(crate) async fn input_elsewhere(
        &self,
        node: &str,
        session: String,
        message: Bytes,
    ) -> Result<(), Elsewhere> {
        if session.len() + message.len() > MAX_MESSAGE - OVERHEAD {
            return Err(Elsewhere::TooLong);
        }
        let known = self.nodes();
        let other = known.iter().find(|other| other.id.to_string() == node).ok_or(Elsewhere::Unknown)?;
        let operation = Operation::Input { session, message };
        let applied = Done::of_others(self.request(To::Node(other.id), || Request::Operation(operation)));
        if applied.await.is_complete() { Ok(()) } else { Err(Elsewhere::Unconfirmed) }
    }
}

/// Takes a message to the connection of a session of this node. One that has ended, or never was one, is not an error.
///
/// # Errors
/// There is no room in the inbox of the shard.
pub(crate) async fn input(hub: &Hub, session: &str, message: Bytes) -> Result<(), Declined> {
    let Ok(SessionId { handle, secret }) = session.parse() else { return Ok(()) };
    let Some(inbox) = hub.inboxes.get(handle.shard()) else { return Ok(()) };
    if tokio::time::timeout(PATIENCE, inbox.wait_for_capacity()).await.is_err() {
        return Err(Declined::Failed);
    }
    hub.send(handle.shard(), Entry::Input { handle, secret, message });
    Ok(())
}
