//! Brokers that violate their contract, each in one way: the suite finds every one of them.

use crate::harness::{Memory, Simulated};
use parking_lot::Mutex;
use spinward::answer::{Answer, BoxFuture};
use spinward::engine::broker::{
    Broker, BrokerError, Event, HistoryOptions, Interest, JoinLeave, Limit, Place, PublishOptions, Read,
    Receipt, Receive, Scope, Sink, Slice, StreamId,
};
use spinward_test::conformance::{self, BrokerHarness};
use std::sync::Arc;
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// Every second publication overtakes the one before.
    Swaps,
    /// A fail-over goes unnoticed.
    KeepsIncarnation,
    /// Idempotency keys are not looked at.
    IgnoresKeys,
    /// Of a batch of interest, only the first is answered.
    AnswersOneOfABatch,
    /// A read returns all that is kept after its start.
    IgnoresLimits,
    /// A connection that broke is not mentioned.
    HidesInterruptions,
    /// Deliveries do not wait for room.
    IgnoresRoom,
    /// Forgetting starts a stream over.
    ForgetsPosition,
    /// Offsets of receipts are one too high.
    MiscountsReceipts,
}

const FAULTS: [(Fault, &str); 9] = [
    (Fault::Swaps, "publications arrive in order, with consecutive offsets of one stream"),
    (Fault::KeepsIncarnation, "a replaced store has another incarnation"),
    (Fault::IgnoresKeys, "a known idempotency key publishes nothing"),
    (Fault::AnswersOneOfABatch, "delivery follows interest, and every change is answered once"),
    (Fault::IgnoresLimits, "reads of each kind return their slice"),
    (Fault::HidesInterruptions, "an interruption is announced, and delivery goes on"),
    (Fault::IgnoresRoom, "without room nothing is delivered, and nothing is lost"),
    (Fault::ForgetsPosition, "forgetting drops publications and keeps the position"),
    (Fault::MiscountsReceipts, "publications arrive in order, with consecutive offsets of one stream"),
];

#[tokio::test]
async fn every_violation_is_found() {
    for (fault, rule) in FAULTS {
        let report = conformance::broker(|| Faulty { fault, inner: Simulated::punctual() }).await;
        assert!(report.violated().contains(&rule), "{fault:?} is not found by {rule:?}:\n{report}");
    }
}

/// The wrapper alone is no violation.
#[tokio::test]
async fn violations_of_the_memory_engine_are_found_too() {
    for fault in [Fault::Swaps, Fault::IgnoresKeys, Fault::IgnoresLimits, Fault::ForgetsPosition] {
        let report = conformance::broker(|| Faulty { fault, inner: Memory::default() }).await;
        assert!(!report.violated().is_empty(), "{fault:?} is not found:\n{report}");
    }
    // It has no connection that could break.
    let none = conformance::broker(|| Faulty { fault: Fault::HidesInterruptions, inner: Memory::default() });
    none.await.assert();
}

/// A harness whose brokers have a fault.
struct Faulty<H> {
    fault: Fault,
    inner: H,
}

impl<H: BrokerHarness> BrokerHarness for Faulty<H> {
    fn connect(&self) -> Option<Arc<dyn Broker>> {
        let broker = FaultyBroker {
            fault: self.fault,
            inner: self.inner.connect()?,
            between: Mutex::default(),
            first: Arc::default(),
            epochs: Mutex::default(),
        };
        Some(Arc::new(broker))
    }

    async fn settle(&self) {
        self.inner.settle().await;
    }

    async fn pass(&self, time: Duration) -> bool {
        self.inner.pass(time).await
    }

    async fn fail_over(&self) -> bool {
        self.inner.fail_over().await
    }

    async fn interrupt(&self, node: usize) -> bool {
        self.inner.interrupt(node).await
    }
}

struct FaultyBroker {
    fault: Fault,
    inner: Arc<dyn Broker>,
    between: Mutex<Option<Arc<Between>>>,
    /// The incarnation at first.
    first: Arc<Mutex<Option<Arc<str>>>>,
    /// Counts streams that were started over.
    epochs: Mutex<usize>,
}

/// Stands between the broker and the node.
struct Between {
    fault: Fault,
    sink: Sink,
    held: Mutex<Option<(String, Option<StreamId>, Event)>>,
    answered: Mutex<usize>,
    first: Arc<Mutex<Option<Arc<str>>>>,
}

fn disguised(first: &Mutex<Option<Arc<str>>>, stream: StreamId) -> StreamId {
    let incarnation = Arc::clone(first.lock().get_or_insert(stream.incarnation));
    StreamId { incarnation, epoch: stream.epoch }
}

impl FaultyBroker {
    fn place(&self) -> impl Fn(Place) -> Place + Send + use<> {
        let (fault, first) = (self.fault, Arc::clone(&self.first));
        let round = *self.epochs.lock();
        move |mut place| {
            match fault {
                Fault::KeepsIncarnation => place.stream = disguised(&first, place.stream),
                Fault::ForgetsPosition if round > 0 => {
                    place.stream.epoch = format!("{}-{round}", place.stream.epoch).into();
                }
                _ => {}
            }
            place
        }
    }
}

impl Receive for Between {
    fn deliver(&self, channel: &str, stream: Option<&StreamId>, event: Event) {
        let mut stream = stream.cloned();
        if self.fault == Fault::KeepsIncarnation {
            stream = stream.map(|stream| disguised(&self.first, stream));
        }
        if self.fault == Fault::Swaps && matches!(event, Event::Publication(_)) {
            let former = self.held.lock().take();
            let Some((of, former_stream, former)) = former else {
                *self.held.lock() = Some((channel.to_owned(), stream, event));
                return;
            };
            self.sink.deliver(channel, stream.as_ref(), event);
            return self.sink.deliver(&of, former_stream.as_ref(), former);
        }
        self.sink.deliver(channel, stream.as_ref(), event);
    }

    fn interest(&self, channel: &str, asked: Interest, result: Result<(), BrokerError>) {
        let mut answered = self.answered.lock();
        *answered += 1;
        if self.fault != Fault::AnswersOneOfABatch || *answered == 1 {
            self.sink.interest(channel, asked, result);
        }
    }

    fn interrupted(&self, scope: Scope<'_>) {
        if self.fault != Fault::HidesInterruptions {
            self.sink.interrupted(scope);
        }
    }

    fn replaced(&self, scope: Scope<'_>, incarnation: &str) {
        if self.fault != Fault::KeepsIncarnation {
            self.sink.replaced(scope, incarnation);
        }
    }

    fn wanted(&self) -> Vec<Arc<str>> {
        self.sink.wanted()
    }

    fn has_room(&self, channel: &str) -> bool {
        self.fault == Fault::IgnoresRoom || self.sink.has_room(channel)
    }

    fn room(self: Arc<Self>, channel: &str) -> BoxFuture<()> {
        let (sink, channel) = (self.sink.clone(), channel.to_owned());
        Box::pin(async move { sink.room(&channel).await })
    }
}

impl Broker for FaultyBroker {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn start(&self, sink: Sink) -> Result<(), BrokerError> {
        let between = Arc::new(Between {
            fault: self.fault,
            sink,
            held: Mutex::default(),
            answered: Mutex::default(),
            first: Arc::clone(&self.first),
        });
        let inner = Sink::new(&between);
        *self.between.lock() = Some(between);
        self.inner.start(inner)
    }

    fn incarnation(&self, channel: &str) -> Arc<str> {
        let present = StreamId { incarnation: self.inner.incarnation(channel), epoch: "".into() };
        if self.fault == Fault::KeepsIncarnation {
            disguised(&self.first, present).incarnation
        } else {
            present.incarnation
        }
    }

    fn publish(
        &self,
        channel: &str,
        data: bytes::Bytes,
        mut options: PublishOptions,
    ) -> Answer<Result<Receipt, BrokerError>> {
        if self.fault == Fault::IgnoresKeys {
            options.idempotency_key.clear();
        }
        let (fault, place) = (self.fault, self.place());
        self.inner.publish(channel, data, options).map(move |receipt| {
            Ok(match receipt? {
                Receipt::Stored(at) => {
                    let mut at = place(at);
                    at.offset += u64::from(fault == Fault::MiscountsReceipts);
                    Receipt::Stored(at)
                }
                Receipt::Suppressed(at) => Receipt::Suppressed(at.map(place)),
                Receipt::Sent => Receipt::Sent,
            })
        })
    }

    fn announce(&self, channel: &str, change: JoinLeave) -> Answer<Result<(), BrokerError>> {
        self.inner.announce(channel, change)
    }

    fn read(
        &self,
        channel: &str,
        mut read: Read,
        history: HistoryOptions,
    ) -> Answer<Result<Slice, BrokerError>> {
        if self.fault == Fault::IgnoresLimits {
            match &mut read {
                Read::Top => {}
                Read::Oldest { limit }
                | Read::Latest { limit }
                | Read::After { limit, .. }
                | Read::Before { limit, .. } => *limit = Limit::All,
            }
        }
        let place = self.place();
        self.inner.read(channel, read, history).map(move |slice| {
            let Slice { publications, top } = slice?;
            Ok(Slice { publications, top: place(top) })
        })
    }

    fn forget(&self, channel: &str) -> Answer<Result<(), BrokerError>> {
        *self.epochs.lock() += 1;
        self.inner.forget(channel)
    }

    fn interest(&self, changes: &[(Arc<str>, Interest)]) {
        if let Some(between) = &*self.between.lock() {
            *between.answered.lock() = 0;
        }
        self.inner.interest(changes);
    }

    fn close(&self) -> Answer<()> {
        self.inner.close()
    }
}
