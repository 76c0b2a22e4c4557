//! Which channels fall due, and when: one queue in place of a timer for each.

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
        if self.heap.capacity() > 64 && self.heap.len() < self.heap.capacity() / 8 {
            let half = self.heap.capacity() / 2;
            self.heap.shrink_to(half);
            self.places.shrink_to(half);
        }
        due
    }

    /// When the next id falls due.
    pub(crate) fn next_due(&self) -> Option<u64> {
        self.heap.first().map(|entry| entry.due_ms)
    }

    /// How many ids are queued.
    pub(crate) fn len(&self) -> usize {
        self.heap.len()
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
