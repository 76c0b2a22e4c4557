//! A poller without sockets, for systems without epoll: tasks carry all bytes.

use crate::layer::{Layer, Layered, Parts};
use crate::mailbox::accepted::Stream;
use crate::shard::Driver;

pub(super) struct Poller;
pub(super) struct Epoll;
pub(super) struct Watched;

impl Epoll {
    pub(super) fn watch(self) -> std::io::Result<Watched> {
        Ok(Watched)
    }
}

impl Watched {
    pub(super) async fn ready(&self) {
        std::future::pending().await
    }
}

impl Poller {
    pub(super) fn new() -> std::io::Result<(Self, Epoll)> {
        Ok((Self, Epoll))
    }

    pub(super) const fn woken(&mut self) {}

    pub(super) fn has_ready(&self) -> bool {
        false
    }

    /// Gives the socket back. Within a runtime only.
    pub(super) fn add(
        &mut self,
        _: u32,
        stream: std::net::TcpStream,
    ) -> std::io::Result<Option<Box<dyn Stream>>> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        Ok(Some(Box::new(tokio::net::TcpStream::from_std(stream)?)))
    }

    /// Gives the socket back. Within a runtime only.
    pub(super) fn add_layered(
        &mut self,
        _: u32,
        parts: Parts<std::net::TcpStream, Box<dyn Layer>>,
        _: &mut Vec<u8>,
    ) -> std::io::Result<Option<Box<dyn Stream>>> {
        let Parts { stream, layer, plain, sealed } = parts;
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        let stream = tokio::net::TcpStream::from_std(stream)?;
        Ok(Some(Box::new(Layered::from_parts(Parts { stream, layer, plain, sealed }))))
    }

    pub(super) fn remove(&mut self, _: u32) {}

    pub(super) fn resume(&mut self, _: u32) -> bool {
        false
    }
}

impl Driver {
    pub(super) fn read_sockets(&mut self, _: &mut Watched) {}

    pub(super) fn flush_socket(&mut self, slot: u32) {
        debug_assert!(false, "slot {slot} has no carrier");
    }
}
