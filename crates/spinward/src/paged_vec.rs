//! A long list with gaps that grows and shrinks a page at a time.

/// Elements of a page.
const PAGE: usize = 64;

/// A list whose elements never move, and that ends with one.
///
/// A `Vec` of millions has room for up to twice as many, and copies them all whenever it grows. This one has room for a
/// page more than it needs at most, for one more pointer to follow on the way to an element.
pub(crate) struct PagedVec<T> {
    pages: Vec<Box<[Option<T>; PAGE]>>,
    len: usize,
}

impl<T> PagedVec<T> {
    pub(crate) const fn new() -> Self {
        Self { pages: Vec::new(), len: 0 }
    }

    /// Places up to the last element, gaps among them.
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn get(&self, at: usize) -> Option<&T> {
        self.pages.get(at / PAGE)?[at % PAGE].as_ref()
    }

    pub(crate) fn get_mut(&mut self, at: usize) -> Option<&mut T> {
        self.pages.get_mut(at / PAGE)?[at % PAGE].as_mut()
    }

    /// Puts an element into a gap, or behind the last one. Further places do not exist.
    pub(crate) fn put(&mut self, at: usize, element: T) {
        debug_assert!(at <= self.len, "{at} of {}", self.len);
        if at == self.pages.len() * PAGE {
            self.pages.push(Box::new([const { None }; PAGE]));
        }
        self.pages[at / PAGE][at % PAGE] = Some(element);
        self.len = self.len.max(at + 1);
    }

    /// Takes an element out. The list is as long as before if another one follows, and otherwise ends with the one
    /// before.
    pub(crate) fn take(&mut self, at: usize) -> Option<T> {
        let element = self.pages.get_mut(at / PAGE)?[at % PAGE].take();
        while self.len > 0 && self.get(self.len - 1).is_none() {
            self.len -= 1;
        }
        // One page is kept, so that an element that comes and goes does not cost one each time.
        self.pages.truncate(self.len.div_ceil(PAGE) + 1);
        if self.pages.len() < self.pages.capacity() / 8 {
            self.pages.shrink_to(2 * self.pages.len());
        }
        element
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::memory::stream::tests::config;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(config())]

        #[test]
        fn it_does_what_a_plain_list_does(steps in prop::collection::vec((any::<bool>(), 0_usize..400), 1..600)) {
            let (mut list, mut model) = (PagedVec::new(), Vec::new());
            for (step, (put, at)) in steps.into_iter().enumerate() {
                if put {
                    let at = at.min(model.len());
                    list.put(at, step);
                    model.resize(model.len().max(at + 1), None);
                    model[at] = Some(step);
                } else {
                    prop_assert_eq!(list.take(at), model.get_mut(at).and_then(Option::take));
                    while model.last().is_some_and(Option::is_none) {
                        model.pop();
                    }
                }
                prop_assert_eq!(list.len(), model.len());
                prop_assert!(list.pages.len() <= model.len().div_ceil(PAGE) + 1);
            }
            for at in 0..=model.len() + PAGE {
                let expected = model.get(at).copied().flatten();
                prop_assert_eq!((list.get(at).copied(), list.get_mut(at).copied()), (expected, expected));
            }
        }
    }
}
