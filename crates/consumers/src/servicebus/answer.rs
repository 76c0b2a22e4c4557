//! Answers of Service Bus: the properties of a message are headers, and its body is the body.

use crate::decode::Message;
use crate::http::Reply;
use crate::lease::Lease;
use bytes::Bytes;
use http::HeaderMap;
use serde::Deserialize;
use std::borrow::Cow;
use std::time::{Duration, SystemTime};

/// Shortest lock of a queue, and one that is taken to hold where the service does not say.
const SHORTEST: Duration = Duration::from_secs(5);

/// Properties of a message, set by the service.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct BrokerProperties {
    lock_token: String,
    message_id: String,
    sequence_number: i64,
    enqueued_time_utc: String,
    locked_until_utc: String,
}

/// A message as it is carried out.
pub(super) struct Taken {
    /// Number in the queue, by which it is called.
    id: String,
    pub(super) lock: String,
    /// Time that its lock lasts.
    pub(super) lasts: Duration,
    sent: Option<i64>,
    /// Names are in small letters: those of headers have no case.
    properties: Vec<(String, String)>,
    payload: Bytes,
}

impl Taken {
    /// Reads a message. Returns `None` if the answer is not a message.
    pub(super) fn new(reply: Reply) -> Option<Self> {
        let Reply { headers, body, .. } = reply;
        let properties = headers.get("brokerproperties")?.to_str().ok()?;
        let broker: BrokerProperties = serde_json::from_str(properties).ok()?;
        if broker.lock_token.is_empty() {
            return None;
        }
        // The clock of the service, so that ours does not count.
        let now = headers.get("date").and_then(|value| time(value.to_str().ok()?));
        let until = time(&broker.locked_until_utc);
        let lasts = until.zip(now).and_then(|(until, now)| until.duration_since(now).ok());
        let sent = time(&broker.enqueued_time_utc)?.duration_since(SystemTime::UNIX_EPOCH).ok();
        Some(Self {
            id: match broker.sequence_number {
                0 => broker.message_id,
                number => number.to_string(),
            },
            lock: broker.lock_token,
            lasts: lasts.unwrap_or_default().max(SHORTEST),
            sent: sent.and_then(|since| i64::try_from(since.as_millis()).ok()),
            properties: texts(&headers),
            payload: body,
        })
    }
}

fn time(text: &str) -> Option<SystemTime> {
    httpdate::parse_http_date(text).ok()
}

/// Headers as properties: a text is in quotes, as in JSON; a number and a boolean are not.
fn texts(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &str| match value.starts_with('"') {
        true => serde_json::from_str(value).ok(),
        false => Some(value.to_owned()),
    };
    let pairs = headers.iter();
    pairs.filter_map(|(name, value)| Some((name.as_str().to_owned(), text(value.to_str().ok()?)?))).collect()
}

impl Lease for Taken {
    fn id(&self) -> &str {
        &self.id
    }

    /// One for all: the order is that of the queue.
    fn group(&self) -> &'static str {
        "queue"
    }

    fn sent(&self) -> Option<i64> {
        self.sent
    }

    fn message(&self) -> Result<Message<'_>, Cow<'static, str>> {
        let attributes = self.properties.iter().map(|(name, value)| (&**name, &**value)).collect();
        Ok(Message { attributes, payload: self.payload.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::StatusCode;

    fn reply(properties: &'static str) -> Reply {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("brokerproperties", properties),
            ("date", "Sun, 06 Nov 1994 08:49:37 GMT"),
            ("centrifugo-method", "\"publish\""),
            ("attempts", "3"),
            ("broken", "\"x"),
        ] {
            headers.insert(name, value.parse().unwrap());
        }
        Reply { status: StatusCode::CREATED, headers, body: Bytes::from_static(b"{}") }
    }

    #[test]
    fn messages_have_properties_and_a_lock() {
        let taken = Taken::new(reply(concat!(
            r#"{"LockToken": "l", "MessageId": "m", "SequenceNumber": 7, "DeliveryCount": 1, "#,
            r#""EnqueuedTimeUtc": "Sun, 06 Nov 1994 08:49:00 GMT", "#,
            r#""LockedUntilUtc": "Sun, 06 Nov 1994 08:50:37 GMT"}"#,
        )));
        let taken = taken.unwrap();
        assert_eq!((taken.id(), &*taken.lock, taken.lasts), ("7", "l", Duration::from_secs(60)));
        assert_eq!(taken.sent(), Some(784_111_740_000));
        let message = taken.message().unwrap();
        assert!(message.attributes.contains(&("centrifugo-method", "publish")));
        assert!(message.attributes.contains(&("attempts", "3")));
        assert!(message.attributes.iter().all(|(name, _)| *name != "broken"));
        for wrong in ["{}", "x", r#"{"LockToken": "l"}"#] {
            assert!(Taken::new(reply(wrong)).is_none(), "{wrong}");
        }
    }
}
