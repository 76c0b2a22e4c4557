//! Tags filters of the subscribers to a channel in one shard: each is held once, as long as somebody uses it.

use crate::capacity::reduced;
use crate::publication::Tags;
use foldhash::fast::FixedState;
use hashbrown::HashTable;
use spinward_wire::filter::Filter;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::hash::BuildHasher;

/// The filters in use, by number from 1.
pub(super) struct Filters {
    /// Ends with one that is in use.
    filters: Vec<Option<Used>>,
    /// Numbers to use again, the lowest first, so that the list can become short. Those beyond its end are stale.
    free: BinaryHeap<Reverse<u16>>,
    numbers: HashTable<u16>,
    hasher: FixedState,
}

struct Used {
    filter: Filter,
    /// Of the filter.
    hash: u64,
    users: u32,
    /// True if the publication that was evaluated last passes.
    passes: bool,
}

impl Filters {
    /// Most filters.
    const MOST: usize = u16::MAX as usize - 1;

    /// No filters yet. The seed is that of the hash table.
    pub(super) const fn new(seed: u64) -> Self {
        let hasher = FixedState::with_seed(seed);
        Self { filters: Vec::new(), free: BinaryHeap::new(), numbers: HashTable::new(), hasher }
    }

    /// Returns true if another filter can be added.
    pub(super) fn has_capacity(&self) -> bool {
        self.numbers.len() < Self::MOST
    }

    pub(super) fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }

    fn used(&self, number: u16) -> Option<&Used> {
        self.filters.get(usize::from(number).checked_sub(1)?)?.as_ref()
    }

    fn used_mut(&mut self, number: u16) -> Option<&mut Used> {
        self.filters.get_mut(usize::from(number).checked_sub(1)?)?.as_mut()
    }

    /// Adds a user of a filter, and returns the filter's number. `None`: there is no room.
    pub(super) fn add(&mut self, filter: Filter) -> Option<u16> {
        let hash = self.hasher.hash_one(&filter);
        let same = |number: &u16| self.used(*number).is_some_and(|used| used.filter == filter);
        if let Some(number) = self.numbers.find(hash, same).copied() {
            self.used_mut(number)?.users += 1;
            return Some(number);
        }
        if !self.has_capacity() {
            return None;
        }
        let used = Some(Used { filter, hash, users: 1, passes: false });
        let at = match self.free.pop().filter(|lowest| usize::from(lowest.0) < self.filters.len()) {
            Some(Reverse(at)) => {
                self.filters[usize::from(at)] = used;
                at
            }
            None => {
                // The lowest is stale, and so are all.
                self.free.clear();
                self.filters.push(used);
                self.filters.len() as u16 - 1
            }
        };
        self.numbers.insert_unique(hash, at + 1, rehash(&self.filters));
        Some(at + 1)
    }

    /// Takes a user of a filter out; a filter without any is dropped.
    pub(super) fn remove(&mut self, number: u16) {
        let Some(used) = self.used_mut(number) else { return };
        used.users -= 1;
        if used.users > 0 {
            return;
        }
        let hash = used.hash;
        if let Ok(found) = self.numbers.find_entry(hash, |other| *other == number) {
            found.remove();
        }
        self.filters[usize::from(number) - 1] = None;
        self.free.push(Reverse(number - 1));
        while self.filters.last().is_some_and(Option::is_none) {
            self.filters.pop();
        }
        if let Some(capacity) = reduced(self.filters.len(), self.filters.capacity()) {
            self.filters.shrink_to(capacity);
            let len = self.filters.len();
            self.free.retain(|at| usize::from(at.0) < len);
            self.free.shrink_to(capacity);
        }
        if let Some(capacity) = reduced(self.numbers.len(), self.numbers.capacity()) {
            self.numbers.shrink_to(capacity, rehash(&self.filters));
        }
    }

    /// Asks each filter about a publication. Returns how many that were.
    pub(super) fn evaluate(&mut self, tags: &Tags) -> u64 {
        let mut evaluated = 0;
        for used in self.filters.iter_mut().flatten() {
            evaluated += 1;
            used.passes = used.filter.matches(tags);
        }
        evaluated
    }

    /// Returns true if the publication that was evaluated last passes a filter.
    pub(super) fn passes(&self, number: u16) -> bool {
        self.used(number).is_some_and(|used| used.passes)
    }

    /// Bytes that a filter holds.
    pub(super) fn weight(&self, number: u16) -> usize {
        self.used(number).map_or(0, |used| used.filter.weight())
    }
}

/// The hash of a number that is in the table.
fn rehash(filters: &[Option<Used>]) -> impl Fn(&u16) -> u64 {
    move |number| filters[usize::from(*number) - 1].as_ref().map_or(0, |used| used.hash)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::memory::stream::tests::config;
    use proptest::prelude::*;
    use spinward_wire::message::FilterNode;
    use std::collections::BTreeMap;

    fn filter(value: usize) -> Filter {
        let node = FilterNode {
            key: "k".into(),
            cmp: "eq".into(),
            val: format!("v{value}"),
            ..FilterNode::default()
        };
        Filter::compile(&node).unwrap()
    }

    fn held(filters: &Filters) -> usize {
        let numbers = 1..=filters.filters.len() as u16;
        filters.filters.capacity() * size_of::<Option<Used>>()
            + filters.free.capacity() * 2
            + filters.numbers.allocation_size()
            + numbers.map(|number| filters.weight(number)).sum::<usize>()
    }

    #[test]
    fn a_filter_goes_with_its_last_user() {
        let mut filters = Filters::new(1);
        let stays = filters.add(filter(0)).unwrap();
        for value in 1..5_000 {
            let number = filters.add(filter(value)).unwrap();
            assert_eq!(filters.add(filter(value)), Some(number), "it is shared");
            filters.remove(number);
            assert_eq!(filters.numbers.len(), 2);
            filters.remove(number);
            assert_eq!(filters.numbers.len(), 1);
        }
        assert!(held(&filters) < 2_000, "{}", held(&filters));
        let crowd: Vec<u16> = (1..5_000).map(|value| filters.add(filter(value)).unwrap()).collect();
        crowd.into_iter().for_each(|number| filters.remove(number));
        assert!(held(&filters) < 4_000, "{}", held(&filters));
        assert_eq!(filters.add(filter(0)), Some(stays));
    }

    #[test]
    fn there_is_room_for_as_many_as_can_be_numbered() {
        let mut filters = Filters::new(1);
        for value in 0..Filters::MOST {
            assert_eq!(filters.add(filter(value)), Some(value as u16 + 1));
        }
        assert_eq!((filters.has_capacity(), filters.add(filter(Filters::MOST))), (false, None));
        assert_eq!(filters.add(filter(7)), Some(8), "one that is there finds room");
        filters.remove(9);
        assert_eq!(filters.add(filter(Filters::MOST)), Some(9));
    }

    proptest! {
        #![proptest_config(config())]

        #[test]
        fn filters_are_counted_as_in_a_plain_map(
            steps in prop::collection::vec((any::<bool>(), 0_usize..40, 1_usize..20), 1..40),
        ) {
            let mut filters = Filters::new(1);
            let mut model: BTreeMap<usize, (u16, usize)> = BTreeMap::new();
            for (come, from, count) in steps {
                for value in from..from + count {
                    if come {
                        let number = filters.add(filter(value)).unwrap();
                        let known = model.entry(value).or_insert((number, 0));
                        prop_assert_eq!(known.0, number);
                        known.1 += 1;
                    } else if let Some((number, users)) = model.get_mut(&value) {
                        filters.remove(*number);
                        *users -= 1;
                        if *users == 0 {
                            model.remove(&value);
                        }
                    }
                }
                let tags = BTreeMap::from([("k".to_owned(), format!("v{from}"))]);
                prop_assert_eq!(filters.evaluate(&tags), model.len() as u64);
                prop_assert_eq!(filters.is_empty(), model.is_empty());
                for (value, (number, _)) in &model {
                    prop_assert_eq!(filters.passes(*number), *value == from);
                }
            }
        }
    }
}
