//! Tests for applications and engines that are built on [`spinward`].
//!
//! [`client`] is a connection over memory or TCP, to test an application as its users meet it. [`hooks`] makes clients
//! without a connection, to test hooks alone.
//!
//! An engine is a broker or a presence store outside of the process. Its author runs the suite in [`conformance`]
//! against it: the same assertions that hold for the engines that come with the library.

#![forbid(unsafe_code)]

pub mod client;
pub mod conformance;
pub mod hooks;
