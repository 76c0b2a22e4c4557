//! Counters of a node. Shards count for themselves, on cache lines of their own; readers add up.

use spinward_wire::Request;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};

/// Everything that a node counts.
pub(crate) struct Metrics {
    pub(crate) shards: Box<[ShardMetrics]>,
    /// Connections, logged in or not.
    pub(crate) connections: AtomicUsize,
    pub(crate) refused_connections: AtomicU64,
    /// Channels with subscribers on this node.
    pub(crate) occupied: AtomicUsize,
    pub(crate) published: AtomicU64,
    pub(crate) joined: AtomicU64,
    pub(crate) left: AtomicU64,
    pub(crate) hook_panics: AtomicU64,
    pub(crate) hook_timeouts: AtomicU64,
    pub(crate) announcements_dropped: AtomicU64,
    pub(crate) presence_dropped: AtomicU64,
    pub(crate) engine_errors: AtomicU64,
    pub(crate) interruptions: AtomicU64,
}

macro_rules! shard_metrics {
    ($($(#[$meta:meta])* $name:ident),* $(,)?) => {
        /// Counters of one shard, which alone writes them.
        #[repr(align(128))]
        #[derive(Default)]
        pub(crate) struct ShardMetrics {
            $($(#[$meta])* pub(crate) $name: AtomicU64,)*
            clients: AtomicI64,
            subscriptions: AtomicI64,
            commands: [AtomicU64; COMMANDS.len()],
            errors: [AtomicU64; 16],
            disconnects: [AtomicU64; DISCONNECTS.len() + 1],
            unsubscribes: [AtomicU64; UNSUBSCRIBES.len() + 1],
            recoveries: [AtomicU64; 4],
        }

        /// A reading of a node's counters.
        #[derive(Clone, Debug, Default)]
        pub struct Snapshot {
            $($(#[$meta])* pub $name: u64,)*
            /// Logged-in connections.
            pub clients: u64,
            /// Subscriptions.
            pub subscriptions: u64,
            /// Connections, logged in or not.
            pub connections: u64,
            /// Connections refused for a limit of the node.
            pub refused_connections: u64,
            /// Publications taken, from clients and from the server API.
            pub published: u64,
            /// Joins announced.
            pub joined: u64,
            /// Leaves announced.
            pub left: u64,
            /// Hooks, brokers and presence stores that panicked, each of which ended a connection.
            pub hook_panics: u64,
            /// Answers of hooks, brokers and presence stores that did not come in time.
            pub hook_timeouts: u64,
            /// Joins and leaves that were dropped, because too many waited for the broker or for a shard.
            pub announcements_dropped: u64,
            /// Removals from presence and refreshes of it that were dropped, because too many waited for the store.
            pub presence_dropped: u64,
            /// Calls that a broker or presence store answered with an error, unless a client was told.
            pub engine_errors: u64,
            /// Times that a broker said that deliveries may be missing.
            pub interruptions: u64,
            /// Distinct users.
            pub users: u64,
            /// Channels with subscribers.
            pub channels: u64,
            /// Commands taken, by name.
            pub commands: Vec<(&'static str, u64)>,
            /// Error replies by code.
            pub reply_errors: Vec<(u32, u64)>,
            /// Disconnects by code, 0 standing for codes of the application's own.
            pub disconnects: Vec<(u32, u64)>,
            /// Unsubscribes by the server, by code, 0 standing for codes of the application's own.
            pub unsubscribes: Vec<(u32, u64)>,
            /// Recoveries as (recovered, with publications, how many).
            pub recoveries: Vec<(bool, bool, u64)>,
        }

        impl Metrics {
            /// Adds up what the shards counted.
            pub(crate) fn snapshot(&self, users: usize) -> Snapshot {
                let mut sum = Snapshot {
                    connections: self.connections.load(Ordering::Relaxed) as u64,
                    refused_connections: self.refused_connections.load(Ordering::Relaxed),
                    published: self.published.load(Ordering::Relaxed),
                    joined: self.joined.load(Ordering::Relaxed),
                    left: self.left.load(Ordering::Relaxed),
                    hook_panics: self.hook_panics.load(Ordering::Relaxed),
                    hook_timeouts: self.hook_timeouts.load(Ordering::Relaxed),
                    announcements_dropped: self.announcements_dropped.load(Ordering::Relaxed),
                    presence_dropped: self.presence_dropped.load(Ordering::Relaxed),
                    engine_errors: self.engine_errors.load(Ordering::Relaxed),
                    interruptions: self.interruptions.load(Ordering::Relaxed),
                    users: users as u64,
                    channels: self.occupied.load(Ordering::Relaxed) as u64,
                    ..Snapshot::default()
                };
                let (mut clients, mut subscriptions) = (0, 0);
                for shard in &self.shards {
                    $(sum.$name += shard.$name.load(Ordering::Relaxed);)*
                    clients += shard.clients.load(Ordering::Relaxed);
                    subscriptions += shard.subscriptions.load(Ordering::Relaxed);
                }
                sum.clients = clients.max(0) as u64;
                sum.subscriptions = subscriptions.max(0) as u64;
                let total = |pick: &dyn Fn(&ShardMetrics) -> &AtomicU64| {
                    self.shards.iter().map(|shard| pick(shard).load(Ordering::Relaxed)).sum::<u64>()
                };
                sum.commands = COMMANDS.iter().enumerate().map(|(i, name)| (*name, total(&|s| &s.commands[i]))).collect();
                sum.reply_errors = (0..16).map(|i| (100 + i as u32, total(&|s| &s.errors[i]))).collect();
                let code = |codes: &[u32], i: usize| codes.get(i).copied().unwrap_or(0);
                sum.disconnects = (0..=DISCONNECTS.len()).map(|i| (code(&DISCONNECTS, i), total(&|s| &s.disconnects[i]))).collect();
                sum.unsubscribes = (0..=UNSUBSCRIBES.len()).map(|i| (code(&UNSUBSCRIBES, i), total(&|s| &s.unsubscribes[i]))).collect();
                sum.recoveries = (0..4).map(|i| (i & 1 == 1, i & 2 == 2, total(&|s| &s.recoveries[i]))).collect();
                sum
            }
        }
    };
}

shard_metrics! {
    /// Publications put into outboxes.
    deliveries,
    /// System calls that sent something to a client.
    sends,
    /// Bytes sent to clients.
    bytes_sent,
    /// Messages received from clients.
    messages_received,
    /// Bytes received from clients.
    bytes_received,
    /// Connections that the poller moves bytes for.
    poller_accepted,
    /// Connections that tasks move bytes for.
    task_accepted,
    /// Publications that a tags filter held back.
    filtered,
    /// Tags filters asked about a publication: each distinct one of a channel once per shard.
    filter_evaluations,
    /// Frames made of publications: one for each form, however many take it.
    encodings,
    /// Patches made of publications: one for each base, however many have it.
    patches,
    /// Times that subscribers of a channel were told that publications are missing.
    gaps,
}

const COMMANDS: [&str; 12] = [
    "connect",
    "subscribe",
    "unsubscribe",
    "publish",
    "presence",
    "presence_stats",
    "history",
    "ping",
    "send",
    "rpc",
    "refresh",
    "sub_refresh",
];
const DISCONNECTS: [u32; 22] = [
    3000, 3001, 3004, 3005, 3006, 3008, 3009, 3010, 3011, 3012, 3013, 3014, 3500, 3501, 3502, 3503, 3504,
    3505, 3506, 3507, 3508, 3509,
];
const UNSUBSCRIBES: [u32; 4] = [2000, 2500, 2501, 2502];

impl Metrics {
    pub(crate) fn new(shards: usize) -> Self {
        Self {
            shards: (0..shards).map(|_| ShardMetrics::default()).collect(),
            connections: AtomicUsize::new(0),
            refused_connections: AtomicU64::new(0),
            occupied: AtomicUsize::new(0),
            published: AtomicU64::new(0),
            joined: AtomicU64::new(0),
            left: AtomicU64::new(0),
            hook_panics: AtomicU64::new(0),
            hook_timeouts: AtomicU64::new(0),
            announcements_dropped: AtomicU64::new(0),
            presence_dropped: AtomicU64::new(0),
            engine_errors: AtomicU64::new(0),
            interruptions: AtomicU64::new(0),
        }
    }
}

/// Adds to a counter that only this thread writes: no locked instruction is needed.
pub(crate) fn add(counter: &AtomicU64, count: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(count), Ordering::Relaxed);
}

fn step(gauge: &AtomicI64, by: i64) {
    gauge.store(gauge.load(Ordering::Relaxed) + by, Ordering::Relaxed);
}

impl ShardMetrics {
    pub(crate) fn clients_up(&self) {
        step(&self.clients, 1);
    }

    pub(crate) fn clients_down(&self) {
        step(&self.clients, -1);
    }

    pub(crate) fn subscriptions_up(&self) {
        step(&self.subscriptions, 1);
    }

    pub(crate) fn subscriptions_down(&self) {
        step(&self.subscriptions, -1);
    }

    pub(crate) fn command(&self, request: &Request) {
        let index = match request {
            Request::Connect(_) => 0,
            Request::Subscribe(_) => 1,
            Request::Unsubscribe(_) => 2,
            Request::Publish(_) => 3,
            Request::Presence(_) => 4,
            Request::PresenceStats(_) => 5,
            Request::History(_) => 6,
            Request::Ping => 7,
            Request::Send(_) => 8,
            Request::Rpc(_) => 9,
            Request::Refresh(_) => 10,
            Request::SubRefresh(_) => 11,
        };
        add(&self.commands[index], 1);
    }

    pub(crate) fn reply_error(&self, code: u32) {
        if let Some(counter) = code.checked_sub(100).and_then(|index| self.errors.get(index as usize)) {
            add(counter, 1);
        }
    }

    pub(crate) fn disconnect(&self, code: u32) {
        let index = DISCONNECTS.iter().position(|known| *known == code).unwrap_or(DISCONNECTS.len());
        add(&self.disconnects[index], 1);
    }

    pub(crate) fn server_unsubscribe(&self, code: u32) {
        let index = UNSUBSCRIBES.iter().position(|known| *known == code).unwrap_or(UNSUBSCRIBES.len());
        add(&self.unsubscribes[index], 1);
    }

    pub(crate) fn recovered(&self, recovered: bool, publications: bool) {
        add(&self.recoveries[usize::from(recovered) | usize::from(publications) << 1], 1);
    }
}

/// Adds one to a counter that many threads write.
pub(crate) fn bump(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
