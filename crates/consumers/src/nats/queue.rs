//! Messages that were taken and are not acknowledged.

use super::config::Error;
use async_nats::jetstream::{AckKind, Message};
use std::collections::VecDeque;

/// A message that was taken.
pub(super) struct Held {
    pub(super) message: Message,
    /// Place in the stream.
    pub(super) sequence: u64,
    /// Milliseconds since 1970 at which it was stored.
    pub(super) published: i64,
}

impl Held {
    pub(super) fn new(message: Message) -> Result<Self, Error> {
        let info = message.info().map_err(Error::jetstream)?;
        let published = i64::try_from(info.published.unix_timestamp_nanos() / 1_000_000).unwrap_or(i64::MAX);
        let sequence = info.stream_sequence;
        Ok(Self { sequence, published, message })
    }
}

/// Messages that were taken, in the order in which they are to be carried out, and those that are held back.
#[derive(Default)]
pub(super) struct Queue {
    due: VecDeque<Held>,
    held: Vec<Held>,
    /// Last message that was delivered when this node began. What is behind it is held back until it and those before
    /// are acknowledged.
    barrier: Option<u64>,
}

impl Queue {
    pub(super) fn new(barrier: Option<u64>) -> Self {
        Self { barrier, ..Self::default() }
    }

    pub(super) fn push(&mut self, message: Held) {
        match self.barrier {
            Some(barrier) if message.sequence > barrier => self.held.push(message),
            _ => self.due.push_back(message),
        }
    }

    pub(super) fn front(&self) -> Option<&Held> {
        self.due.front()
    }

    pub(super) fn pop(&mut self) {
        self.due.pop_front();
    }

    pub(super) fn len(&self) -> usize {
        self.due.len() + self.held.len()
    }

    /// The barrier, while there is one.
    pub(super) const fn barrier(&self) -> Option<u64> {
        self.barrier
    }

    /// Everything up to the barrier is acknowledged.
    pub(super) fn lift(&mut self) {
        self.barrier = None;
        self.held.sort_by_key(|held| held.sequence);
        self.due.extend(self.held.drain(..));
    }

    /// Tells JetStream something about all of them, in the order of the stream.
    pub(super) async fn tell(&mut self, kind: AckKind) -> Result<(), Error> {
        self.held.sort_by_key(|held| held.sequence);
        for held in self.due.iter().chain(&self.held) {
            held.message.ack_with(kind).await.map_err(Error::jetstream)?;
        }
        Ok(())
    }
}
