//! Ways for clients to reach a node: tower services over `http` types.

pub mod escape;
mod rate;
pub mod websocket;
