//! A TCP proxy that can cut connections, hold back what goes one way or both, and delay it.
//!
//! What is held back arrives when the passage opens again, as TCP would send it once more after a partition.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::watch;

/// State of the passage between the two sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passage {
    /// Connections end, and new ones are closed at once.
    pub cut: bool,
    /// Bytes of the connecting side get through.
    pub there: bool,
    /// Bytes of the server get through.
    pub back: bool,
    /// Delay of everything, each way.
    pub delay: Duration,
}

impl Passage {
    /// Nothing in the way.
    pub const OPEN: Self = Self { cut: false, there: true, back: true, delay: Duration::ZERO };
}

/// A proxy. It listens for as long as its runtime runs.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    passage: watch::Sender<Passage>,
}

impl Proxy {
    /// Starts a proxy on a free port of 127.0.0.1, in front of these ports, which get connections in turn.
    ///
    /// # Errors
    /// It cannot listen.
    pub fn start(runtime: &Handle, targets: Vec<u16>) -> io::Result<Self> {
        Self::listen(runtime, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), targets)
    }

    /// Starts a proxy on another address of the loopback network, in front of the same port of 127.0.0.1: clients that
    /// are told this address, or ports alone, go through it.
    ///
    /// # Errors
    /// It cannot listen.
    pub fn beside(runtime: &Handle, address: Ipv4Addr, port: u16) -> io::Result<Self> {
        Self::listen(runtime, SocketAddr::from((address, port)), vec![port])
    }

    fn listen(runtime: &Handle, address: SocketAddr, targets: Vec<u16>) -> io::Result<Self> {
        let (passage, state) = watch::channel(Passage::OPEN);
        let _within = runtime.enter();
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let port = listener.local_addr()?.port();
        runtime.spawn(accept(listener, targets, state));
        Ok(Self { port, passage })
    }

    /// Its port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Changes the passage.
    pub fn set(&self, passage: Passage) {
        self.passage.send_replace(passage);
    }
}

async fn accept(listener: TcpListener, targets: Vec<u16>, state: watch::Receiver<Passage>) {
    let turn = Arc::new(AtomicUsize::new(0));
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let (targets, turn, state) = (targets.clone(), Arc::clone(&turn), state.clone());
        tokio::spawn(async move {
            let start = turn.fetch_add(1, Ordering::Relaxed);
            // The next one in place of one that does not listen, as balancers do.
            for step in 0..targets.len() {
                let port = targets[(start + step) % targets.len()];
                let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
                if state.borrow().cut {
                    return;
                }
                if let Ok(server) = TcpStream::connect(address).await {
                    return carry(stream, server, state).await;
                }
            }
        });
    }
}

async fn carry(near: TcpStream, far: TcpStream, mut state: watch::Receiver<Passage>) {
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let (near_read, near_write) = near.into_split();
    let (far_read, far_write) = far.into_split();
    let there = pump(near_read, far_write, state.clone(), |passage| passage.there);
    let back = pump(far_read, near_write, state.clone(), |passage| passage.back);
    tokio::select! {
        _ = async { tokio::join!(there, back) } => {}
        _ = state.wait_for(|passage| passage.cut) => {}
    }
}

async fn pump(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    mut state: watch::Receiver<Passage>,
    open: fn(&Passage) -> bool,
) {
    let mut buffer = vec![0; 16 << 10];
    loop {
        let count = from.read(&mut buffer).await.unwrap_or(0);
        let Ok(passage) = state.wait_for(open).await.map(|passage| *passage) else { return };
        if count == 0 {
            // Half-closed: the other direction goes on.
            let _ = to.shutdown().await;
            return;
        }
        if !passage.delay.is_zero() {
            tokio::time::sleep(passage.delay).await;
        }
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::timeout;

    const SOON: Duration = Duration::from_millis(200);

    #[tokio::test]
    async fn holds_back_and_cuts() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let proxy = Proxy::start(&Handle::current(), vec![port]).unwrap();
        let mut near = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port())).await.unwrap();
        let (mut far, _) = listener.accept().await.unwrap();
        let mut byte = [0];
        proxy.set(Passage { there: false, ..Passage::OPEN });
        near.write_all(b"1").await.unwrap();
        far.write_all(b"2").await.unwrap();
        assert!(timeout(SOON, far.read(&mut byte)).await.is_err(), "held back");
        near.read_exact(&mut byte).await.unwrap();
        assert_eq!(byte, *b"2", "the other way is open");
        proxy.set(Passage::OPEN);
        far.read_exact(&mut byte).await.unwrap();
        assert_eq!(byte, *b"1", "nothing is lost");
        proxy.set(Passage { cut: true, ..Passage::OPEN });
        assert_eq!(near.read(&mut byte).await.unwrap_or(0), 0);
        let mut new = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port())).await.unwrap();
        assert_eq!(new.read(&mut byte).await.unwrap_or(0), 0);
    }
}
