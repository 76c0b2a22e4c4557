//! The metrics page, in Prometheus' text format, under Centrifugo's names; `spinward_` ones are our own.

use super::reload::Reloads;
use super::{dev, log};
use crate::admission::{Admission, Reason};
use crate::auth::JwksStats;
use crate::auth::jwks::Jwks;
use crate::http::{Answer, BoxFuture, Endpoint, Mount, Port, typed};
use crate::session::RefusalLog;
use http::Request;
use hyper::body::Incoming;
use spinward::identity::Transport;
use spinward::{Node, ShardState, Snapshot, TransportCounters};
use std::fmt::{Display, Write};
use std::sync::Arc;
use std::time::Duration;

/// The parts of a server that have metrics.
pub(super) struct Metrics {
    pub(super) node: Node,
    pub(super) refusals: Arc<RefusalLog>,
    pub(super) jwks: Jwks,
    pub(super) reloads: Arc<Reloads>,
    pub(super) admission: Admission,
    pub(super) log: log::Running,
    /// They are for this machine alone.
    pub(super) local: bool,
}

impl Metrics {
    /// The page at its path.
    pub(super) fn mount(self, path: &str) -> Mount {
        Mount::at(path, Port::Internal, self)
    }
}

impl Endpoint for Metrics {
    fn answer<'a>(&'a self, _: &'a str, request: &'a mut Request<Incoming>) -> BoxFuture<'a, Option<Answer>> {
        Box::pin(async move {
            if self.local && !dev::is_local(request) {
                return Some(dev::not_local());
            }
            Some(typed("text/plain; version=0.0.4; charset=utf-8", self.page()))
        })
    }
}

impl Metrics {
    /// Writes every metric.
    fn page(&self) -> String {
        let Self { node, refusals, jwks, reloads, admission, log, .. } = self;
        page(node, refusals, jwks.stats(), reloads, admission, log.dropped())
    }
}

fn page(
    node: &Node,
    refusals: &RefusalLog,
    key_sets: JwksStats,
    reloads: &Reloads,
    admission: &Admission,
    dropped_lines: u64,
) -> String {
    let info = node.info();
    let counters = info.counters;
    let mut page = Page(String::with_capacity(8 << 10));
    page.one("centrifugo_node_num_clients", "gauge", "Logged-in connections.", counters.clients);
    page.one("centrifugo_node_num_users", "gauge", "Distinct users.", counters.users);
    page.one("centrifugo_node_num_subscriptions", "gauge", "Subscriptions.", counters.subscriptions);
    page.one("centrifugo_node_num_channels", "gauge", "Channels.", counters.channels);
    page.one("centrifugo_node_num_nodes", "gauge", "Nodes of the cluster.", node.nodes().len() as u64);
    if let Some(control) = node.control_counters() {
        page.head("spinward_control_messages", "counter", "Messages between nodes, by what became of them.");
        for (fate, count) in [
            ("sent", control.sent),
            ("send_failed", control.send_failed),
            ("received", control.received),
            ("malformed", control.malformed),
            ("unknown", control.unknown),
            ("repeated", control.repeated),
            ("dropped", control.dropped),
            ("ignored", control.ignored),
        ] {
            page.row("spinward_control_messages", &[("fate", fate)], count);
        }
    }
    page.head("centrifugo_node_build", "gauge", "Version of the server.");
    page.row("centrifugo_node_build", &[("version", env!("CARGO_PKG_VERSION"))], 1);
    page.one(
        "centrifugo_node_client_connection_limit",
        "counter",
        "Connections refused for a limit of the node.",
        counters.refused_connections,
    );
    page.head(
        "centrifugo_node_messages_received_count",
        "counter",
        "Messages taken from clients and the API.",
    );
    page.head("centrifugo_node_messages_sent_count", "counter", "Messages handed to the broker.");
    for (kind, count) in
        [("publication", counters.published), ("join", counters.joined), ("leave", counters.left)]
    {
        for name in ["centrifugo_node_messages_received_count", "centrifugo_node_messages_sent_count"] {
            page.row(name, &[("type", kind), ("channel_namespace", "")], count);
        }
    }
    page.one(
        "centrifugo_node_tags_filter_dropped_publications",
        "counter",
        "Held back by filters.",
        counters.filtered,
    );
    page.head("centrifugo_client_num_reply_errors", "counter", "Error replies to clients.");
    for (code, count) in counters.reply_errors.iter().filter(|(_, count)| *count > 0) {
        let code = code.to_string();
        page.row(
            "centrifugo_client_num_reply_errors",
            &[("method", ""), ("code", &code), ("channel_namespace", "")],
            *count,
        );
    }
    page.head("centrifugo_client_num_server_disconnects", "counter", "Connections closed by the server.");
    for (code, count) in counters.disconnects.iter().filter(|(_, count)| *count > 0) {
        page.row("centrifugo_client_num_server_disconnects", &[("code", &code.to_string())], *count);
    }
    page.head("centrifugo_client_num_server_unsubscribes", "counter", "Subscriptions ended by the server.");
    for (code, count) in counters.unsubscribes.iter().filter(|(_, count)| *count > 0) {
        let code = code.to_string();
        page.row(
            "centrifugo_client_num_server_unsubscribes",
            &[("code", &code), ("channel_namespace", "")],
            *count,
        );
    }
    page.head("centrifugo_client_recover", "counter", "Recoveries.");
    for (recovered, publications, count) in &counters.recoveries {
        let labels = [
            ("recovered", if *recovered { "yes" } else { "no" }),
            ("channel_namespace", ""),
            ("has_recovered_publications", if *publications { "yes" } else { "no" }),
        ];
        page.row("centrifugo_client_recover", &labels, *count);
    }
    page.head("centrifugo_client_connections_inflight", "gauge", "Connections by transport.");
    for one in transports(&counters) {
        let labels = [
            ("transport", one.transport.name()),
            ("accept_protocol", ""),
            ("client_name", "unregistered"),
            ("client_version", ""),
        ];
        page.row("centrifugo_client_connections_inflight", &labels, one.clients);
    }
    for (name, help, count) in TRAFFIC {
        page.head(name, "counter", help);
        for one in transports(&counters) {
            let labels = [("transport", one.transport.name()), ("frame_type", ""), ("channel_namespace", "")];
            page.row(name, &labels, count(one));
        }
    }
    page.one("spinward_connections", "gauge", "Connections, logged in or not.", counters.connections);
    page.head("spinward_connections_accepted_total", "counter", "Connections by what moves their bytes.");
    page.row("spinward_connections_accepted_total", &[("mover", "poller")], counters.poller_accepted);
    page.row("spinward_connections_accepted_total", &[("mover", "task")], counters.task_accepted);
    page.row("spinward_connections_accepted_total", &[("mover", "body")], counters.body_accepted);
    page.one(
        "spinward_deliveries_total",
        "counter",
        "Publications put on their way to a client.",
        counters.deliveries,
    );
    for (name, help, count) in [
        (
            "spinward_publication_encodings_total",
            "Publications encoded, each time for all subscribers with the same dialect and delta base.",
            counters.encodings,
        ),
        (
            "spinward_publication_patches_total",
            "Patches made of publications, each shared by all subscribers who have the same base.",
            counters.patches,
        ),
        (
            "spinward_broker_gaps_total",
            "Times that subscribers of a channel were told that publications are missing.",
            counters.gaps,
        ),
        (
            "spinward_broker_interruptions_total",
            "Times that a broker said that deliveries may be missing.",
            counters.interruptions,
        ),
        (
            "spinward_engine_errors_total",
            "Calls that a broker or presence store failed and that no client waited for.",
            counters.engine_errors,
        ),
        (
            "spinward_announcements_dropped_total",
            "Joins and leaves that were dropped because too many waited.",
            counters.announcements_dropped,
        ),
        (
            "spinward_presence_dropped_total",
            "Removals from presence and refreshes of it that were dropped because too many waited.",
            counters.presence_dropped,
        ),
        (
            "spinward_filter_evaluations_total",
            "Tags filters asked about a publication, each distinct one once per shard.",
            counters.filter_evaluations,
        ),
    ] {
        page.one(name, "counter", help, count);
    }
    page.one(
        "spinward_flush_sends_total",
        "counter",
        "System calls that sent something to a client.",
        counters.sends,
    );
    page.head("spinward_commands_total", "counter", "Commands of clients.");
    for (method, count) in &counters.commands {
        page.row("spinward_commands_total", &[("method", method)], *count);
    }
    page.head("spinward_refusals_total", "counter", "RefusalLog by reason.");
    for (action, reason, count) in refusals.counts() {
        page.row("spinward_refusals_total", &[("action", action), ("reason", &reason)], count);
    }
    page.one(
        "spinward_unauthenticated_connections",
        "gauge",
        "Connections of clients that are not logged in.",
        admission.unauthenticated().into(),
    );
    page.head(
        "spinward_connections_refused_total",
        "counter",
        "Connections refused, by the option that sets the limit.",
    );
    for (refused, count) in admission.refusals() {
        page.row("spinward_connections_refused_total", &[("option", refused.option())], count);
    }
    page.head("spinward_overloaded", "gauge", "1 while no new clients are taken for this reason.");
    let overloaded = admission.overload().overloaded();
    for reason in Reason::ALL {
        page.row("spinward_overloaded", &[("reason", reason.name())], (overloaded == Some(reason)).into());
    }
    if let Some(bytes) = heap() {
        page.one("spinward_heap_bytes", "gauge", "Memory that is in use, as the allocator counts it.", bytes);
    }
    page.one("spinward_jwks_fetches_total", "counter", "Requests for key sets.", key_sets.fetches);
    page.one(
        "spinward_jwks_fetch_failures_total",
        "counter",
        "Requests for key sets that brought none.",
        key_sets.failures,
    );
    page.head("spinward_config_reloads_total", "counter", "Times that configuration reloaded.");
    for (result, count) in reloads.counts() {
        page.row("spinward_config_reloads_total", &[("result", result)], count);
    }
    let health = node.health();
    page.head(
        "spinward_shard_loop_lag_seconds",
        "gauge",
        "Time that the loop of a shard takes until it comes round.",
    );
    for (shard, health) in health.shards.iter().enumerate() {
        page.seconds("spinward_shard_loop_lag_seconds", &[("shard", &shard.to_string())], health.lag);
    }
    page.head(
        "spinward_shard_responsive",
        "gauge",
        "1 while a shard does its work, 0 if it failed or hangs.",
    );
    for (shard, health) in health.shards.iter().enumerate() {
        let responsive = health.state == ShardState::Responsive;
        page.row("spinward_shard_responsive", &[("shard", &shard.to_string())], responsive.into());
    }
    page.one(
        "spinward_hook_panics_total",
        "counter",
        "Decisions that ended in a panic, each of which closed a connection.",
        counters.hook_panics,
    );
    page.one(
        "spinward_hook_timeouts_total",
        "counter",
        "Decisions that took too long.",
        counters.hook_timeouts,
    );
    page.one(
        "spinward_log_lines_dropped_total",
        "counter",
        "Lines of the log that were not written, for want of room or by an error.",
        dropped_lines,
    );
    page.0
}

/// Bytes allocated and not freed. `None` where the allocator does not say.
fn heap() -> Option<u64> {
    #[cfg(target_os = "linux")]
    {
        // What it counted since it was last asked is added up now.
        tikv_jemalloc_ctl::epoch::advance().ok()?;
        tikv_jemalloc_ctl::stats::allocated::read().ok().map(|bytes| bytes as u64)
    }
    #[cfg(not(target_os = "linux"))]
    None
}

/// A count of one transport.
type Count = fn(&TransportCounters) -> u64;

/// Names and help of the metrics of what is sent and received.
const TRAFFIC: [(&str, &str, Count); 4] = [
    ("centrifugo_transport_messages_sent", "Sends to clients.", |one| one.sends),
    ("centrifugo_transport_messages_sent_size", "Bytes sent to clients.", |one| one.bytes_sent),
    ("centrifugo_transport_messages_received", "Messages from clients.", |one| one.messages_received),
    ("centrifugo_transport_messages_received_size", "Bytes from clients.", |one| one.bytes_received),
];

/// The transports to show: WebSocket, and the others once they were used.
fn transports(counters: &Snapshot) -> impl Iterator<Item = &TransportCounters> {
    let shown =
        |one: &&TransportCounters| one.transport == Transport::WebSocket || one.clients + one.sends > 0;
    counters.by_transport.iter().filter(shown)
}

struct Page(String);

impl Page {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to memory does not fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn row(&mut self, name: &str, labels: &[(&str, &str)], value: u64) {
        self.value(name, labels, &value);
    }

    fn seconds(&mut self, name: &str, labels: &[(&str, &str)], value: Duration) {
        self.value(name, labels, &value.as_secs_f64());
    }

    fn value(&mut self, name: &str, labels: &[(&str, &str)], value: &dyn Display) {
        self.0.push_str(name);
        for (at, (label, text)) in labels.iter().enumerate() {
            let escaped = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(self.0, "{}{label}=\"{escaped}\"", if at == 0 { "{" } else { "," });
        }
        if !labels.is_empty() {
            self.0.push('}');
        }
        let _ = writeln!(self.0, " {value}");
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, value: u64) {
        self.head(name, kind, help);
        self.row(name, &[], value);
    }
}
