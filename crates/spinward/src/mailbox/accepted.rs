//! A connection on its way to the shard that will hold it.

use crate::event::Handshake;
use crate::id::ClientId;
use crate::identity::Transport;
use crate::mailbox::pipe::Writer;
use crate::session_id::Secret;
use bytes::Bytes;
use spinward_wire::Form;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};

/// A connection whose handshake is done.
pub(crate) struct Accepted {
    pub(crate) id: ClientId,
    pub(crate) form: Form,
    pub(crate) transport: Transport,
    pub(crate) handshake: Arc<Handshake>,
    /// Pings are those of the framing itself in place of protocol messages.
    pub(crate) frame_pings: bool,
    /// The secret of the session that the connect reply tells of, if it does: see [`Transport::is_emulated`].
    pub(crate) secret: Option<Secret>,
    pub(crate) io: Io,
    /// Bytes received after the handshake; for a body, the message of the request that it answers.
    pub(crate) leftover: Bytes,
}

/// The carrier of a connection's bytes.
pub(crate) enum Io {
    /// A plain TCP socket: the poller moves its bytes.
    Tcp(std::net::TcpStream),
    /// Anything else: its own task moves its bytes.
    Stream(Box<dyn Stream>),
    /// The body of an HTTP response, which the HTTP server pulls. What the client says comes by requests.
    Body(Writer),
}

/// Any byte stream.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Stream for T {}
