//! Tests for applications and engines that are built on [`spinward`].
//!
//! An engine is a broker or a presence store outside of the process. Its author runs the suite in [`conformance`]
//! against it: the same assertions that hold for the engines that come with the library.

#![forbid(unsafe_code)]

pub mod conformance;
