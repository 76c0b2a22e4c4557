//! The HTTP side of the server from outside: the binary, and bare sockets.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod admission;
#[cfg(unix)]
mod descriptors;
mod embedded;
mod exposure;
mod handshake;
mod hostile;
mod proxies;
#[allow(unreachable_pub, reason = "the modules of one test")]
mod server;
mod sockjs;
mod streams;
mod tunnel;
