//! spinward
