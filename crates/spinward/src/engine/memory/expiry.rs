//! Due times of channels: one queue in place of a timer for each.

use crate::capacity::reduced;
use foldhash::fast::FixedState;
use hashbrown::HashTable;
use std::hash::BuildHasher;

/// A queue of items by due time, with at most one entry per id.
///
/// An entry says "look at this item no later than then", no more. Prolonging an item therefore costs nothing here:
/// the entry stays, and the taker checks whether the item is really due, and if not schedules it again.
pub(crate) struct ExpiryQueue<T> {
    /// In no order. Numbers of entries are places in it.
    entries: Vec<Entry<T>>,
    /// Numbers of entries as a binary heap, earliest first; ids break ties, so that the order is the same in every
    /// run.
    heap: Vec<u32>,
    /// Numbers of entries by id.
    numbers: HashTable<u32>,
    hasher: FixedState,
}

struct Entry<T> {
    due_ms: u64,
    id: u64,
    item: T,
    /// Place of its number in the heap.
    place: u32,
}

impl<T> Entry<T> {
    const fn rank(&self) -> (u64, u64) {
        (self.due_ms, self.id)
    }
}

impl<T> ExpiryQueue<T> {
    /// An empty queue. The seed is that of its hash table.
    pub(crate) const fn new(seed: u64) -> Self {
        let hasher = FixedState::with_seed(seed);
        Self { entries: Vec::new(), heap: Vec::new(), numbers: HashTable::new(), hasher }
    }

    /// Makes `id` come up at `due_ms` or before. Of two due times the earlier counts; of two items the first. Returns
    /// true if the queue is longer than before.
    pub(crate) fn schedule(&mut self, id: u64, due_ms: u64, item: impl FnOnce() -> T) -> bool {
        if let Some(number) = self.number(id) {
            let entry = &mut self.entries[number as usize];
            if due_ms < entry.due_ms {
                entry.due_ms = due_ms;
                let place = entry.place as usize;
                self.rise(place);
            }
            return false;
        }
        let (number, place) = (self.entries.len() as u32, self.heap.len());
        self.entries.push(Entry { due_ms, id, item: item(), place: place as u32 });
        self.heap.push(number);
        let (entries, hasher) = (&self.entries, &self.hasher);
        self.numbers.insert_unique(hasher.hash_one(id), number, |n| hasher.hash_one(entries[*n as usize].id));
        self.rise(place);
        true
    }

    /// Takes out items that are due, earliest first, at most `max` of them.
    pub(crate) fn pop_due(&mut self, now_ms: u64, max: usize) -> Vec<T> {
        let mut due = Vec::new();
        while due.len() < max && self.next_due().is_some_and(|due_ms| due_ms <= now_ms) {
            let Some(first) = self.heap.first().copied() else { break };
            due.push(self.take(first));
        }
        if !due.is_empty() {
            self.give_back();
        }
        due
    }

    /// Takes an entry out before it is due.
    pub(crate) fn cancel(&mut self, id: u64) {
        if let Some(number) = self.number(id) {
            self.take(number);
            self.give_back();
        }
    }

    /// Returns the time at which the next id falls due.
    pub(crate) fn next_due(&self) -> Option<u64> {
        self.heap.first().map(|number| self.entries[*number as usize].due_ms)
    }

    fn number(&self, id: u64) -> Option<u32> {
        self.numbers.find(self.hasher.hash_one(id), |n| self.entries[*n as usize].id == id).copied()
    }

    /// Takes out an entry; the last one takes its number.
    fn take(&mut self, number: u32) -> T {
        let Entry { id, place, .. } = self.entries[number as usize];
        let place = place as usize;
        let last = self.entries.len() as u32 - 1;
        if let Ok(found) = self.numbers.find_entry(self.hasher.hash_one(id), |n| *n == number) {
            found.remove();
        }
        self.heap.swap_remove(place);
        if let Some(&moved) = self.heap.get(place) {
            self.entries[moved as usize].place = place as u32;
            self.rise(place);
            self.sink(self.entries[moved as usize].place as usize);
        }
        let taken = self.entries.swap_remove(number as usize);
        if let Some(renamed) = self.entries.get(number as usize) {
            self.heap[renamed.place as usize] = number;
            if let Some(known) = self.numbers.find_mut(self.hasher.hash_one(renamed.id), |n| *n == last) {
                *known = number;
            }
        }
        taken.item
    }

    fn give_back(&mut self) {
        if let Some(capacity) = reduced(self.heap.len(), self.heap.capacity()) {
            self.entries.shrink_to(capacity);
            self.heap.shrink_to(capacity);
            let (entries, hasher) = (&self.entries, &self.hasher);
            self.numbers.shrink_to(capacity, |n| hasher.hash_one(entries[*n as usize].id));
        }
    }

    fn rank(&self, place: usize) -> Option<(u64, u64)> {
        Some(self.entries[*self.heap.get(place)? as usize].rank())
    }

    fn rise(&mut self, mut place: usize) {
        while place > 0 {
            let parent = (place - 1) / 2;
            if self.rank(parent) <= self.rank(place) {
                break;
            }
            self.swap(place, parent);
            place = parent;
        }
    }

    fn sink(&mut self, mut place: usize) {
        loop {
            let left = 2 * place + 1;
            let Some(mut lower) = self.rank(left) else { break };
            let mut child = left;
            if let Some(right) = self.rank(left + 1).filter(|right| *right < lower) {
                (lower, child) = (right, left + 1);
            }
            if self.rank(place).is_some_and(|own| own <= lower) {
                break;
            }
            self.swap(place, child);
            place = child;
        }
    }

    fn swap(&mut self, a: usize, b: usize) {
        self.heap.swap(a, b);
        for place in [a, b] {
            self.entries[self.heap[place] as usize].place = place as u32;
        }
    }

    /// Bytes held.
    #[cfg(test)]
    pub(crate) fn weight(&self) -> usize {
        self.entries.capacity() * size_of::<Entry<T>>()
            + self.heap.capacity() * size_of::<u32>()
            + self.numbers.allocation_size()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::memory::stream::tests::config;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};

    #[test]
    fn of_two_due_times_the_earlier_counts() {
        let mut queue = ExpiryQueue::new(1);
        queue.schedule(7, 50, || 7);
        queue.schedule(7, 90, || 7);
        assert_eq!((queue.heap.len(), queue.next_due()), (1, Some(50)));
        queue.schedule(7, 20, || 7);
        assert_eq!((queue.heap.len(), queue.next_due()), (1, Some(20)));
        assert!(queue.pop_due(19, 9).is_empty());
        assert_eq!(queue.pop_due(20, 9), [7]);
        assert_eq!((queue.heap.len(), queue.next_due()), (0, None));
    }

    #[test]
    fn a_crowd_that_has_left_gives_its_memory_back() {
        let mut queue = ExpiryQueue::new(1);
        for id in 0..10_000 {
            queue.schedule(id, id, || id);
        }
        for _ in 0..100 {
            assert_eq!(queue.pop_due(u64::MAX, 100).len(), 100);
        }
        assert!(queue.weight() <= 64 * 36 + 2048, "{}", queue.weight());
    }

    #[derive(Clone, Debug)]
    enum Step {
        Schedule(u64, u64),
        Pop(u64, usize),
        Cancel(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => (0_u64..40, 0_u64..200).prop_map(|(id, due)| Step::Schedule(id, due)),
            1 => (0_u64..200, 0_usize..8).prop_map(|(now, max)| Step::Pop(now, max)),
            1 => (0_u64..40).prop_map(Step::Cancel),
        ]
    }

    proptest! {
        #![proptest_config(config())]

        #[test]
        fn a_queue_does_what_a_sorted_map_does(
            seed in any::<u64>(),
            steps in prop::collection::vec(step(), 1..200),
        ) {
            let mut queue = ExpiryQueue::new(seed);
            let mut model = BTreeMap::new();
            for step in steps {
                match step {
                    Step::Schedule(id, due) => {
                        prop_assert_eq!(queue.schedule(id, due, || id), !model.contains_key(&id));
                        model.entry(id).and_modify(|held: &mut u64| *held = due.min(*held)).or_insert(due);
                    }
                    Step::Pop(now, max) => {
                        let sorted: BTreeSet<_> = model.iter().map(|(id, due)| (*due, *id)).collect();
                        let due: Vec<u64> =
                            sorted.into_iter().filter(|(due, _)| *due <= now).take(max).map(|(_, id)| id).collect();
                        model.retain(|id, _| !due.contains(id));
                        prop_assert_eq!(queue.pop_due(now, max), due);
                    }
                    Step::Cancel(id) => {
                        queue.cancel(id);
                        model.remove(&id);
                    }
                }
                prop_assert_eq!(queue.heap.len(), model.len());
                prop_assert_eq!(queue.numbers.len(), model.len());
                prop_assert_eq!(queue.next_due(), model.values().min().copied());
            }
        }
    }
}
