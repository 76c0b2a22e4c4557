//! Messages of the services, made from `crates/server/proto` by `cargo xtask proto`.

#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    clippy::enum_variant_names,
    clippy::large_enum_variant,
    clippy::use_self,
    reason = "it is made, and has what the schema has"
)]

pub(crate) mod api;
pub(crate) mod health;
pub(crate) mod reflection;

/// The `.proto` files as a `google.protobuf.FileDescriptorSet`.
pub(crate) const DESCRIPTORS: &[u8] = include_bytes!("descriptors.bin");
