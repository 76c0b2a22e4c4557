//! Channels: the directory and the records that all shards share, and under `local` what each shard keeps for itself.

pub(crate) mod delivery;
pub(crate) mod directory;
pub(crate) mod encoded;
pub(crate) mod local;
pub(crate) mod params;
pub(crate) mod record;
