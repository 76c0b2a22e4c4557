//! A peer on a real socket: connects, reconnects at once when it is cut off, and recovers.

use crate::log::{Fault, Log};
use crate::peer::Peer;
use parking_lot::Mutex;
use spinward_wire::Protocol;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Something to do to a client.
#[derive(Clone, Copy, Debug)]
pub enum Order {
    /// Cut its socket.
    Kill,
    /// Read nothing for so long.
    Stall(Duration),
    /// Go away for so long.
    Away(Duration),
    /// Go away for good.
    Stop,
}

/// A client that runs by itself.
pub struct Client {
    peer: Arc<Mutex<Peer>>,
    orders: mpsc::UnboundedSender<Order>,
    task: JoinHandle<()>,
}

impl Client {
    /// Starts a client of the server at this address and path. Within a tokio runtime.
    #[must_use]
    pub fn start(peer: Peer, log: Log, address: SocketAddr, path: &str) -> Self {
        let peer = Arc::new(Mutex::new(peer));
        let (orders, received) = mpsc::unbounded_channel();
        let task = tokio::spawn(run(Arc::clone(&peer), log, address, path.to_owned(), received));
        Self { peer, orders, task }
    }

    /// Has it do something.
    pub fn order(&self, order: Order) {
        // One that has stopped does nothing more.
        let _ = self.orders.send(order);
    }

    /// Looks at its state.
    pub fn with<T>(&self, look: impl FnOnce(&Peer) -> T) -> T {
        look(&self.peer.lock())
    }

    /// Waits until it has stopped.
    pub async fn stopped(self) {
        let _ = self.task.await;
    }
}

async fn run(
    peer: Arc<Mutex<Peer>>,
    log: Log,
    address: SocketAddr,
    path: String,
    mut orders: mpsc::UnboundedReceiver<Order>,
) {
    loop {
        let (c, protocol) = {
            let peer = peer.lock();
            (peer.c, peer.protocol())
        };
        let Ok((stream, leftover)) = connect(address, &path, c, protocol).await else {
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        peer.lock().open();
        let ended = carry(&peer, &log, stream, leftover, &mut orders).await;
        peer.lock().close(None);
        match ended {
            Ended::Again => {}
            Ended::Away(time) => tokio::time::sleep(time).await,
            Ended::ForGood => return,
        }
        tokio::time::sleep(Duration::from_millis(u64::from(c % 30))).await;
    }
}

/// End of a connection.
enum Ended {
    Again,
    Away(Duration),
    ForGood,
}

/// Carries bytes until the connection ends.
async fn carry(
    peer: &Mutex<Peer>,
    log: &Log,
    mut stream: TcpStream,
    mut leftover: Vec<u8>,
    orders: &mut mpsc::UnboundedReceiver<Order>,
) -> Ended {
    let mut buffer = vec![0; 16 << 10];
    let mut again = tokio::time::interval(Duration::from_millis(50));
    let mut good = leftover.is_empty() || peer.lock().input(&mut leftover);
    loop {
        let output = peer.lock().take_output();
        if !good || stream.write_all(&output).await.is_err() {
            return Ended::Again;
        }
        tokio::select! {
            biased;
            order = orders.recv() => match order {
                Some(Order::Kill) => {
                    let mut peer = peer.lock();
                    log.fault(Fault::Kill { c: peer.c });
                    peer.close(None);
                    return Ended::Again;
                }
                Some(Order::Stall(time)) => {
                    let c = peer.lock().c;
                    log.fault(Fault::Slow { c });
                    tokio::time::sleep(time).await;
                }
                Some(Order::Away(time)) => {
                    let mut peer = peer.lock();
                    log.fault(Fault::Kill { c: peer.c });
                    peer.close(None);
                    return Ended::Away(time);
                }
                Some(Order::Stop) | None => return Ended::ForGood,
            },
            read = stream.read(&mut buffer) => match read {
                Ok(0) | Err(_) => return Ended::Again,
                Ok(count) => good = peer.lock().input(&mut buffer[..count]),
            },
            _ = again.tick() => peer.lock().subscribe_wanted(),
        }
    }
}

/// The WebSocket handshake. Answers the socket and what came behind the response.
async fn connect(
    address: SocketAddr,
    path: &str,
    c: u32,
    protocol: Protocol,
) -> io::Result<(TcpStream, Vec<u8>)> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(32 << 10)?;
    let mut stream = socket.connect(address).await?;
    stream.set_nodelay(true)?;
    let subprotocol = match protocol {
        Protocol::Json => "centrifuge-json",
        Protocol::Protobuf => "centrifuge-protobuf",
    };
    let request = format!(
        "GET {path}?user=u{c} HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Protocol: {subprotocol}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut head = Vec::new();
    loop {
        if stream.read_buf(&mut head).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(end) = head.windows(4).position(|four| four == b"\r\n\r\n") {
            if !head.starts_with(b"HTTP/1.1 101 ") {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            let leftover = head.split_off(end + 4);
            return Ok((stream, leftover));
        }
    }
}
