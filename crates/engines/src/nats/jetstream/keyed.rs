//! Publications that are not stored but have an idempotency key: they pass a stream that remembers keys.

use super::partition::{Layout, nanos};
use super::reader::KEYED;
use super::store::message_id;
use crate::codec;
use crate::nats::api::{self, code};
use crate::nats::error::NatsError;
use crate::nats::life::Life;
use async_nats::HeaderMap;
use bytes::{BufMut, Bytes};
use serde_json::json;
use spinward::engine::broker::{Event, IDEMPOTENCY_TTL, Receipt};

/// The stream of keys.
pub(super) struct Keyed {
    layout: Layout,
}

impl Keyed {
    pub(super) const fn new(layout: Layout) -> Self {
        Self { layout }
    }

    /// Publishes to a subject of the broker, unless the key is known.
    pub(super) async fn publish(
        &self,
        life: &Life,
        subject: &str,
        key: &str,
        event: &Event,
    ) -> Result<Receipt, NatsError> {
        let prefix = &self.layout.prefix;
        let channel = subject.strip_prefix(&format!("{prefix}.client.")).ok_or(NatsError::Malformed)?;
        let subject = format!("{prefix}.keyed.{channel}");
        let message = framed(event);
        let send = || {
            let mut headers = HeaderMap::new();
            headers.insert("Nats-Msg-Id", message_id(&subject, key).as_str());
            api::publish(life, subject.clone(), headers, message.clone())
        };
        let ack = match send().await {
            Err(NatsError::NoResponders) => {
                self.make(life).await?;
                send().await?
            }
            ack => ack?,
        };
        Ok(if ack.duplicate { Receipt::Suppressed(None) } else { Receipt::Sent })
    }

    async fn make(&self, life: &Life) -> Result<(), NatsError> {
        let prefix = &self.layout.prefix;
        let (name, all) = (format!("{prefix}_keyed"), format!("{prefix}.keyed.>"));
        let config = json!({
            "name": name,
            "description": "Idempotency keys of publications without history. Made by Spinward.",
            "subjects": [all],
            "retention": "limits",
            "discard": "old",
            "storage": if self.layout.in_memory { "memory" } else { "file" },
            "num_replicas": self.layout.replicas,
            "max_consumers": -1,
            "max_msgs": -1,
            "max_bytes": -1,
            "max_age": nanos(IDEMPOTENCY_TTL),
            // The payload is of no use once it is republished; the key is remembered beside it.
            "max_msgs_per_subject": 1,
            "duplicate_window": nanos(IDEMPOTENCY_TTL),
            "republish": { "src": all, "dest": format!("{prefix}.client.>") },
        });
        match api::create(life, &name, &config).await {
            Ok(_) | Err(NatsError::JetStream { code: code::NAME_IN_USE, .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

fn framed(event: &Event) -> Bytes {
    let event = codec::event(event);
    let mut bytes = Vec::with_capacity(1 + event.len());
    bytes.put_u8(KEYED);
    bytes.extend_from_slice(&event);
    bytes.into()
}
