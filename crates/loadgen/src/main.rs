//! The load side of the benches: `spinward-loadgen clients` and `spinward-loadgen floor`.
//!
//! Both take one JSON object a line on standard input and answer with one JSON object a line on standard
//! output, so that `cargo xtask bench` (or a person with a terminal) drives them. Neither counts its own
//! CPU: whoever drives them reads the server's.

#![allow(clippy::disallowed_methods, reason = "this program is not the product: it has its own clock")]

mod clients;
mod clock;
mod conn;
mod control;
mod floor;
mod frame;
mod histogram;
mod http;
mod payload;
mod plan;
mod protocol;
mod publish;

use std::process::ExitCode;

fn main() -> ExitCode {
    let role = std::env::args().nth(1);
    let result = match role.as_deref() {
        Some("clients") => clients::run(),
        Some("floor") => floor::run(),
        _ => {
            eprintln!("usage: spinward-loadgen clients|floor   (commands on standard input, see the source)");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("spinward-loadgen: {error}");
            ExitCode::FAILURE
        }
    }
}
