//! State shared by the shards of a node: the channel directory, the user registry, and a way into every shard.

mod comparisons;
mod connection_rate;
pub(crate) mod pulse;
pub(crate) mod user_rates;
pub(crate) mod users;

use crate::channel::directory::Directory;
use crate::clock::Clock;
use crate::config::Config;
use crate::engine::broker::HistoryOptions;
use crate::handle::Handle;
use crate::id::{ClientId, Entropy, NodeId};
use crate::identity::Application;
use crate::log_rate::LogRate;
use crate::mailbox::accepted::Accepted;
use crate::mailbox::admission::Admission;
use crate::mailbox::inbox::{Control, Entry, Inbox};
use crate::metrics::{Metrics, bump};
use comparisons::Comparisons;
use connection_rate::RateLimiter;
use parking_lot::Mutex;
use pulse::Pulse;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use user_rates::UserRates;
use users::Users;

/// State shared by the shards of a node.
pub(crate) struct Hub {
    /// The id of the node.
    pub(crate) node: NodeId,
    pub(crate) config: Arc<Config>,
    pub(crate) clock: Clock,
    pub(crate) entropy: Entropy,
    pub(crate) directory: Directory,
    pub(crate) users: Users,
    /// `None` where no limit is set.
    pub(crate) user_rates: Option<UserRates>,
    pub(crate) admission: Arc<Admission>,
    /// Limit on new connections, of all transports together.
    pub(crate) connection_rate: RateLimiter,
    pub(crate) inboxes: Vec<Arc<Inbox>>,
    pub(crate) metrics: Metrics,
    /// Empty with the memory broker, which loses nothing.
    pub(crate) comparisons: Comparisons,
    pub(crate) pulse: Pulse,
    /// The log has told of an old client.
    old_client_told: AtomicBool,
    /// The node goes down.
    stopping: AtomicBool,
    /// Rate limit on log lines about failing hooks.
    failures: Mutex<LogRate>,
    /// Rate limit on log lines about refused filters.
    refused_filters: Mutex<LogRate>,
}

impl Hub {
    pub(crate) fn new(config: Arc<Config>, clock: Clock, entropy: Entropy, shards: usize) -> Self {
        let seed = entropy.number();
        let inboxes: Vec<_> = (0..shards).map(|_| Arc::new(Inbox::new(config.inbox_max_size))).collect();
        Self {
            node: entropy.node_id(),
            directory: Directory::new(seed),
            users: Users::new(seed),
            user_rates: UserRates::new(
                &config.rate_limits.user_commands,
                config.rate_limits.channel_group.as_ref(),
                seed,
            ),
            admission: Arc::new(Admission::new(seed, &config, inboxes.clone())),
            connection_rate: RateLimiter::new(config.connection_rate_limit),
            inboxes,
            metrics: Metrics::new(shards),
            pulse: Pulse::new(shards),
            comparisons: Comparisons::default(),
            old_client_told: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            failures: Mutex::default(),
            refused_filters: Mutex::default(),
            config,
            clock,
            entropy,
        }
    }

    /// The node's default fills in for a missing meta ttl.
    pub(crate) fn with_meta_ttl(&self, mut options: HistoryOptions) -> HistoryOptions {
        if options.meta_ttl == Duration::ZERO {
            options.meta_ttl = self.config.history_meta_ttl;
        }
        options
    }

    /// Has every shard close its connections and end.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.admission.close();
        for shard in 0..self.inboxes.len() {
            self.send(shard, Entry::Shutdown);
        }
    }

    /// Has every shard end at once, with the connections that it still holds.
    pub(crate) fn halt(&self) {
        self.pulse.halt();
        self.inboxes.iter().for_each(|inbox| inbox.wake());
    }

    /// Returns true if the shards were told to end.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// A hook, broker or presence store panicked. The panic message may hold data, and is not logged.
    pub(crate) fn panicked(&self, hook: &'static str) {
        bump(&self.metrics.hook_panics);
        if let Some(silent) = self.failure() {
            tracing::error!(hook, silent, "hook panicked: its connection is closed");
        }
    }

    /// A hook, broker or presence store has not answered in time.
    pub(crate) fn timed_out(&self, hook: &'static str) {
        bump(&self.metrics.hook_timeouts);
        if let Some(silent) = self.failure() {
            tracing::warn!(hook, silent, "hook timed out");
        }
    }

    /// Logs that the tags filters of a connection would exceed the limit.
    pub(crate) fn filter_refused(&self, client: ClientId, bytes: usize, limit: usize) {
        let second = self.clock.now().mono / 1000;
        if let Some(silent) = self.refused_filters.lock().admit(second) {
            tracing::info!(
                %client, bytes, tags_filter_max_size = limit, silent,
                "a subscription was refused with error 106: the tags filters of its connection would exceed \
                 tags_filter_max_size"
            );
        }
    }

    /// A client of version 1 of the protocol has logged in. The first one since the start is told of.
    pub(crate) fn old_client(&self, client: ClientId, application: Option<&Application>) {
        if !self.old_client_told.swap(true, Ordering::Relaxed) {
            let (name, version) = application.map_or(("", ""), |known| (&known.name, &known.version));
            tracing::info!(
                %client, name, version,
                "a client speaks protocol version 1, as SDKs of 2018 to 2022 do; the option legacy refuses them"
            );
        }
    }

    /// A broker or presence store failed.
    pub(crate) fn engine_failed(&self, call: &'static str, error: &dyn std::fmt::Display) {
        bump(&self.metrics.engine_errors);
        if let Some(silent) = self.failure() {
            tracing::warn!(call, %error, silent, "a broker or presence store failed");
        }
    }

    /// The application named an engine that the node does not have.
    pub(crate) fn engine_unknown(&self, name: &str) {
        if let Some(silent) = self.failure() {
            tracing::error!(
                engine = name,
                silent,
                "no engine of this name is registered: the default one is used"
            );
        }
    }

    fn failure(&self) -> Option<u64> {
        self.failures.lock().admit(self.clock.now().mono / 1000)
    }

    /// Picks the emptier of two shards for a new connection.
    pub(crate) fn place(&self, id: ClientId) -> usize {
        let (spread, shards) = (id.spread(), self.inboxes.len());
        let (one, other) = (spread as usize % shards, (spread >> 16) as usize % shards);
        if self.inboxes[one].load() <= self.inboxes[other].load() { one } else { other }
    }

    /// Hands a connection to a shard. Where that has ended, the connection is dropped.
    pub(crate) fn accept(&self, accepted: Accepted) {
        self.accept_at(self.place(accepted.id), accepted);
    }

    /// Hands a connection to the shard that was picked for it.
    pub(crate) fn accept_at(&self, shard: usize, accepted: Accepted) {
        if self.inboxes[shard].accept(Box::new(accepted)) {
            self.inboxes[shard].wake();
        }
    }

    /// Puts an entry into a shard's inbox and wakes the shard.
    pub(crate) fn send(&self, shard: usize, entry: Entry) {
        if let Some(inbox) = self.inboxes.get(shard) {
            inbox.push(entry);
            inbox.wake();
        }
    }

    /// Tells one connection to do something. It may be gone by then, which is not an error.
    pub(crate) fn control(&self, handle: Handle, control: Control) {
        self.send(handle.shard(), Entry::Control { handle, control: Box::new(control) });
    }

    /// Waits until every shard can take more.
    pub(crate) async fn wait_for_capacity(&self) {
        for inbox in &self.inboxes {
            inbox.wait_for_capacity().await;
        }
    }
}
