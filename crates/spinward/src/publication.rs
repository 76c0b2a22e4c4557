//! A message of a channel, as it is stored and handed around.

use bytes::Bytes;
use serde::ser::{Error, Serialize, SerializeStruct, Serializer};
use serde_json::value::RawValue;
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

/// As Centrifugo's API has it: `user` and `client`, and `conn_info` and `chan_info` as JSON where they are not empty. An
/// info that is not JSON is an error.
impl Serialize for ClientInfo {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("ClientInfo", 4)?;
        fields.serialize_field("user", &*self.user)?;
        fields.serialize_field("client", &*self.client)?;
        for (name, info) in [("conn_info", &self.conn_info), ("chan_info", &self.chan_info)] {
            if info.is_empty() {
                fields.skip_field(name)?;
            } else {
                let json: &RawValue = serde_json::from_slice(info).map_err(S::Error::custom)?;
                fields.serialize_field(name, json)?;
            }
        }
        fields.end()
    }
}

/// Writes a value as the JSON payload of a publication, a message or a reply.
///
/// ```
/// # #[derive(serde::Serialize)] struct Moved { x: u32, y: u32 }
/// # async fn run(node: spinward::Node) -> Result<(), Box<dyn std::error::Error>> {
/// node.publish("board", spinward::json(&Moved { x: 3, y: 4 })?, Default::default()).await?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// The value has no form in JSON, such as a map whose keys are not text.
pub fn json<T: Serialize + ?Sized>(value: &T) -> serde_json::Result<Bytes> {
    serde_json::to_vec(value).map(Bytes::from)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn info_is_embedded_as_json() {
        let mut info = ClientInfo { user: "42".into(), client: "c".into(), ..ClientInfo::default() };
        assert_eq!(json(&info).unwrap(), r#"{"user":"42","client":"c"}"#);
        info.conn_info = r#"{"name": "Ann"}"#.into();
        assert_eq!(json(&info).unwrap(), r#"{"user":"42","client":"c","conn_info":{"name": "Ann"}}"#);
        info.chan_info = "{".into();
        assert!(json(&info).is_err());
    }
}
