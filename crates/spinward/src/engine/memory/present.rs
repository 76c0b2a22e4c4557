//! The members of one channel.
//!
//! There may be as many channels as connections, with one member each, so a single member is in the channel itself, and
//! a few are in a list. In a crowd, tables find a member and count its user, so that to come and go costs the same
//! everywhere.

use super::presence::{Map, give_back};
use crate::engine::presence::PresenceStats;
use crate::id::ClientId;
use crate::publication::ClientInfo;
use foldhash::fast::FixedState;
use smallvec::SmallVec;
use std::sync::Arc;

/// Most members that are in a list.
const FEW: usize = 8;

/// The members of one channel, each by its connection.
pub(super) enum Present {
    Few(SmallVec<[(ClientId, Arc<ClientInfo>); 1]>),
    Crowd(Box<Crowd>),
}

pub(super) struct Crowd {
    clients: Map<ClientId, Arc<ClientInfo>>,
    /// Number of connections of each user here; never 0.
    users: Map<Arc<str>, u32>,
}

impl Present {
    pub(super) fn new() -> Self {
        Self::Few(SmallVec::new())
    }

    /// Adds a member, or replaces its info.
    pub(super) fn add(&mut self, client: ClientId, info: Arc<ClientInfo>, hasher: &FixedState) {
        match self {
            Self::Few(members) => {
                if let Some(member) = members.iter_mut().find(|(known, _)| *known == client) {
                    member.1 = info;
                } else if members.len() < FEW {
                    members.push((client, info));
                } else {
                    let mut crowd = Crowd::new(hasher);
                    members.drain(..).for_each(|(client, info)| crowd.add(client, info));
                    crowd.add(client, info);
                    *self = Self::Crowd(Box::new(crowd));
                }
            }
            Self::Crowd(crowd) => crowd.add(client, info),
        }
    }

    pub(super) fn remove(&mut self, client: ClientId) {
        match self {
            Self::Few(members) => {
                if let Some(place) = members.iter().position(|(known, _)| *known == client) {
                    members.swap_remove(place);
                    if members.len() <= 1 {
                        members.shrink_to_fit();
                    }
                }
            }
            Self::Crowd(crowd) => {
                crowd.remove(client);
                // Well below, so that one who comes and goes does not have the tables made again and again.
                if crowd.clients.len() <= FEW / 2 {
                    *self = Self::Few(crowd.clients.drain().collect());
                }
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Few(members) => members.is_empty(),
            Self::Crowd(crowd) => crowd.clients.is_empty(),
        }
    }

    /// Their infos, in no order.
    pub(super) fn infos(&self) -> Vec<Arc<ClientInfo>> {
        match self {
            Self::Few(members) => members.iter().map(|(_, info)| Arc::clone(info)).collect(),
            Self::Crowd(crowd) => crowd.clients.values().cloned().collect(),
        }
    }

    pub(super) fn stats(&self) -> PresenceStats {
        match self {
            Self::Few(members) => {
                let is_first =
                    |at: &usize| members[..*at].iter().all(|(_, info)| info.user != members[*at].1.user);
                let users = (0..members.len()).filter(is_first).count();
                PresenceStats { clients: count(members.len()), users: count(users) }
            }
            Self::Crowd(crowd) => {
                PresenceStats { clients: count(crowd.clients.len()), users: count(crowd.users.len()) }
            }
        }
    }
}

impl Crowd {
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
}

fn count(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u16) -> ClientId {
        let mut bytes = [0; 16];
        bytes[..2].copy_from_slice(&number.to_le_bytes());
        ClientId::from_random(bytes)
    }

    fn info(user: u16) -> Arc<ClientInfo> {
        Arc::new(ClientInfo { user: user.to_string().into(), ..ClientInfo::default() })
    }

    #[test]
    fn a_crowd_that_has_left_gives_its_memory_back() {
        let hasher = FixedState::with_seed(1);
        let mut present = Present::new();
        (0..5_000).for_each(|number| present.add(id(number), info(number), &hasher));
        (20..5_000).for_each(|number| present.remove(id(number)));
        let Present::Crowd(crowd) = &present else { unreachable!("twenty are left") };
        assert!(crowd.clients.capacity() <= 256 && crowd.users.capacity() <= 256);
        (1..20).for_each(|number| present.remove(id(number)));
        let Present::Few(members) = &present else { unreachable!("one is left") };
        assert!(!members.spilled());
        assert_eq!(present.stats(), PresenceStats { clients: 1, users: 1 });
        assert!(size_of::<Present>() <= 40, "{}: one for each channel", size_of::<Present>());
    }
}
