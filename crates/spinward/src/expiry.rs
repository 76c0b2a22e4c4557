//! Which channels fall due, and when: one queue in place of a timer for each.

use crate::room::fewer;
use foldhash::fast::FixedState;
use hashbrown::HashMap;

/// A queue of channel ids by due time, with at most one entry per id.
///
/// An entry says "look at this channel no later than then", no more. Prolonging a channel therefore costs
/// nothing here: the entry stays, and who pops it looks whether the channel is really due, and if not
/// schedules it again.
pub(crate) struct ExpiryQueue {
    /// A binary heap, earliest first; ids break ties, so that the order is the same in every run.
    heap: Vec<Entry>,
    /// Where in the heap an id is.
    places: HashMap<u64, usize, FixedState>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    due_ms: u64,
    id: u64,
}

impl ExpiryQueue {
    /// An empty queue. The seed is that of its hash table.
    pub(crate) fn new(seed: u64) -> Self {
        Self { heap: Vec::new(), places: HashMap::with_hasher(FixedState::with_seed(seed)) }
    }

    /// Makes `id` come up at `due_ms` or before. Of two due times the earlier counts.
    pub(crate) fn schedule(&mut self, id: u64, due_ms: u64) {
        let entry = Entry { due_ms, id };
        match self.places.get(&id) {
            Some(&at) if self.heap[at] <= entry => {}
            Some(&at) => {
                self.heap[at] = entry;
                self.rise(at);
            }
            None => {
                let at = self.heap.len();
                self.heap.push(entry);
                self.places.insert(id, at);
                self.rise(at);
            }
        }
    }

    /// Takes out ids that are due, earliest first, at most `max` of them.
    pub(crate) fn pop_due(&mut self, now_ms: u64, max: usize) -> Vec<u64> {
        let mut due = Vec::new();
        while due.len() < max && self.next_due().is_some_and(|due_ms| due_ms <= now_ms) {
            due.push(self.pop_first());
        }
        if let Some(room) = fewer(self.heap.len(), self.heap.capacity()) {
            self.heap.shrink_to(room);
            self.places.shrink_to(room);
        }
        due
    }

    /// When the next id falls due.
    pub(crate) fn next_due(&self) -> Option<u64> {
        self.heap.first().map(|entry| entry.due_ms)
    }

    /// The heap must not be empty.
    fn pop_first(&mut self) -> u64 {
        let first = self.heap.swap_remove(0);
        self.places.remove(&first.id);
        if !self.heap.is_empty() {
            self.sink(0);
        }
        first.id
    }

    fn rise(&mut self, mut at: usize) {
        let entry = self.heap[at];
        while at > 0 {
            let parent = (at - 1) / 2;
            if self.heap[parent] <= entry {
                break;
            }
            self.put(at, self.heap[parent]);
            at = parent;
        }
        self.put(at, entry);
    }

    fn sink(&mut self, mut at: usize) {
        let entry = self.heap[at];
        loop {
            let left = 2 * at + 1;
            let Some(mut child) = self.heap.get(left).map(|_| left) else { break };
            if self.heap.get(left + 1).is_some_and(|right| *right < self.heap[left]) {
                child = left + 1;
            }
            if entry <= self.heap[child] {
                break;
            }
            self.put(at, self.heap[child]);
            at = child;
        }
        self.put(at, entry);
    }

    fn put(&mut self, at: usize, entry: Entry) {
        self.heap[at] = entry;
        self.places.insert(entry.id, at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::tests::config;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};

    #[test]
    fn of_two_due_times_the_earlier_counts() {
        let mut queue = ExpiryQueue::new(1);
        queue.schedule(7, 50);
        queue.schedule(7, 90);
        assert_eq!((queue.heap.len(), queue.next_due()), (1, Some(50)));
        queue.schedule(7, 20);
        assert_eq!((queue.heap.len(), queue.next_due()), (1, Some(20)));
        assert_eq!(queue.pop_due(19, 9), []);
        assert_eq!(queue.pop_due(20, 9), [7]);
        assert_eq!((queue.heap.len(), queue.next_due()), (0, None));
    }

    #[test]
    fn a_crowd_that_has_left_gives_its_memory_back() {
        let mut queue = ExpiryQueue::new(1);
        for id in 0..10_000 {
            queue.schedule(id, id);
        }
        for _ in 0..100 {
            assert_eq!(queue.pop_due(u64::MAX, 100).len(), 100);
        }
        assert!(queue.heap.capacity() <= 64 && queue.places.capacity() <= 256, "{}", queue.places.capacity());
    }

    #[derive(Clone, Debug)]
    enum Step {
        Schedule(u64, u64),
        Pop(u64, usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => (0_u64..40, 0_u64..200).prop_map(|(id, due)| Step::Schedule(id, due)),
            1 => (0_u64..200, 0_usize..8).prop_map(|(now, max)| Step::Pop(now, max)),
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
                        queue.schedule(id, due);
                        model.entry(id).and_modify(|held: &mut u64| *held = due.min(*held)).or_insert(due);
                    }
                    Step::Pop(now, max) => {
                        let sorted: BTreeSet<_> = model.iter().map(|(id, due)| (*due, *id)).collect();
                        let due: Vec<u64> =
                            sorted.into_iter().filter(|(due, _)| *due <= now).take(max).map(|(_, id)| id).collect();
                        model.retain(|id, _| !due.contains(id));
                        prop_assert_eq!(queue.pop_due(now, max), due);
                    }
                }
                prop_assert_eq!(queue.heap.len(), model.len());
                prop_assert_eq!(queue.places.len(), model.len());
                prop_assert_eq!(queue.next_due(), model.values().min().copied());
            }
        }
    }
}
