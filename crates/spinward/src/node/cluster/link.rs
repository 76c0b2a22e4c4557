//! The link of a node to its controller: numbers and sends messages, takes those of others, and keeps time.

use crate::answer::Answer;
use crate::cluster::{
    Body, Config, Counters, Declined, DecodeError, Ended, Envelope, Heard, Heartbeat, NodeStatus, Outcome,
    Registry, Request, Requests, Response, millis,
};
use crate::engine::EngineHealth;
use crate::engine::controller::{ControlError, Controller, MAX_MESSAGE, Receiver, To};
use crate::fault::{Fault, holds, strikes};
use crate::id::NodeId;
use crate::log_rate::LogRate;
use crate::node::{Node, WeakNode};
use bytes::Bytes;
use parking_lot::Mutex;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot};

/// The link of one node to its controller.
pub(crate) struct Link {
    controller: Arc<dyn Controller>,
    config: Config,
    own: NodeId,
    /// Set once the node is whole.
    node: OnceLock<WeakNode>,
    state: Mutex<State>,
    /// The next deadline has come closer.
    sooner: Notify,
    /// Requests of others that are under way.
    working: Arc<Semaphore>,
    /// Messages that the controller has not taken yet.
    sending: Arc<Semaphore>,
}

struct State {
    registry: Registry,
    requests: Requests,
    counters: Counters,
    /// Number of the last message.
    number: u64,
    /// Time of the next heartbeat.
    beat_at: u64,
    /// The next heartbeat asks the others for theirs.
    asks: bool,
    /// Time of the next [`Link::tick`].
    tick_at: u64,
    /// The goodbye is under way.
    ending: bool,
    closed: bool,
    failures: LogRate,
}

impl Link {
    pub(crate) fn new(controller: Arc<dyn Controller>, config: Config, own: NodeId) -> Self {
        let state = State {
            registry: Registry::new(&config),
            requests: Requests::default(),
            counters: Counters::default(),
            number: 0,
            beat_at: 0,
            asks: true,
            tick_at: 0,
            ending: false,
            closed: false,
            failures: LogRate::default(),
        };
        Self {
            controller,
            config,
            own,
            node: OnceLock::new(),
            state: Mutex::new(state),
            sooner: Notify::new(),
            working: Arc::new(Semaphore::new(crate::cluster::MAX_WORKING)),
            sending: Arc::new(Semaphore::new(crate::cluster::MAX_SENDING)),
        }
    }

    /// Starts the controller, once the node is whole.
    pub(crate) fn start(self: &Arc<Self>, node: WeakNode) -> Result<(), ControlError> {
        let _ = self.node.set(node);
        let link: Arc<dyn Receiver> = Arc::<Self>::clone(self);
        self.controller.start(self.own, crate::engine::controller::ControlSink::new(Arc::downgrade(&link)))
    }

    pub(crate) fn wait(&self) -> Duration {
        self.config.wait
    }

    pub(crate) fn counters(&self) -> Counters {
        self.state.lock().counters
    }

    pub(crate) fn nodes(&self, now: u64) -> Vec<NodeStatus> {
        self.state.lock().registry.list(now)
    }

    pub(crate) fn health(&self) -> EngineHealth {
        self.controller.health()
    }

    fn node(&self) -> Option<Node> {
        self.node.get()?.upgrade()
    }

    /// Sends a request, and gives what its waiter waits for: the answers of all nodes that are known, or of one.
    pub(crate) fn request(
        self: &Arc<Self>,
        node: &Node,
        to: To,
        request: Request,
        wait: Duration,
    ) -> oneshot::Receiver<Outcome> {
        let now = node.inner.hub.clock.now().mono;
        let deadline = now.saturating_add(millis(wait));
        let (id, waits, sooner) = {
            let mut state = self.state.lock();
            let nodes = match to {
                To::All => state.registry.present(),
                To::Node(node) => vec![node],
            };
            let begun = if wait.is_zero() || state.closed {
                None
            } else {
                state.requests.begin(nodes.clone(), deadline)
            };
            let (id, waits) = begun.unwrap_or_else(|| {
                // It is sent all the same, and nobody is known to have done it.
                let (waiter, waits) = oneshot::channel();
                let missing = if wait.is_zero() { Vec::new() } else { nodes };
                let _ = waiter.send(Outcome { answers: Vec::new(), missing });
                (0, waits)
            });
            (id, waits, deadline < state.tick_at)
        };
        if sooner {
            self.sooner.notify_one();
        }
        self.send(node, to, Body::Request { id, request });
        waits
    }

    /// Sends a message. Where it cannot be sent, the request that it is about is over.
    fn send(self: &Arc<Self>, node: &Node, to: To, body: Body) {
        let id = if let Body::Request { id, .. } = &body { *id } else { 0 };
        let number = {
            let mut state = self.state.lock();
            if state.closed {
                return;
            }
            state.number += 1;
            state.number
        };
        let recipient = if let To::Node(node) = to { Some(node) } else { None };
        let message = Envelope { from: self.own, to: recipient, number, body }.encode();
        if message.len() > MAX_MESSAGE {
            return self.sent(node, id, Err(ControlError::TooLong(message.len())));
        }
        let answer = catch_unwind(AssertUnwindSafe(|| self.controller.send(to, message)));
        match answer {
            Err(_) => {
                node.inner.hub.panicked("controller");
                self.sent(node, id, Err(ControlError::Closed));
            }
            Ok(Answer::Now(result)) => self.sent(node, id, result),
            Ok(Answer::Later(future)) => {
                let Ok(place) = Arc::clone(&self.sending).try_acquire_owned() else {
                    return self.sent(node, id, Err(ControlError::Full));
                };
                let (link, weak, runtime) = (Arc::clone(self), node.downgrade(), node.inner.runtime.clone());
                let limit = self.config.wait.max(SHORTEST_SEND);
                node.inner.runtime.spawn(async move {
                    let result = runtime.within(limit, future).await.unwrap_or(Err(ControlError::Slow));
                    drop(place);
                    if let Some(node) = weak.upgrade() {
                        link.sent(&node, id, result);
                    }
                });
            }
        }
    }

    /// The controller took a message, or did not.
    fn sent(&self, node: &Node, id: u64, result: Result<(), ControlError>) {
        let ended = {
            let mut state = self.state.lock();
            match &result {
                Ok(()) => {
                    state.counters.sent += 1;
                    None
                }
                Err(error) => {
                    state.counters.send_failed += 1;
                    let second = node.inner.hub.clock.now().mono / 1000;
                    if let Some(silent) = state.failures.admit(second) {
                        let controller = self.controller.name();
                        tracing::warn!(%error, controller, silent, "a message to other nodes was not sent");
                    }
                    state.requests.fail(id)
                }
            }
        };
        ended.into_iter().for_each(Ended::tell);
    }

    /// Does what is due. Returns the time at which it is to be called again.
    pub(crate) fn tick(self: &Arc<Self>, node: &Node) -> u64 {
        let now = node.inner.hub.clock.now().mono;
        let (mut ended, lost, beat) = {
            let mut state = self.state.lock();
            let ended = state.requests.expire(now);
            let lost = state.registry.expire(now);
            let beat = (now >= state.beat_at && !state.closed).then(|| std::mem::take(&mut state.asks));
            if beat.is_some() {
                state.beat_at = now + jitter(self.config.heartbeat_interval, node);
            }
            (ended, lost, beat)
        };
        for lost in lost {
            tracing::warn!(node = %lost, "a node of the cluster is lost");
            ended.extend(self.state.lock().requests.gone(lost, true));
        }
        ended.into_iter().for_each(Ended::tell);
        if let Some(asks) = beat.filter(|_| !holds(Fault::HeartbeatsStop)) {
            self.beat(node, asks);
        }
        let mut state = self.state.lock();
        let next = [Some(state.beat_at), state.registry.next(), state.requests.next()];
        state.tick_at = next.into_iter().flatten().min().unwrap_or(now + IDLE_MS).max(now + 1);
        state.tick_at
    }

    fn beat(self: &Arc<Self>, node: &Node, asks: bool) {
        let info = node.info();
        let heartbeat = Heartbeat {
            name: node.inner.name.clone(),
            version: node.inner.version.clone(),
            uptime: info.uptime,
            clients: info.counters.clients,
            users: info.counters.users,
            channels: info.counters.channels,
            subscriptions: info.counters.subscriptions,
            asks,
        };
        self.send(node, To::All, Body::Heartbeat(heartbeat));
    }

    /// Keeps time until the node is gone.
    pub(crate) async fn run(self: Arc<Self>, weak: WeakNode) {
        loop {
            let wait = {
                let Some(node) = weak.upgrade() else { return };
                if self.state.lock().closed {
                    return;
                }
                let next = self.tick(&node);
                next.saturating_sub(node.inner.hub.clock.now().mono)
            };
            // Awake once a second at least, to notice that the node is gone.
            let wait = Duration::from_millis(wait.clamp(1, IDLE_MS));
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.sooner.notified() => {}
            }
        }
    }

    /// Says goodbye and closes the controller. Ends the waits for other nodes.
    pub(crate) async fn close(self: &Arc<Self>, node: &Node) {
        if std::mem::replace(&mut self.state.lock().ending, true) {
            return;
        }
        self.send(node, To::All, Body::Goodbye);
        // The goodbye was handed to the controller; closing waits until what was sent is taken.
        let _ = self.sending.acquire_many(crate::cluster::MAX_SENDING as u32).await;
        let ended = {
            let mut state = self.state.lock();
            state.closed = true;
            state.requests.close()
        };
        ended.into_iter().for_each(Ended::tell);
        self.sooner.notify_one();
        self.controller.close().wait().await;
    }

    /// Handles a message of another node.
    fn take(self: &Arc<Self>, node: &Node, envelope: Envelope) {
        let Envelope { from, to, number, body } = envelope;
        if from == self.own || to.is_some_and(|to| to != self.own) {
            return;
        }
        let now = node.inner.hub.clock.now().mono;
        {
            let mut state = self.state.lock();
            if state.closed {
                return;
            }
            state.counters.received += 1;
            match state.registry.hear(from, number, now) {
                Heard::First => {}
                Heard::Repeated if holds(Fault::OperationRepeats) => {}
                Heard::Repeated => {
                    state.counters.repeated += 1;
                    return;
                }
                Heard::Ignored => {
                    state.counters.ignored += 1;
                    return;
                }
            }
        }
        match body {
            Body::Heartbeat(heartbeat) => self.heartbeat(node, from, number, heartbeat, now),
            Body::Goodbye => {
                let ended = {
                    let mut state = self.state.lock();
                    if state.registry.goodbye(from, number) {
                        tracing::info!(node = %from, "a node of the cluster has ended");
                    }
                    state.requests.gone(from, false)
                };
                ended.into_iter().for_each(Ended::tell);
            }
            Body::Request { id, request } => self.work(node, from, id, request),
            Body::Response { id, response } => {
                let ended = self.state.lock().requests.answer(id, from, response);
                ended.into_iter().for_each(Ended::tell);
            }
        }
    }

    fn heartbeat(self: &Arc<Self>, node: &Node, from: NodeId, number: u64, heartbeat: Heartbeat, now: u64) {
        let (asks, name) = (heartbeat.asks, heartbeat.name.clone());
        let new = {
            let mut state = self.state.lock();
            if asks {
                // For all that ask at about the same time there is one heartbeat.
                let soon = now + self.soon(node);
                state.beat_at = state.beat_at.min(soon);
            }
            state.registry.heartbeat(from, number, heartbeat, now)
        };
        if new {
            tracing::info!(node = %from, name, "a node joined the cluster");
        }
        if new || asks {
            self.sooner.notify_one();
        }
    }

    /// A moment, at most a tenth of the heartbeat interval.
    fn soon(&self, node: &Node) -> u64 {
        node.inner.hub.entropy.number() % (millis(self.config.heartbeat_interval) / 10 + 1)
    }

    /// Does what another node wants.
    fn work(self: &Arc<Self>, node: &Node, from: NodeId, id: u64, request: Request) {
        let Ok(place) = Arc::clone(&self.working).try_acquire_owned() else {
            self.state.lock().counters.dropped += 1;
            return;
        };
        match request {
            Request::Operation(_) if strikes(Fault::OperationUnapplied) => {
                self.respond(node, from, id, place, std::future::ready(Response::Applied));
            }
            Request::Operation(operation) => {
                let applying = node.apply(&operation);
                self.respond(node, from, id, place, async move { applying.response().await });
            }
            Request::Survey { op, data } => {
                let answer = node.answer(&op, data);
                self.respond(node, from, id, place, async move {
                    match answer.await {
                        Ok(data) => Response::Answer(data),
                        Err(why) => Response::Declined(why),
                    }
                });
            }
            Request::Unknown => {
                self.state.lock().counters.unknown += 1;
                let response = Response::Declined(Declined::Unsupported);
                self.respond(node, from, id, place, std::future::ready(response));
            }
        }
    }

    /// Sends the result of a request once it is there.
    fn respond(
        self: &Arc<Self>,
        node: &Node,
        to: NodeId,
        id: u64,
        place: OwnedSemaphorePermit,
        response: impl Future<Output = Response> + Send + 'static,
    ) {
        let (link, weak, runtime) = (Arc::clone(self), node.downgrade(), node.inner.runtime.clone());
        let limit = node.inner.hub.config.hook_timeout;
        node.inner.runtime.spawn(async move {
            let response = runtime.within(limit, response).await;
            drop(place);
            let mut response = response.unwrap_or(Response::Declined(Declined::Failed));
            if let Response::Answer(data) = &response
                && data.len() > LONGEST_ANSWER
            {
                response = Response::Declined(Declined::TooLong);
            }
            if id != 0
                && let Some(node) = weak.upgrade()
            {
                link.send(&node, To::Node(to), Body::Response { id, response });
            }
        });
    }
}

/// Time after which the loop looks at everything again.
const IDLE_MS: u64 = 1_000;
/// A controller has this time to take a message, even where operations do not wait for others.
const SHORTEST_SEND: Duration = Duration::from_secs(1);
/// An answer to a survey, with room for its envelope.
const LONGEST_ANSWER: usize = MAX_MESSAGE - 256;

/// The interval, up to a tenth shorter or longer.
fn jitter(interval: Duration, node: &Node) -> u64 {
    let interval = millis(interval).clamp(10, 1 << 40);
    let tenth = interval / 10;
    interval - tenth + node.inner.hub.entropy.number() % (2 * tenth + 1)
}

impl Receiver for Link {
    fn receive(&self, message: Bytes) {
        let Some(node) = self.node() else { return };
        match (Envelope::decode(message), &node.inner.link) {
            (Ok(envelope), Some(link)) => link.take(&node, envelope),
            (Ok(_), None) => {}
            (Err(DecodeError::Version(_) | DecodeError::Unknown), _) => {
                self.state.lock().counters.unknown += 1
            }
            (Err(_), _) => self.state.lock().counters.malformed += 1,
        }
    }

    fn interrupted(&self) {
        let Some(node) = self.node() else { return };
        let now = node.inner.hub.clock.now().mono;
        {
            let mut state = self.state.lock();
            state.asks = true;
            // Nodes that find their back end again at the same time do not send at the same time.
            state.beat_at = state.beat_at.min(now + self.soon(&node));
        }
        self.sooner.notify_one();
    }

    fn ready(&self) -> Answer<()> {
        if self.working.available_permits() > 0 {
            return Answer::Now(());
        }
        let working = Arc::clone(&self.working);
        Answer::later(async move { drop(working.acquire().await) })
    }
}
