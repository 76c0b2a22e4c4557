//! Calls that messages of a source ask for.

use bytes::Bytes;
use spinward::publication::Tags;
use std::fmt;

macro_rules! methods {
    ($($(#[doc = $doc:literal])+ $Method:ident = $name:literal,)+) => {
        /// Methods of the server API that a message may call: those with an effect and without an answer worth having.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Method {$(
            $(#[doc = $doc])+
            $Method,
        )+}

        impl Method {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$Method),+];

            /// Name in the server API.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$Method => $name,)+
                }
            }
        }
    };
}

methods! {
    /// Publishes to a channel.
    Publish = "publish",
    /// Publishes the same to many channels.
    Broadcast = "broadcast",
    /// Subscribes a user's connections.
    Subscribe = "subscribe",
    /// Unsubscribes a user's connections.
    Unsubscribe = "unsubscribe",
    /// Closes a user's connections.
    Disconnect = "disconnect",
    /// Prolongs or ends a user's login.
    Refresh = "refresh",
    /// Removes the history of a channel.
    HistoryRemove = "history_remove",
}

impl Method {
    /// The method of this name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|method| method.name() == name)
    }
}

/// A call that a message asks for.
#[derive(Clone, PartialEq, Eq)]
pub enum Call {
    /// A method with its parameters.
    Api {
        /// The method.
        method: Method,
        /// JSON as for the server API, not yet read.
        params: String,
    },
    /// A publication: see [`PublicationNames`](crate::PublicationNames).
    Publish(Publication),
}

/// Data to publish to one or more channels.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Publication {
    /// The channels, at least one.
    pub channels: Vec<String>,
    /// The payload.
    pub data: Bytes,
    /// Labels.
    pub tags: Tags,
    /// A repeated key in the same channel has no effect; empty is none.
    pub idempotency_key: String,
    /// Subscribers that negotiated deltas may get a patch.
    pub delta: bool,
    /// A version not above the channel's last one is dropped; 0 is none.
    pub version: u64,
    /// A different version epoch starts over.
    pub version_epoch: String,
}

/// Shows no data.
impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Api { method, .. } => f.debug_tuple("Api").field(&method.name()).finish_non_exhaustive(),
            Self::Publish(publication) => publication.fmt(f),
        }
    }
}

/// Shows no data.
impl fmt::Debug for Publication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publication").field("channels", &self.channels).finish_non_exhaustive()
    }
}
