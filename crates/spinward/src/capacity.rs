//! Capacity of containers of which there may be millions: their growth, and their shrinking after a crowd has left.

/// Returns the capacity to keep, if the container has far too much: twice what it needs, and only below an eighth, so
/// that the cost of a removal stays constant on average. Small containers are left alone.
pub(crate) fn reduced(len: usize, capacity: usize) -> Option<usize> {
    (capacity > 16 && len < capacity / 8).then_some(2 * len)
}

/// Returns the new capacity of a full list: an eighth more, since the room left over in many lists is more than the
/// copying costs; and a multiple of `step`, which is how many fill a step of the allocator.
pub(crate) fn grown(len: usize, step: usize) -> usize {
    (len + len / 8 + 1).next_multiple_of(step)
}

/// Makes room for one more.
pub(crate) fn reserve_one<T>(list: &mut Vec<T>, step: usize) {
    if list.len() == list.capacity() {
        list.reserve_exact(grown(list.len(), step) - list.len());
    }
}
