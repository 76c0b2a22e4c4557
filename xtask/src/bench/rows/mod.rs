//! The rows. Each starts its servers afresh, so that it also runs alone.

mod auth;
mod channels;
mod cluster;
mod connect;
mod consumers;
mod engines;
mod fanout;
mod grpc;
mod memory;
mod proxies;
mod requests;
mod slow;
mod startup;
mod streams;
mod tls;

pub(crate) use tls::encrypted;

use super::Bench;
use super::report::{Budget, Figure, Reading};
use super::rig::{Floor, Rig, Stream};
use crate::shell::Failure;
use serde_json::{Value, json};

/// One row of the table.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    /// Part of a run without `--full`.
    pub(crate) quick: bool,
    pub(crate) run: fn(&mut Bench, &'static str) -> Result<(), Failure>,
}

const fn row(
    name: &'static str,
    what: &'static str,
    quick: bool,
    run: fn(&mut Bench, &'static str) -> Result<(), Failure>,
) -> Row {
    Row { name, what, quick, run }
}

/// All rows, in the order they run.
pub(crate) const ALL: &[Row] = &[
    row("memory", "memory of an idle connection with one subscription", true, memory::one),
    row("fanout-2k", "2,000 subscribers × 40 messages/s × 200 B", true, fanout::two_thousand),
    row("fanout-500", "500 subscribers × 1,000 messages/s", true, fanout::five_hundred),
    row("connect", "connect with HS256 token and one subscribe", true, connect::storm),
    row("memory-tls", "memory of an idle connection over TLS, beside plain", true, tls::memory),
    row("fanout-tls", "2,000 subscribers × 40 messages/s over TLS, beside plain", true, tls::fan_out),
    row(
        "connect-tls",
        "connect over TLS: full handshake and resumed, beside rustls alone",
        true,
        tls::connect,
    ),
    row("memory-10", "memory with ten subscriptions on channels of their own", true, memory::ten),
    row("idle", "CPU of idle connections, pings every 25 s", true, memory::idle),
    row("latency", "latency at light load, 100 subscribers × 200/s", true, fanout::light),
    row("http-publish", "publish through the HTTP API, keep-alive", true, requests::http),
    row("http-batch", "batches of 100 publications through the HTTP API", true, requests::batch),
    row("ws-publish", "publish over WebSocket", true, requests::publish),
    row("ws-history", "history of 10 publications over WebSocket", true, requests::history),
    row("ws-presence", "presence of 10 clients over WebSocket", true, requests::presence),
    row("channels-100k", "100,000 channels × 10 subscribers, memory", true, memory::channels),
    row("channels-kept", "100,000 channels with one publication each, memory", true, channels::published),
    row(
        "channels-idle",
        "100,000 channels with one idle subscriber each, memory",
        true,
        channels::subscribed,
    ),
    row("recover", "reconnect storm with recovery from history", true, connect::recover),
    row(
        "fanout-kinds",
        "1,000 × 40 messages/s: with deltas, with 10 tags filters, beside plain",
        true,
        fanout::kinds,
    ),
    row("memory-streams", "memory of an idle SSE, HTTP stream and their like", true, streams::memory),
    row(
        "fanout-streams",
        "2,000 × 40 messages/s over SSE and HTTP streams, beside WebSocket",
        true,
        streams::fanout,
    ),
    row("verify", "checking a token, for each algorithm, beside the crate jsonwebtoken", true, auth::verify),
    row("decide", "a decision about permissions", true, auth::decide),
    row("startup", "start to ready, and the size of the binary", true, startup::run),
    row(
        "memory-deflate",
        "memory of an idle connection with compression negotiated, beside plain",
        true,
        memory::deflate,
    ),
    row(
        "fanout-deflate",
        "2,000 subscribers × 40 messages/s × 1 KB, compressed, beside plain",
        true,
        fanout::deflate,
    ),
    row(
        "fanout-old",
        "2,000 subscribers × 40 messages/s × 200 B: protocol version 1, and half of each, beside today's",
        true,
        fanout::old,
    ),
    row("memory-0", "memory without a subscription", false, memory::none),
    row("memory-presence", "memory with one subscription with presence", false, memory::presence),
    row("memory-shared", "memory with one subscription on a channel that all share", false, memory::shared),
    row("memory-pb", "memory with one subscription, Protobuf", false, memory::protobuf),
    row(
        "fanout-2k-pb",
        "2,000 Protobuf subscribers × 40 messages/s × 200 B",
        false,
        fanout::two_thousand_protobuf,
    ),
    row("fanout-1k", "1,000 subscribers × 80 messages/s × 200 B", false, fanout::one_thousand),
    row("fanout-10k", "9,500 subscribers × 8 messages/s × 200 B", false, fanout::ten_thousand),
    row("channels-1k", "1,000 channels × 10 subscribers × 4 messages/s", false, fanout::thousand_channels),
    row("burst", "2,000 messages at once to 500 subscribers", false, fanout::burst),
    row("load", "latency at 25, 50 and 75 % of saturation, 1,000 subscribers", false, fanout::saturation),
    row("connect-pb", "connect with HS256 token and one subscribe, Protobuf", false, connect::storm_protobuf),
    row("engine-redis", "publish and fan-out through Redis, beside memory", false, engines::redis),
    row("engine-nats", "publish and fan-out through core NATS, beside memory", false, engines::nats),
    row(
        "engine-jetstream",
        "publish and fan-out through JetStream, beside memory",
        false,
        engines::jetstream,
    ),
    row("engine-postgres", "publish and fan-out through PostgreSQL, beside memory", false, engines::postgres),
    row("nodes", "publish and fan-out by one node and by three, on one Redis", false, cluster::nodes),
    row(
        "engine-channels",
        "100,000 channels on Redis with one subscriber each, memory",
        false,
        cluster::channels,
    ),
    row("engine-subscribe", "subscribe storm of 10,000 channels through Redis", false, cluster::subscribes),
    row(
        "engine-recover",
        "reconnect storm of 10,000 with recovery through Redis",
        false,
        cluster::recoveries,
    ),
    row("proxy-connect", "connect by a connect proxy over HTTP, beside a token", false, proxies::connect),
    row("proxy-rpc", "RPC over WebSocket by a proxy over HTTP", false, proxies::rpc),
    row("grpc-publish", "publish through the gRPC API, beside the HTTP API", false, grpc::publish),
    row(
        "outbox",
        "messages of an outbox table, by a consumer of PostgreSQL, beside the HTTP API",
        false,
        consumers::postgresql,
    ),
    row(
        "consume-redis",
        "messages of a Redis stream, by a consumer, beside the HTTP API",
        false,
        consumers::redis,
    ),
    row(
        "consume-nats",
        "messages of a JetStream stream, by a consumer, beside the HTTP API",
        false,
        consumers::nats,
    ),
    row("slow", "10 % of 9,000 readers stalled", false, slow::run),
];

/// The stream that the floor writes where a row has none of its own: figures are read against it.
fn usual() -> Stream {
    Stream {
        rate: 40.0,
        seconds: 1.0,
        size: 200,
        channel: "bench",
        channels: 1,
        subscribers: 2_000,
        tag: "",
        may_coalesce: false,
    }
}

fn usual_floor() -> Result<Floor, Failure> {
    Floor::new(usual().subscribers)
}

/// A fresh server of each target, with its clients.
fn rigs(bench: &Bench, changes: &Value) -> Result<Vec<Rig>, Failure> {
    bench.targets.iter().map(|target| Rig::new(target.start(changes)?)).collect()
}

fn names(bench: &Bench) -> Vec<String> {
    bench.targets.iter().map(|target| target.name().to_owned()).collect()
}

/// Nothing changed in the benches' configuration.
fn unchanged() -> Value {
    json!({})
}

const fn figure(
    key: &'static str,
    what: &'static str,
    unit: &'static str,
    reading: Reading,
    budget: Budget,
) -> Figure {
    Figure { key, what, unit, reading, budget }
}
