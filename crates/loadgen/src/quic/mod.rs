//! Peers over QUIC: clients over WebTransport that read a numbered stream, and attackers.
//!
//! | `op` | does | answers |
//! |---|---|---|
//! | `connect` | opens `count` sessions, each subscribed to `channel` | `connected` |
//! | `reset` | forgets counts and numbers | `reset` |
//! | `stats` | | `stats` |
//! | `settle` | waits until `deliveries` have come, or none came for `quiet_ms` | `stats` |
//! | `attack` | see [`attack`] | `attack` |
//! | `quit` | | |

mod attack;
mod client;

use crate::clock;
use crate::conn::Tally;
use crate::control::{Error, commands, emit, number, text};
use crate::protocol::{Encoding, Signer, connect, subscribe};
use crate::tls;
use client::Shared;
use serde_json::{Value, json};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;
use wtransport::config::QuicTransportConfig;
use wtransport::endpoint::endpoint_side::Client;
use wtransport::tls::WEBTRANSPORT_ALPN;
use wtransport::{ClientConfig, Endpoint};

/// Interval at which it is looked whether enough has come.
const TICK: Duration = Duration::from_millis(5);

/// Holds connections until the input ends.
pub(crate) fn run() -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let input = commands(|| ());
    let shared = Arc::new(Shared::default());
    while let Ok(command) = input.recv() {
        let command = command?;
        if command.get("op").is_some_and(|op| op == "quit") {
            break;
        }
        match carry_out(&runtime, &shared, &command) {
            Ok(answer) => emit(&answer),
            Err(error) => emit(&json!({"event": "error", "message": format!("quic: {error}")})),
        }
    }
    runtime.shutdown_background();
    Ok(())
}

fn carry_out(runtime: &Runtime, shared: &Arc<Shared>, command: &Value) -> Result<Value, Error> {
    match text(command, "op", "") {
        "connect" => {
            let target = Target::from_command(command)?;
            let count = usize::try_from(number(command, "count", 1))?;
            let endpoint = runtime.block_on(async { endpoint(QuicTransportConfig::default()) })?;
            for index in 0..count {
                runtime.block_on(client::open(&endpoint, &target, index, shared))?;
            }
            Ok(json!({"event": "connected", "count": shared.live(), "errors": {}}))
        }
        "reset" => {
            shared.reset();
            Ok(json!({"event": "reset"}))
        }
        "stats" => Ok(shared.stats()),
        "settle" => {
            let deliveries = number(command, "deliveries", u64::MAX);
            let quiet = number(command, "quiet_ms", 500) * 1_000_000;
            let since = clock::now();
            while !shared.has(|tally: &Tally| {
                tally.deliveries >= deliveries || clock::now().saturating_sub(tally.last.max(since)) > quiet
            }) {
                std::thread::sleep(TICK);
            }
            Ok(shared.stats())
        }
        "attack" => runtime.block_on(attack::run(command)),
        other => Err(format!("unknown op {other}").into()),
    }
}

/// The sessions to open.
#[derive(Clone)]
struct Target {
    address: SocketAddr,
    secret: String,
    channel: String,
    first: usize,
}

impl Target {
    fn from_command(command: &Value) -> Result<Self, Error> {
        let address = text(command, "address", "");
        let address: SocketAddr = address.parse().map_err(|error| format!("address {address}: {error}"))?;
        if !address.ip().is_loopback() {
            return Err(format!("address {address}: attacks go to this machine alone").into());
        }
        Ok(Self {
            address,
            secret: text(command, "secret", "").to_owned(),
            channel: text(command, "channel", "bench").to_owned(),
            first: usize::try_from(number(command, "first", 0))?,
        })
    }

    fn url(&self) -> String {
        format!("https://{}/connection/webtransport", self.address)
    }

    /// Login and subscription, on lines.
    fn commands(&self, index: usize) -> Vec<u8> {
        let token = Signer::new(&self.secret).token(&format!("u{}", self.first + index));
        let mut out = Vec::new();
        for command in [connect(1, Some(token)), subscribe(2, self.channel.clone(), None)] {
            Encoding::Json.append(&mut out, &command);
        }
        out.push(b'\n');
        out
    }
}

/// A socket for connections whose server has any certificate. Must be called within the runtime.
fn endpoint(transport: QuicTransportConfig) -> io::Result<Endpoint<Client>> {
    let mut tls = (*tls::config(false).map_err(io::Error::other)?).clone();
    tls.alpn_protocols = vec![WEBTRANSPORT_ALPN.to_vec()];
    let config = ClientConfig::builder()
        .with_bind_address(SocketAddr::from(([127, 0, 0, 1], 0)))
        .with_custom_tls_and_transport(tls, transport)
        .build();
    Endpoint::client(config)
}
