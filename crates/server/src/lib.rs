//! server

pub mod channel;
pub mod policy;
