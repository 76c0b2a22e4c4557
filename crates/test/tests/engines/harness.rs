//! Harnesses of the engines of this tree.

use spinward::clock::{Clock, Now};
use spinward::engine::broker::Broker;
use spinward::id::Entropy;
use spinward::sim::{MemoryEngine, Tasks};
use spinward_test::conformance::BrokerHarness;
use spinward_testkit::broker::{Misdeeds, SimBroker};
use spinward_testkit::log::Log;
use spinward_testkit::random::Random;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

fn clock() -> Clock {
    Clock::manual(Now { mono: 1_000, wall: 1_700_000_000_000 })
}

pub(crate) struct Memory {
    clock: Clock,
    engine: Arc<MemoryEngine>,
    connected: AtomicUsize,
}

impl Default for Memory {
    fn default() -> Self {
        let clock = clock();
        let engine = Arc::new(MemoryEngine::new(clock.clone(), Entropy::seeded(1)));
        Self { clock, engine, connected: AtomicUsize::new(0) }
    }
}

impl BrokerHarness for Memory {
    /// It is within one process: there is no second node.
    fn connect(&self) -> Option<Arc<dyn Broker>> {
        (self.connected.fetch_add(1, SeqCst) == 0).then(|| Arc::clone(&self.engine) as _)
    }

    async fn settle(&self) {
        self.engine.step();
    }

    async fn pass(&self, time: Duration) -> bool {
        self.clock.advance(time.as_millis() as u64);
        self.engine.expire();
        true
    }

    async fn fail_over(&self) -> bool {
        self.engine.restart();
        true
    }

    /// It has no connections.
    async fn interrupt(&self, _: usize) -> bool {
        false
    }
}

pub(crate) struct Simulated {
    broker: SimBroker,
    tasks: Tasks,
    connected: AtomicUsize,
}

impl Simulated {
    fn new(seed: u64, misdeeds: Misdeeds) -> Self {
        let tasks = Tasks::default();
        let broker = SimBroker::new(Random::new(seed), Log::new(clock()), misdeeds, tasks.clone());
        Self { broker, tasks, connected: AtomicUsize::new(0) }
    }

    /// Answers everything at once.
    pub(crate) fn punctual() -> Self {
        Self::new(1, Misdeeds::default())
    }

    /// Answers half of everything later.
    pub(crate) fn late(seed: u64) -> Self {
        Self::new(seed, Misdeeds { tarry: 500, ..Misdeeds::default() })
    }
}

impl BrokerHarness for Simulated {
    fn connect(&self) -> Option<Arc<dyn Broker>> {
        Some(self.broker.link(self.connected.fetch_add(1, SeqCst)))
    }

    async fn settle(&self) {
        loop {
            let polled = self.tasks.ready() > 0 && self.tasks.poll(0);
            if !self.broker.step() && !polled {
                return;
            }
        }
    }

    /// Its time stands still.
    async fn pass(&self, _: Duration) -> bool {
        false
    }

    /// Several times, since the seed may draw that nothing is lost.
    async fn fail_over(&self) -> bool {
        (0..20).for_each(|_| self.broker.fail_over());
        true
    }

    async fn interrupt(&self, node: usize) -> bool {
        self.broker.interrupt(node);
        true
    }
}
