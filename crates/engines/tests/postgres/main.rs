//! The engines on PostgreSQL, against real servers: the one of Debian, and the newest.
#![cfg(feature = "postgres")]
#![allow(clippy::unwrap_used, reason = "helpers of tests fail with the test")]

mod conformance;
mod faults;
mod functions;
mod harness;
mod lives;
mod order;
mod schema;

/// Makes a test of each function, for each server: the function is given one that was just started.
macro_rules! on_both {
    ($($name:ident),+ $(,)?) => {
        mod debian {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                if let Some(server) = crate::harness::Postgres::debian() {
                    super::$name(server).await;
                }
            })+
        }
        mod newest {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                if let Some(server) = crate::harness::Postgres::newest() {
                    super::$name(server).await;
                }
            })+
        }
    };
}
use on_both;
