//! A connection on its way to the shard that will hold it.

use crate::event::Handshake;
use crate::event_id::Positions;
use crate::id::ClientId;
use crate::identity::Transport;
use crate::layer::{Layer, Parts};
use crate::mailbox::pipe::Writer;
use crate::session_id::Secret;
use bytes::Bytes;
use spinward_wire::Form;
use spinward_wire::code::DisconnectCode;
use std::sync::{Arc, OnceLock};
use tokio::io::{AsyncRead, AsyncWrite};

/// A connection whose handshake is done.
pub(crate) struct Accepted {
    pub(crate) id: ClientId,
    pub(crate) form: Form,
    pub(crate) transport: Transport,
    pub(crate) handshake: Arc<Handshake>,
    /// Pings are those of the framing itself in place of protocol messages.
    pub(crate) frame_pings: bool,
    /// The secret of the session, where messages come by requests. The connect reply tells of it, but for SockJS.
    pub(crate) secret: Option<Secret>,
    /// Receives the code that the connection ends with, for a transport that has a place for it.
    pub(crate) close_code: Option<CloseCode>,
    pub(crate) io: Io,
    /// The message that came with the request.
    pub(crate) first: Option<Bytes>,
    /// Bytes received after the handshake.
    pub(crate) leftover: Bytes,
    /// Answers the request, where the answer depends on the login.
    pub(crate) verdict: Option<Verdict>,
    /// Events have ids. These are the positions that the last one held which the client has seen.
    pub(crate) resume: Option<Box<Positions>>,
}

/// The code that a connection ends with.
#[derive(Clone, Debug, Default)]
pub struct CloseCode(Arc<OnceLock<DisconnectCode>>);

impl CloseCode {
    /// Returns the code once the node ends the connection. It is there before the last bytes are sent. There is none
    /// where the peer has closed, or the node is gone.
    #[must_use]
    pub fn get(&self) -> Option<&DisconnectCode> {
        self.0.get().filter(|code| code.code != DisconnectCode::CONNECTION_CLOSED.code)
    }

    pub(crate) fn set(&self, code: &DisconnectCode) {
        let _ = self.0.set(code.clone());
    }
}

/// Answers the request that a connection began with, once its login has succeeded or the connection is closed: gives
/// the bytes to send before the first message, or in place of the last ones.
pub(crate) type Verdict = Box<dyn FnOnce(Result<(), &DisconnectCode>) -> Bytes + Send>;

/// The carrier of a connection's bytes.
pub(crate) enum Io {
    /// A plain TCP socket: the poller moves its bytes.
    Tcp(std::net::TcpStream),
    /// A TCP socket under a layer: the poller moves its bytes through the layer.
    Layered(Box<Parts<std::net::TcpStream, Box<dyn Layer>>>),
    /// Anything else: its own task moves its bytes.
    Stream(Box<dyn Stream>),
    /// The body of an HTTP response, which the HTTP server pulls. What the client says comes by requests.
    Body(Writer),
}

/// Any byte stream.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Stream for T {}
