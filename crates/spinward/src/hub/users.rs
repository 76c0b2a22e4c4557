//! The connections of each user on this node.

use crate::capacity::reduced;
use crate::handle::Handle;
use foldhash::fast::FixedState;
use hashbrown::HashTable;
use parking_lot::Mutex;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const PARTS: usize = 64;

/// Every logged-in connection, by user. Its lock serialises what a user's connections may be: limits and
/// single connection.
pub(crate) struct Users {
    parts: Box<[Mutex<HashTable<User>>]>,
    hasher: FixedState,
    count: AtomicUsize,
}

struct User {
    name: Arc<str>,
    handles: Handles,
}

/// Most users have one connection, which then costs no allocation.
enum Handles {
    One(Handle),
    #[allow(clippy::box_collection, reason = "few users have many, and every user pays for the size")]
    Many(Box<Vec<Handle>>),
}

impl Handles {
    fn as_slice(&self) -> &[Handle] {
        match self {
            Self::One(handle) => std::slice::from_ref(handle),
            Self::Many(handles) => handles,
        }
    }
}

/// Result of a registration.
pub(crate) enum Registered {
    /// The connection counts.
    Yes {
        /// The name, shared by all connections of the user.
        user: Arc<str>,
        /// Connections that have to make way for it.
        replaced: Vec<Handle>,
    },
    /// The user has as many connections as it may.
    OverLimit,
}

impl Users {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            parts: (0..PARTS).map(|_| Mutex::new(HashTable::new())).collect(),
            hasher: FixedState::with_seed(seed ^ 0x75_73_65_72),
            count: AtomicUsize::new(0),
        }
    }

    fn part(&self, hash: u64) -> &Mutex<HashTable<User>> {
        &self.parts[(hash >> 40) as usize % PARTS]
    }

    /// Registers a connection. 0 means no limit.
    ///
    /// If it is to be the `only` one of its user, all that were registered before it have to make way. They are
    /// listed under the lock that registers, so that of two logins at once the later one sees the earlier one, and
    /// not the other way round. No limit holds for it then: one connection is left.
    ///
    /// An anonymous user has no limit and shares no connection, since it is not one user.
    pub(crate) fn register(&self, user: &str, handle: Handle, limit: usize, only: bool) -> Registered {
        let hash = self.hasher.hash_one(user);
        let only = only && !user.is_empty();
        let mut part = self.part(hash).lock();
        if let Some(entry) = part.find_mut(hash, |entry| *entry.name == *user) {
            if !only && limit > 0 && !user.is_empty() && entry.handles.as_slice().len() >= limit {
                return Registered::OverLimit;
            }
            let replaced = if only { entry.handles.as_slice().to_vec() } else { Vec::new() };
            match &mut entry.handles {
                Handles::One(first) => entry.handles = Handles::Many(Box::new(vec![*first, handle])),
                Handles::Many(handles) => handles.push(handle),
            }
            return Registered::Yes { user: Arc::clone(&entry.name), replaced };
        }
        let name: Arc<str> = user.into();
        let entry = User { name: Arc::clone(&name), handles: Handles::One(handle) };
        part.insert_unique(hash, entry, |other| self.hasher.hash_one(&*other.name));
        self.count.fetch_add(1, Ordering::Relaxed);
        Registered::Yes { user: name, replaced: Vec::new() }
    }

    /// Takes a connection out.
    pub(crate) fn unregister(&self, user: &str, handle: Handle) {
        let hash = self.hasher.hash_one(user);
        let mut part = self.part(hash).lock();
        let Ok(mut entry) = part.find_entry(hash, |entry| *entry.name == *user) else { return };
        let empty = match &mut entry.get_mut().handles {
            Handles::One(only) => *only == handle,
            Handles::Many(handles) => {
                if let Some(at) = handles.iter().rposition(|other| *other == handle) {
                    handles.swap_remove(at);
                }
                handles.is_empty()
            }
        };
        if empty {
            entry.remove();
            if let Some(capacity) = reduced(part.len(), part.capacity()) {
                part.shrink_to(capacity, |other| self.hasher.hash_one(&*other.name));
            }
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// The connections of a user.
    pub(crate) fn handles(&self, user: &str) -> Vec<Handle> {
        let hash = self.hasher.hash_one(user);
        let part = self.part(hash).lock();
        part.find(hash, |entry| *entry.name == *user)
            .map_or_else(Vec::new, |entry| entry.handles.as_slice().to_vec())
    }

    /// Distinct users, all anonymous connections together being one.
    pub(crate) fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }
}
