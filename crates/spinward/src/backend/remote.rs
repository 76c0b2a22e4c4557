//! The calls of a node to a broker outside of the process, and the epochs that it sees.

use crate::answer::Answer;
use crate::backend::compare::Comparing;
use crate::backend::recent::Recent;
use crate::backend::requests::Requests;
use crate::backend::waves::Waves;
use crate::bulkhead::Bulkhead;
use crate::channel::record::{Channel, EngineId};
use crate::engine::broker::{
    Broker, BrokerError, Guarantee, History, HistoryOptions, JoinLeave, PublishOptions, Published, Read,
    Receipt, Sink, Slice,
};
use crate::engine::epoch::{Epochs, taken_apart};
use crate::hub::Hub;
use crate::publication::Position;
use crate::runtime::Runtime;
use bytes::Bytes;
use parking_lot::Mutex;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// A broker, as one node has it.
pub(crate) struct Remote {
    pub(super) me: Weak<Self>,
    pub(super) id: EngineId,
    /// The node. It holds this.
    hub: Weak<Hub>,
    pub(super) broker: Arc<dyn Broker>,
    pub(super) runtime: Runtime,
    pub(super) bulkhead: Bulkhead,
    pub(super) epochs: Arc<Epochs>,
    pub(super) requests: Mutex<Requests>,
    pub(super) comparing: Mutex<Comparing>,
    pub(super) waves: Mutex<Waves>,
    pub(super) recent: Recent,
    pub(super) most_in_flight: usize,
    pub(super) timeout: Duration,
}

impl Remote {
    pub(crate) fn new(id: EngineId, broker: Arc<dyn Broker>, runtime: Runtime, hub: &Arc<Hub>) -> Arc<Self> {
        let (config, seed) = (&hub.config, hub.entropy.number());
        Arc::new_cyclic(|me| Self {
            me: Weak::clone(me),
            id,
            hub: Arc::downgrade(hub),
            broker,
            runtime,
            bulkhead: Bulkhead::new(config.max_calls_in_flight),
            epochs: Arc::new(Epochs::new(seed)),
            requests: Mutex::default(),
            comparing: Mutex::default(),
            waves: Mutex::default(),
            recent: Recent::default(),
            most_in_flight: config.max_calls_in_flight.max(1),
            timeout: config.hook_timeout,
        })
    }

    /// Starts delivery into the node.
    pub(crate) fn start(self: &Arc<Self>) -> Result<(), BrokerError> {
        self.broker.start(Sink::new(self))
    }

    /// The node, unless it is gone.
    pub(super) fn hub(&self) -> Option<Arc<Hub>> {
        self.hub.upgrade()
    }

    /// Returns true for a channel of this engine.
    pub(super) fn has(&self, channel: &Channel) -> bool {
        channel.lock().engine() == self.id
    }

    pub(crate) fn broker(&self) -> &dyn Broker {
        &*self.broker
    }

    pub(crate) fn publish(
        &self,
        channel: &str,
        data: Bytes,
        options: PublishOptions,
    ) -> Answer<Result<Published, BrokerError>> {
        let epochs = Arc::clone(&self.epochs);
        self.bulkhead.admit(self.broker.publish(channel, data, options)).map(move |receipt| {
            let position = |place| epochs.position(&place);
            Ok(match receipt? {
                Receipt::Stored(place) => Published { position: position(place), suppressed: false },
                Receipt::Sent => Published::default(),
                Receipt::Suppressed(place) => {
                    Published { position: place.map_or_else(Position::default, position), suppressed: true }
                }
            })
        })
    }

    /// Reads a stream. The epoch of a place to read from is one that clients see.
    pub(crate) fn read(
        &self,
        channel: &str,
        mut read: Read,
        history: HistoryOptions,
    ) -> Answer<Result<History, BrokerError>> {
        let asked = read.since().and_then(|since| since.epoch.clone());
        if let Some(since) = read.since_mut() {
            let Some(own) = taken_apart(since) else {
                return Answer::Now(Err(BrokerError::UnrecoverablePosition));
            };
            *since = own;
        }
        let epochs = Arc::clone(&self.epochs);
        let slice = self.bulkhead.admit(self.broker.read(channel, read, history));
        slice.map(move |slice| checked(&epochs, asked.as_deref(), slice))
    }

    /// Reads the top of a stream; for callers that hold a place in the bulkhead.
    pub(super) async fn top(&self, channel: &str, history: HistoryOptions) -> Result<Slice, BrokerError> {
        self.broker.read(channel, Read::Top, history).wait().await
    }

    pub(crate) fn forget(&self, hub: &Hub, channel: &str) -> Answer<Result<(), BrokerError>> {
        let (me, record) = (Weak::clone(&self.me), hub.directory.find(channel));
        // Before and after: the answer may never come, and a read may begin before the removal has its effect.
        let forget = move || {
            if let (Some(remote), Some(record)) = (me.upgrade(), &record) {
                remote.recent.forget(record.id);
            }
        };
        forget();
        self.bulkhead.admit(self.broker.forget(channel)).map(move |answer| {
            forget();
            answer
        })
    }

    /// Tells other nodes that a client joined or left. Nobody waits for it; without room it is dropped.
    pub(crate) fn announce(&self, hub: &Arc<Hub>, channel: &str, change: JoinLeave) {
        match self.broker.announce(channel, change) {
            Answer::Now(Ok(())) => {}
            Answer::Now(Err(error)) => hub.engine_failed("join and leave", &error),
            Answer::Later(future) => {
                let (runtime, timeout, weak) = (self.runtime.clone(), self.timeout, Arc::downgrade(hub));
                let job = async move {
                    let done = runtime.within(timeout, future).await;
                    let Some(hub) = weak.upgrade() else { return };
                    match done {
                        Some(Ok(())) => {}
                        Some(Err(error)) => hub.engine_failed("join and leave", &error),
                        None => hub.timed_out("join and leave"),
                    }
                };
                if !self.bulkhead.post(&self.runtime, Box::pin(job)) {
                    crate::metrics::bump(&hub.metrics.announcements_dropped);
                }
            }
        }
    }

    /// Returns true if the store has to be asked whether something was lost.
    pub(super) fn loses(&self) -> bool {
        self.broker.guarantee() == Guarantee::AtMostOnce
    }

    /// Does what is due: to be called about once a second.
    pub(crate) fn tick(&self) {
        let Some(hub) = self.hub() else { return };
        self.recent.expire(hub.clock.now().mono);
        self.give_up_overdue(&hub);
        self.retry_lost();
        self.compare_on();
    }
}

/// A slice as clients see it. One of another epoch than was asked for is no continuation, whatever the broker says.
fn checked(
    epochs: &Epochs,
    asked: Option<&str>,
    slice: Result<Slice, BrokerError>,
) -> Result<History, BrokerError> {
    let Slice { publications, top } = slice?;
    let top = epochs.position(&top);
    if asked.is_some_and(|asked| *asked != *top.epoch) {
        return Err(BrokerError::UnrecoverablePosition);
    }
    Ok(History { publications, top })
}
