//! Listening and accepting.

use super::{Limits, Peer, Service, connection};
use parking_lot::Mutex;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

/// Connections that wait to be accepted. The system takes less where it allows less (`net.core.somaxconn`).
const BACKLOG: i32 = i32::MAX;

/// Refused connections that are answered at a time; further ones are closed without an answer.
const MAX_REFUSALS: usize = 1_024;

/// Time a refused client may take to send the head of its request and to read the answer.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(2);

/// Pause in accepting when the system has no resources for a further connection.
const PAUSE: Duration = Duration::from_millis(100);

/// Listens on an address. The empty one, `0.0.0.0` and `::` all mean every address of both families, as in Go.
pub(crate) async fn listen(address: &str, port: u16) -> io::Result<TcpListener> {
    let parsed = if address.is_empty() { Ok(IpAddr::V6(Ipv6Addr::UNSPECIFIED)) } else { address.parse() };
    if let Ok(address) = parsed
        && address.is_unspecified()
    {
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
            Ok(listener) => return Ok(listener),
            Err(error) => failure = Some(error),
        }
    }
    Err(failure.unwrap_or_else(|| io::ErrorKind::AddrNotAvailable.into()))
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.ip() == Ipv6Addr::UNSPECIFIED {
        socket.set_only_v6(false)?;
    }
    // Elsewhere it would let another process take the port.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Accepts connections until `stop` changes.
pub(crate) async fn accept<S: Service>(
    listener: TcpListener,
    service: Arc<S>,
    limits: Limits,
    mut stop: watch::Receiver<bool>,
) {
    let refusals = Arc::new(Semaphore::new(MAX_REFUSALS));
    let mut exhausted = Exhausted::default();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.changed() => return,
        };
        match accepted {
            Ok((stream, peer)) => begin(stream, peer, &service, limits, &refusals, &stop),
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                exhausted.log(&error);
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Serves an accepted connection by a task of its own.
fn begin<S: Service>(
    stream: TcpStream,
    peer: SocketAddr,
    service: &Arc<S>,
    limits: Limits,
    refusals: &Arc<Semaphore>,
    stop: &watch::Receiver<bool>,
) {
    // A socket of both families has IPv4 clients as ::ffff:1.2.3.4.
    let address = SocketAddr::new(peer.ip().to_canonical(), peer.port());
    let (service, stop) = (Arc::clone(service), stop.clone());
    match service.enter(address) {
        Ok(entrance) => {
            let peer = Peer { address, entrance: Mutex::new(entrance) };
            tokio::spawn(connection(stream, peer, service, limits, None, stop));
        }
        Err(refused) => {
            let Ok(permit) = Arc::clone(refusals).try_acquire_owned() else { return };
            let limits =
                Limits { head: REFUSAL_TIMEOUT, idle: REFUSAL_TIMEOUT, write: REFUSAL_TIMEOUT, requests: 1 };
            let peer = Peer { address, entrance: Mutex::new(None) };
            tokio::spawn(async move {
                connection(stream, peer, service, limits, Some(refused.response()), stop).await;
                drop(permit);
            });
        }
    }
}

/// Returns true if only the connection that was to be accepted has failed.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted, NetworkUnreachable, TimedOut};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted | NetworkUnreachable | TimedOut)
}

/// A lack of descriptors or memory, which can last: told once a second.
#[derive(Default)]
struct Exhausted {
    logged: Option<Instant>,
}

impl Exhausted {
    fn log(&mut self, error: &io::Error) {
        if self.logged.is_some_and(|logged| logged.elapsed() < Duration::from_secs(1)) {
            return;
        }
        self.logged = Some(Instant::now());
        tracing::warn!(
            %error,
            open_files_limit = open_files_limit(),
            change = "raise the limit of open files (ulimit -n, LimitNOFILE of systemd)",
            "cannot accept connections"
        );
    }
}

/// Returns the number of descriptors that the process may have; 0 for no limit.
pub(crate) fn open_files_limit() -> u64 {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, getrlimit};
        getrlimit(Resource::Nofile).current.unwrap_or(0)
    }
    #[cfg(not(unix))]
    0
}
