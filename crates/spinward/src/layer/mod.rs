//! Layers between a socket and the bytes of a connection, such as TLS.
//!
//! A [`Layer`] does no I/O: received bytes go in, plain bytes and bytes to send come out. So the same layer works below
//! an HTTP server, as a [`Layered`] stream, and later in a shard, whose poller moves its bytes without a buffer or a
//! task for each connection. See `docs/adr/0028-tls-in-shards.md`.

mod stream;

pub use stream::{Layered, Parts};

use std::io;

/// Most plain bytes that are sealed at a time: a record of TLS. A peer that does not read has no more than that in
/// sealed form waiting for it.
pub(crate) const PIECE: usize = 16 << 10;

/// A transformation of the bytes of one connection.
///
/// An error of any method ends the connection.
pub trait Layer: Send + 'static {
    /// Takes received bytes, which it may change. Appends to `plain` what they hold for the connection, and to `sealed`
    /// what is to be sent in answer. Bytes of a record that is not complete are kept for the next call.
    ///
    /// # Errors
    /// The peer violates the protocol of the layer. `sealed` may hold a last message to it.
    fn open(&mut self, received: &mut [u8], plain: &mut Vec<u8>, sealed: &mut Vec<u8>) -> io::Result<()>;

    /// Appends to `sealed` the form in which plain bytes are sent. All of them are taken.
    ///
    /// # Errors
    /// The layer can send nothing more.
    fn seal(&mut self, plain: &[u8], sealed: &mut Vec<u8>) -> io::Result<()>;

    /// Appends to `sealed` the end of what is sent. Nothing is sealed after it.
    fn finish(&mut self, sealed: &mut Vec<u8>);

    /// Returns true once the peer has said that it sends nothing more.
    fn has_ended(&self) -> bool;
}

impl<L: Layer + ?Sized> Layer for Box<L> {
    fn open(&mut self, received: &mut [u8], plain: &mut Vec<u8>, sealed: &mut Vec<u8>) -> io::Result<()> {
        (**self).open(received, plain, sealed)
    }

    fn seal(&mut self, plain: &[u8], sealed: &mut Vec<u8>) -> io::Result<()> {
        (**self).seal(plain, sealed)
    }

    fn finish(&mut self, sealed: &mut Vec<u8>) {
        (**self).finish(sealed);
    }

    fn has_ended(&self) -> bool {
        (**self).has_ended()
    }
}
