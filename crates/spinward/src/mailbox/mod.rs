//! Messages between threads: a shard's inbox, its admission budget, and the calls of sessions.

pub(crate) mod accepted;
pub(crate) mod admission;
pub(crate) mod call;
pub(crate) mod fan_out;
pub(crate) mod inbox;
pub(crate) mod pipe;
pub(crate) mod walk;
