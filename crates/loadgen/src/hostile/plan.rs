//! Plan of one set of attackers, read from the command `attack`.

use super::template::{Template, Values};
use super::unit::{Sender, Unit};
use crate::control::{Error, flag, float, number, text};
use crate::protocol::{Encoding, Signer};
use crate::tls;
use rustls::ClientConfig;
use serde_json::Value;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

/// Connections from one loopback address, so that the kernel finds free ports.
const PER_SOURCE: usize = 2_000;

/// The stage a connection reaches before the attack begins.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Opening {
    /// TCP alone.
    Tcp,
    /// The upgrade to WebSocket.
    WebSocket,
    /// The connect command.
    Login,
    /// A stream of SockJS over HTTP, logged in.
    SockJs,
    /// A connection of gRPC, with unidirectional streams.
    Grpc,
}

/// An attack.
pub(super) struct Plan {
    pub(super) address: SocketAddr,
    pub(super) host: String,
    /// Connections at a time.
    pub(super) count: usize,
    /// Number of the first connection: of its user, and by it its source address.
    pub(super) first: usize,
    /// Connections in all, where each that ends is followed by another.
    pub(super) most: u64,
    pub(super) again: bool,
    /// Handshakes under way at a time.
    pub(super) window: usize,
    pub(super) nanoseconds: u64,
    pub(super) opening: Opening,
    pub(super) encoding: Encoding,
    pub(super) signer: Option<Signer>,
    pub(super) key: String,
    /// Further lines in the head of the upgrade request.
    pub(super) headers: Template,
    /// Sent once, as a frame or as it is, before the attack; its replies are waited for. Of gRPC, channels.
    pub(super) first_lines: Vec<Template>,
    pub(super) unit: Unit,
    /// Units of each connection; 0 sets no limit.
    pub(super) units: u64,
    /// Bytes of each connection; 0 sets no limit.
    pub(super) bytes: u64,
    /// Units a second of each connection; 0 sends as fast as it goes.
    pub(super) pace: f64,
    /// Answers that may be outstanding before the next unit; 0 sets no limit.
    pub(super) outstanding: u64,
    /// Stops reading once the attack has begun.
    pub(super) deaf: bool,
    /// Streams of HTTP/2 have no window: nothing may be sent in them.
    pub(super) windowless: bool,
    /// Ends the connection after the last unit and its answers.
    pub(super) leave: bool,
    /// Size of the socket's receive buffer; 0 leaves it to the kernel.
    pub(super) receive_buffer: usize,
    /// Everything goes over TLS.
    pub(super) tls: Option<Arc<ClientConfig>>,
}

impl Plan {
    pub(super) fn from_command(command: &Value) -> Result<Self, Error> {
        let host = text(command, "address", "").to_owned();
        let address = host.parse::<SocketAddr>().map_err(|e| format!("address {host}: {e}"))?;
        if !address.ip().is_loopback() {
            return Err(format!("address {host}: attacks go to this machine alone").into());
        }
        let size = |name, default| usize::try_from(number(command, name, default)).unwrap_or(usize::MAX);
        let opening = match text(command, "opening", "login") {
            "tcp" => Opening::Tcp,
            "websocket" => Opening::WebSocket,
            "login" => Opening::Login,
            "sockjs" => Opening::SockJs,
            "grpc" => Opening::Grpc,
            other => return Err(format!("opening {other}: tcp, websocket, login, sockjs or grpc").into()),
        };
        let unit = command.get("unit");
        let encoding = match unit.and_then(|unit| unit.get("kind")).and_then(Value::as_str) {
            Some("commands") => Encoding::Protobuf,
            _ => Encoding::Json,
        };
        let lines = command.get("first_lines").and_then(Value::as_array);
        let lines = lines.into_iter().flatten().filter_map(Value::as_str);
        let count = size("count", 1);
        let mut plan = Self {
            address,
            host,
            count,
            first: size("first", 0),
            most: number(command, "most", u64::try_from(count)?),
            again: flag(command, "again"),
            window: size("window", 100).max(1),
            nanoseconds: (float(command, "seconds", 1.0) * 1e9) as u64,
            opening,
            encoding,
            signer: command.get("secret").and_then(Value::as_str).map(Signer::new),
            key: text(command, "key", "").to_owned(),
            headers: Template::new(text(command, "headers", "")),
            first_lines: lines.map(Template::new).collect(),
            unit: Unit::from_command(unit)?,
            units: number(command, "units", 0),
            bytes: number(command, "bytes", 0),
            pace: float(command, "pace", 0.0),
            outstanding: number(command, "outstanding", 0),
            deaf: flag(command, "deaf"),
            windowless: flag(command, "windowless"),
            leave: flag(command, "leave"),
            receive_buffer: size("receive_buffer", 0),
            tls: flag(command, "tls").then(|| tls::config(false)).transpose()?,
        };
        let mut values = Values { number: 1, connection: plan.first, signer: plan.signer.as_ref() };
        plan.unit.keep(&Sender { host: &plan.host, key: &plan.key }, &mut values, count == 1);
        Ok(plan)
    }

    /// Replies to the first lines, which are commands in JSON.
    pub(super) fn first_replies(&self) -> u64 {
        if self.encoding == Encoding::Json { self.first_lines.len() as u64 } else { 0 }
    }

    /// Loopback address of a connection: others than those of well-behaved clients, which come from 127.0.0.x.
    pub(super) fn source(&self, connection: usize) -> SocketAddr {
        let block = u8::try_from(connection / PER_SOURCE % 200).unwrap_or(0);
        SocketAddr::from((Ipv4Addr::new(127, 66, 6, 2 + block), 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn attacks_on_other_machines_are_refused() {
        let plan = |address| Plan::from_command(&json!({"op": "attack", "address": address}));
        assert!(plan("127.0.0.1:1").is_ok());
        assert!(plan("192.0.2.1:1").is_err());
    }
}
