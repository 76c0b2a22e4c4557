//! Byte streams that HTTP is served on.

use crate::tls::TlsLayer;
use bytes::Bytes;
use socket2::SockRef;
use spinward::layer::{Layer, Layered, Parts};
use spinward::transport::websocket::Admitted;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;

/// Bytes that the system buffers of the answers to a peer.
const SEND_BUFFER: usize = 64 << 10;

/// The stream of a connection, as a [`Listener`](super::Listener) accepts it.
pub(crate) trait Io: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// Prepares a stream that was accepted.
    fn prepare(&self) {}

    /// Has the system hold no more than a few answers for a peer that does not read, and give the connection up after
    /// `limit`. Without that its buffers take megabytes before a write fails.
    fn bound(&self, limit: Duration);

    /// Undoes the limit of [`Io::bound`] for a stream that leaves HTTP.
    fn release(&self) {}

    /// Hands a connection whose handshake is answered to a shard. `leftover` was read behind the handshake.
    ///
    /// # Errors
    /// The stream cannot be handed over.
    fn hand_over(self, admitted: Admitted, leftover: Bytes) -> io::Result<()>;

    /// The same for a stream of this kind under a layer.
    ///
    /// # Errors
    /// The stream cannot be handed over.
    fn hand_over_layered(
        parts: Parts<Self, Box<dyn Layer>>,
        admitted: Admitted,
        leftover: Bytes,
    ) -> io::Result<()>
    where
        Self: Sized,
    {
        admitted.serve_stream(Layered::from_parts(parts), leftover);
        Ok(())
    }
}

/// A stream under TLS.
pub(crate) type Encrypted<I> = Layered<I, TlsLayer>;

impl<I: Io> Io for Encrypted<I> {
    fn prepare(&self) {
        self.stream().prepare();
    }

    fn bound(&self, limit: Duration) {
        self.stream().bound(limit);
    }

    fn release(&self) {
        self.stream().release();
    }

    fn hand_over(self, admitted: Admitted, leftover: Bytes) -> io::Result<()> {
        let Parts { stream, layer, plain, sealed } = self.into_parts();
        I::hand_over_layered(Parts { stream, layer: Box::new(layer), plain, sealed }, admitted, leftover)
    }
}

impl Io for TcpStream {
    #[cfg(not(target_os = "linux"))]
    fn prepare(&self) {
        // Without it the connection is slower, no worse. On Linux the listener has it.
        let _ = self.set_nodelay(true);
    }

    fn bound(&self, limit: Duration) {
        let socket = SockRef::from(self);
        // What the system does not offer is left to the guard alone.
        let _ = socket.set_send_buffer_size(SEND_BUFFER);
        #[cfg(target_os = "linux")]
        let _ = socket.set_tcp_user_timeout(Some(limit));
        #[cfg(not(target_os = "linux"))]
        let _ = limit;
    }

    fn release(&self) {
        #[cfg(target_os = "linux")]
        let _ = SockRef::from(self).set_tcp_user_timeout(None);
    }

    fn hand_over(self, admitted: Admitted, leftover: Bytes) -> io::Result<()> {
        admitted.serve(self.into_std()?, leftover);
        Ok(())
    }

    fn hand_over_layered(
        parts: Parts<Self, Box<dyn Layer>>,
        admitted: Admitted,
        leftover: Bytes,
    ) -> io::Result<()> {
        let Parts { stream, layer, plain, sealed } = parts;
        admitted.serve_layered(Parts { stream: stream.into_std()?, layer, plain, sealed }, leftover);
        Ok(())
    }
}

#[cfg(unix)]
impl Io for UnixStream {
    fn bound(&self, _: Duration) {
        let _ = SockRef::from(self).set_send_buffer_size(SEND_BUFFER);
    }

    fn hand_over(self, admitted: Admitted, leftover: Bytes) -> io::Result<()> {
        admitted.serve_stream(self, leftover);
        Ok(())
    }
}
