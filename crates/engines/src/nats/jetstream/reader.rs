//! Deliveries: what JetStream republishes once it is stored, and events that are not stored.

use super::entry::{ENTRY, Entry};
use super::store::{Store, publication};
use crate::codec;
use crate::nats::broker::{FRAMED, Late, Latest};
use crate::nats::feed::{Meaning, Reader};
use async_nats::Message;
use spinward::engine::broker::{Event, StreamId};
use std::sync::Arc;

/// First byte of an event that is not stored, and was published with an idempotency key: it has passed a stream, so it
/// may come after later ones of its sender.
pub(super) const KEYED: u8 = b'3';

/// Reads what a channel is delivered.
pub(super) struct JetStreamReader(pub(super) Arc<Store>);

/// Deliveries to a channel so far.
#[derive(Default)]
pub(super) struct Seen {
    latest: Latest,
    stream: Option<StreamId>,
    offset: u64,
}

impl Reader for JetStreamReader {
    type Seen = Seen;

    fn read(&self, channel: &str, _: bool, message: Message, seen: &mut Seen) -> Meaning {
        let event = match message.payload.first() {
            Some(&ENTRY) => return self.stored(channel, message, seen),
            Some(&FRAMED) => match seen.latest.unframed(message.payload) {
                Some(Ok(event)) => event,
                Some(Err(Late)) => return Meaning::Late,
                None => return Meaning::Malformed,
            },
            Some(&KEYED) => message.payload.slice(1..),
            _ => return Meaning::Malformed,
        };
        codec::read_event(event).map_or(Meaning::Malformed, |event| Meaning::Event(None, event))
    }
}

impl JetStreamReader {
    fn stored(&self, channel: &str, message: Message, seen: &mut Seen) -> Meaning {
        let Some(entry) = Entry::read(message.payload) else { return Meaning::Malformed };
        if entry.publication.is_none() {
            return Meaning::Nothing;
        }
        let present = self.0.partition(channel).ok().and_then(|partition| partition.life());
        if present.as_deref() != Some(&*entry.life) {
            // A life that is not known yet, or is over. The check tells; if it is a new one, subscribers are told.
            self.0.suspicion.notify_one();
            return Meaning::Nothing;
        }
        let Some(publication) = publication(&entry) else { return Meaning::Malformed };
        let same = |stream: &&StreamId| *stream.incarnation == *entry.life && *stream.epoch == *entry.epoch;
        let stream = match seen.stream.as_ref().filter(same) {
            Some(_) if entry.offset <= seen.offset => return Meaning::Late,
            Some(stream) => stream.clone(),
            None => seen.stream.insert(entry.stream()).clone(),
        };
        seen.offset = entry.offset;
        Meaning::Event(Some(stream), Event::Publication(Arc::new(publication)))
    }
}
