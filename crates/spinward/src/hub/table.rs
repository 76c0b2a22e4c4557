//! The channels of one shard, and how they are found.

use super::directory::Channel;
use super::join::Ticket;
use super::local::{LocalChannel, Moved};
use crate::room::fewer;
use foldhash::fast::FixedState;
use hashbrown::HashTable;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::hash::BuildHasher;
use std::sync::Arc;

/// The channels of one shard, by number, name and record id.
pub(crate) struct LocalTable {
    /// Ends with one that is in use.
    channels: Vec<Option<LocalChannel>>,
    /// Numbers to use again, the lowest first, so that the list can become short. Those beyond its end are stale.
    free: BinaryHeap<Reverse<u32>>,
    by_name: HashTable<u32>,
    by_id: HashTable<u32>,
    hasher: FixedState,
    /// The last number of a read for subscribers that are joining.
    read: u32,
}

impl LocalTable {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            channels: Vec::new(),
            free: BinaryHeap::new(),
            by_name: HashTable::new(),
            by_id: HashTable::new(),
            hasher: FixedState::with_seed(seed),
            read: 0,
        }
    }

    /// Has a subscriber that is joining wait for a read: says its number if it is a new one.
    pub(crate) fn read(&mut self, channel: u32, ticket: Ticket) -> Option<u32> {
        self.read = self.read.wrapping_add(1);
        let number = self.read;
        self.get_mut(channel)?.start_joining().read(ticket, number)
    }

    pub(crate) fn get(&self, number: u32) -> Option<&LocalChannel> {
        self.channels.get(number as usize)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, number: u32) -> Option<&mut LocalChannel> {
        self.channels.get_mut(number as usize)?.as_mut()
    }

    /// The number of a channel by its name.
    pub(crate) fn find(&self, name: &str) -> Option<u32> {
        let hash = self.hasher.hash_one(name);
        self.by_name
            .find(hash, |number| self.get(*number).is_some_and(|channel| *channel.record.name == *name))
            .copied()
    }

    /// The number of a channel by the id of its record.
    pub(crate) fn find_id(&self, id: u64) -> Option<u32> {
        let hash = self.hasher.hash_one(id);
        self.by_id
            .find(hash, |number| self.get(*number).is_some_and(|channel| channel.record.id == id))
            .copied()
    }

    /// Adds a channel that is not there.
    pub(crate) fn insert(&mut self, record: Arc<Channel>, seen: u64) -> u32 {
        let (name_hash, id_hash) = (self.hasher.hash_one(&*record.name), self.hasher.hash_one(record.id));
        let channel = LocalChannel::new(record, seen);
        let number = match self.free.pop().filter(|lowest| (lowest.0 as usize) < self.channels.len()) {
            Some(Reverse(number)) => {
                self.channels[number as usize] = Some(channel);
                number
            }
            None => {
                // The lowest is stale, and so are all.
                self.free.clear();
                self.channels.push(Some(channel));
                self.channels.len() as u32 - 1
            }
        };
        let (channels, hasher) = (&self.channels, &self.hasher);
        let of = |number: &u32| channels[*number as usize].as_ref().map(|channel| &channel.record);
        self.by_name
            .insert_unique(name_hash, number, |number| of(number).map_or(0, |r| hasher.hash_one(&*r.name)));
        self.by_id.insert_unique(id_hash, number, |number| of(number).map_or(0, |r| hasher.hash_one(r.id)));
        number
    }

    /// Takes a subscriber out of a channel. Says who took its place, if anyone did.
    pub(crate) fn remove_subscriber(&mut self, channel: u32, place: u32) -> Option<Moved> {
        let moved = self.get_mut(channel)?.remove(place)?;
        Some(Moved { slot: moved.slot, channel, place })
    }

    /// Takes a channel out once nobody is in it.
    pub(crate) fn remove_idle(&mut self, number: u32) -> Option<Arc<Channel>> {
        if !self.get(number)?.is_idle() {
            return None;
        }
        let channel = self.channels[number as usize].take()?;
        self.free.push(Reverse(number));
        let (name_hash, id_hash) =
            (self.hasher.hash_one(&*channel.record.name), self.hasher.hash_one(channel.record.id));
        if let Ok(entry) = self.by_name.find_entry(name_hash, |other| *other == number) {
            entry.remove();
        }
        if let Ok(entry) = self.by_id.find_entry(id_hash, |other| *other == number) {
            entry.remove();
        }
        self.give_back();
        Some(channel.record)
    }

    /// Gives memory back that a crowd of channels has left.
    fn give_back(&mut self) {
        while self.channels.last().is_some_and(Option::is_none) {
            self.channels.pop();
        }
        if let Some(room) = fewer(self.channels.len(), self.channels.capacity()) {
            self.channels.shrink_to(room);
            let len = self.channels.len();
            self.free.retain(|number| (number.0 as usize) < len);
            self.free.shrink_to(room);
        }
        let (channels, hasher) = (&self.channels, &self.hasher);
        let of = |number: &u32| channels[*number as usize].as_ref().map(|channel| &channel.record);
        if let Some(room) = fewer(self.by_name.len(), self.by_name.capacity()) {
            self.by_name.shrink_to(room, |number| of(number).map_or(0, |r| hasher.hash_one(&*r.name)));
            self.by_id.shrink_to(room, |number| of(number).map_or(0, |r| hasher.hash_one(r.id)));
        }
    }
}

#[cfg(test)]
mod tests;
