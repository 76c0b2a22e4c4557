//! Listening: where connections come from.

use super::Io;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

/// Connections that wait to be accepted. The system takes less where it allows less (`net.core.somaxconn`).
const BACKLOG: i32 = i32::MAX;

/// Pause in accepting when the system has no resources for a further connection.
const PAUSE: Duration = Duration::from_millis(100);

/// A source of connections.
pub(crate) trait Listener: Send + 'static {
    /// The stream of a connection.
    type Io: Io;

    /// Waits for the next connection, however often accepting fails before. Dropping the future loses none.
    fn accept(&mut self) -> impl Future<Output = (Self::Io, SocketAddr)> + Send;

    /// The address that it listens on, for people.
    fn address(&self) -> String;
}

/// TCP.
pub(crate) struct Tcp {
    listener: TcpListener,
    exhausted: Exhausted,
}

impl Tcp {
    /// Listens on an address. The empty one, `0.0.0.0` and `::` all mean every address of both families, as in Go.
    ///
    /// # Errors
    /// The address does not resolve, or cannot be listened on.
    pub(crate) async fn listen(address: &str, port: u16) -> io::Result<Self> {
        Ok(Self { listener: listen(address, port).await?, exhausted: Exhausted::default() })
    }

    /// Accepts on a socket that another process listens on.
    ///
    /// # Errors
    /// The socket cannot be used.
    #[cfg(unix)]
    pub(crate) fn passed(listener: std::net::TcpListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        no_delay(&Socket::from(listener.try_clone()?));
        Ok(Self { listener: TcpListener::from_std(listener)?, exhausted: Exhausted::default() })
    }

    /// The address that it listens on.
    ///
    /// # Errors
    /// The system does not say.
    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

impl Listener for Tcp {
    type Io = TcpStream;

    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            match self.listener.accept().await {
                // A socket of both families has IPv4 clients as ::ffff:1.2.3.4.
                Ok((stream, peer)) => {
                    return (stream, SocketAddr::new(peer.ip().to_canonical(), peer.port()));
                }
                Err(error) => self.exhausted.pause(&error).await,
            }
        }
    }

    fn address(&self) -> String {
        self.local_addr().map_or_else(|_| "unknown".to_owned(), |address| address.to_string())
    }
}

async fn listen(address: &str, port: u16) -> io::Result<TcpListener> {
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

/// Has the system send small answers at once on each connection that is accepted, where they inherit this from the
/// listener: a call less for each. [`Io::prepare`] does it elsewhere.
fn no_delay(listener: &Socket) {
    if cfg!(target_os = "linux") {
        // Without it connections are slower, no worse.
        let _ = listener.set_tcp_nodelay(true);
    }
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
    no_delay(&socket);
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// A Unix socket. Its file is removed when the listener is dropped, unless another process made it.
#[cfg(unix)]
pub(crate) struct Unix {
    listener: tokio::net::UnixListener,
    /// The file to remove.
    path: Option<std::path::PathBuf>,
    exhausted: Exhausted,
}

#[cfg(unix)]
impl Unix {
    /// Listens on a path. The socket of a process that is gone is replaced.
    ///
    /// # Errors
    /// The path cannot be listened on, or another process listens there.
    pub(crate) fn listen(path: &std::path::Path) -> io::Result<Self> {
        use std::os::unix::fs::FileTypeExt;
        let is_socket = std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket());
        if is_socket {
            match std::os::unix::net::UnixStream::connect(path) {
                Ok(_) => return Err(io::ErrorKind::AddrInUse.into()),
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path)?,
                Err(error) => return Err(error),
            }
        }
        let listener = tokio::net::UnixListener::bind(path)?;
        Ok(Self { listener, path: Some(path.to_owned()), exhausted: Exhausted::default() })
    }

    /// Accepts on a socket that another process listens on.
    ///
    /// # Errors
    /// The socket cannot be used.
    pub(crate) fn passed(listener: std::os::unix::net::UnixListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let listener = tokio::net::UnixListener::from_std(listener)?;
        Ok(Self { listener, path: None, exhausted: Exhausted::default() })
    }
}

#[cfg(unix)]
impl Drop for Unix {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            let _ = std::fs::remove_file(path);
        }
    }
}

#[cfg(unix)]
impl Listener for Unix {
    type Io = tokio::net::UnixStream;

    /// Peers count as this machine: those that may open the file.
    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => return (stream, (Ipv4Addr::LOCALHOST, 0).into()),
                Err(error) => self.exhausted.pause(&error).await,
            }
        }
    }

    fn address(&self) -> String {
        let address = self.listener.local_addr().ok();
        let path = address.as_ref().and_then(|address| address.as_pathname());
        path.map_or_else(|| "unix".to_owned(), |path| format!("unix:{}", path.display()))
    }
}

/// A lack of descriptors or memory, which can last: told once a second.
#[derive(Default)]
struct Exhausted {
    logged: Option<Instant>,
}

impl Exhausted {
    /// Waits before the next try, unless only the connection that was to be accepted has failed.
    async fn pause(&mut self, error: &io::Error) {
        if is_of_one_connection(error) {
            return;
        }
        self.log(error);
        tokio::time::sleep(PAUSE).await;
    }

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

/// Returns true if only the connection that was to be accepted has failed.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted, NetworkUnreachable, TimedOut};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted | NetworkUnreachable | TimedOut)
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
