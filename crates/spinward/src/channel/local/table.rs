//! The channels of one shard, and how they are found.

use crate::capacity::reduced;
use crate::channel::directory::Names;
use crate::channel::local::LocalChannel;
use crate::channel::local::entrants::Entrant;
use crate::channel::record::Channel;
use crate::paged_vec::PagedVec;
use hashbrown::HashTable;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

/// The channels of one shard, by number, name and record id.
pub(crate) struct LocalTable {
    channels: PagedVec<LocalChannel>,
    /// Numbers to use again, the lowest first, so that the list can become short. Those beyond its end are stale.
    free: BinaryHeap<Reverse<u32>>,
    /// By name and by record id: both have the same hash.
    numbers: HashTable<u32>,
    names: Names,
}

impl LocalTable {
    pub(crate) fn new(names: Names) -> Self {
        Self { channels: PagedVec::new(), free: BinaryHeap::new(), numbers: HashTable::new(), names }
    }

    /// Has a subscriber that is entering wait for a read. Returns the channel if it is the first of this shard that waits
    /// for it.
    pub(crate) fn read(&mut self, channel: u32, entrant: Entrant, number: u32) -> Option<Arc<Channel>> {
        let local = self.get_mut(channel)?;
        let is_first = local.open_entrants().read(entrant, number);
        is_first.then(|| Arc::clone(&local.record))
    }

    /// Has a subscriber that is entering wait until the engine delivers the channel.
    pub(crate) fn wait(&mut self, channel: u32, entrant: Entrant) {
        if let Some(local) = self.get_mut(channel) {
            local.open_entrants().waiting.push(entrant);
        }
    }

    pub(crate) fn get(&self, number: u32) -> Option<&LocalChannel> {
        self.channels.get(number as usize)
    }

    pub(crate) fn get_mut(&mut self, number: u32) -> Option<&mut LocalChannel> {
        self.channels.get_mut(number as usize)
    }

    /// The number of a channel by its name.
    pub(crate) fn find(&self, name: &str) -> Option<u32> {
        let hash = self.names.of_name(name);
        self.numbers
            .find(hash, |number| self.get(*number).is_some_and(|channel| *channel.record.name == *name))
            .copied()
    }

    /// The number of a channel by the id of its record.
    pub(crate) fn find_id(&self, id: u64) -> Option<u32> {
        let hash = self.names.of_id(id);
        self.numbers
            .find(hash, |number| self.get(*number).is_some_and(|channel| channel.record.id == id))
            .copied()
    }

    /// Adds a channel that is not there.
    pub(crate) fn insert(&mut self, record: Arc<Channel>, seen: u64) -> u32 {
        let hash = self.names.of_id(record.id);
        let channel = LocalChannel::new(record, seen);
        let number = match self.free.pop().filter(|lowest| (lowest.0 as usize) < self.channels.len()) {
            Some(Reverse(number)) => number,
            None => {
                // The lowest is stale, and so are all.
                self.free.clear();
                self.channels.len() as u32
            }
        };
        self.channels.put(number as usize, channel);
        self.numbers.insert_unique(hash, number, rehash(&self.channels, &self.names));
        number
    }

    /// Takes a channel out once nobody is in it.
    pub(crate) fn remove_idle(&mut self, number: u32) -> Option<Arc<Channel>> {
        if !self.get(number)?.is_idle() {
            return None;
        }
        let channel = self.channels.take(number as usize)?;
        self.free.push(Reverse(number));
        let hash = self.names.of_id(channel.record.id);
        if let Ok(entry) = self.numbers.find_entry(hash, |other| *other == number) {
            entry.remove();
        }
        self.give_back();
        Some(channel.record)
    }

    /// Gives memory back that a crowd of channels has left.
    fn give_back(&mut self) {
        if let Some(capacity) = reduced(self.channels.len(), self.free.len()) {
            let len = self.channels.len();
            self.free.retain(|number| (number.0 as usize) < len);
            self.free.shrink_to(capacity);
        }
        if let Some(capacity) = reduced(self.numbers.len(), self.numbers.capacity()) {
            self.numbers.shrink_to(capacity, rehash(&self.channels, &self.names));
        }
    }
}

/// The hash of a number that is in the table.
fn rehash(channels: &PagedVec<LocalChannel>, names: &Names) -> impl Fn(&u32) -> u64 {
    move |number| channels.get(*number as usize).map_or(0, |channel| names.of_id(channel.record.id))
}

#[cfg(test)]
mod tests;
