//! Answers of Pub/Sub.

use crate::decode::Message;
use crate::lease::Lease;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// The answer to a pull.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Pulled {
    pub(super) received_messages: Vec<Delivery>,
}

/// A message that was delivered.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Delivery {
    ack_id: String,
    message: Published,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Published {
    message_id: String,
    data: String,
    attributes: BTreeMap<String, String>,
    publish_time: String,
    ordering_key: String,
}

/// An answer that is an error.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Refusal {
    pub(super) error: RefusalBody,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct RefusalBody {
    pub(super) status: String,
}

/// A message as it is carried out.
pub(super) struct Taken {
    pub(super) ack: String,
    id: String,
    key: String,
    sent: Option<i64>,
    attributes: BTreeMap<String, String>,
    payload: Option<Bytes>,
}

impl From<Delivery> for Taken {
    fn from(Delivery { ack_id, message }: Delivery) -> Self {
        let sent = message.publish_time.parse::<jiff::Timestamp>();
        Self {
            ack: ack_id,
            id: message.message_id,
            key: message.ordering_key,
            sent: sent.ok().map(jiff::Timestamp::as_millisecond),
            attributes: message.attributes,
            payload: STANDARD.decode(message.data).ok().map(Bytes::from),
        }
    }
}

impl Lease for Taken {
    fn id(&self) -> &str {
        &self.id
    }

    fn group(&self) -> &str {
        &self.key
    }

    fn sent(&self) -> Option<i64> {
        self.sent
    }

    fn size(&self) -> usize {
        self.payload.as_ref().map_or(0, Bytes::len)
    }

    fn message(&self) -> Result<Message<'_>, Cow<'static, str>> {
        let payload = self.payload.clone().ok_or("the data is not base64")?;
        let attributes = self.attributes.iter().map(|(name, value)| (&**name, &**value)).collect();
        Ok(Message { attributes, payload })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deliveries_have_attributes_and_a_key() {
        let text = r#"{"receivedMessages": [
            {"ackId": "k", "message": {"messageId": "m", "data": "e30=", "orderingKey": "o",
             "attributes": {"a": "b"}, "publishTime": "2026-01-02T03:04:05.678Z"}, "deliveryAttempt": 1},
            {"ackId": "l", "message": {"messageId": "n", "data": "?"}}
        ]}"#;
        let pulled: Pulled = serde_json::from_str(text).unwrap();
        let taken: Vec<Taken> = pulled.received_messages.into_iter().map(Taken::from).collect();
        let [first, second] = &*taken else { panic!("two messages") };
        assert_eq!((first.id(), &*first.ack, first.group()), ("m", "k", "o"));
        assert_eq!((first.sent(), first.size()), (Some(1_767_323_045_678), 2));
        let message = first.message().unwrap();
        assert_eq!((message.attributes, &*message.payload), (vec![("a", "b")], &b"{}"[..]));
        assert_eq!((second.group(), second.sent()), ("", None));
        assert!(second.message().is_err());
        assert!(serde_json::from_str::<Pulled>("{}").unwrap().received_messages.is_empty());
    }
}
