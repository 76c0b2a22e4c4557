//! The way of one channel's messages from its subscription into the node.

use super::counters::Counters;
use crate::fault::{Fault, holds};
use async_nats::{Message, Subscriber};
use futures_util::StreamExt;
use spinward::engine::broker::{Event, Scope, Sink, StreamId};
use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use tokio::sync::Mutex;

/// Messages that wait for a channel whose subscribers are behind. Further ones are dropped, and the node is told once
/// those that wait are delivered.
const BACKLOG: usize = 1_024;

/// Meaning of a message.
pub(super) enum Meaning {
    /// Something to deliver, of this stream if it was stored.
    Event(Option<StreamId>, Event),
    /// A newer one was delivered before.
    Late,
    /// It is not one of ours, or damaged.
    Malformed,
    /// There is nothing to deliver.
    Nothing,
}

/// Reads the messages of a kind of broker.
pub(super) trait Reader: Send + Sync + 'static {
    /// Facts of earlier deliveries to a channel that matter for the next message. They outlive connections.
    type Seen: Default + Send + 'static;

    /// Reads a message to a channel. `pattern`: the channel is a pattern.
    fn read(&self, channel: &str, pattern: bool, message: Message, seen: &mut Self::Seen) -> Meaning;
}

/// Delivers the messages of one channel, one after the other.
///
/// Each channel has its own, so that one whose subscribers are behind holds back no other. Messages are taken out of the
/// client library at once: it drops what it has no room for, and does not say for which channel.
pub(super) struct Feed<R: Reader> {
    pub(super) channel: Arc<str>,
    pub(super) pattern: bool,
    pub(super) reader: Arc<R>,
    pub(super) seen: Arc<Mutex<R::Seen>>,
    pub(super) sink: Sink,
    pub(super) counters: Arc<Counters>,
}

impl<R: Reader> Feed<R> {
    /// Runs until the subscription ends.
    pub(super) async fn run(self, mut subscriber: Subscriber) {
        let seen = Arc::clone(&self.seen);
        let mut seen = seen.lock().await;
        let mut backlog = VecDeque::new();
        let mut lost = false;
        while !self.sink.is_closed() {
            let message = match backlog.pop_front() {
                Some(message) => message,
                None => {
                    if std::mem::take(&mut lost) {
                        self.counters.gaps.bump();
                        self.sink.interrupted(Scope::Channels(&[&self.channel]));
                    }
                    match subscriber.next().await {
                        Some(message) => message,
                        None => return,
                    }
                }
            };
            if !self.sink.has_room(&self.channel) {
                let mut room = pin!(self.sink.room(&self.channel));
                let mut open = true;
                loop {
                    tokio::select! {
                        biased;
                        () = &mut room => break,
                        next = subscriber.next(), if open => match next {
                            Some(next) if backlog.len() < BACKLOG => backlog.push_back(next),
                            Some(_) => {
                                self.counters.dropped.bump();
                                lost = true;
                            }
                            None => open = false,
                        }
                    }
                }
            }
            self.deliver(message, &mut seen);
        }
    }

    fn deliver(&self, message: Message, seen: &mut R::Seen) {
        if holds(Fault::DeafChannels) && self.channel.ends_with(['1', '3', '5', '7', '9']) {
            return;
        }
        match self.reader.read(&self.channel, self.pattern, message, seen) {
            Meaning::Event(stream, event) => self.sink.deliver(&self.channel, stream.as_ref(), event),
            Meaning::Late => self.counters.late.bump(),
            Meaning::Malformed => self.counters.malformed.bump(),
            Meaning::Nothing => {}
        }
    }
}
