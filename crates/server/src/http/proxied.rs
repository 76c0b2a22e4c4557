//! Connections that a proxy opens on behalf of clients: the PROXY protocol names the client, before TLS and HTTP.

use super::{Io, Listener};
use crate::admission::Networks;
use spinward::wire::proxy_protocol::{Client, HeaderError, MAX_HEADER, Reading, read};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use thiserror::Error;
use tokio::io::AsyncReadExt;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Time that a proxy may take to send the header: it has it ready when it connects.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// Connections whose header is awaited. While there are as many, no further one is accepted.
const MAX_AWAITED: usize = 4_096;

/// A listener whose peers include proxies that speak the PROXY protocol.
///
/// Connections from `sources` must begin with a header, and have the address that it names. All others have none: what
/// they send is the client's, so that nobody else can choose an address.
pub(crate) struct Proxied<L: Listener> {
    listener: L,
    sources: Networks,
    awaited: JoinSet<Result<(L::Io, SocketAddr), Failed>>,
    warned: Option<Instant>,
}

/// A header that did not come.
#[derive(Debug, Error)]
#[error("{cause}")]
struct Failed {
    peer: SocketAddr,
    cause: Cause,
}

#[derive(Debug, Error)]
enum Cause {
    #[error(transparent)]
    Header(#[from] HeaderError),
    #[error("the connection ended before its header: {0}")]
    Ended(#[from] io::Error),
    #[error("no header in time")]
    Late,
}

impl<L: Listener> Proxied<L> {
    /// Listens behind proxies with these addresses.
    pub(crate) fn new(listener: L, sources: Networks) -> Self {
        Self { listener, sources, awaited: JoinSet::new(), warned: None }
    }

    /// Logs a failure, at most once a second. Proxies check the health of a port by connecting alone, which is not one.
    fn log(&mut self, failed: &Failed) {
        if matches!(failed.cause, Cause::Ended(_)) || self.warned.is_some_and(|at| at.elapsed() < HEADER_LOG)
        {
            return;
        }
        self.warned = Some(Instant::now());
        tracing::warn!(
            peer = %failed.peer,
            reason = %failed.cause,
            change = "have the proxy send the header (proxy_protocol of nginx, send-proxy-v2 of HAProxy), or take its \
                      address out of http_server.proxy_protocol_sources",
            "connection closed: it does not begin with a PROXY protocol header"
        );
    }
}

/// Time between two warnings.
const HEADER_LOG: Duration = Duration::from_secs(1);

impl<L: Listener> Listener for Proxied<L> {
    type Io = L::Io;

    async fn accept(&mut self) -> (L::Io, SocketAddr) {
        loop {
            let room = self.awaited.len() < MAX_AWAITED;
            tokio::select! {
                (stream, peer) = self.listener.accept(), if room => {
                    if !self.sources.contain(peer.ip()) {
                        return (stream, peer);
                    }
                    self.awaited.spawn(client(stream, peer));
                }
                Some(Ok(named)) = self.awaited.join_next(), if !self.awaited.is_empty() => match named {
                    Ok(named) => return named,
                    Err(failed) => self.log(&failed),
                },
                // A task that panicked: its connection is gone.
                else => {}
            }
        }
    }

    fn address(&self) -> String {
        self.listener.address()
    }
}

/// Reads the header. Not a byte more is read.
async fn client<I: Io>(mut stream: I, peer: SocketAddr) -> Result<(I, SocketAddr), Failed> {
    let failed = |cause| Failed { peer, cause };
    let found = tokio::time::timeout(HEADER_TIMEOUT, header(&mut stream)).await;
    match found.map_err(|_| failed(Cause::Late))?.map_err(failed)? {
        Client::Address(address) => Ok((stream, address)),
        Client::Proxy => Ok((stream, peer)),
    }
}

async fn header(stream: &mut impl Io) -> Result<Client, Cause> {
    let mut bytes = Vec::new();
    loop {
        match read(&bytes)? {
            Reading::Done(client) => return Ok(client),
            Reading::More(more) => {
                let len = bytes.len();
                debug_assert!(len + more <= MAX_HEADER, "a header is bounded");
                bytes.resize(len + more, 0);
                stream.read_exact(&mut bytes[len..]).await?;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Tcp;
    use super::*;
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpStream;

    async fn listening(sources: &[&str]) -> (Proxied<Tcp>, SocketAddr) {
        let tcp = Tcp::listen("127.0.0.1", 0).await.unwrap();
        let address = tcp.local_addr().unwrap();
        let sources: Vec<String> = sources.iter().map(|source| (*source).to_owned()).collect();
        (Proxied::new(tcp, Networks::new(&sources).unwrap()), address)
    }

    async fn begin(address: SocketAddr, bytes: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream
    }

    #[tokio::test]
    async fn a_listed_source_names_the_client_and_leaves_its_bytes() {
        let (mut listener, address) = listening(&["127.0.0.0/8"]).await;
        let v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xcb\0\x71\x07\x7f\0\0\x01\x12\x34\0\x50";
        for (header, expected) in [
            (&b"PROXY TCP4 203.0.113.7 127.0.0.1 4711 80\r\n"[..], "203.0.113.7:4711"),
            (&b"PROXY TCP6 2001:db8::7 ::1 4711 80\r\n"[..], "[2001:db8::7]:4711"),
            (&v2[..], "203.0.113.7:4660"),
        ] {
            let _client = begin(address, &[header, b"GET /"].concat()).await;
            let (mut stream, peer) = listener.accept().await;
            assert_eq!(peer.to_string(), expected);
            let mut rest = [0; 5];
            stream.read_exact(&mut rest).await.unwrap();
            assert_eq!(&rest, b"GET /");
        }
        let own = begin(address, b"PROXY UNKNOWN\r\n").await;
        assert_eq!(listener.accept().await.1, own.local_addr().unwrap());
    }

    #[tokio::test]
    async fn others_cannot_choose_an_address() {
        let (mut listener, address) = listening(&["192.0.2.1"]).await;
        let client = begin(address, b"PROXY TCP4 203.0.113.7 127.0.0.1 4711 80\r\n").await;
        let (mut stream, peer) = listener.accept().await;
        assert_eq!(peer, client.local_addr().unwrap());
        let mut rest = [0; 5];
        stream.read_exact(&mut rest).await.unwrap();
        assert_eq!(&rest, b"PROXY", "the header is the client's");
    }

    #[tokio::test]
    async fn a_slow_or_wrong_header_costs_only_its_connection() {
        let (mut listener, address) = listening(&["127.0.0.1"]).await;
        let _slow = begin(address, b"PROXY TCP4").await;
        let mut wrong = begin(address, b"GET / HTTP/1.1\r\n\r\n").await;
        let _right = begin(address, b"PROXY TCP4 203.0.113.7 127.0.0.1 1 80\r\n").await;
        assert_eq!(listener.accept().await.1.to_string(), "203.0.113.7:1");
        let mut byte = [0];
        let closed = tokio::select! {
            _ = listener.accept() => panic!("nobody else has a header"),
            closed = wrong.read(&mut byte) => closed,
        };
        assert!(matches!(closed, Ok(0) | Err(_)), "it is closed without an answer");
    }
}
