//! Plan of one set of connections: address, number, channels.

use crate::control::{Error, flag, number, text};
use crate::protocol::{Encoding, Signer};
use crate::stream::Transport;
use crate::tls;
use rustls::ClientConfig;
use serde_json::Value;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

/// Connections from one loopback address. More make the kernel search long for a free port, which slows
/// connecting and is charged to the server as well.
const PER_SOURCE: usize = 2_000;

/// A set of connections, as the command `connect` describes it.
pub(crate) struct Plan {
    /// Address of the server.
    pub(crate) address: SocketAddr,
    /// Number of connections.
    pub(crate) count: usize,
    /// Codec.
    pub(crate) encoding: Encoding,
    /// Offers permessage-deflate. What comes compressed is not inflated once the handshake is over: each such frame
    /// counts as a delivery without a number.
    pub(crate) deflate: bool,
    /// Transport.
    pub(crate) transport: Transport,
    /// A bare TCP connection that only reads: the floor's subscriber.
    pub(crate) raw: bool,
    /// Signs the tokens; `None` connects without.
    pub(crate) signer: Option<Signer>,
    /// Subscriptions of each.
    pub(crate) subscriptions: usize,
    /// Channel names are this and a number.
    prefix: String,
    /// That many subscriptions in a row share a channel.
    share: usize,
    /// So many channels at most, then from the first again.
    channels: usize,
    /// Handshakes under way at a time.
    pub(crate) window: usize,
    /// Every n-th connection gets a small receive buffer and can be stalled; 0 for none.
    pub(crate) stall_every: usize,
    /// Subscriptions remember their position and ask for what they missed when they come again.
    pub(crate) recover: bool,
    /// Subscriptions ask for deltas. A delta does not hold the number of its publication: each push counts then.
    pub(crate) delta: bool,
    /// So many tags filters, shared evenly; every publication with the tag `n` of [`crate::publish`] passes each.
    /// 0 for none.
    filters: usize,
    /// Connects over TLS.
    pub(crate) tls: Option<Arc<ClientConfig>>,
    /// First connection number, so that several processes differ in users, channels and source addresses.
    first: usize,
}

impl Plan {
    pub(crate) fn from_command(command: &Value) -> Result<Self, Error> {
        let address = text(command, "address", "");
        let address = address.parse().map_err(|e| format!("address {address}: {e}"))?;
        let encoding = match text(command, "encoding", "json") {
            "json" => Encoding::Json,
            "protobuf" => Encoding::Protobuf,
            "old-json" => Encoding::OldJson,
            other => return Err(format!("encoding {other}: json or protobuf").into()),
        };
        let transport = text(command, "transport", "websocket");
        let transport = Transport::of(transport).ok_or_else(|| format!("transport {transport}"))?;
        let size = |name, default| usize::try_from(number(command, name, default)).unwrap_or(usize::MAX);
        Ok(Self {
            address,
            count: size("count", 1),
            encoding,
            deflate: flag(command, "deflate"),
            transport,
            raw: flag(command, "raw"),
            signer: command.get("secret").and_then(Value::as_str).map(Signer::new),
            subscriptions: size("subscriptions", 0),
            prefix: text(command, "channel", "bench").to_owned(),
            share: size("share", 1).max(1),
            channels: size("channels", u64::MAX).max(1),
            window: size("window", 100).max(1),
            stall_every: size("stall_every", 0),
            recover: flag(command, "recover"),
            delta: flag(command, "delta"),
            filters: size("filters", 0),
            tls: None,
            first: size("first", 0),
        })
    }

    /// Channel of the given subscription of the given connection.
    pub(crate) fn channel(&self, connection: usize, subscription: usize) -> String {
        let number = (self.first + connection) * self.subscriptions.max(1) + subscription;
        format!("{}{}", self.prefix, number / self.share % self.channels)
    }

    /// The least `n` that the filter of a connection lets pass.
    pub(crate) fn filter(&self, connection: usize) -> Option<usize> {
        (self.filters > 0).then(|| (self.first + connection) % self.filters)
    }

    pub(crate) fn user(&self, connection: usize) -> String {
        format!("u{}", self.first + connection)
    }

    /// The loopback address a connection leaves from.
    pub(crate) fn source(&self, connection: usize) -> SocketAddr {
        let block = (self.first + connection) / PER_SOURCE;
        let (high, low) = (block / 200 % 200, block % 200);
        SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, high as u8, 2 + low as u8)), 0)
    }

    /// The client's side of TLS, taken over from the plan before where sessions are to be resumed.
    pub(crate) fn encrypt(
        &mut self,
        command: &Value,
        before: Option<Arc<ClientConfig>>,
    ) -> Result<(), Error> {
        self.tls = match text(command, "tls", "") {
            "" => None,
            "full" => Some(tls::config(false)?),
            "resumable" => Some(tls::config(true)?),
            "resumed" => Some(before.ok_or("no connections before that could be resumed")?),
            other => return Err(format!("tls {other}: full, resumable or resumed").into()),
        };
        Ok(())
    }

    pub(crate) fn may_stall(&self, connection: usize) -> bool {
        self.stall_every > 0 && connection.is_multiple_of(self.stall_every)
    }
}
