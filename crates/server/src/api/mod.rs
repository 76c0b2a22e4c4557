//! The server API: operations for an application's backend.
//!
//! A method is a file in [`method`], with typed parameters and a typed result. Endpoints make a [`Command`] from their
//! own encoding and write the [`Reply`]: HTTP by JSON, gRPC by Protobuf.

pub(crate) mod access;
mod batch;
mod concurrent;
pub(crate) mod describe;
pub(crate) mod error;
pub(crate) mod grpc;
pub(crate) mod http;
mod interval;
mod listing;
pub(crate) mod method;
pub(crate) mod neighbours;
pub(crate) mod openapi;
pub(crate) mod output;
pub(crate) mod parameter;
pub(crate) mod stats;

pub(crate) use batch::MAX_COMMANDS;

use crate::auth::revoke::{Revocation, StoreError};
use crate::policy::Rules;
use crate::session::{ActiveConfig, Explainer, Revocations, Shared};
use error::ApiError;
use interval::Aggregate;
use method::{Command, Reply};
use output::Empty;
use parking_lot::Mutex;
use spinward::cluster::{Applied, NodeStatus};
use spinward::{Done, Node};
use stats::{Stats, Via};
use std::sync::Arc;
use std::time::Duration;

/// Most publishes of a broadcast, and commands of a parallel batch, that are under way at a time.
const CONCURRENCY: usize = 64;

/// The server API of one node.
#[derive(Clone)]
pub(crate) struct Api {
    node: Node,
    active: Shared<ActiveConfig>,
    revocations: Revocations,
    explainer: Explainer,
    latest_info: Arc<Mutex<Option<LatestInfo>>>,
    /// The numbers of this node in it.
    aggregate: Arc<Mutex<Aggregate>>,
    /// The way that calls come.
    via: Via,
    stats: Arc<Stats>,
}

/// The latest result of `info`.
#[derive(Clone)]
struct LatestInfo {
    /// Uptime of this node at the time.
    at: Duration,
    nodes: Vec<NodeStatus>,
}

impl Api {
    /// The API of a node. Calls are decided by the `active` rules. `interval` is that of the numbers in `info`.
    #[must_use]
    pub(crate) fn new(
        node: Node,
        active: Shared<ActiveConfig>,
        revocations: Revocations,
        explainer: Explainer,
        interval: Duration,
    ) -> Self {
        let aggregate = Arc::new(Mutex::new(Aggregate::new(interval)));
        let (via, stats, latest_info) = (Via::Http, Arc::default(), Arc::default());
        Self { node, active, revocations, explainer, latest_info, aggregate, via, stats }
    }

    /// The same API for calls that come in another way than by HTTP.
    #[must_use]
    pub(crate) fn via(&self, via: Via) -> Self {
        Self { via, ..self.clone() }
    }

    /// Counts of the calls that came in any way.
    pub(crate) fn stats(&self) -> &Arc<Stats> {
        &self.stats
    }

    /// Makes a call.
    ///
    /// # Errors
    /// An error of the server API, as the caller gets it.
    pub(crate) fn call(&self, command: Command) -> impl Future<Output = Result<Reply, ApiError>> + Send {
        // Before there is a future: what is borrowed there stays in it, and a command is large.
        let begun = self.begin(&command);
        async move {
            let enforcing = Enforcing::default();
            let reply = command.call(&self.context(&enforcing, CONCURRENCY)).await;
            self.ended(begun, &reply);
            enforcing.end().await;
            reply
        }
    }

    /// Makes a call after others, before the caller is answered. Revocations in a row do not wait for each other:
    /// they are enforced together, before the next call of another kind, or once `enforcing` is awaited.
    async fn call_next(&self, command: Command, enforcing: &Enforcing) -> Result<Reply, ApiError> {
        if !command.revokes() {
            enforcing.end().await;
        }
        let begun = self.begin(&command);
        let reply = command.call(&self.context(enforcing, CONCURRENCY)).await;
        self.ended(begun, &reply);
        reply
    }

    /// Makes a call while others are under way. It makes no calls of its own at the same time.
    async fn call_beside(&self, command: Command, enforcing: &Enforcing) -> Result<Reply, ApiError> {
        let begun = self.begin(&command);
        let reply = command.call(&self.context(enforcing, 1)).await;
        self.ended(begun, &reply);
        reply
    }

    /// Begins to count a call: its method, and the time in microseconds.
    fn begin(&self, command: &Command) -> (usize, u64) {
        (command.position(), self.explainer.clock.micros())
    }

    fn ended(&self, (method, begun): (usize, u64), reply: &Result<Reply, ApiError>) {
        let took = Duration::from_micros(self.explainer.clock.micros().saturating_sub(begun));
        self.stats.ended(self.via, method, took, reply.as_ref().err());
    }

    fn context<'a>(&'a self, enforcing: &'a Enforcing, concurrency: usize) -> Context<'a> {
        Context { api: self, active: self.active.get(), enforcing, concurrency }
    }
}

/// The context of one call.
pub(crate) struct Context<'a> {
    api: &'a Api,
    /// Taken once, so that one configuration decides the whole call.
    active: Arc<ActiveConfig>,
    enforcing: &'a Enforcing,
    concurrency: usize,
}

impl Context<'_> {
    fn node(&self) -> &Node {
        &self.api.node
    }

    fn rules(&self) -> &Rules {
        &self.active.rules
    }

    /// Most operations that the call may have under way.
    fn concurrency(&self) -> usize {
        self.concurrency
    }

    /// Stores a revocation. It has been enforced on live connections before the caller is answered.
    async fn revoke(&self, revocation: Revocation) -> Result<Empty, ApiError> {
        let others = self.node().is_clustered().then(|| revocation.clone());
        let done = self.in_store(move |api| api.revocations.revoke(&api.node, revocation)).await?;
        let told = others.map(|revocation| neighbours::revoke(self.node(), &revocation));
        self.enforcing.0.lock().extend(std::iter::once(done).chain(told));
        Ok(Empty {})
    }

    /// Uses the store of revocations. It may write a file, which must not hold up other calls.
    async fn in_store<T: Send + 'static>(
        &self,
        act: impl FnOnce(&Api) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let api = self.api.clone();
        match tokio::task::spawn_blocking(move || act(&api)).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(StoreError::Name(_))) => Err(ApiError::BAD_REQUEST),
            Ok(Err(error)) => {
                tracing::error!(%error, "revocation not stored");
                Err(ApiError::INTERNAL)
            }
            Err(error) => {
                tracing::error!(%error, "revocation interrupted");
                Err(ApiError::INTERNAL)
            }
        }
    }
}

/// Logs the nodes that did not confirm an operation in time. The caller is answered all the same: they may have done it.
fn log_missing(operation: &'static str, applied: &Applied) {
    if !applied.is_complete() {
        let Applied { missing, declined, .. } = applied;
        tracing::warn!(operation, ?missing, ?declined, "operation not confirmed by all nodes");
    }
}

/// Revocations that are stored, and being enforced on live connections.
#[derive(Default)]
struct Enforcing(Mutex<Vec<Done>>);

impl Enforcing {
    /// Waits until all of them are enforced.
    async fn end(&self) {
        let pending = std::mem::take(&mut *self.0.lock());
        for done in pending {
            log_missing("revocation", &done.await);
        }
    }
}
