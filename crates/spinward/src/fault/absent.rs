//! The answers without planted faults.

use super::Fault;
use bytes::Bytes;

#[inline(always)]
pub(crate) const fn holds(_: Fault) -> bool {
    false
}

#[inline(always)]
pub(crate) const fn strikes(_: Fault) -> bool {
    false
}

#[inline(always)]
pub(crate) const fn on_turn() {}

#[inline(always)]
pub(crate) fn on_frame(_: u64, _: u32, frame: Bytes) -> Option<Bytes> {
    Some(frame)
}

#[inline(always)]
pub(crate) fn on_entry<T>(
    _: (usize, u64),
    entry: T,
    _: impl FnOnce(&T) -> T,
    mut push: impl FnMut(T) -> u16,
) -> u16 {
    push(entry)
}

#[inline(always)]
pub(crate) const fn on_merged<T>(_: &mut Vec<T>) {}
