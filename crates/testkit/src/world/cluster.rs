//! Nodes that reach each other by a bus: operations on any of them, nodes that are cut off, crash and come back.

use super::{Scenario, World};
use crate::bus::{SimBus, Trouble};
use crate::log::{Event, Fault, Operation};
use bytes::Bytes;
use spinward::answer::{Answer, BoxFuture};
use spinward::cluster::{self, Declined};
use spinward::enforce::{Judge, Verdict};
use spinward::engine::controller::To;
use spinward::id::NodeId;
use spinward::sim::Neighbours;
use spinward::{ClientFilter, ClusterHandler, Node};
use spinward_wire::code::{DisconnectCode, UnsubscribeCode};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// Most time that an operation waits for other nodes.
const WAIT: Duration = Duration::from_millis(500);
const TIMEOUT: Duration = Duration::from_millis(1_000);

impl Scenario {
    /// Draws a scenario of three nodes that reach each other by a bus.
    #[must_use]
    pub fn clustered(seed: u64) -> Self {
        let drawn = Self::from_seed(seed);
        let random = crate::random::Random::new(seed ^ 0xb05);
        let calm = random.permille(100);
        let rate = |most: usize| if calm { 0 } else { random.below(most + 1) };
        Self {
            steps: random.between(1_500, 4_000),
            remote_nodes: 3,
            shards: random.between(1, 2),
            clients: random.between(2, 4),
            hostile: 0,
            nuisance: random.between(5, 40),
            jumps: false,
            bus: Some(Trouble {
                lose: rate(150),
                repeat: rate(200),
                refuse: rate(60),
                tarry: random.below(1_001),
            }),
            collapse: rate(3),
            ..drawn
        }
    }
}

/// Someone who waits for the end of an operation or a survey.
pub(super) struct Waiting {
    op: u64,
    node: usize,
    /// Other nodes that were known at the time.
    known: Vec<NodeId>,
    future: BoxFuture<Over>,
}

/// The end of an operation or a survey.
struct Over {
    /// The nodes that have answered; without them, all that are known and not missing.
    answered: Option<Vec<NodeId>>,
    missing: Vec<NodeId>,
}

/// The application's side of the bus.
struct Neighbour(usize);

impl ClusterHandler for Neighbour {
    fn notified(&self, node: &Node, op: &str, data: Bytes) -> Answer<Result<(), Declined>> {
        let text = String::from_utf8_lossy(&data);
        match (op, text.split_once(' ')) {
            ("revoke", Some((_, user))) => {
                let done = revoke(node, user);
                Answer::later(async move {
                    done.await;
                    Ok(())
                })
            }
            _ => Answer::Now(Err(Declined::Unsupported)),
        }
    }

    fn asked(&self, _: &Node, op: &str, _: Bytes) -> Answer<Result<Bytes, Declined>> {
        assert_eq!(op, "number");
        Answer::Now(Ok(self.0.to_string().into()))
    }
}

/// Ends the logins that a user has on a node.
fn revoke(node: &Node, user: &str) -> spinward::Done {
    let code = DisconnectCode { code: 4001, reason: "revoked".into() };
    node.enforce(Some(user), &Judge::new(move |_| Verdict::Disconnect(code.clone())))
}

pub(super) fn neighbours(bus: &SimBus, node: usize) -> Neighbours {
    let mut config = cluster::Config::default();
    config.heartbeat_interval = Duration::from_millis(300);
    config.node_timeout = TIMEOUT;
    config.wait = WAIT;
    Neighbours { controller: bus.link(node), config, handler: Arc::new(Neighbour(node)) }
}

impl World {
    /// The number of a node; `usize::MAX` for one that is gone.
    fn number(&self, id: NodeId) -> usize {
        self.nodes.iter().position(|node| node.node().id() == id).unwrap_or(usize::MAX)
    }

    /// The application has a node do something on all nodes.
    pub(super) fn issue(&mut self, at: usize, what: Operation) {
        self.operations += 1;
        let op = self.operations;
        let node = self.nodes[at].node().clone();
        let deadline = self.clock.now().mono + WAIT.as_millis() as u64;
        self.log.add(Event::Issued { op, node: at, what: what.clone(), deadline });
        let known = node.nodes().into_iter().map(|known| known.id).filter(|id| *id != node.id()).collect();
        let (all, user) = (ClientFilter::default(), |c: u32| format!("u{c}"));
        let reason = format!("op {op}");
        let future: BoxFuture<Over> = match what {
            Operation::Disconnect { c } => {
                let code = DisconnectCode { reason: reason.into(), ..DisconnectCode::FORCE_RECONNECT };
                over(node.disconnect(&user(c), &all, code))
            }
            Operation::Unsubscribe { c, ch } => {
                let code = self.random.one_of(&[UnsubscribeCode::SERVER, UnsubscribeCode::EXPIRED]).clone();
                let code = UnsubscribeCode { reason: reason.into(), ..code };
                over(node.unsubscribe(&user(c), &all, Some(&ch), code))
            }
            Operation::Revoke { c } => {
                drop(revoke(&node, &user(c)));
                over(node.notify(To::All, "revoke", format!("{op} {}", user(c)).into()))
            }
            Operation::Survey => Box::pin(async move {
                let survey = node.survey("number", Bytes::new(), WAIT).await;
                let answered = Some(survey.answers.into_iter().map(|(id, _)| id).collect());
                Over { answered, missing: survey.missing }
            }),
        };
        self.waiting.push(Waiting { op, node: at, known, future });
    }

    /// Polls everything that waits for an end.
    pub(super) fn look(&mut self) {
        let mut waiting = std::mem::take(&mut self.waiting);
        waiting.retain_mut(|one| {
            let Poll::Ready(over) = one.future.as_mut().poll(&mut Context::from_waker(Waker::noop())) else {
                return true;
            };
            let numbers = |ids: Vec<NodeId>| ids.into_iter().map(|id| self.number(id)).collect();
            let confirmed = over.answered.unwrap_or_else(|| {
                one.known.iter().filter(|id| !over.missing.contains(id)).copied().collect()
            });
            let (confirmed, missing) = (numbers(confirmed), numbers(over.missing));
            self.log.add(Event::Told { op: one.op, confirmed, missing });
            false
        });
        waiting.append(&mut self.waiting);
        self.waiting = waiting;
    }

    /// Something happens to a node.
    pub(super) fn collapse(&mut self) {
        let Some(bus) = self.bus.clone() else { return };
        let node = self.random.below(self.nodes.len());
        match self.random.below(4) {
            0 => {
                self.log.fault(Fault::Cut { node });
                bus.cut(node, true);
            }
            1 => {
                self.log.fault(Fault::Connected { node });
                bus.cut(node, false);
            }
            crash => {
                for client in 0..self.clients.len() {
                    if self.clients[client].at.is_some_and(|(at, _)| at == node) {
                        self.log.fault(Fault::Kill { c: self.clients[client].peer.c });
                        self.clients[client].peer.close(None);
                        self.clients[client].at = None;
                    }
                }
                self.waiting.retain(|waiting| waiting.node != node);
                if crash == 2 {
                    self.nodes[node].say_goodbye();
                } else {
                    bus.forget(node);
                }
                self.log.fault(Fault::Restarted { node });
                if let Some(broker) = &self.broker {
                    broker.forget(self.numbers[node]);
                }
                self.numbers[node] = self.started;
                self.nodes[node] = self.start(node, self.started);
                self.started += 1;
            }
        }
    }

    /// The trouble of the bus is over: every node knows every other, and a survey is answered by all.
    pub(super) fn end_cluster(&mut self) {
        let Some(bus) = self.bus.clone() else { return };
        for node in 0..self.nodes.len() {
            bus.cut(node, false);
        }
        bus.set_trouble(Trouble { tarry: 300, ..Trouble::default() });
        for _ in 0..2 * TIMEOUT.as_millis() / 100 {
            self.wait(100);
            self.settle();
        }
        for node in 0..self.nodes.len() {
            let known = self.nodes[node].node().nodes();
            let mut knows: Vec<usize> = known.into_iter().map(|status| self.number(status.id)).collect();
            knows.sort_unstable();
            self.log.add(Event::Nodes { node, knows });
        }
        for node in 0..self.nodes.len() {
            self.issue(node, Operation::Survey);
            self.issue(node, Operation::Revoke { c: self.clients[0].peer.c });
            self.settle();
        }
    }
}

fn over(done: spinward::Done) -> BoxFuture<Over> {
    Box::pin(async move {
        let applied = done.await;
        let declined = applied.declined.into_iter().map(|(node, _)| node);
        Over { answered: None, missing: applied.missing.into_iter().chain(declined).collect() }
    })
}
