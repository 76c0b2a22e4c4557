//! The subscribers of a channel in one shard: the slots of its connections, each once.
//!
//! There may be millions of channels with a handful of subscribers, and some with a hundred thousand. So a handful is
//! inside the channel itself, and in a crowd an index finds each, so that to leave costs the same everywhere.

use crate::capacity::{reduced, reserve_one};
use crate::channel::local::special::Special;
use crate::channel::record::Kind;
use crate::handle::Handle;
use hashbrown::HashTable;

/// Most subscribers that need nothing outside of the channel.
const FEW: usize = 7;
/// Most subscribers that are found by searching the list.
const SEARCHED: usize = 64;

/// The slots of the subscribers, in no order.
pub(super) enum Subscribers {
    Few { len: u8, slots: [Packed; FEW] },
    Many(Box<Many>),
}

/// More subscribers, or some that are not plain.
pub(super) struct Many {
    slots: Vec<u32>,
    /// In a crowd, the places in the list by slot.
    index: Option<Box<HashTable<u32>>>,
    special: Option<Box<Special>>,
}

/// A slot in three bytes, which is what a [`Handle`] has for it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Packed([u8; 3]);

impl Packed {
    const ZERO: Self = Self([0; 3]);

    const fn of(slot: u32) -> Self {
        debug_assert!(slot < Handle::MAX_SLOTS);
        let [a, b, c, _] = slot.to_le_bytes();
        Self([a, b, c])
    }

    const fn slot(self) -> u32 {
        let [a, b, c] = self.0;
        u32::from_le_bytes([a, b, c, 0])
    }
}

/// Space to unpack a few slots in.
#[derive(Default)]
pub(super) struct Few([u32; FEW]);

impl Few {
    fn unpack(&mut self, packed: &[Packed]) -> &[u32] {
        for (slot, packed) in self.0.iter_mut().zip(packed) {
            *slot = packed.slot();
        }
        &self.0[..packed.len()]
    }
}

impl Subscribers {
    pub(super) const NONE: Self = Self::Few { len: 0, slots: [Packed::ZERO; FEW] };

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Few { len, .. } => usize::from(*len),
            Self::Many(many) => many.slots.len(),
        }
    }

    /// The slots. Those of a few are unpacked into the buffer.
    pub(super) fn slots<'a>(&'a self, few: &'a mut Few) -> &'a [u32] {
        match self {
            Self::Few { len, slots } => few.unpack(&slots[..usize::from(*len)]),
            Self::Many(many) => &many.slots,
        }
    }

    pub(super) fn special(&self) -> Option<&Special> {
        match self {
            Self::Few { .. } => None,
            Self::Many(many) => many.special.as_deref(),
        }
    }

    pub(super) fn special_mut(&mut self) -> Option<&mut Special> {
        match self {
            Self::Few { .. } => None,
            Self::Many(many) => many.special.as_deref_mut(),
        }
    }

    /// The slots, and the rarely used state beside them.
    pub(super) fn split<'a>(&'a mut self, few: &'a mut Few) -> (&'a [u32], Option<&'a mut Special>) {
        match self {
            Self::Few { len, slots } => (few.unpack(&slots[..usize::from(*len)]), None),
            Self::Many(many) => (&many.slots, many.special.as_deref_mut()),
        }
    }

    /// Returns the rarely used state, making it if needed.
    pub(super) fn make_special(&mut self, kind: Kind) -> &mut Special {
        let many = self.many();
        many.special.get_or_insert_with(|| Box::new(Special::of_plain(kind, many.slots.len())))
    }

    fn many(&mut self) -> &mut Many {
        match self {
            Self::Many(many) => many,
            Self::Few { .. } => {
                let slots = self.slots(&mut Few::default()).to_vec();
                *self = Self::Many(Box::new(Many { slots, index: None, special: None }));
                self.many()
            }
        }
    }

    /// Adds one that is not there.
    pub(super) fn push(&mut self, slot: u32) {
        match self {
            Self::Few { len, slots } if usize::from(*len) < FEW => {
                slots[usize::from(*len)] = Packed::of(slot);
                *len += 1;
            }
            _ => self.many().push(slot),
        }
    }

    /// The place of one in the list.
    pub(super) fn place(&self, slot: u32) -> Option<usize> {
        match self {
            Self::Few { len, slots } => {
                slots[..usize::from(*len)].iter().position(|other| *other == Packed::of(slot))
            }
            Self::Many(many) => many.place(slot),
        }
    }

    /// Takes one out; the last takes its place in the list. Answers which that was.
    pub(super) fn remove(&mut self, slot: u32) -> Option<usize> {
        let place = self.place(slot)?;
        match self {
            Self::Few { len, slots } => {
                *len -= 1;
                slots[place] = slots[usize::from(*len)];
            }
            Self::Many(many) => {
                many.remove(place);
                // Well below, so that one who comes and goes does not have the list made again and again.
                if many.special.is_none() && many.slots.len() <= FEW / 2 {
                    let mut few = Self::NONE;
                    many.slots.iter().for_each(|slot| few.push(*slot));
                    *self = few;
                }
            }
        }
        Some(place)
    }
}

impl Many {
    fn push(&mut self, slot: u32) {
        let place = self.slots.len() as u32;
        reserve_one(&mut self.slots, 4);
        self.slots.push(slot);
        let slots = &self.slots;
        if let Some(index) = &mut self.index {
            index.insert_unique(hash(slot), place, |place| hash(slots[*place as usize]));
        } else if slots.len() > SEARCHED {
            let mut index = HashTable::with_capacity(slots.len());
            for (place, slot) in (0..).zip(slots) {
                index.insert_unique(hash(*slot), place, |place: &u32| hash(slots[*place as usize]));
            }
            self.index = Some(Box::new(index));
        }
    }

    fn place(&self, slot: u32) -> Option<usize> {
        match &self.index {
            None => self.slots.iter().position(|other| *other == slot),
            Some(index) => index
                .find(hash(slot), |place| self.slots[*place as usize] == slot)
                .map(|place| *place as usize),
        }
    }

    fn remove(&mut self, place: usize) {
        let last = self.slots.len() - 1;
        if let Some(index) = &mut self.index {
            if let Ok(gone) = index.find_entry(hash(self.slots[place]), |other| *other as usize == place) {
                gone.remove();
            }
            if let Some(moved) = index.find_mut(hash(self.slots[last]), |other| *other as usize == last) {
                *moved = place as u32;
            }
        }
        self.slots.swap_remove(place);
        if self.slots.len() < SEARCHED / 2 {
            self.index = None;
        }
        if let Some(capacity) = reduced(self.slots.len(), self.slots.capacity()) {
            self.slots.shrink_to(capacity);
            if let Some(index) = &mut self.index {
                index.shrink_to(capacity, |place| hash(self.slots[*place as usize]));
            }
        }
    }
}

/// Slots are numbers of our own, one after the other: to spread them is enough.
const fn hash(slot: u32) -> u64 {
    (slot as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::memory::stream::tests::config;
    use proptest::prelude::*;

    fn places(subscribers: &Subscribers) -> usize {
        match subscribers {
            Subscribers::Few { .. } => 0,
            Subscribers::Many(many) => many.index.as_ref().map_or(0, |index| index.len()),
        }
    }

    proptest! {
        #![proptest_config(config())]

        #[test]
        fn subscribers_are_what_a_plain_list_is(
            crowds in prop::collection::vec((any::<bool>(), 0_u32..300, 1_u32..150), 1..12),
            special in prop::option::of(0_usize..12),
        ) {
            let (mut subscribers, mut model) = (Subscribers::NONE, Vec::new());
            for (at, (come, from, count)) in crowds.into_iter().enumerate() {
                if special == Some(at) {
                    let special = subscribers.make_special(Kind::Stream);
                    prop_assert_eq!(special.len(), model.len());
                }
                for slot in from..from + count {
                    let known = model.iter().position(|other| *other == slot);
                    match (come, known) {
                        (true, None) => {
                            subscribers.push(slot);
                            model.push(slot);
                        }
                        (false, known) => {
                            prop_assert_eq!(subscribers.remove(slot), known);
                            if let Some(place) = known {
                                model.swap_remove(place);
                            }
                        }
                        (true, Some(_)) => {}
                    }
                    let mut few = Few::default();
                    prop_assert_eq!(subscribers.slots(&mut few), &model[..]);
                }
                let indexed = places(&subscribers);
                prop_assert!(indexed == model.len() || indexed == 0 && model.len() <= SEARCHED);
            }
        }
    }

    #[test]
    fn a_crowd_that_has_left_gives_its_memory_back() {
        let mut subscribers = Subscribers::NONE;
        (0..10_000).for_each(|slot| subscribers.push(slot));
        (100..10_000).for_each(|slot| assert!(subscribers.remove(slot).is_some()));
        let Subscribers::Many(many) = &subscribers else { unreachable!("a hundred are left") };
        let index = many.index.as_ref().map_or(0, |index| index.capacity());
        assert!(many.slots.capacity() <= 1_000 && index <= 2_000, "{} {index}", many.slots.capacity());
        (1..100).for_each(|slot| assert!(subscribers.remove(slot).is_some()));
        assert!(matches!(subscribers, Subscribers::Few { len: 1, .. }));
    }
}
