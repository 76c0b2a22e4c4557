//! TLS: certificates and keys, what connections are accepted with, and TLS as a layer of a connection.
//!
//! A [`TlsPort`] holds what new connections of a port are accepted with. Its certificate is exchanged while connections
//! go on: by a reload, or when its files change ([`watch`). See `docs/adr/0028-tls-in-shards.md`.

#[cfg(feature = "acme")]
pub(crate) mod acme;
mod client;
mod counters;
mod layer;
mod load;
mod port;
pub(crate) mod watch;
mod x509;

pub(crate) use client::{client, trusting_nobody};
pub(crate) use counters::Handshake;
pub(crate) use layer::TlsLayer;
pub(crate) use load::TlsError;
pub(crate) use port::TlsPort;

#[cfg(test)]
mod tests;
