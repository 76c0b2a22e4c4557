//! server

pub mod channel;
