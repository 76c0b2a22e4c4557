//! Controllers: those of this tree, and some that violate their contract.

use bytes::Bytes;
use parking_lot::Mutex;
use spinward::answer::Answer;
use spinward::clock::{Clock, Now};
use spinward::cluster::LocalBus;
use spinward::engine::controller::{ControlError, ControlSink, Controller, To};
use spinward::id::NodeId;
use spinward_test::conformance::{self, ControllerHarness};
use spinward_testkit::bus::{SimBus, Trouble};
use spinward_testkit::log::Log;
use spinward_testkit::random::Random;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

impl ControllerHarness for LocalBusHarness {
    fn controller(&self) -> Arc<dyn Controller> {
        self.0.controller()
    }

    async fn settle(&self) {}

    async fn interrupt(&self) -> bool {
        false
    }
}

struct LocalBusHarness(LocalBus);

struct Simulated {
    bus: SimBus,
    nodes: AtomicUsize,
}

impl ControllerHarness for Simulated {
    fn controller(&self) -> Arc<dyn Controller> {
        self.bus.link(self.nodes.fetch_add(1, Ordering::Relaxed))
    }

    async fn settle(&self) {
        while self.bus.step() {}
    }

    async fn interrupt(&self) -> bool {
        self.bus.interrupt();
        true
    }
}

#[tokio::test]
async fn the_local_bus_conforms() {
    let report = conformance::controller(|| LocalBusHarness(LocalBus::new())).await;
    report.assert();
    let not_tried = ["an interruption is announced, and messages arrive after it"];
    assert_eq!(report.not_tried(), not_tried, "{report}");
}

#[tokio::test]
async fn the_simulated_bus_conforms() {
    let report = conformance::controller(|| {
        let log = Log::new(Clock::manual(Now::default()));
        let bus = SimBus::new(Random::new(1), log, Trouble::default());
        Simulated { bus, nodes: AtomicUsize::new(0) }
    });
    let report = report.await;
    report.assert();
    assert!(report.not_tried().is_empty(), "{report}");
}

/// A violation of the contract.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Violation {
    LosesSome,
    Repeats,
    CutsOff,
    Misaddresses,
    GoesOnAfterClose,
    IsOneForAll,
}

#[derive(Clone)]
struct Broken {
    violation: Violation,
    nodes: Arc<Mutex<Vec<(NodeId, ControlSink)>>>,
    sent: Arc<AtomicUsize>,
}

impl ControllerHarness for Broken {
    fn controller(&self) -> Arc<dyn Controller> {
        Arc::new(BrokenLink { bus: self.clone(), own: Mutex::new(None) })
    }

    async fn settle(&self) {}

    async fn interrupt(&self) -> bool {
        false
    }
}

struct BrokenLink {
    bus: Broken,
    own: Mutex<Option<NodeId>>,
}

impl Controller for BrokenLink {
    fn name(&self) -> &'static str {
        "broken"
    }

    fn start(&self, node: NodeId, sink: ControlSink) -> Result<(), ControlError> {
        *self.own.lock() = Some(node);
        self.bus.nodes.lock().push((node, sink));
        Ok(())
    }

    fn send(&self, to: To, mut message: Bytes) -> Answer<Result<(), ControlError>> {
        let number = self.bus.sent.fetch_add(1, Ordering::Relaxed);
        let (violation, own) = (self.bus.violation, *self.own.lock());
        if violation == Violation::LosesSome && number % 100 == 99 {
            return Answer::Now(Ok(()));
        }
        if violation == Violation::CutsOff {
            message.truncate(65_536);
        }
        let nodes = self.bus.nodes.lock().clone();
        for (node, sink) in nodes {
            let meant = match to {
                To::All => Some(node) != own,
                To::Node(_) if violation == Violation::Misaddresses => Some(node) == own,
                To::Node(recipient) => node == recipient,
            };
            let times = if violation == Violation::Repeats && number % 100 == 99 { 2 } else { 1 };
            for _ in 0..if meant { times } else { 0 } {
                sink.receive(message.clone());
            }
        }
        Answer::Now(Ok(()))
    }

    fn close(&self) -> Answer<()> {
        if self.bus.violation != Violation::GoesOnAfterClose {
            let own = self.own.lock().take();
            self.bus.nodes.lock().retain(|(node, _)| Some(*node) != own);
        }
        Answer::Now(())
    }
}

#[tokio::test]
async fn violations_are_found() {
    let violations = [
        (Violation::LosesSome, "many messages of several nodes arrive, each once"),
        (Violation::Repeats, "many messages of several nodes arrive, each once"),
        (Violation::CutsOff, "messages arrive whole, whatever their bytes and length"),
        (Violation::Misaddresses, "a message to one node reaches that node"),
        (Violation::GoesOnAfterClose, "a closed controller delivers nothing"),
        (Violation::IsOneForAll, "clusters are separate"),
    ];
    for (violation, rule) in violations {
        let shared = Arc::<Mutex<Vec<(NodeId, ControlSink)>>>::default();
        let report = conformance::controller(|| Broken {
            violation,
            nodes: if violation == Violation::IsOneForAll { Arc::clone(&shared) } else { Arc::default() },
            sent: Arc::default(),
        });
        let report = report.await;
        assert!(report.violated().contains(&rule), "{violation:?} was not found:\n{report}");
    }
}
