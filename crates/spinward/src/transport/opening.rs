//! Connections over transports of the host's own: it negotiates, and moves the bytes or hands over what does.

pub use super::admit::NotAdmitted;
use super::admit::admit;
use super::body::Body;
use crate::hooks::Handshake;
use crate::id::ClientId;
use crate::identity::Transport;
use crate::mailbox::accepted::{Accepted, Io};
pub use crate::mailbox::accepted::{CloseCode, Stream};
use crate::mailbox::pipe::pipe;
use crate::node::{Inner, Node};
use crate::session_id::Secret;
use bytes::Bytes;
use spinward_wire::Form;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A connection that counts, and has no carrier yet. Dropped, it no longer counts.
///
/// ```
/// use http_body_util::BodyExt;
/// use spinward::hooks::Handshake;
/// use spinward::identity::Transport;
/// use spinward::wire::{Dialect, Direction, Form, Protocol};
/// # use spinward::prelude::*;
/// # struct Open;
/// # impl Hooks for Open {
/// #     fn connect(&self, _: ConnectEvent) -> Decision<ConnectReply> {
/// #         Answer::allow(ConnectReply::default())
/// #     }
/// # }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let node = Node::builder(Open).build()?;
///
/// // Both directions, over anything that can be read and written.
/// let (ours, theirs) = tokio::io::duplex(1 << 16);
/// let form = Form::delimited(Protocol::Json);
/// node.open(Transport::Stream, form, Handshake::default())?.serve(theirs);
///
/// // Output alone, as pieces that the host sends as it sees fit.
/// let form = Form::delimited(Dialect::new(Protocol::Json, Direction::Unidirectional));
/// let mut output = node.open(Transport::Stream, form, Handshake::default())?.body("{}".into());
/// let connect = output.frame().await.ok_or("it has ended")??;
/// assert!(connect.data_ref().is_some_and(|push| push.starts_with(b"{\"connect\":{")));
/// # drop(ours);
/// # Ok(())
/// # }
/// ```
pub struct Opening {
    inner: Arc<Inner>,
    transport: Transport,
    form: Form,
    /// Taken by the shard.
    handshake: Option<Arc<Handshake>>,
    close_code: Option<CloseCode>,
}

impl Node {
    /// Counts in a connection over a transport of the host's own, unless the node is at a limit.
    ///
    /// `transport` is the name that hooks and metrics see. The node reads and writes messages in this form; with
    /// [`Form::websocket`] the WebSocket handshake is done already.
    ///
    /// # Errors
    /// The node is at a limit, or shutting down.
    pub fn open(
        &self,
        transport: Transport,
        form: impl Into<Form>,
        handshake: Handshake,
    ) -> Result<Opening, NotAdmitted> {
        Opening::new(&self.inner, transport, form.into(), handshake)
    }
}

impl Opening {
    pub(super) fn new(
        inner: &Arc<Inner>,
        transport: Transport,
        form: Form,
        handshake: Handshake,
    ) -> Result<Self, NotAdmitted> {
        admit(inner)?;
        let (inner, handshake) = (Arc::clone(inner), Some(Arc::new(handshake)));
        Ok(Self { inner, transport, form, handshake, close_code: None })
    }

    /// Returns the place where the code will be that the connection ends with. The client is sent it in any case, as the
    /// form has it; this is for a transport that has a place of its own for it.
    pub fn close_code(&mut self) -> CloseCode {
        self.close_code.get_or_insert_default().clone()
    }

    /// Serves the connection over a stream of both directions. A task on a shard moves its bytes, and drops the stream
    /// once the connection has ended.
    pub fn serve(self, stream: impl Stream) {
        let id = self.inner.hub.entropy.client_id();
        let shard = self.inner.hub.place(id);
        self.hand_over(id, shard, Io::Stream(Box::new(stream)), None);
    }

    /// Serves the connection by an output that the host pulls, one piece of whole messages after the other. `first` is
    /// the first message of the client, in the dialect. Others come through [`Node::emulation`], if at all.
    #[must_use]
    pub fn body(self, first: Bytes) -> Body {
        let hub = &self.inner.hub;
        let id = hub.entropy.client_id();
        let shard = hub.place(id);
        let (writer, body) = pipe(&hub.inboxes[shard]);
        self.hand_over(id, shard, Io::Body(writer), Some(first));
        Body::pulled(body)
    }

    fn hand_over(mut self, id: ClientId, shard: usize, io: Io, first: Option<Bytes>) {
        let Some(handshake) = self.handshake.take() else { return };
        let hub = &self.inner.hub;
        // The connect push of a unidirectional client has a session too, as in Centrifugo v6.9.
        let has_session = self.transport.is_emulated() || self.form.dialect().is_unidirectional();
        let accepted = Accepted {
            id,
            form: self.form,
            transport: self.transport,
            handshake,
            frame_pings: false,
            secret: has_session.then(|| Secret::new(hub.entropy.bytes())),
            close_code: self.close_code.take(),
            io,
            first,
            leftover: Bytes::new(),
            verdict: None,
            resume: None,
        };
        hub.accept_at(shard, accepted);
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        if self.handshake.is_some() {
            self.inner.hub.metrics.connections.fetch_sub(1, Ordering::Relaxed);
        }
    }
}
