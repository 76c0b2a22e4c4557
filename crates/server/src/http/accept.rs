//! Accepting connections, and refusing them.

use super::{Io, Limits, Listener, Peer, Service, connection, secure};
use crate::tls::TlsPort;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, watch};

/// Refused connections that are answered at a time; further ones are closed without an answer.
const MAX_REFUSALS: usize = 1_024;

/// Time a refused client may take to send the head of its request and to read the answer.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(2);

/// Accepts connections until `stop` changes, over TLS if there is any.
pub(crate) async fn accept<L: Listener, S: Service>(
    mut listener: L,
    tls: Option<Arc<TlsPort>>,
    service: Arc<S>,
    limits: Limits,
    mut stop: watch::Receiver<bool>,
) {
    let refusals = Arc::new(Semaphore::new(MAX_REFUSALS));
    loop {
        let (stream, address) = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.changed() => return,
        };
        begin(stream, address, tls.as_ref(), &service, limits, &refusals, &stop);
    }
}

/// Serves an accepted connection by a task of its own.
fn begin<I: Io, S: Service>(
    stream: I,
    address: SocketAddr,
    tls: Option<&Arc<TlsPort>>,
    service: &Arc<S>,
    limits: Limits,
    refusals: &Arc<Semaphore>,
    stop: &watch::Receiver<bool>,
) {
    let (service, stop) = (Arc::clone(service), stop.clone());
    match service.enter(address) {
        Ok(entrance) => {
            let peer = Peer::new(address, entrance);
            if let Some(tls) = tls {
                let tls = Arc::clone(tls);
                tokio::spawn(secure::encrypted(stream, tls, peer, service, limits, None, stop));
            } else {
                tokio::spawn(connection(stream, peer, service, limits, None, stop));
            }
        }
        Err(cause) => {
            let Ok(permit) = Arc::clone(refusals).try_acquire_owned() else { return };
            let limits = Limits {
                head: REFUSAL_TIMEOUT,
                first_head: REFUSAL_TIMEOUT,
                idle: REFUSAL_TIMEOUT,
                write: REFUSAL_TIMEOUT,
                requests: 1,
                ..Limits::default()
            };
            let tls = tls.map(Arc::clone);
            let peer = Peer::new(address, None);
            tokio::spawn(async move {
                if let Some(tls) = tls {
                    secure::encrypted(stream, tls, peer, service, limits, Some(cause), stop).await;
                } else {
                    connection(stream, peer, service, limits, Some(cause), stop).await;
                }
                drop(permit);
            });
        }
    }
}
