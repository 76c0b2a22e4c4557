//! WebTransport over HTTP/3, by `wtransport`: a UDP port whose sessions each have one stream of both directions.

mod session;
mod stream;

use crate::tls::TlsPort;
use rustls::ServerConfig;
use session::serve;
pub(crate) use session::{Opened, Request, Sessions};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, watch};
use wtransport::config::{QuicServerConfig, QuicTransportConfig};
use wtransport::endpoint::endpoint_side::Server;
use wtransport::tls::WEBTRANSPORT_ALPN;
use wtransport::{Endpoint, VarInt, quinn};

/// Handshakes that are under way at a time; further ones are refused. Above half of them, clients have to prove their
/// address first, which costs a round trip.
const HANDSHAKES: usize = 1_024;

/// Time that QUIC lets a connection be idle before it is dropped. Browsers ask for 30 s themselves.
const IDLE: Duration = Duration::from_secs(60);

/// Bytes that may be on their way to a peer, or are not acknowledged. What is beyond that waits in the outbox of the
/// connection, where it counts.
const SEND_WINDOW: u64 = 128 << 10;

/// Bytes that a peer may send ahead, of a stream and of all.
const STREAM_WINDOW: u32 = 64 << 10;
const CONNECTION_WINDOW: u32 = 128 << 10;

/// Streams of a peer: one holds the session and one its messages; HTTP/3 itself has three, and clients open others of
/// unknown kinds.
const BIDIRECTIONAL: u32 = 4;
const UNIDIRECTIONAL: u32 = 8;

/// Bytes of datagrams that are kept. Nobody reads them.
const DATAGRAMS: usize = 4 << 10;

/// A UDP port that is listened on.
pub(crate) struct Port {
    endpoint: Endpoint<Server>,
    tls: Arc<TlsPort>,
    /// The configuration of TLS that is in force.
    active: Arc<ServerConfig>,
    ping: Duration,
}

impl Port {
    /// Listens on the UDP port of an address; empty means all. `ping` is the interval at which the server pings its
    /// clients, zero for never.
    pub(crate) async fn bind(
        address: &str,
        port: u16,
        tls: Arc<TlsPort>,
        ping: Duration,
    ) -> io::Result<Self> {
        let (socket, active) = (socket(address, port).await?, tls.config());
        let config = wtransport::ServerConfig::builder()
            .with_bind_socket(socket)
            .build_with_quic_config(quic(&active, ping)?);
        Ok(Self { endpoint: Endpoint::server(config)?, tls, active, ping })
    }

    /// The address, for people.
    pub(crate) fn address(&self) -> String {
        self.endpoint.local_addr().map_or_else(|_| "unknown".to_owned(), |address| address.to_string())
    }

    /// Accepts sessions until `stop` changes.
    pub(crate) async fn serve<S: Sessions>(mut self, sessions: S, mut stop: watch::Receiver<bool>) {
        let sessions = Arc::new(sessions);
        let handshakes = Arc::new(Semaphore::new(HANDSHAKES));
        loop {
            let incoming = tokio::select! {
                incoming = self.endpoint.accept() => incoming,
                _ = stop.changed() => break,
            };
            self.follow();
            let Ok(permit) = Arc::clone(&handshakes).try_acquire_owned() else {
                incoming.refuse();
                continue;
            };
            if handshakes.available_permits() < HANDSHAKES / 2 && !incoming.remote_address_validated() {
                incoming.retry();
                continue;
            }
            tokio::spawn(serve(incoming, permit, Arc::clone(&sessions), stop.clone()));
        }
        // The server waits at its end until this is dropped: the last packets of connections go out before.
        let endpoint = self.endpoint;
        tokio::spawn(async move {
            endpoint.wait_idle().await;
            drop(stop);
        });
    }

    /// Takes client CAs and versions that were exchanged. A certificate is exchanged without this.
    fn follow(&mut self) {
        let tls = self.tls.config();
        if Arc::ptr_eq(&tls, &self.active) {
            return;
        }
        let taken = quic(&tls, self.ping).and_then(|quic| {
            let config =
                wtransport::ServerConfig::builder().with_bind_default(0).build_with_quic_config(quic);
            self.endpoint.reload_config(config, false)
        });
        if let Err(error) = taken {
            tracing::error!(%error, "HTTP/3 goes on with the former client CAs and versions of TLS");
        }
        self.active = tls;
    }
}

/// TLS of a port, and the limits of its connections.
fn quic(tls: &ServerConfig, ping: Duration) -> io::Result<QuicServerConfig> {
    let mut tls = tls.clone();
    tls.alpn_protocols = vec![WEBTRANSPORT_ALPN.to_vec()];
    let crypto = quinn::crypto::rustls::QuicServerConfig::try_from(tls).map_err(io::Error::other)?;
    let mut config = QuicServerConfig::with_crypto(Arc::new(crypto));
    config.transport_config(Arc::new(transport(ping)));
    Ok(config)
}

fn transport(ping: Duration) -> QuicTransportConfig {
    let mut transport = QuicTransportConfig::default();
    // Pings of the protocol keep a connection up where they are more frequent than the timeout of browsers.
    let pings = !ping.is_zero() && ping <= Duration::from_secs(28);
    transport
        .max_idle_timeout(IDLE.try_into().ok())
        .keep_alive_interval((!pings).then_some(Duration::from_secs(20)))
        .send_window(SEND_WINDOW)
        .stream_receive_window(STREAM_WINDOW.into())
        .receive_window(CONNECTION_WINDOW.into())
        .max_concurrent_bidi_streams(BIDIRECTIONAL.into())
        .max_concurrent_uni_streams(UNIDIRECTIONAL.into())
        .datagram_receive_buffer_size(Some(DATAGRAMS))
        .datagram_send_buffer_size(DATAGRAMS);
    transport
}

async fn socket(address: &str, port: u16) -> io::Result<UdpSocket> {
    let all = address.is_empty()
        || address.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_unspecified());
    if all {
        return match bind((Ipv6Addr::UNSPECIFIED, port).into()) {
            Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
                // A host without IPv6.
                bind((Ipv4Addr::UNSPECIFIED, port).into())
            }
            bound => bound,
        };
    }
    let mut failure = None;
    for address in tokio::net::lookup_host((address, port)).await? {
        match bind(address) {
            Ok(socket) => return Ok(socket),
            Err(error) => failure = Some(error),
        }
    }
    Err(failure.unwrap_or_else(|| io::ErrorKind::AddrNotAvailable.into()))
}

fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    use socket2::{Domain, Protocol, Socket, Type};
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.ip() == Ipv6Addr::UNSPECIFIED {
        socket.set_only_v6(false)?;
    }
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// The number that QUIC carries for a disconnect code.
const fn number(code: u32) -> VarInt {
    VarInt::from_u32(code)
}
