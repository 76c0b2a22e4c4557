//! The metrics page, in Prometheus' text format, under Centrifugo's names; `spinward_` ones are our own.

mod engines;
pub(crate) mod families;

use engines::engines;
pub(super) use families::Family;

use super::api_metrics::{calls, durations};
use super::consumer_metrics::consumers;
use super::consumers::Consumers;
use super::engines::Watched;
use super::node::Reports;
use super::proxy_metrics::{channel_events, client_events, proxies};
use super::reload::Reloads;
use super::{dev, heap, log, tls};
use crate::admission::{Admission, Reason};
use crate::api::access::Usages;
use crate::api::stats::Stats;
use crate::auth::JwksStats;
use crate::auth::jwks::Jwks;
use crate::http::{Answer, BoxFuture, Endpoint, Mount, Port, typed};
use crate::session::{ActiveConfig, RefusalLog, Shared};
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
    pub(super) tls: tls::Ports,
    pub(super) engines: Vec<Watched>,
    pub(super) active: Shared<ActiveConfig>,
    pub(super) consumers: Consumers,
    pub(super) reports: Reports,
    pub(super) usages: Usages,
    pub(super) stats: Arc<Stats>,
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
        let mut page = page(node, refusals, jwks.stats(), reloads, admission, log.dropped());
        encryption(&mut page, &self.tls);
        engines(&mut page, &self.engines);
        proxies(&mut page, &self.active.get().proxies.reports());
        if self.active.get().settings.channel_events.is_some() {
            channel_events(&mut page, &self.reports.channels.counts());
        }
        if self.active.get().settings.client_events.is_some() {
            client_events(&mut page, &self.reports.clients.counts());
        }
        consumers(&mut page, &self.consumers.counts());
        calls(&mut page, &self.usages);
        durations(&mut page, &self.stats);
        page.0
    }
}

fn page(
    node: &Node,
    refusals: &RefusalLog,
    key_sets: JwksStats,
    reloads: &Reloads,
    admission: &Admission,
    dropped_lines: u64,
) -> Page {
    let info = node.info();
    let counters = info.counters;
    let mut page = Page(String::with_capacity(8 << 10));
    page.one(&families::NUM_CLIENTS, counters.clients);
    page.one(&families::NUM_USERS, counters.users);
    page.one(&families::NUM_SUBSCRIPTIONS, counters.subscriptions);
    page.one(&families::NUM_CHANNELS, counters.channels);
    page.one(&families::NUM_NODES, node.nodes().len() as u64);
    if let Some(control) = node.control_counters() {
        page.head(&families::CONTROL_MESSAGES);
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
            page.row(&families::CONTROL_MESSAGES, &[("fate", fate)], count);
        }
    }
    page.head(&families::BUILD);
    page.row(&families::BUILD, &[("version", env!("CARGO_PKG_VERSION"))], 1);
    page.one(&families::CONNECTION_LIMIT, counters.refused_connections);
    page.head(&families::MESSAGES_RECEIVED);
    page.head(&families::MESSAGES_SENT);
    for (kind, count) in
        [("publication", counters.published), ("join", counters.joined), ("leave", counters.left)]
    {
        for family in [&families::MESSAGES_RECEIVED, &families::MESSAGES_SENT] {
            page.row(family, &[("type", kind), ("channel_namespace", "")], count);
        }
    }
    page.one(&families::FILTERED, counters.filtered);
    page.head(&families::REPLY_ERRORS);
    for (code, count) in counters.reply_errors.iter().filter(|(_, count)| *count > 0) {
        let code = code.to_string();
        page.row(
            &families::REPLY_ERRORS,
            &[("method", ""), ("code", &code), ("channel_namespace", "")],
            *count,
        );
    }
    page.head(&families::SERVER_DISCONNECTS);
    for (code, count) in counters.disconnects.iter().filter(|(_, count)| *count > 0) {
        page.row(&families::SERVER_DISCONNECTS, &[("code", &code.to_string())], *count);
    }
    page.head(&families::SERVER_UNSUBSCRIBES);
    for (code, count) in counters.unsubscribes.iter().filter(|(_, count)| *count > 0) {
        let code = code.to_string();
        page.row(&families::SERVER_UNSUBSCRIBES, &[("code", &code), ("channel_namespace", "")], *count);
    }
    page.head(&families::RECOVER);
    for (recovered, publications, count) in &counters.recoveries {
        let labels = [
            ("recovered", if *recovered { "yes" } else { "no" }),
            ("channel_namespace", ""),
            ("has_recovered_publications", if *publications { "yes" } else { "no" }),
        ];
        page.row(&families::RECOVER, &labels, *count);
    }
    page.head(&families::CONNECTIONS_INFLIGHT);
    for one in transports(&counters) {
        page.row(&families::CONNECTIONS_INFLIGHT, &of_transport(one), one.clients);
    }
    page.head(&families::CONNECTIONS_ACCEPTED);
    for one in transports(&counters) {
        page.row(&families::CONNECTIONS_ACCEPTED, &of_transport(one), one.accepted);
    }
    for (family, count) in [
        (&families::SUBSCRIPTIONS_INFLIGHT, counters.subscriptions),
        (&families::SUBSCRIPTIONS_ACCEPTED, counters.subscriptions_accepted),
    ] {
        page.head(family);
        page.row(family, &[("client_name", "unregistered"), ("channel_namespace", "")], count);
    }
    for (family, count) in TRAFFIC {
        page.head(&family);
        for one in transports(&counters) {
            let labels = [("transport", one.transport.name()), ("frame_type", ""), ("channel_namespace", "")];
            page.row(&family, &labels, count(one));
        }
    }
    page.one(&families::CONNECTIONS, counters.connections);
    page.head(&families::ACCEPTED);
    page.row(&families::ACCEPTED, &[("mover", "poller")], counters.poller_accepted);
    page.row(&families::ACCEPTED, &[("mover", "task")], counters.task_accepted);
    page.row(&families::ACCEPTED, &[("mover", "body")], counters.body_accepted);
    page.one(&families::LEGACY_CLIENTS, counters.legacy_clients);
    page.one(&families::LEGACY_CONNECTIONS, counters.legacy_accepted);
    page.one(&families::DELIVERIES, counters.deliveries);
    for (family, count) in [
        (&families::ENCODINGS, counters.encodings),
        (&families::PATCHES, counters.patches),
        (&families::BROKER_GAPS, counters.gaps),
        (&families::BROKER_INTERRUPTIONS, counters.interruptions),
        (&families::BROKER_READS_SAVED, counters.reads_saved),
        (&families::ENGINE_ERRORS, counters.engine_errors),
        (&families::ANNOUNCEMENTS_DROPPED, counters.announcements_dropped),
        (&families::PRESENCE_DROPPED, counters.presence_dropped),
        (&families::FILTER_EVALUATIONS, counters.filter_evaluations),
    ] {
        page.one(family, count);
    }
    page.one(&families::FLUSH_SENDS, counters.sends);
    page.head(&families::COMMANDS);
    for (method, count) in &counters.commands {
        page.row(&families::COMMANDS, &[("method", method)], *count);
    }
    page.head(&families::REFUSALS);
    for (action, reason, count) in refusals.counts() {
        page.row(&families::REFUSALS, &[("action", action), ("reason", &reason)], count);
    }
    page.one(&families::UNAUTHENTICATED, admission.unauthenticated().into());
    page.head(&families::CONNECTIONS_REFUSED);
    for (refused, count) in admission.refusals() {
        page.row(&families::CONNECTIONS_REFUSED, &[("option", refused.option())], count);
    }
    page.head(&families::OVERLOADED);
    let overloaded = admission.overload().overloaded();
    for reason in Reason::ALL {
        page.row(&families::OVERLOADED, &[("reason", reason.name())], (overloaded == Some(reason)).into());
    }
    if let Some(bytes) = heap::allocated() {
        page.one(&families::HEAP_BYTES, bytes);
    }
    page.one(&families::JWKS_FETCHES, key_sets.fetches);
    page.one(&families::JWKS_FAILURES, key_sets.failures);
    page.head(&families::CONFIG_RELOADS);
    for (result, count) in reloads.counts() {
        page.row(&families::CONFIG_RELOADS, &[("result", result)], count);
    }
    let health = node.health();
    page.head(&families::LOOP_LAG);
    for (shard, health) in health.shards.iter().enumerate() {
        page.seconds(&families::LOOP_LAG, &[("shard", &shard.to_string())], health.lag);
    }
    page.head(&families::SHARD_RESPONSIVE);
    for (shard, health) in health.shards.iter().enumerate() {
        let responsive = health.state == ShardState::Responsive;
        page.row(&families::SHARD_RESPONSIVE, &[("shard", &shard.to_string())], responsive.into());
    }
    page.one(&families::HOOK_PANICS, counters.hook_panics);
    page.one(&families::HOOK_TIMEOUTS, counters.hook_timeouts);
    page.one(&families::LOG_LINES_DROPPED, dropped_lines);
    page
}

/// TLS, where there is any.
fn encryption(page: &mut Page, ports: &tls::Ports) {
    if ports.each().next().is_none() {
        return;
    }
    page.head(&families::TLS_HANDSHAKES);
    for (name, port) in ports.each() {
        for (result, count) in port.counters.handshakes() {
            page.row(&families::TLS_HANDSHAKES, &[("port", name), ("result", result)], count);
        }
    }
    page.head(&families::TLS_EXCHANGES);
    for (name, port) in ports.each() {
        for (result, count) in port.counters.exchanges() {
            page.row(&families::TLS_EXCHANGES, &[("port", name), ("result", result)], count);
        }
    }
    page.head(&families::TLS_EXPIRY);
    #[cfg(feature = "acme")]
    for (host, end) in ports.acme.iter().flat_map(|acme| acme.hosts.certificates()) {
        let end = u64::try_from(end).unwrap_or_default();
        let labels = [("port", "external"), ("host", &*host)];
        page.row(&families::TLS_EXPIRY, &labels, end);
    }
    for (name, port) in ports.each() {
        if let Some(end) = port.certificate().ends() {
            let end = u64::try_from(end).unwrap_or_default();
            let labels = [("port", name), ("host", "")];
            page.row(&families::TLS_EXPIRY, &labels, end);
        }
    }
    #[cfg(feature = "acme")]
    if let Some(acme) = &ports.acme {
        page.head(&families::ACME_ORDERS);
        for (result, count) in acme.orders.counts() {
            page.row(&families::ACME_ORDERS, &[("result", result)], count);
        }
    }
}

/// A count of one transport.
type Count = fn(&TransportCounters) -> u64;

/// Metrics of what is sent and received.
const TRAFFIC: [(Family, Count); 4] = [
    (families::TRANSPORT_SENT, |one| one.sends),
    (families::TRANSPORT_SENT_SIZE, |one| one.bytes_sent),
    (families::TRANSPORT_RECEIVED, |one| one.messages_received),
    (families::TRANSPORT_RECEIVED_SIZE, |one| one.bytes_received),
];

/// Labels of counts of connections.
const fn of_transport(counters: &TransportCounters) -> [(&'static str, &'static str); 4] {
    [
        ("transport", counters.transport.name()),
        ("accept_protocol", ""),
        ("client_name", "unregistered"),
        ("client_version", ""),
    ]
}

/// The transports to show: WebSocket, and the others once they were used.
fn transports(counters: &Snapshot) -> impl Iterator<Item = &TransportCounters> {
    let shown =
        |one: &&TransportCounters| one.transport == Transport::WebSocket || one.clients + one.sends > 0;
    counters.by_transport.iter().filter(shown)
}

/// The page, as far as it is written.
pub(super) struct Page(String);

impl Page {
    pub(super) fn head(&mut self, family: &Family) {
        let Family { name, kind, help, .. } = family;
        // Writing to memory does not fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    pub(super) fn row(&mut self, family: &Family, labels: &[(&str, &str)], value: u64) {
        self.part(family, "", labels, &value);
    }

    pub(super) fn seconds(&mut self, family: &Family, labels: &[(&str, &str)], value: Duration) {
        self.part(family, "", labels, &value.as_secs_f64());
    }

    /// Writes a row of the family, or of the part of a histogram or summary with this suffix.
    pub(super) fn part(
        &mut self,
        family: &Family,
        suffix: &str,
        labels: &[(&str, &str)],
        value: &dyn Display,
    ) {
        debug_assert!(
            labels.iter().map(|(label, _)| label).filter(|label| **label != "le").eq(family.labels),
            "the labels of {} are {:?}",
            family.name,
            family.labels
        );
        self.0.push_str(family.name);
        self.0.push_str(suffix);
        for (at, (label, text)) in labels.iter().enumerate() {
            let escaped = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(self.0, "{}{label}=\"{escaped}\"", if at == 0 { "{" } else { "," });
        }
        if !labels.is_empty() {
            self.0.push('}');
        }
        let _ = writeln!(self.0, " {value}");
    }

    fn one(&mut self, family: &Family, value: u64) {
        self.head(family);
        self.row(family, &[], value);
    }
}
