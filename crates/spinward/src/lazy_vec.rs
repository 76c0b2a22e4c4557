//! A list that few have anything in.

use crate::capacity::reserve_one;
use std::ops::{Deref, DerefMut};

/// A list that most of its owners have nothing in: the size of a pointer, and no heap until then.
pub(crate) struct LazyVec<T>(
    #[allow(clippy::box_collection, reason = "few have any, and everyone pays for the size")]
    Option<Box<Vec<T>>>,
);

impl<T> LazyVec<T> {
    pub(crate) fn push(&mut self, one: T) {
        let list = self.0.get_or_insert_default();
        reserve_one(list, 1);
        list.push(one);
    }

    pub(crate) fn pop(&mut self) -> Option<T> {
        let last = self.len().checked_sub(1)?;
        Some(self.swap_remove(last))
    }

    /// Takes all out, in their order.
    pub(crate) fn take(&mut self) -> Vec<T> {
        self.0.take().map_or_else(Vec::new, |list| *list)
    }

    /// Takes one out; the last takes its place. The place must be in the list.
    pub(crate) fn swap_remove(&mut self, at: usize) -> T {
        let list = self.0.get_or_insert_default();
        let one = list.swap_remove(at);
        if list.is_empty() {
            self.0 = None;
        }
        one
    }
}

impl<T> Deref for LazyVec<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        self.0.as_deref().map_or(&[], Vec::as_slice)
    }
}

impl<T> DerefMut for LazyVec<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        self.0.as_deref_mut().map_or(&mut [], Vec::as_mut_slice)
    }
}

impl<T> Default for LazyVec<T> {
    fn default() -> Self {
        Self(None)
    }
}
