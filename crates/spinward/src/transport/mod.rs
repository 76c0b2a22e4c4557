//! Ways for clients to reach a node: tower services over `http` types.

mod rate;
pub mod websocket;
