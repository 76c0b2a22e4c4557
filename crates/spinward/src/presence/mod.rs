//! Who is in a channel right now.

use crate::answer::Answer;
use crate::id::ClientId;
use crate::publication::ClientInfo;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;

mod memory;
pub use memory::MemoryPresence;

/// A presence store could not be reached, or failed.
#[derive(Debug, Error)]
#[error("presence store failed: {0}")]
pub struct PresenceError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// How many are in a channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PresenceStats {
    /// Connections.
    pub clients: u32,
    /// Distinct users.
    pub users: u32,
}

/// A store of who is in which channel.
///
/// `remove` names the connection, never the user: a user who reconnects before the old connection is
/// noticed dead stays present, and no ghost stays behind.
pub trait PresenceStore: Send + Sync + 'static {
    /// Adds a connection, or says that it is still there.
    fn add(
        &self,
        channel: &str,
        client: ClientId,
        info: Arc<ClientInfo>,
    ) -> Answer<Result<(), PresenceError>>;
    /// Removes a connection.
    fn remove(&self, channel: &str, client: ClientId) -> Answer<Result<(), PresenceError>>;
    /// Everyone in a channel, in no order.
    fn members(&self, channel: &str) -> Answer<Result<Vec<Arc<ClientInfo>>, PresenceError>>;
    /// How many are in a channel.
    fn stats(&self, channel: &str) -> Answer<Result<PresenceStats, PresenceError>>;
    /// How often `add` must be repeated lest the entry expire; `None` if it never does.
    fn refresh_interval(&self) -> Option<Duration>;
}
