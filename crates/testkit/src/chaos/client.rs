//! Clients that reconnect to any node, over WebSocket or over a stream with a request per message.

use crate::log::{Event, Log};
use crate::peer::{Carrier, Peer};
use crate::random::Random;
use parking_lot::Mutex;
use spinward_wire::Protocol;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, timeout};

/// Time after which a connection on which nothing arrives is given up: the server's ping interval and some more.
const SILENCE: Duration = Duration::from_secs(8);

/// Time for a connection and its handshake.
const PATIENCE: Duration = Duration::from_secs(20);

/// State that all clients of a run share.
pub(super) struct Shared {
    pub(super) log: Log,
    /// Ports to connect to, by number of the node.
    pub(super) ports: Vec<u16>,
    pub(super) random: Random,
    /// Handshakes that were answered by something else than an upgrade.
    pub(super) refused: AtomicU64,
    /// First connection of a client, by its number: to this node.
    pub(super) first: fn(u32, usize) -> usize,
}

/// A client that runs by itself.
pub(super) struct Client {
    peer: Arc<Mutex<Peer>>,
    task: JoinHandle<()>,
}

impl Client {
    pub(super) fn start(runtime: &Handle, peer: Peer, shared: Arc<Shared>) -> Self {
        let peer = Arc::new(Mutex::new(peer));
        let task = runtime.spawn(run(Arc::clone(&peer), shared));
        Self { peer, task }
    }

    pub(super) fn with<T>(&self, look: impl FnOnce(&mut Peer) -> T) -> T {
        look(&mut self.peer.lock())
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(peer: Arc<Mutex<Peer>>, shared: Arc<Shared>) {
    let (c, protocol, carrier) = {
        let peer = peer.lock();
        (peer.c, peer.protocol(), peer.carrier())
    };
    let mut node = (shared.first)(c, shared.ports.len());
    loop {
        let port = shared.ports[node];
        let connected = match carrier {
            Carrier::WebSocket => timeout(PATIENCE, upgrade(port, c, protocol)).await,
            Carrier::Requests => {
                peer.lock().open();
                let first = peer.lock().take_messages().into_iter().next().unwrap_or_default();
                timeout(PATIENCE, stream(port, &first)).await
            }
        };
        match connected {
            Ok(Ok((socket, leftover))) => {
                shared.log.add(Event::Opened { c, node });
                if carrier == Carrier::WebSocket {
                    peer.lock().open();
                }
                carry(&peer, &shared, port, socket, leftover).await;
            }
            Ok(Err(error))
                if error.kind() == io::ErrorKind::ConnectionRefused && error.get_ref().is_some() =>
            {
                shared.refused.fetch_add(1, Ordering::Relaxed);
            }
            _ => {}
        }
        peer.lock().close(None);
        node = (node + 1 + shared.random.below(shared.ports.len().saturating_sub(1))) % shared.ports.len();
        tokio::time::sleep(Duration::from_millis(shared.random.between(20, 300) as u64)).await;
    }
}

/// Carries bytes until the connection ends.
async fn carry(peer: &Mutex<Peer>, shared: &Shared, port: u16, mut socket: TcpStream, mut leftover: Vec<u8>) {
    let mut buffer = vec![0; 8 << 10];
    // An SDK waits longer with each attempt; this is the least it takes to come back.
    let mut again = tokio::time::interval(Duration::from_millis(500 + shared.random.below(200) as u64));
    again.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut good = leftover.is_empty() || peer.lock().input(&mut leftover);
    let mut ended = peer.lock().ended();
    loop {
        let (output, messages, session) = {
            let mut peer = peer.lock();
            // A client that loses a subscription asks again at once.
            if peer.ended() != ended {
                ended = peer.ended();
                peer.subscribe_wanted();
            }
            let session = peer.session();
            let session = (session.0.to_owned(), session.1.to_owned());
            (peer.take_output(), peer.take_messages(), session)
        };
        if !good || socket.write_all(&output).await.is_err() {
            return;
        }
        for message in messages {
            if !send(port, &session, &message).await {
                return;
            }
        }
        tokio::select! {
            biased;
            read = timeout(SILENCE, socket.read(&mut buffer)) => match read {
                Ok(Ok(count)) if count > 0 => good = peer.lock().input(&mut buffer[..count]),
                _ => return,
            },
            _ = again.tick() => peer.lock().subscribe_wanted(),
        }
    }
}

/// The WebSocket handshake. Returns the socket and the bytes behind the response.
async fn upgrade(port: u16, c: u32, protocol: Protocol) -> io::Result<(TcpStream, Vec<u8>)> {
    let subprotocol = match protocol {
        Protocol::Json => "centrifuge-json",
        Protocol::Protobuf => "centrifuge-protobuf",
    };
    let request = format!(
        "GET /connection/websocket?user=u{c} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
         Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Protocol: {subprotocol}\r\n\r\n"
    );
    open(port, request.as_bytes(), b"HTTP/1.1 101 ").await
}

/// A response without an end, with the connect command as the request.
async fn stream(port: u16, command: &[u8]) -> io::Result<(TcpStream, Vec<u8>)> {
    let length = command.len();
    let mut request = format!(
        "POST /connection/http_stream HTTP/1.0\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n"
    )
    .into_bytes();
    request.extend_from_slice(command);
    open(port, &request, b"200 ").await
}

async fn open(port: u16, request: &[u8], status: &[u8]) -> io::Result<(TcpStream, Vec<u8>)> {
    let mut stream = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await?;
    stream.set_nodelay(true)?;
    stream.write_all(request).await?;
    let mut head = Vec::new();
    loop {
        if stream.read_buf(&mut head).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(end) = head.windows(4).position(|four| four == b"\r\n\r\n") {
            let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
            if !line.windows(status.len()).any(|part| part == status) {
                let line = String::from_utf8_lossy(line).into_owned();
                return Err(io::Error::new(io::ErrorKind::ConnectionRefused, line));
            }
            let leftover = head.split_off(end + 4);
            return Ok((stream, leftover));
        }
    }
}

/// Sends a message of a stream by a request. Returns false if it was not taken.
async fn send(port: u16, (session, node): &(String, String), message: &[u8]) -> bool {
    let data = String::from_utf8_lossy(message);
    let body = serde_json::json!({ "session": session, "node": node, "data": data }).to_string();
    let headers = "Content-Type: application/json\r\n";
    let request = super::api::request(port, "POST", "/emulation", headers, body.as_bytes());
    matches!(timeout(PATIENCE, request).await, Ok(Ok((200 | 204, _))))
}
