//! A connection, as the application sees it.

use crate::clock::Clock;
use crate::event::SubscribeOptions;
use crate::handle::Handle;
use crate::hub::Hub;
use crate::id::{ClientId, Entropy};
use crate::identity::{Extension, Identity};
use crate::mailbox::inbox::{Control, Delivered, Delivering};
use crate::publication::{Publication, Tags};
use bytes::Bytes;
use spinward_wire::code::{DisconnectCode, UnsubscribeCode};
use std::any::Any;
use std::fmt;
use std::sync::Arc;
use tokio::sync::mpsc;

/// A logged-in connection. Cheap to clone; it may outlive the connection, and does nothing then.
#[derive(Clone)]
pub struct Client {
    pub(crate) identity: Arc<Identity>,
    pub(crate) handle: Handle,
    pub(crate) hub: Arc<Hub>,
}

impl Client {
    /// Returns a client without a connection, for tests of hooks: whatever is sent to it is dropped.
    #[doc(hidden)]
    #[must_use]
    pub fn detached(identity: Identity) -> Self {
        let hub = Hub::new(Arc::default(), Clock::system(), Entropy::system(), 1);
        hub.inboxes.iter().for_each(|inbox| inbox.close());
        Self { identity: Arc::new(identity), handle: Handle::new(0, 0, 0), hub: Arc::new(hub) }
    }

    /// The connection's id.
    #[must_use]
    pub fn id(&self) -> ClientId {
        self.identity.id
    }

    /// User id, empty for an anonymous client.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.identity.user
    }

    /// Everything known about the connection.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The state that the application keeps with the connection, if it is of this type.
    #[must_use]
    pub fn extension<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        let extension: Extension = self.identity.extension.clone()?;
        extension.downcast().ok()
    }

    /// Sends a message outside of channels.
    pub fn send(&self, data: Bytes) {
        self.hub.control(self.handle, Control::Send(data));
    }

    /// Delivers a publication to this connection alone, as a subscriber of a channel: without an offset, and not
    /// stored. Waits until the connection takes it: while much waits to be sent to it, that is when the client has
    /// read. Returns false if the connection is not subscribed to the channel, or if it agreed on deltas there.
    ///
    /// Before the reply to a subscribe command is sent, the publication waits for it. Deliveries of one caller that
    /// awaits each arrive in their order.
    pub async fn deliver(&self, channel: &str, data: Bytes, tags: Option<Arc<Tags>>) -> bool {
        let (receipt, mut delivered) = mpsc::channel(1);
        let publication = Publication { data, tags, ..Publication::default() };
        let delivering = Delivering { channel: channel.into(), publication, receipt };
        self.hub.control(self.handle, Control::Deliver(Box::new(delivering)));
        delivered.recv().await == Some(Delivered)
    }

    /// Subscribes the connection to a channel.
    pub fn subscribe(&self, channel: &str, options: SubscribeOptions) {
        let control = Control::Subscribe {
            channel: channel.into(),
            options: Arc::new(options),
            since: None,
            taken: None,
        };
        self.hub.control(self.handle, control);
    }

    /// Ends the connection's subscription to a channel.
    pub fn unsubscribe(&self, channel: &str, code: UnsubscribeCode) {
        self.hub.control(self.handle, Control::Unsubscribe { channel: Some(channel.into()), code });
    }

    /// Closes the connection.
    pub fn disconnect(&self, code: DisconnectCode) {
        self.hub.control(self.handle, Control::Disconnect(code));
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("identity", &self.identity).finish_non_exhaustive()
    }
}
