//! Admission of connections: caps for each address, a cap for connections that are not logged in, and the state in
//! which the node takes no more.
//!
//! A connection is counted when it is accepted. Behind a trusted proxy all connections have the proxy's address, so
//! there the address of the client counts, which is known when the WebSocket handshake has come. What counts is a
//! value: an [`Entrance`] for the HTTP connection, a [`Login`] from the handshake to the login, a [`Permit`] for as
//! long as the client stays. Dropping it takes it off.

mod addresses;
mod forwarded;
mod memory;
mod overload;
mod pace;
mod refused;

pub(crate) use forwarded::{Networks, Proxies, ProxyError};
pub(crate) use memory::limit as memory_limit;
pub(crate) use overload::{Overload, OverloadLimits, Reason};
pub(crate) use refused::{ALL, Refused};

use addresses::{Addresses, Key, Kind};
use http::HeaderMap;
use pace::Pace;
use refused::Refusals;
use spinward::clock::Clock;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Caps of connections. 0 sets none.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Caps {
    /// `client.ip_connection_limit`.
    pub(crate) connections: u32,
    /// `client.ip_connection_rate_limit`.
    pub(crate) rate: u32,
    /// `client.ip_unauthenticated_connection_limit`.
    pub(crate) unauthenticated: u32,
    /// `client.unauthenticated_connection_limit`, of all addresses together.
    pub(crate) unauthenticated_in_all: u32,
    /// `client.connection_rate_limit`.
    pub(crate) node_rate: u32,
    /// `client.connection_rate_wait`.
    pub(crate) node_rate_wait: Duration,
}

impl Caps {
    /// Returns true if addresses are counted at all.
    const fn of_addresses(&self) -> bool {
        self.connections > 0 || self.rate > 0 || self.unauthenticated > 0
    }
}

/// Decides which connections come in.
#[derive(Clone)]
pub(crate) struct Admission(Arc<Inner>);

struct Inner {
    caps: Caps,
    proxies: Proxies,
    overload: Arc<Overload>,
    addresses: Addresses,
    unauthenticated: AtomicU32,
    /// `None` where connections that come too fast are refused, and do not wait.
    pace: Option<Pace>,
    refusals: Refusals,
    clock: Clock,
}

/// Permits that an HTTP connection counts by.
pub(crate) struct Entrance {
    connection: Option<Arc<Permit>>,
    waiting: Option<Waiting>,
}

impl Entrance {
    /// The connection is not a client that has yet to log in: it serves requests.
    pub(crate) fn settle(&mut self) {
        self.waiting = None;
    }
}

/// A connection that is not logged in.
struct Waiting {
    _in_all: Permit,
    _of_address: Option<Permit>,
}

/// Permits that a WebSocket counts by until its login.
pub(crate) struct Login {
    connection: Option<Arc<Permit>>,
    _waiting: Waiting,
}

impl Login {
    /// Returns the permit that it counts by from then on.
    pub(crate) fn connection(&self) -> Option<Arc<Permit>> {
        self.connection.clone()
    }
}

/// One that is counted; dropped, it is not.
pub(crate) struct Permit {
    admission: Arc<Inner>,
    counted: Counted,
}

enum Counted {
    InAll,
    Of(Key, Kind),
}

impl Drop for Permit {
    fn drop(&mut self) {
        match self.counted {
            Counted::InAll => {
                self.admission.unauthenticated.fetch_sub(1, Ordering::Relaxed);
            }
            Counted::Of(key, kind) => self.admission.addresses.leave(key, kind, self.admission.now()),
        }
    }
}

impl Admission {
    pub(crate) fn new(caps: Caps, proxies: Proxies, overload: Arc<Overload>, clock: Clock) -> Self {
        Self(Arc::new(Inner {
            caps,
            proxies,
            overload,
            addresses: Addresses::default(),
            unauthenticated: AtomicU32::new(0),
            pace: Pace::new(caps.node_rate, caps.node_rate_wait),
            refusals: Refusals::default(),
            clock,
        }))
    }

    /// Takes the turn of a client if it has come. Returns true where connections never wait for one.
    pub(crate) fn take_turn(&self) -> bool {
        self.0.pace.as_ref().is_none_or(|pace| pace.take(self.0.clock.now()))
    }

    /// Waits for the turn of a client.
    pub(crate) async fn turn(&self) -> Result<(), Refused> {
        let Some(pace) = &self.0.pace else { return Ok(()) };
        match pace.wait(self.0.clock.now()) {
            Some(wait) => {
                tokio::time::sleep(wait).await;
                Ok(())
            }
            None => self.0.noted(Err(Refused::Rate)),
        }
    }

    /// Counts in a connection that was accepted.
    pub(crate) fn enter(&self, peer: IpAddr) -> Result<Entrance, Refused> {
        self.0.noted(self.0.enter(peer))
    }

    /// Counts in a client whose handshake came over a connection. Answers the client's address as well.
    pub(crate) fn open(
        &self,
        entrance: &mut Option<Entrance>,
        peer: SocketAddr,
        headers: &HeaderMap,
    ) -> Result<(SocketAddr, Login), Refused> {
        self.0.noted(self.0.open(entrance, peer, headers))
    }

    /// Counts and logs a refusal that was decided elsewhere.
    pub(crate) fn note(&self, refused: Refused) {
        self.0.refusals.note(refused, self.0.clock.now());
    }

    /// Returns true if a peer's information about its clients is trusted.
    pub(crate) fn trusts(&self, peer: IpAddr) -> bool {
        self.0.proxies.trusts(peer)
    }

    /// The header that names the client's address.
    pub(crate) fn address_header(&self) -> &http::HeaderName {
        self.0.proxies.header()
    }

    /// Connections that are not logged in.
    pub(crate) fn unauthenticated(&self) -> u32 {
        self.0.unauthenticated.load(Ordering::Relaxed)
    }

    /// Returns the number of refused connections for each reason.
    pub(crate) fn refusals(&self) -> impl Iterator<Item = (Refused, u64)> {
        ALL.into_iter().map(|refused| (refused, self.0.refusals.count(refused)))
    }

    /// The state in which no clients are taken.
    pub(crate) fn overload(&self) -> &Arc<Overload> {
        &self.0.overload
    }
}

impl Inner {
    fn now(&self) -> u64 {
        self.clock.now().mono
    }

    fn noted<T>(&self, result: Result<T, Refused>) -> Result<T, Refused> {
        if let Err(refused) = result {
            self.refusals.note(refused, self.clock.now());
        }
        result
    }

    fn enter(self: &Arc<Self>, peer: IpAddr) -> Result<Entrance, Refused> {
        let counted = self.caps.of_addresses() && !self.proxies.trusts(peer);
        let key = counted.then(|| Key::of(peer));
        let connection = key.map(|key| self.connection(key)).transpose()?.flatten();
        Ok(Entrance { connection, waiting: Some(self.waiting(key)?) })
    }

    fn open(
        self: &Arc<Self>,
        entrance: &mut Option<Entrance>,
        peer: SocketAddr,
        headers: &HeaderMap,
    ) -> Result<(SocketAddr, Login), Refused> {
        if let Some(reason) = self.overload.overloaded() {
            return Err(Refused::Overloaded(reason));
        }
        let proxied = self.proxies.trusts(peer.ip());
        let client = if proxied { self.proxies.client(peer, headers) } else { peer };
        let key = self.caps.of_addresses().then(|| Key::of(client.ip()));
        // A connection of HTTP/2 may carry many clients. The first counts in place of the connection.
        let further = entrance.is_none();
        let mut before = entrance.take().unwrap_or(Entrance { connection: None, waiting: None });
        if proxied {
            before.waiting = None;
        }
        if proxied || further {
            before.connection = key.map(|key| self.connection(key)).transpose()?.flatten();
        }
        let waiting = match before.waiting {
            Some(waiting) => waiting,
            None => self.waiting(key)?,
        };
        Ok((client, Login { connection: before.connection, _waiting: waiting }))
    }

    fn connection(self: &Arc<Self>, key: Key) -> Result<Option<Arc<Permit>>, Refused> {
        let caps = &self.caps;
        if caps.rate > 0 && !self.addresses.on_time(key, caps.rate, self.now()) {
            return Err(Refused::IpRate);
        }
        if caps.connections == 0 {
            return Ok(None);
        }
        if !self.addresses.enter(key, Kind::Connection, caps.connections, self.now()) {
            return Err(Refused::IpConnections);
        }
        Ok(Some(Arc::new(self.permit(Counted::Of(key, Kind::Connection)))))
    }

    fn waiting(self: &Arc<Self>, key: Option<Key>) -> Result<Waiting, Refused> {
        let caps = &self.caps;
        let before = self.unauthenticated.fetch_add(1, Ordering::Relaxed);
        let in_all = self.permit(Counted::InAll);
        if caps.unauthenticated_in_all > 0 && before >= caps.unauthenticated_in_all {
            return Err(Refused::Unauthenticated);
        }
        let Some(key) = key.filter(|_| caps.unauthenticated > 0) else {
            return Ok(Waiting { _in_all: in_all, _of_address: None });
        };
        if !self.addresses.enter(key, Kind::Unauthenticated, caps.unauthenticated, self.now()) {
            return Err(Refused::IpUnauthenticated);
        }
        let of_address = self.permit(Counted::Of(key, Kind::Unauthenticated));
        Ok(Waiting { _in_all: in_all, _of_address: Some(of_address) })
    }

    fn permit(self: &Arc<Self>, counted: Counted) -> Permit {
        Permit { admission: Arc::clone(self), counted }
    }
}

#[cfg(test)]
mod tests;
