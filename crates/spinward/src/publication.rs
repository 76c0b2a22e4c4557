//! A message of a channel, as it is stored and handed around.

use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A client that published, joined or is present, as other clients see it.
///
/// One connection makes one of these and everyone shares it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientInfo {
    /// User id, empty for an anonymous client.
    pub user: Arc<str>,
    /// Client id, a UUID.
    pub client: Arc<str>,
    /// Info that the connection was given at login.
    pub conn_info: Bytes,
    /// Info that the subscription was given.
    pub chan_info: Bytes,
}

/// Labels of a publication, visible to subscribers and to tags filters.
pub type Tags = BTreeMap<String, String>;

/// One message of a channel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Publication {
    /// The payload. JSON subscribers get it as it is, so it must be JSON wherever they are expected.
    pub data: Bytes,
    /// The publisher: set for publications of clients, not for those of the server API.
    pub info: Option<Arc<ClientInfo>>,
    /// Labels.
    pub tags: Option<Arc<Tags>>,
    /// Place in the stream of the channel, from 1; 0 where nothing was stored.
    pub offset: u64,
    /// Unix milliseconds at which the broker took it.
    pub time: i64,
    /// Version that the publisher gave it, 0 for none.
    pub version: u64,
    /// The channel that it was published to, where the subscribed channel is a pattern: for brokers that know patterns.
    pub channel: Option<Arc<str>>,
    /// The publisher wants subscribers that agreed on it to be sent a patch against the previous payload.
    pub delta: bool,
}

impl Publication {
    /// Bytes that this publication holds, for budgets: payloads and a flat share for the rest.
    #[must_use]
    pub fn weight(&self) -> usize {
        let tags =
            self.tags.as_ref().map_or(0, |tags| tags.iter().map(|(k, v)| k.len() + v.len() + 48).sum());
        self.data.len() + tags + 96
    }
}

/// A place in a stream. Offsets of different epochs do not compare.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// Offset of the last publication before this place.
    pub offset: u64,
    /// Epoch of the stream.
    pub epoch: Arc<str>,
}
