//! When a container that a crowd has left gives its memory back.

/// How much room a container is to keep, if it has far too much: twice what it needs, and only below an eighth, so
/// that the cost of a removal stays constant on average. What is small is left alone.
pub(crate) fn fewer(len: usize, capacity: usize) -> Option<usize> {
    (capacity > 16 && len < capacity / 8).then_some(2 * len)
}
