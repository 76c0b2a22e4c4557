//! Parts of the memory engine that know nothing of channels: streams, epochs, idempotency keys, expiry and presence.

pub(crate) mod epochs;
pub(crate) mod expiry;
pub(crate) mod idempotency;
pub(crate) mod presence;
mod present;
pub(crate) mod stream;
