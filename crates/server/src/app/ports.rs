//! The ports of a server, each on a listener of its kind.

use super::RunError;
use super::serve::Router;
#[cfg(unix)]
use crate::http::Unix;
use crate::http::{Limits, Listener, Tcp, accept};
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

    /// Serves connections until `stop` changes.
    pub(super) fn serve(self, router: Router, limits: Limits, stop: watch::Receiver<bool>) -> JoinHandle<()> {
        let router = Arc::new(router);
        match self {
            Self::Tcp(tcp) => tokio::spawn(accept(tcp, router, limits, stop)),
            #[cfg(unix)]
            Self::Unix(unix) => tokio::spawn(accept(unix, router, limits, stop)),
        }
    }
}
