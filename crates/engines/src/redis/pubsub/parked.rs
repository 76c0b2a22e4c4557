//! Deliveries that wait until subscribers can take more.
//!
//! Each channel waits on its own, so that a busy one holds back no other. What waits is bounded; beyond that, all that
//! waits for the channel of the next message is dropped, and its positions are compared once there is room.

use super::super::counters::{Counters, bump};
use spinward::engine::broker::{Event, Scope, Sink, StreamId};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::task::JoinSet;

/// Most bytes of one connection's deliveries that wait.
const MOST_BYTES: usize = 16 << 20;

/// Most of its deliveries that wait.
const MOST: usize = 65_536;

/// A delivery.
pub(super) struct Delivery {
    pub(super) stream: Option<StreamId>,
    pub(super) event: Event,
    /// Bytes that it had on its way here.
    pub(super) weight: usize,
}

#[derive(Default)]
struct Queue {
    deliveries: VecDeque<Delivery>,
    bytes: usize,
    /// Some were dropped, and so are those that come until there is room.
    lost: bool,
}

/// The deliveries of one connection.
pub(super) struct Parked {
    sink: Sink,
    counters: Arc<Counters>,
    queues: HashMap<Arc<str>, Queue>,
    bytes: usize,
    count: usize,
    /// One for each channel that waits.
    rooms: JoinSet<Arc<str>>,
}

impl Parked {
    pub(super) fn new(sink: Sink, counters: Arc<Counters>) -> Self {
        Self { sink, counters, queues: HashMap::new(), bytes: 0, count: 0, rooms: JoinSet::new() }
    }

    /// Delivers now, or once there is room.
    pub(super) fn deliver(&mut self, channel: &str, delivery: Delivery) {
        if !self.queues.contains_key(channel) {
            // Joins and leaves do not wait for room; the node drops what it has no room for.
            if matches!(delivery.event, Event::JoinLeave(_)) || self.sink.has_room(channel) {
                self.sink.deliver(channel, delivery.stream.as_ref(), delivery.event);
                return;
            }
            let channel: Arc<str> = channel.into();
            self.wait(Arc::clone(&channel));
            self.queues.insert(channel, Queue::default());
        }
        let full = self.bytes + delivery.weight > MOST_BYTES || self.count >= MOST;
        let Some(queue) = self.queues.get_mut(channel) else { return };
        if full || queue.lost {
            let dropped = queue.deliveries.len() + 1;
            self.counters.dropped.fetch_add(dropped as u64, Ordering::Relaxed);
            self.bytes -= std::mem::take(&mut queue.bytes);
            self.count -= dropped - 1;
            queue.deliveries.clear();
            if !std::mem::replace(&mut queue.lost, true) {
                bump(&self.counters.gaps);
            }
            return;
        }
        self.bytes += delivery.weight;
        self.count += 1;
        queue.bytes += delivery.weight;
        queue.deliveries.push_back(delivery);
    }

    fn wait(&mut self, channel: Arc<str>) {
        let sink = self.sink.clone();
        self.rooms.spawn(async move {
            sink.room(&channel).await;
            channel
        });
    }

    /// Waits until a channel that waits has room, and delivers to it. Never ends while none waits.
    pub(super) async fn go_on(&mut self) {
        match self.rooms.join_next().await {
            Some(Ok(channel)) => self.room(channel),
            Some(Err(_)) => {}
            None => std::future::pending().await,
        }
    }

    fn room(&mut self, channel: Arc<str>) {
        let Some(queue) = self.queues.get_mut(&channel) else { return };
        while self.sink.has_room(&channel)
            && let Some(delivery) = queue.deliveries.pop_front()
        {
            queue.bytes -= delivery.weight;
            self.bytes -= delivery.weight;
            self.count -= 1;
            self.sink.deliver(&channel, delivery.stream.as_ref(), delivery.event);
        }
        if !queue.deliveries.is_empty() {
            self.wait(channel);
            return;
        }
        if queue.lost {
            self.sink.interrupted(Scope::Channels(&[&channel]));
        }
        self.queues.remove(&channel);
    }
}
