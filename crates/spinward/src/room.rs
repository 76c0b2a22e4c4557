//! How containers of which there may be millions grow, and when one that a crowd has left gives its memory back.

/// How much room a container is to keep, if it has far too much: twice what it needs, and only below an eighth, so
/// that the cost of a removal stays constant on average. What is small is left alone.
pub(crate) fn fewer(len: usize, capacity: usize) -> Option<usize> {
    (capacity > 16 && len < capacity / 8).then_some(2 * len)
}

/// How much room a full list is to get: an eighth more, since the room left over in many lists is more than the copying
/// costs; and a multiple of `step`, which is how many fill a step of the allocator.
pub(crate) fn grown(len: usize, step: usize) -> usize {
    (len + len / 8 + 1).next_multiple_of(step)
}

/// Makes room for one more.
pub(crate) fn make_room<T>(list: &mut Vec<T>, step: usize) {
    if list.len() == list.capacity() {
        list.reserve_exact(grown(list.len(), step) - list.len());
    }
}
