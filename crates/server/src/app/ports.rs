//! The ports of a server, each on a listener of its kind.

use super::RunError;
use crate::admission::Networks;
#[cfg(unix)]
use crate::http::Unix;
use crate::http::{Limits, Listener, Proxied, Service, Tcp, accept};
use crate::tls::TlsPort;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A port that is listened on.
pub(super) enum Bound {
    Tcp(Tcp),
    #[cfg(unix)]
    Unix(Unix),
}

impl Bound {
    /// Listens on `address`, the value of `option`: that of a network interface, or `unix:` and a path.
    pub(super) async fn bind(option: &'static str, address: &str, port: u16) -> Result<Self, RunError> {
        let failed = |address: String| move |source| RunError::Listen { option, address, source };
        #[cfg(unix)]
        if let Some(path) = address.strip_prefix("unix:") {
            return Unix::listen(path.as_ref()).map(Self::Unix).map_err(failed(address.to_owned()));
        }
        let shown = if address.is_empty() { format!("port {port}") } else { format!("{address}:{port}") };
        Tcp::listen(address, port).await.map(Self::Tcp).map_err(failed(shown))
    }

    /// A socket of TCP that another process listens on.
    #[cfg(unix)]
    pub(super) fn passed_tcp(listener: std::net::TcpListener) -> std::io::Result<Self> {
        Tcp::passed(listener).map(Self::Tcp)
    }

    /// A Unix socket that another process listens on.
    #[cfg(unix)]
    pub(super) fn passed_unix(listener: std::os::unix::net::UnixListener) -> std::io::Result<Self> {
        Unix::passed(listener).map(Self::Unix)
    }

    /// The address, for people.
    pub(super) fn address(&self) -> String {
        match self {
            Self::Tcp(tcp) => tcp.address(),
            #[cfg(unix)]
            Self::Unix(unix) => unix.address(),
        }
    }

    /// The address, where it is one of TCP.
    pub(super) fn socket_address(&self) -> std::io::Result<SocketAddr> {
        match self {
            Self::Tcp(tcp) => tcp.local_addr(),
            #[cfg(unix)]
            Self::Unix(_) => Err(std::io::ErrorKind::Unsupported.into()),
        }
    }

    /// Serves connections until `stop` changes, over TLS if there is any. Those from `proxies` begin with a PROXY
    /// protocol header.
    pub(super) fn serve<S: Service>(
        self,
        tls: Option<Arc<TlsPort>>,
        proxies: Networks,
        service: S,
        limits: Limits,
        stop: watch::Receiver<bool>,
    ) -> JoinHandle<()> {
        match self {
            Self::Tcp(tcp) => serve(tcp, tls, proxies, service, limits, stop),
            #[cfg(unix)]
            Self::Unix(unix) => serve(unix, tls, proxies, service, limits, stop),
        }
    }
}

fn serve<L: Listener, S: Service>(
    listener: L,
    tls: Option<Arc<TlsPort>>,
    proxies: Networks,
    service: S,
    limits: Limits,
    stop: watch::Receiver<bool>,
) -> JoinHandle<()> {
    let service = Arc::new(service);
    if proxies.is_empty() {
        tokio::spawn(accept(listener, tls, service, limits, stop))
    } else {
        tokio::spawn(accept(Proxied::new(listener, proxies), tls, service, limits, stop))
    }
}
