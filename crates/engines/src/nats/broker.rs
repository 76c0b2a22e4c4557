//! Core NATS: delivery without history.

use super::config::{Config, ConfigError};
use super::counters::Counts;
use super::error::NatsError;
use super::feed::{Meaning, Reader};
use super::interests::{Changes, Interests};
use super::keys::Keys;
use super::life::Life;
use super::link::Link;
use super::subject::Subjects;
use crate::codec;
use async_nats::Message;
use bytes::{BufMut, Bytes};
use spinward::answer::Answer;
use spinward::clock::Clock;
use spinward::engine::EngineHealth;
use spinward::engine::broker::{
    Broker as BrokerTrait, BrokerError, Event, HistoryOptions, Interest, JoinLeave, PublishOptions, Read,
    Receipt, Sink, Slice,
};
use spinward::id::Entropy;
use spinward::publication::Publication;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A broker on core NATS.
///
/// # Promises
/// - Deliveries are at most once. What may be lost is lost silently; an interrupted connection is reported to the node.
/// - A publish is answered once the server that this node is connected to has the message.
/// - Publications of one node arrive in their order, each at most once. One that comes late, because a server stood still,
///   is dropped.
/// - Publications of several nodes arrive everywhere in one order only as far as NATS itself orders them: if a publish was
///   answered before the next began, and both nodes are connected to the same server.
///
/// # Not supported
/// - History: such a publish, [`read`](BrokerTrait::read) and [`forget`](BrokerTrait::forget) are
///   [`BrokerError::NotSupported`]. See [`JetStreamBroker`](super::JetStreamBroker).
/// - Idempotency keys across nodes: each node remembers those that were published through it.
pub struct Broker {
    link: Arc<Link>,
    changes: Arc<Changes>,
    subjects: Subjects,
    sender: Arc<Sender>,
    keys: Arc<Keys>,
}

/// Numbers the messages of this node.
pub(super) struct Sender {
    id: u64,
    sent: AtomicU64,
    clock: Clock,
}

impl Sender {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { id: Entropy::system().number(), sent: AtomicU64::new(0), clock: Clock::system() })
    }

    /// An event with the sender and its next number in front.
    fn framed(&self, event: &Event) -> Bytes {
        let event = codec::event(event);
        let mut bytes = Vec::with_capacity(FRAME + event.len());
        bytes.put_u8(FRAMED);
        bytes.put_u64(self.id);
        bytes.put_u64(self.sent.fetch_add(1, Relaxed) + 1);
        bytes.extend_from_slice(&event);
        bytes.into()
    }

    /// Sends an event, and waits until the server has it.
    pub(super) async fn send(&self, life: &Life, subject: String, event: Event) -> Result<(), NatsError> {
        life.publish(subject, || self.framed(&event)).await?;
        life.confirmed().await
    }

    /// A publication that is not stored.
    pub(super) fn publication(&self, data: Bytes, options: PublishOptions) -> Publication {
        let PublishOptions { info, tags, version, delta, .. } = options;
        Publication {
            data,
            info,
            tags,
            version,
            delta,
            time: self.clock.now().wall,
            ..Publication::default()
        }
    }
}

/// First byte of a message that has sender and number.
pub(super) const FRAMED: u8 = b'1';
/// Bytes in front of the event.
const FRAME: usize = 17;

/// Numbers of the latest messages by sender.
#[derive(Default)]
pub(super) struct Latest(HashMap<u64, u64>);

/// Most senders remembered. With more, all are forgotten: what comes late by then is delivered late.
const MOST_SENDERS: usize = 1_024;

impl Latest {
    /// Takes a frame off. `None` for a message that is damaged, and an error for one that comes late.
    pub(super) fn unframed(&mut self, mut message: Bytes) -> Option<Result<Bytes, Late>> {
        if message.len() < FRAME || message.first() != Some(&FRAMED) {
            return None;
        }
        let event = message.split_off(FRAME);
        let sender = u64::from_be_bytes(message.get(1..9)?.try_into().ok()?);
        let number = u64::from_be_bytes(message.get(9..FRAME)?.try_into().ok()?);
        if self.0.len() >= MOST_SENDERS && !self.0.contains_key(&sender) {
            self.0.clear();
        }
        let latest = self.0.entry(sender).or_default();
        if number <= *latest {
            return Some(Err(Late));
        }
        *latest = number;
        Some(Ok(event))
    }
}

/// A newer message of the same sender was delivered before.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Late;

impl Broker {
    /// A broker with these settings. It connects when the node starts it.
    ///
    /// # Errors
    /// A setting cannot be used.
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        Ok(Self {
            subjects: Subjects::of_broker(&config, "client"),
            link: Link::new(config)?,
            changes: Arc::default(),
            sender: Sender::new(),
            keys: Arc::default(),
        })
    }

    /// Counters since the start.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.link.counters().snapshot()
    }

    fn publish_raw(&self, subject: String, data: Bytes) -> Answer<Result<Receipt, BrokerError>> {
        let life = match self.link.life() {
            Ok(life) => life,
            Err(error) => return Answer::Now(Err(error.into())),
        };
        Answer::later(async move {
            life.publish(subject, || data).await?;
            life.confirmed().await?;
            Ok(Receipt::Sent)
        })
    }

    fn send(&self, channel: &str, event: Event) -> Answer<Result<(), BrokerError>> {
        let found = self.subjects.exact(channel).and_then(|subject| Ok((subject, self.link.life()?)));
        let (subject, life) = match found {
            Ok(found) => found,
            Err(error) => {
                self.link.counters().errors.bump();
                return Answer::Now(Err(error.into()));
            }
        };
        let (sender, counters) = (Arc::clone(&self.sender), Arc::clone(self.link.counters()));
        Answer::later(async move {
            sender.send(&life, subject, event).await.map_err(|error| {
                counters.errors.bump();
                error.into()
            })
        })
    }
}

impl BrokerTrait for Broker {
    fn name(&self) -> &'static str {
        "nats"
    }

    fn start(&self, sink: Sink) -> Result<(), BrokerError> {
        self.link.start()?;
        let reader = CoreReader { subjects: self.subjects.clone(), clock: Clock::system() };
        let interests = Interests::new(&self.link, &self.changes, self.subjects.clone(), reader, sink);
        self.link.spawn(interests.run());
        Ok(())
    }

    /// There are no streams: nothing is ever lost from one.
    fn incarnation(&self, _channel: &str) -> Arc<str> {
        "nats".into()
    }

    fn publish(
        &self,
        channel: &str,
        data: Bytes,
        mut options: PublishOptions,
    ) -> Answer<Result<Receipt, BrokerError>> {
        if options.history.enabled() {
            return Answer::Now(Err(BrokerError::NotSupported));
        }
        let key = std::mem::take(&mut options.idempotency_key);
        let pending = if key.is_empty() {
            None
        } else {
            match self.keys.begin(channel, &key) {
                Some(pending) => Some(pending),
                None => return Answer::Now(Ok(Receipt::Suppressed(None))),
            }
        };
        let answer = if self.subjects.is_raw() {
            match self.subjects.exact(channel) {
                Ok(subject) => self.publish_raw(subject, data),
                Err(error) => Answer::Now(Err(error.into())),
            }
        } else {
            let publication = self.sender.publication(data, options);
            let sent = self.send(channel, Event::Publication(Arc::new(publication)));
            sent.map(|sent| sent.map(|()| Receipt::Sent))
        };
        answer.map(move |result| {
            if let (Ok(_), Some(pending)) = (&result, pending) {
                pending.sent();
            }
            result
        })
    }

    /// Joins and leaves of patterns, and those in raw mode, are not announced: there is no subject for them.
    fn announce(&self, channel: &str, change: JoinLeave) -> Answer<Result<(), BrokerError>> {
        let silent = self.subjects.is_raw() || self.subjects.of(channel).is_ok_and(|subject| subject.pattern);
        if silent {
            return Answer::Now(Ok(()));
        }
        self.send(channel, Event::JoinLeave(change))
    }

    fn read(&self, _: &str, _: Read, _: HistoryOptions) -> Answer<Result<Slice, BrokerError>> {
        Answer::Now(Err(BrokerError::NotSupported))
    }

    fn forget(&self, _: &str) -> Answer<Result<(), BrokerError>> {
        Answer::Now(Err(BrokerError::NotSupported))
    }

    fn interest(&self, changes: &[(Arc<str>, Interest)]) {
        self.changes.ask(changes);
    }

    fn health(&self) -> EngineHealth {
        self.link.health()
    }

    fn close(&self) -> Answer<()> {
        let link = Arc::clone(&self.link);
        Answer::later(async move { link.close().await })
    }
}

/// Reads what [`Broker`] sends, and what other programs send in raw mode.
struct CoreReader {
    subjects: Subjects,
    clock: Clock,
}

impl Reader for CoreReader {
    type Seen = Latest;

    fn read(&self, channel: &str, pattern: bool, message: Message, seen: &mut Latest) -> Meaning {
        let real = if pattern {
            match self.subjects.channel(channel, &message.subject) {
                Some(real) => Some(Arc::from(real)),
                None => return Meaning::Malformed,
            }
        } else {
            None
        };
        if self.subjects.is_raw() {
            let time = self.clock.now().wall;
            let publication =
                Publication { data: message.payload, channel: real, time, ..Publication::default() };
            return Meaning::Event(None, Event::Publication(Arc::new(publication)));
        }
        let event = match seen.unframed(message.payload) {
            Some(Ok(event)) => event,
            Some(Err(Late)) => return Meaning::Late,
            None => return Meaning::Malformed,
        };
        match codec::read_event(event) {
            Ok(Event::Publication(mut publication)) => {
                Arc::make_mut(&mut publication).channel = real;
                Meaning::Event(None, Event::Publication(publication))
            }
            // Members of another channel do not count for a pattern.
            Ok(Event::JoinLeave(_)) if pattern => Meaning::Nothing,
            Ok(event) => Meaning::Event(None, event),
            Err(_) => Meaning::Malformed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_comes_late_or_twice_is_known() {
        let (one, other) = (Sender::new(), Sender::new());
        let event = Event::Publication(Arc::default());
        let messages: Vec<_> = (0..3).map(|_| one.framed(&event)).collect();
        let mut latest = Latest::default();
        let mut late = |message: &Bytes| latest.unframed(message.clone()).unwrap().is_err();
        assert!(!late(&messages[0]));
        assert!(!late(&messages[2]));
        assert!(late(&messages[1]));
        assert!(late(&messages[2]));
        assert!(!late(&other.framed(&event)));
    }

    #[test]
    fn no_bytes_cause_a_panic() {
        for length in 0..40 {
            for first in [FRAMED, 0] {
                let mut bytes = vec![7; length];
                bytes.splice(..length.min(1), [first]);
                let found = Latest::default().unframed(bytes.into());
                assert_eq!(found.is_some(), length >= FRAME && first == FRAMED);
            }
        }
    }
}
