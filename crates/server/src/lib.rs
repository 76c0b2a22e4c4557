//! The Spinward server: configuration, tokens, permissions and the server API around the `spinward` library.

mod admission;
mod api;
pub mod app;
pub mod auth;
pub mod channel;
pub mod cli;
pub mod config;
mod grpc;
mod histogram;
mod http;
mod labels;
pub mod params;
mod patience;
pub mod policy;
mod proxy;
mod quote;
#[cfg(test)]
mod reference_tests;
pub mod regex;
pub mod secret;
pub mod session;
mod tls;
#[cfg(feature = "webtransport")]
mod webtransport;
