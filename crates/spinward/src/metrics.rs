//! Counters of a node. Shards count for themselves, on cache lines of their own; readers add up.

use crate::identity::Transport;
use spinward_wire::code::{DisconnectCode, ErrorCode, UnsubscribeCode};
use spinward_wire::{Request, Version};
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
    pub(crate) reads_saved: AtomicU64,
}

macro_rules! shard_metrics {
    ($($(#[$meta:meta])* $name:ident),* $(,)?) => {
        /// Counters of one shard, which alone writes them.
        #[repr(align(128))]
        #[derive(Default)]
        pub(crate) struct ShardMetrics {
            $($(#[$meta])* pub(crate) $name: AtomicU64,)*
            /// By [`Transport::index`].
            pub(crate) traffic: [Traffic; Transport::COUNT],
            subscriptions: AtomicI64,
            legacy_clients: AtomicI64,
            commands: [AtomicU64; Request::NAMES.len()],
            errors: [AtomicU64; ErrorCode::ALL.len()],
            disconnects: [AtomicU64; DisconnectCode::ALL.len() + 1],
            unsubscribes: [AtomicU64; UnsubscribeCode::ALL.len() + 1],
            recoveries: [AtomicU64; 4],
        }

        /// A reading of a node's counters.
        #[derive(Clone, Debug, Default)]
        pub struct Snapshot {
            $($(#[$meta])* pub $name: u64,)*
            /// Logged-in connections.
            pub clients: u64,
            /// System calls that sent something to a client, and pieces handed to the bodies of HTTP responses.
            pub sends: u64,
            /// Bytes sent to clients.
            pub bytes_sent: u64,
            /// Messages received from clients.
            pub messages_received: u64,
            /// Bytes received from clients.
            pub bytes_received: u64,
            /// The same five by transport.
            pub by_transport: Vec<TransportCounters>,
            /// Subscriptions.
            pub subscriptions: u64,
            /// Logged-in connections that speak version 1 of the protocol.
            pub legacy_clients: u64,
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
            /// Reads for recoveries that a broker was not asked for, because what it would answer was known.
            pub reads_saved: u64,
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
                    reads_saved: self.reads_saved.load(Ordering::Relaxed),
                    users: users as u64,
                    channels: self.occupied.load(Ordering::Relaxed) as u64,
                    ..Snapshot::default()
                };
                let (mut subscriptions, mut legacy_clients) = (0, 0);
                for shard in &self.shards {
                    $(sum.$name += shard.$name.load(Ordering::Relaxed);)*
                    subscriptions += shard.subscriptions.load(Ordering::Relaxed);
                    legacy_clients += shard.legacy_clients.load(Ordering::Relaxed);
                }
                sum.by_transport = Transport::ALL.map(|transport| self.by_transport(transport)).to_vec();
                for one in &sum.by_transport {
                    sum.clients += one.clients;
                    sum.sends += one.sends;
                    sum.bytes_sent += one.bytes_sent;
                    sum.messages_received += one.messages_received;
                    sum.bytes_received += one.bytes_received;
                }
                sum.subscriptions = subscriptions.max(0) as u64;
                sum.legacy_clients = legacy_clients.max(0) as u64;
                let total = |pick: &dyn Fn(&ShardMetrics) -> &AtomicU64| {
                    self.shards.iter().map(|shard| pick(shard).load(Ordering::Relaxed)).sum::<u64>()
                };
                sum.commands = Request::NAMES.iter().enumerate().map(|(i, name)| (*name, total(&|s| &s.commands[i]))).collect();
                sum.reply_errors = ErrorCode::ALL.iter().enumerate().map(|(i, code)| (code.code, total(&|s| &s.errors[i]))).collect();
                let own = |count| std::iter::once((0, count));
                let known = DisconnectCode::ALL.iter().enumerate().map(|(i, code)| (code.code, total(&|s| &s.disconnects[i])));
                sum.disconnects = known.chain(own(total(&|s| &s.disconnects[DisconnectCode::ALL.len()]))).collect();
                // Codes below are of what clients do.
                let of_server = UnsubscribeCode::ALL.iter().enumerate().filter(|(_, code)| code.code >= UnsubscribeCode::SERVER.code);
                let known = of_server.map(|(i, code)| (code.code, total(&|s| &s.unsubscribes[i])));
                sum.unsubscribes = known.chain(own(total(&|s| &s.unsubscribes[UnsubscribeCode::ALL.len()]))).collect();
                sum.recoveries = (0..4).map(|i| (i & 1 == 1, i & 2 == 2, total(&|s| &s.recoveries[i]))).collect();
                sum
            }
        }
    };
}

shard_metrics! {
    /// Publications put into outboxes.
    deliveries,
    /// Connections that the poller moves bytes for.
    poller_accepted,
    /// Connections that tasks move bytes for.
    task_accepted,
    /// Connections whose output is the body of an HTTP response.
    body_accepted,
    /// Connections that turned out to speak version 1 of the protocol.
    legacy_accepted,
    /// Subscriptions that have begun.
    subscriptions_accepted,
    /// Publications that a tags filter held back.
    filtered,
    /// Tags filters asked about a publication: each distinct one of a channel once per shard.
    filter_evaluations,
    /// Publications encoded: once for each dialect and delta base, however many take it.
    encodings,
    /// Patches made of publications: one for each base, however many have it.
    patches,
    /// Times that subscribers of a channel were told that publications are missing.
    gaps,
}

/// Counters of the connections of one transport in one shard.
#[derive(Default)]
pub(crate) struct Traffic {
    clients: AtomicI64,
    accepted: AtomicU64,
    pub(crate) sends: AtomicU64,
    pub(crate) bytes_sent: AtomicU64,
    pub(crate) messages_received: AtomicU64,
    pub(crate) bytes_received: AtomicU64,
}

/// Counters of the connections of one transport.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TransportCounters {
    /// The transport.
    pub transport: Transport,
    /// Logged-in connections.
    pub clients: u64,
    /// Connections that have logged in.
    pub accepted: u64,
    /// System calls that sent something to a client, and pieces handed to the bodies of HTTP responses.
    pub sends: u64,
    /// Bytes sent to clients.
    pub bytes_sent: u64,
    /// Messages received from clients.
    pub messages_received: u64,
    /// Bytes received from clients.
    pub bytes_received: u64,
}

impl Metrics {
    fn by_transport(&self, transport: Transport) -> TransportCounters {
        let shards = || self.shards.iter().map(|shard| &shard.traffic[transport.index()]);
        let total = |pick: fn(&Traffic) -> &AtomicU64| {
            shards().map(|traffic| pick(traffic).load(Ordering::Relaxed)).sum::<u64>()
        };
        let clients: i64 = shards().map(|traffic| traffic.clients.load(Ordering::Relaxed)).sum();
        TransportCounters {
            transport,
            clients: clients.max(0) as u64,
            accepted: total(|traffic| &traffic.accepted),
            sends: total(|traffic| &traffic.sends),
            bytes_sent: total(|traffic| &traffic.bytes_sent),
            messages_received: total(|traffic| &traffic.messages_received),
            bytes_received: total(|traffic| &traffic.bytes_received),
        }
    }

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
            reads_saved: AtomicU64::new(0),
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
    pub(crate) fn clients_up(&self, transport: Transport, version: Version) {
        self.clients_step(transport, version, 1);
        add(&self.traffic[transport.index()].accepted, 1);
    }

    pub(crate) fn clients_down(&self, transport: Transport, version: Version) {
        self.clients_step(transport, version, -1);
    }

    fn clients_step(&self, transport: Transport, version: Version, by: i64) {
        step(&self.traffic[transport.index()].clients, by);
        if version == Version::V1 {
            step(&self.legacy_clients, by);
        }
    }

    pub(crate) fn subscriptions_up(&self) {
        step(&self.subscriptions, 1);
        add(&self.subscriptions_accepted, 1);
    }

    pub(crate) fn subscriptions_down(&self) {
        step(&self.subscriptions, -1);
    }

    pub(crate) fn command(&self, request: &Request) {
        add(&self.commands[request.rank()], 1);
    }

    /// Codes of the application's own are not counted.
    pub(crate) fn reply_error(&self, code: u32) {
        if let Some(index) = ErrorCode::ALL.iter().position(|known| known.code == code) {
            add(&self.errors[index], 1);
        }
    }

    pub(crate) fn disconnect(&self, code: u32) {
        let known = DisconnectCode::ALL.iter().position(|known| known.code == code);
        add(&self.disconnects[known.unwrap_or(DisconnectCode::ALL.len())], 1);
    }

    pub(crate) fn server_unsubscribe(&self, code: u32) {
        let known = UnsubscribeCode::ALL.iter().position(|known| known.code == code);
        add(&self.unsubscribes[known.unwrap_or(UnsubscribeCode::ALL.len())], 1);
    }

    pub(crate) fn recovered(&self, recovered: bool, publications: bool) {
        add(&self.recoveries[usize::from(recovered) | usize::from(publications) << 1], 1);
    }
}

/// Adds one to a counter that many threads write.
pub(crate) fn bump(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_of_the_catalogue_is_counted_under_its_number() {
        let metrics = Metrics::new(2);
        for (number, code) in DisconnectCode::ALL.iter().enumerate() {
            metrics.shards[number % 2].disconnect(code.code);
        }
        for code in UnsubscribeCode::ALL {
            metrics.shards[0].server_unsubscribe(code.code);
        }
        for code in ErrorCode::ALL {
            metrics.shards[0].reply_error(code.code);
        }
        metrics.shards[0].disconnect(4_321);
        metrics.shards[0].reply_error(1_000);
        let snapshot = metrics.snapshot(0);
        let known = |codes: Vec<u32>| codes.into_iter().map(|code| (code, 1)).collect::<Vec<(u32, u64)>>();
        let mut disconnects = known(DisconnectCode::ALL.iter().map(|code| code.code).collect());
        disconnects.push((0, 1));
        assert_eq!(snapshot.disconnects, disconnects);
        assert_eq!(snapshot.unsubscribes, [(2000, 1), (2500, 1), (2501, 1), (2502, 1), (0, 0)]);
        assert_eq!(snapshot.reply_errors, known(ErrorCode::ALL.iter().map(|code| code.code).collect()));
    }
}
