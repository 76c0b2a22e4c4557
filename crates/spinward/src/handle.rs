//! Names of connections within a node.

use std::fmt;

/// Names one connection of this node: shard, slot and the slot's generation in 64 bits.
///
/// A slot that is used again has another generation, so a handle never means a later connection.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Handle(u64);

impl Handle {
    /// Most slots of a shard.
    pub(crate) const MAX_SLOTS: u32 = 1 << 24;

    pub(crate) const fn new(shard: u8, slot: u32, generation: u32) -> Self {
        Self((shard as u64) << 56 | (slot as u64 & 0x00ff_ffff) << 32 | generation as u64)
    }

    /// The handle in one number, for [`Handle::from_bits`].
    pub(crate) const fn to_bits(self) -> u64 {
        self.0
    }

    /// Any number makes a handle, though perhaps one that names no connection.
    pub(crate) const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    pub(crate) const fn shard(self) -> usize {
        (self.0 >> 56) as usize
    }

    pub(crate) const fn slot(self) -> u32 {
        (self.0 >> 32) as u32 & 0x00ff_ffff
    }

    pub(crate) const fn generation(self) -> u32 {
        self.0 as u32
    }
}

/// Names a call of a session, so that its outcome finds what waits for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CallToken(u32);

impl CallToken {
    /// Token of calls whose outcome nothing waits for.
    pub(crate) const NOBODY: Self = Self(0);

    /// Returns the token after this one.
    pub(crate) fn next(self) -> Self {
        Self(self.0.wrapping_add(1).max(1))
    }

    /// Returns true if something waits for the outcome.
    pub(crate) fn is_awaited(self) -> bool {
        self != Self::NOBODY
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}.{}", self.shard(), self.slot(), self.generation())
    }
}
