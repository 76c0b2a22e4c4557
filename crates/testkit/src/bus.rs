//! A controller for several simulated nodes, which misbehaves by the seed.

use crate::log::{Event, Fault, Log};
use crate::random::Random;
use bytes::Bytes;
use parking_lot::Mutex;
use spinward::answer::Answer;
use spinward::cluster::{Body, Envelope, Operation, Request};
use spinward::engine::controller::{ControlError, ControlSink, Controller, To};
use spinward::id::NodeId;
use spinward::sim::give_way;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Misbehaviour of a bus, each in so many of 1,000 occasions.
#[derive(Clone, Copy, Debug, Default)]
pub struct Trouble {
    /// A message does not arrive.
    pub lose: usize,
    /// A message arrives twice.
    pub repeat: usize,
    /// A send fails, with or without having had its effect.
    pub refuse: usize,
    /// A send takes its time.
    pub tarry: usize,
}

/// The bus. Messages that are under way arrive in any order. Clones are the same one.
#[derive(Clone)]
pub struct SimBus(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    random: Random,
    log: Log,
}

#[derive(Default)]
struct State {
    /// By number: ids change when a node is started again.
    nodes: BTreeMap<usize, (NodeId, ControlSink)>,
    under_way: Vec<Message>,
    /// Repetitions, which are under way later.
    repeated: Vec<Message>,
    trouble: Trouble,
    /// Nodes that nothing gets to or from.
    cut: BTreeSet<usize>,
    /// Operations that have arrived, each with its node.
    arrived: BTreeSet<(u64, NodeId)>,
}

#[derive(Clone)]
struct Message {
    from: usize,
    to: usize,
    /// A message to a node that was started again is one to nobody.
    recipient: NodeId,
    bytes: Bytes,
}

/// The bus as one node has it.
struct Link {
    shared: Arc<Shared>,
    node: usize,
    /// Set at the start.
    id: Mutex<Option<NodeId>>,
}

/// Most messages under way. Further ones are refused.
const MOST: usize = 10_000;

impl SimBus {
    /// A bus without nodes.
    #[must_use]
    pub fn new(random: Random, log: Log, trouble: Trouble) -> Self {
        let state = State { trouble, ..State::default() };
        Self(Arc::new(Shared { state: Mutex::new(state), random, log }))
    }

    /// A controller for the node of this number.
    #[must_use]
    pub fn link(&self, node: usize) -> Arc<dyn Controller> {
        Arc::new(Link { shared: Arc::clone(&self.0), node, id: Mutex::default() })
    }

    /// Sets the misbehaviour from here on.
    pub fn set_trouble(&self, trouble: Trouble) {
        self.0.state.lock().trouble = trouble;
    }

    /// Cuts a node off from the others, or connects it again.
    pub fn cut(&self, node: usize, cut: bool) {
        let sink = {
            let mut state = self.0.state.lock();
            if cut {
                state.cut.insert(node);
                return;
            }
            let was = state.cut.remove(&node);
            state.nodes.get(&node).filter(|_| was).map(|(_, sink)| sink.clone())
        };
        // Half of the controllers notice that they were cut off.
        if let Some(sink) = sink.filter(|_| self.0.random.permille(500)) {
            sink.interrupted();
        }
    }

    /// Loses everything that is under way, and tells the nodes of an interruption.
    pub fn interrupt(&self) {
        let sinks: Vec<_> = {
            let mut state = self.0.state.lock();
            state.under_way.clear();
            state.repeated.clear();
            state.nodes.values().map(|(_, sink)| sink.clone()).collect()
        };
        for sink in sinks {
            sink.interrupted();
        }
    }

    /// Forgets a node that has crashed.
    pub fn forget(&self, node: usize) {
        let mut state = self.0.state.lock();
        state.nodes.remove(&node);
        state.cut.remove(&node);
    }

    /// Moves one message, drawn by the seed. Returns true if there was one.
    pub fn step(&self) -> bool {
        let Shared { state, random, log } = &*self.0;
        let (message, sink, arrived) = {
            let mut state = state.lock();
            if !state.repeated.is_empty() && (state.under_way.is_empty() || random.permille(50)) {
                let at = random.below(state.repeated.len());
                let again = state.repeated.swap_remove(at);
                state.under_way.push(again);
            }
            if state.under_way.is_empty() {
                return false;
            }
            let at = random.below(state.under_way.len());
            let message = state.under_way.swap_remove(at);
            if random.permille(state.trouble.repeat) {
                state.repeated.push(message.clone());
            }
            let lost = random.permille(state.trouble.lose)
                || state.cut.contains(&message.from)
                || state.cut.contains(&message.to);
            let Some((id, sink)) = state.nodes.get(&message.to).cloned() else { return true };
            if lost || id != message.recipient {
                return true;
            }
            let op = number(&message.bytes).filter(|op| state.arrived.insert((*op, id)));
            (message, sink, op)
        };
        if let Some(op) = arrived {
            log.add(Event::Arrived { op, node: message.to });
        }
        sink.receive(message.bytes);
        true
    }
}

/// The number that the world has given to an operation.
fn number(bytes: &Bytes) -> Option<u64> {
    let envelope = Envelope::decode(bytes.clone()).ok()?;
    let Body::Request { request: Request::Operation(operation), .. } = envelope.body else { return None };
    match operation {
        Operation::Disconnect { code, .. } => code.reason.strip_prefix("op ")?.parse().ok(),
        Operation::Unsubscribe { code, .. } => code.reason.strip_prefix("op ")?.parse().ok(),
        Operation::Application { data, .. } => {
            std::str::from_utf8(&data).ok()?.split(' ').next()?.parse().ok()
        }
        _ => None,
    }
}

impl Shared {
    fn put(&self, from: usize, to: To, bytes: &Bytes) -> Result<(), ControlError> {
        let mut state = self.state.lock();
        let recipients: Vec<(usize, NodeId)> = state
            .nodes
            .iter()
            .filter(|(node, (id, _))| **node != from && (to == To::All || to == To::Node(*id)))
            .map(|(node, (id, _))| (*node, *id))
            .collect();
        if state.under_way.len() + recipients.len() > MOST {
            return Err(ControlError::Full);
        }
        for (to, recipient) in recipients {
            state.under_way.push(Message { from, to, recipient, bytes: bytes.clone() });
        }
        Ok(())
    }
}

impl Controller for Link {
    fn name(&self) -> &'static str {
        "simulated"
    }

    fn start(&self, node: NodeId, sink: ControlSink) -> Result<(), ControlError> {
        *self.id.lock() = Some(node);
        self.shared.state.lock().nodes.insert(self.node, (node, sink));
        Ok(())
    }

    /// Answers by the seed: now or later, right or with an error, before or after the effect.
    fn send(&self, to: To, message: Bytes) -> Answer<Result<(), ControlError>> {
        let Trouble { refuse, tarry, .. } = self.shared.state.lock().trouble;
        let random = &self.shared.random;
        let (refused, done) = (random.permille(refuse), random.permille(500));
        if refused {
            self.shared.log.fault(Fault::Unsent { node: self.node });
        }
        let (shared, node) = (Arc::clone(&self.shared), self.node);
        let act = move || {
            let put = if refused && !done { Ok(()) } else { shared.put(node, to, &message) };
            if refused { Err(ControlError::Failed("refused by the seed".into())) } else { put }
        };
        if !random.permille(tarry) {
            return Answer::Now(act());
        }
        let (before, after) = (random.below(6) as u32, random.below(6) as u32);
        Answer::later(async move {
            give_way(before).await;
            let result = act();
            give_way(after).await;
            result
        })
    }

    fn close(&self) -> Answer<()> {
        // Another node may have taken its place.
        let own = *self.id.lock();
        let mut state = self.shared.state.lock();
        if state.nodes.get(&self.node).map(|(id, _)| *id) == own {
            state.nodes.remove(&self.node);
        }
        Answer::Now(())
    }
}
