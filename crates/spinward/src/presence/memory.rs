//! Presence within one process: exact, never expiring.

use super::{PresenceError, PresenceStats, PresenceStore};
use crate::answer::Answer;
use crate::id::ClientId;
use crate::publication::ClientInfo;
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use parking_lot::Mutex;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::Duration;

const SHARDS: usize = 16;

/// A presence store in the memory of one node, for nodes that stand alone.
///
/// Entries stay until they are removed. Adding, removing and counting cost the same however many are in a
/// channel; only listing them does not.
pub struct MemoryPresence {
    hasher: FixedState,
    shards: [Mutex<Channels>; SHARDS],
}

type Map<K, V> = HashMap<K, V, FixedState>;

/// Has no channel without members.
type Channels = Map<Box<str>, Members>;

struct Members {
    clients: Map<ClientId, Arc<ClientInfo>>,
    /// How many connections each user has here; never 0.
    users: Map<Arc<str>, u32>,
}

impl MemoryPresence {
    /// An empty store. The seed is that of its hash tables: keep it random where strangers choose channel or
    /// user names.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let hasher = FixedState::with_seed(seed);
        let shards = std::array::from_fn(|_| Mutex::new(Map::with_hasher(hasher.clone())));
        Self { hasher, shards }
    }

    fn shard(&self, channel: &str) -> &Mutex<Channels> {
        // The tables take their bits from both ends of the hash.
        let middle = self.hasher.hash_one(channel) >> 32;
        &self.shards[middle as usize % SHARDS]
    }
}

impl PresenceStore for MemoryPresence {
    fn add(
        &self,
        channel: &str,
        client: ClientId,
        info: Arc<ClientInfo>,
    ) -> Answer<Result<(), PresenceError>> {
        let mut channels = self.shard(channel).lock();
        if let Some(members) = channels.get_mut(channel) {
            members.add(client, info);
        } else {
            channels.entry(channel.into()).or_insert_with(|| Members::new(&self.hasher)).add(client, info);
        }
        Answer::Now(Ok(()))
    }

    fn remove(&self, channel: &str, client: ClientId) -> Answer<Result<(), PresenceError>> {
        let mut channels = self.shard(channel).lock();
        if let Some(members) = channels.get_mut(channel) {
            members.remove(client);
            if members.clients.is_empty() {
                channels.remove(channel);
                give_back(&mut channels);
            }
        }
        Answer::Now(Ok(()))
    }

    fn members(&self, channel: &str) -> Answer<Result<Vec<Arc<ClientInfo>>, PresenceError>> {
        let channels = self.shard(channel).lock();
        Answer::Now(Ok(channels
            .get(channel)
            .map_or_else(Vec::new, |m| m.clients.values().cloned().collect())))
    }

    fn stats(&self, channel: &str) -> Answer<Result<PresenceStats, PresenceError>> {
        let channels = self.shard(channel).lock();
        Answer::Now(Ok(channels.get(channel).map_or_else(PresenceStats::default, Members::stats)))
    }

    fn refresh_interval(&self) -> Option<Duration> {
        None
    }
}

impl Members {
    fn new(hasher: &FixedState) -> Self {
        Self { clients: Map::with_hasher(hasher.clone()), users: Map::with_hasher(hasher.clone()) }
    }

    fn add(&mut self, client: ClientId, info: Arc<ClientInfo>) {
        *self.users.entry(Arc::clone(&info.user)).or_insert(0) += 1;
        if let Some(former) = self.clients.insert(client, info) {
            self.forget_user(&former.user);
        }
    }

    fn remove(&mut self, client: ClientId) {
        if let Some(former) = self.clients.remove(&client) {
            self.forget_user(&former.user);
            give_back(&mut self.clients);
            give_back(&mut self.users);
        }
    }

    fn forget_user(&mut self, user: &str) {
        if let Some(connections) = self.users.get_mut(user) {
            *connections -= 1;
            if *connections == 0 {
                self.users.remove(user);
            }
        }
    }

    fn stats(&self) -> PresenceStats {
        PresenceStats { clients: count(self.clients.len()), users: count(self.users.len()) }
    }
}

fn count(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

/// Shrinks a table that a crowd has left. Halving below an eighth keeps the cost of a removal constant on
/// average.
fn give_back<K: Eq + std::hash::Hash, V>(map: &mut Map<K, V>) {
    if map.capacity() > 64 && map.len() < map.capacity() / 8 {
        map.shrink_to(map.capacity() / 2);
    }
}
