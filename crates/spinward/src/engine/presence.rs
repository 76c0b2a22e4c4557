//! Presence: the current members of a channel.

use crate::answer::Answer;
use crate::engine::EngineHealth;
use crate::id::ClientId;
use crate::publication::ClientInfo;
use crate::to_wire::info_to_wire;
use bytes::Bytes;
use spinward_wire::message::PresenceResult;
use spinward_wire::{Protocol, encode_presence};
use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use thiserror::Error;

pub use crate::engine::memory::presence::MemoryPresence;

/// A presence store could not be reached, or failed.
#[derive(Debug, Error)]
#[error("presence store failed: {0}")]
pub struct PresenceError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// Number of members of a channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PresenceStats {
    /// Connections.
    pub clients: u32,
    /// Distinct users.
    pub users: u32,
}

/// Everyone in a channel at one moment, in no order.
///
/// Clones share the list, and what it was encoded to for clients: a store that gives out the same list again saves
/// both.
#[derive(Clone, Default)]
pub struct Members(pub(in crate::engine) Arc<Snapshot>);

#[derive(Default)]
pub(in crate::engine) struct Snapshot {
    list: Vec<Arc<ClientInfo>>,
    json: OnceLock<Bytes>,
    protobuf: OnceLock<Bytes>,
}

impl Members {
    /// The result of a presence command, encoded by the first caller.
    pub(crate) fn encoded(&self, protocol: Protocol) -> &Bytes {
        let cell = match protocol {
            Protocol::Json => &self.0.json,
            Protocol::Protobuf => &self.0.protobuf,
        };
        cell.get_or_init(|| {
            let listed =
                |info: &Arc<ClientInfo>| (info.client.as_ref().to_owned(), info_to_wire(info, protocol));
            encode_presence(protocol, &PresenceResult { presence: self.iter().map(listed).collect() })
        })
    }
}

impl From<Vec<Arc<ClientInfo>>> for Members {
    fn from(list: Vec<Arc<ClientInfo>>) -> Self {
        Self(Arc::new(Snapshot { list, ..Snapshot::default() }))
    }
}

impl Deref for Members {
    type Target = [Arc<ClientInfo>];

    fn deref(&self) -> &Self::Target {
        &self.0.list
    }
}

impl fmt::Debug for Members {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// An entry of a presence store.
#[derive(Clone, Debug)]
pub struct Member {
    /// The channel.
    pub channel: Arc<str>,
    /// The connection.
    pub client: ClientId,
    /// The data visible to others.
    pub info: Arc<ClientInfo>,
}

/// A store of the connections in each channel.
///
/// [`remove`](Self::remove) is of one connection, whose user is given for stores that count users: a user who reconnects
/// before the old connection is noticed dead stays present, and no ghost stays behind.
///
/// Calls for one connection are not ordered where the store answers later: a [`refresh`](Self::refresh) may arrive
/// after the `remove` that followed it. The entry that it brings back is gone after its time to live.
pub trait Presence: Send + Sync + 'static {
    /// Adds a connection, or renews the entry of one that is still there.
    fn add(
        &self,
        channel: &str,
        client: ClientId,
        info: Arc<ClientInfo>,
    ) -> Answer<Result<(), PresenceError>>;
    /// Removes a connection, which is of this user.
    fn remove(&self, channel: &str, client: ClientId, user: &str) -> Answer<Result<(), PresenceError>>;
    /// Everyone in a channel, in no order.
    fn members(&self, channel: &str) -> Answer<Result<Members, PresenceError>>;
    /// Returns the number of members of a channel.
    fn stats(&self, channel: &str) -> Answer<Result<PresenceStats, PresenceError>>;
    /// Called about once a second, on the node's runtime: drops what is kept only to answer the next question faster.
    /// Must not block.
    fn tidy(&self) {}
    /// The interval within which every entry has to be refreshed, clearly shorter than its time to live. `None` where
    /// entries do not expire; [`refresh`](Self::refresh) is never called then.
    fn refresh_interval(&self) -> Option<Duration>;
    /// Extends the life of entries, and adds those that are missing. The node calls this for each of its entries once
    /// per [`refresh_interval`](Self::refresh_interval), in batches of many channels.
    fn refresh(&self, members: &[Member]) -> Answer<Result<(), PresenceError>>;
    /// State of the connection to the store. Must not block.
    fn health(&self) -> EngineHealth {
        EngineHealth::Up
    }
    /// Ends every task and connection. Called when the node has shut down; what is asked afterwards may fail.
    fn close(&self) -> Answer<()> {
        Answer::Now(())
    }
}
