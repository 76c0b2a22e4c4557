//! Answers of SQS, and envelopes of SNS.

use crate::decode::Message;
use crate::lease::Lease;
use bytes::Bytes;
use serde::Deserialize;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// The answer to `ReceiveMessage`.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Received {
    pub(super) messages: Vec<Delivery>,
}

/// A message that was received.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Delivery {
    message_id: String,
    receipt_handle: String,
    body: String,
    attributes: System,
    message_attributes: BTreeMap<String, Attribute>,
}

/// Attributes of a message, set by SQS.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct System {
    sent_timestamp: String,
    message_group_id: String,
}

/// An attribute. One with bytes has no text, and does not count.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Attribute {
    string_value: Option<String>,
}

/// The answer to a request about several messages.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Batch {
    pub(super) failed: Vec<Failed>,
}

/// A message that the request had no effect on.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Failed {
    pub(super) code: String,
}

/// An error.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Refusal {
    #[serde(rename = "__type")]
    code: String,
}

impl Refusal {
    /// Its code: `com.amazonaws.sqs#QueueDoesNotExist` without the namespace.
    pub(super) fn code(&self) -> &str {
        self.code.rsplit_once('#').map_or(&*self.code, |(_, code)| code)
    }
}

/// A message as it is carried out.
pub(super) struct Taken {
    pub(super) id: String,
    pub(super) receipt: String,
    group: String,
    sent: Option<i64>,
    attributes: Vec<(String, String)>,
    payload: Result<Bytes, &'static str>,
}

impl Taken {
    /// Reads a delivery, out of its envelope where it is to have one.
    pub(super) fn new(delivery: Delivery, sns_envelope: bool) -> Self {
        let Delivery { message_id, receipt_handle, body, attributes: system, message_attributes } = delivery;
        let (attributes, payload) = match sns_envelope {
            true => unwrapped(&body),
            false => {
                let texts = message_attributes.into_iter();
                let texts = texts.filter_map(|(name, value)| Some((name, value.string_value?))).collect();
                (texts, Ok(body.into()))
            }
        };
        Self {
            id: message_id,
            receipt: receipt_handle,
            group: system.message_group_id,
            sent: system.sent_timestamp.parse().ok(),
            attributes,
            payload,
        }
    }
}

impl Lease for Taken {
    fn id(&self) -> &str {
        &self.id
    }

    fn group(&self) -> &str {
        &self.group
    }

    fn sent(&self) -> Option<i64> {
        self.sent
    }

    fn message(&self) -> Result<Message<'_>, Cow<'static, str>> {
        let payload = self.payload.clone()?;
        let attributes = self.attributes.iter().map(|(name, value)| (&**name, &**value)).collect();
        Ok(Message { attributes, payload })
    }
}

/// The envelope in which SNS delivers what was published to a topic.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Envelope {
    message: String,
    #[serde(default)]
    message_attributes: BTreeMap<String, EnvelopeAttribute>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct EnvelopeAttribute {
    r#type: String,
    value: String,
}

fn unwrapped(body: &str) -> (Vec<(String, String)>, Result<Bytes, &'static str>) {
    let Ok(Envelope { message, message_attributes }) = serde_json::from_str(body) else {
        return (Vec::new(), Err("the body is no envelope of SNS: see sns_envelope"));
    };
    let texts = message_attributes.into_iter().filter(|(_, attribute)| attribute.r#type != "Binary");
    (texts.map(|(name, attribute)| (name, attribute.value)).collect(), Ok(message.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(text: &str, envelope: bool) -> Taken {
        let mut received: Received = serde_json::from_str(text).unwrap();
        Taken::new(received.messages.remove(0), envelope)
    }

    #[test]
    fn deliveries_have_attributes_and_a_group() {
        let taken = taken(
            r#"{"Messages": [{
                "MessageId": "m", "ReceiptHandle": "r", "Body": "{}", "MD5OfBody": "x",
                "Attributes": {"SentTimestamp": "1700", "MessageGroupId": "g"},
                "MessageAttributes": {
                    "a": {"StringValue": "1", "DataType": "Number"},
                    "b": {"BinaryValue": "AA==", "DataType": "Binary"}
                }
            }]}"#,
            false,
        );
        assert_eq!((taken.id(), &*taken.receipt, taken.group(), taken.sent()), ("m", "r", "g", Some(1700)));
        let message = taken.message().unwrap();
        assert_eq!((message.attributes, &*message.payload), (vec![("a", "1")], &b"{}"[..]));
    }

    #[test]
    fn envelopes_are_unwrapped() {
        let body = r#"{"Type": "Notification", "Message": "{\"n\": 1}", "MessageAttributes": {
            "a": {"Type": "String", "Value": "x"}, "b": {"Type": "Binary", "Value": "AA=="}}}"#;
        let text = |body: &str| serde_json::json!({ "Messages": [{ "Body": body }] }).to_string();
        let whole = taken(&text(body), true);
        let message = whole.message().unwrap();
        assert_eq!((message.attributes, &*message.payload), (vec![("a", "x")], &br#"{"n": 1}"#[..]));
        assert!(taken(&text("{}"), true).message().is_err());
        assert!(taken(&text("canary"), true).message().is_err_and(|reason| !reason.contains("canary")));
    }

    #[test]
    fn an_empty_answer_and_codes_of_errors() {
        assert!(serde_json::from_str::<Received>("{}").unwrap().messages.is_empty());
        for (text, code) in [
            (r#"{"__type": "com.amazonaws.sqs#QueueDoesNotExist"}"#, "QueueDoesNotExist"),
            (r#"{"__type": "ExpiredToken", "message": "x"}"#, "ExpiredToken"),
            ("{}", ""),
        ] {
            assert_eq!(serde_json::from_str::<Refusal>(text).unwrap().code(), code);
        }
    }
}
