//! The load side of benches, attacks and soak: `spinward-loadgen backend`, `clients`, `floor`,
//! `handshakes`, `hostile`, `quic`, `soak` and `tls`.
//!
//! All take one JSON object a line on standard input and answer with one JSON object a line on standard
//! output, so that `cargo xtask` or a person with a terminal drives them. None counts
//! its own CPU: the driver reads the server's.
//!
//! `spinward-loadgen echo` is the peer of conformance suites of WebSocket.

#![allow(clippy::disallowed_methods, reason = "this program is not the product: it has its own clock")]

mod backend;
mod clients;
mod clock;
mod conn;
mod control;
mod echo;
mod floor;
mod frame;
mod grpc;
mod handshakes;
mod histogram;
mod hostile;
mod http;
mod http2;
mod payload;
mod plan;
mod protocol;
mod publish;
mod quic;
mod soak;
mod steady;
mod stream;
mod tls;

use std::process::ExitCode;

fn main() -> ExitCode {
    let role = std::env::args().nth(1);
    let result = match role.as_deref() {
        Some("backend") => backend::run(),
        Some("clients") => clients::run(),
        Some("echo") => echo::run(),
        Some("floor") => floor::run(),
        Some("handshakes") => handshakes::run(),
        Some("hostile") => hostile::run(),
        Some("quic") => quic::run(),
        Some("soak") => soak::run(),
        Some("tls") => tls::run(),
        _ => {
            eprintln!(
                "usage: spinward-loadgen backend|clients|echo|floor|handshakes|hostile|quic|soak|tls   (commands on standard input, see the source)"
            );
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
