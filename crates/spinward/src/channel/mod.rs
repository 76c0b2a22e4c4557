//! Channels: the directory that all shards share, and the part of a channel that each shard keeps for itself.

pub(crate) mod delivery;
pub(crate) mod directory;
mod filters;
pub(crate) mod join;
pub(crate) mod local;
mod subscribers;
pub(crate) mod table;
