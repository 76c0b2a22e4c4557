//! The attacks. Each row starts a server of its own, so that it also runs alone.

mod compressed;
mod files;
mod grpc;
mod http;
mod inbox;
mod logins;
mod memory;
mod outgoing;
mod quic;
mod sockjs;
mod streams;
mod tls;

use super::Target;
use super::arena::Outcome;
use crate::shell::Failure;

/// One attack.
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) what: &'static str,
    /// Part of the short run.
    pub(super) short: bool,
    pub(super) run: fn(&Target) -> Result<Outcome, Failure>,
}

const fn row(name: &'static str, what: &'static str, run: fn(&Target) -> Result<Outcome, Failure>) -> Row {
    Row { name, what, short: true, run }
}

/// A row whose kind another one stands for in the short run.
const fn whole(name: &'static str, what: &'static str, run: fn(&Target) -> Result<Outcome, Failure>) -> Row {
    Row { short: false, ..row(name, what, run) }
}

/// All rows, in the order they run.
pub(super) const ALL: &[Row] = &[
    row("pings-before-login", "empty pings before login, never reading", outgoing::pings),
    row("large-pings", "pings of 125 bytes before login, never reading", outgoing::large_pings),
    row(
        "history-flood",
        "frames of 4,500 history commands of 1 KB replies, never reading",
        outgoing::history,
    ),
    row(
        "history-flood-large",
        "frames of 1,200 history commands of 300 KB replies, never reading",
        outgoing::deep,
    ),
    row("history-flood-reading", "the same by a client that reads", outgoing::deep_reading),
    row("presence-flood", "frames of 1,400 presence commands in a channel of 8,000", outgoing::presence),
    row("presence-flood-deaf", "the same, never reading", outgoing::presence_deaf),
    row("pipelined-commands", "8 clients that send small commands without pause", outgoing::pipelined),
    row("recovery-flood", "frames of 350 recoveries of 300 publications", outgoing::recovery),
    row("delta-flood", "frames of 350 recoveries with deltas", outgoing::deltas),
    row(
        "delta-publish-flood",
        "publications of 50 KB that are hard to make deltas of",
        outgoing::hard_deltas,
    ),
    row("never-reading-subscriber", "50 subscribers of 5 MB/s that do not read", outgoing::deaf_subscribers),
    row("fragments", "messages in 60,000 fragments, and one that never ends", outgoing::fragments),
    row(
        "join-leave-flood",
        "subscribe and unsubscribe in a channel of 2,000 with join and leave",
        inbox::joins,
    ),
    row("publish-flood-client", "10 clients that publish into a channel of 1,000", inbox::client_publishes),
    row("publish-flood-api", "20,000 API calls that publish into a channel of 5,000", inbox::api_publishes),
    row("publish-flood-batch", "batches of 1,000 publications into a channel of 5,000", inbox::batches),
    row("revoke-batch", "batches of 1,000 revoke_token with 10,000 connections", inbox::revocations),
    row("http-pipeline", "1,000 HTTP connections that pipeline requests and never read", http::pipeline),
    row("unfinished-heads", "2,000 unfinished heads of 380 KB", http::unfinished_heads),
    row("large-upgrade-headers", "2,500 upgrades with 320 KB of headers", http::large_upgrades),
    row("slow-body", "500 bodies that come a byte at a time", http::slow_bodies),
    row("slow-heads", "2,000 heads that come a byte at a time", http::slow_heads),
    row("half-open-handshakes", "3,000 connections that say nothing", http::silent),
    row("tls-half-open", "3,000 TLS handshakes that stop within the hello", tls::half_open),
    row("tls-endless-hello", "2,000 TLS hellos of 32 KB that come a little at a time", tls::endless_hello),
    row("tls-pings-deaf", "pings over TLS before login, never reading", tls::deaf),
    row("idle-http", "2,000 HTTP connections that stay idle after one request", http::idle),
    row("deflate-bombs", "1,000 messages of 64 KiB that inflate to 64 MiB", compressed::bombs),
    row(
        "deflate-garbage",
        "offers with impossible windows, and messages that do not inflate",
        compressed::garbage,
    ),
    row("http2-resets", "20 connections of HTTP/2 that reset each request at once", compressed::resets),
    row("backlog", "3,000 upgrades at once", http::backlog),
    row("unauthorised-bodies", "bodies of 20 MB to the API under a wrong key", http::unauthorised_bodies),
    row("sse-never-reading", "50 SSE subscribers of 5 MB/s that do not read", streams::deaf),
    row("silent-streams", "10,000 SSE streams that say nothing", streams::silent),
    row("slow-stream-bodies", "2,000 bodies of stream requests, a byte at a time", streams::slow_bodies),
    row("emulation-sessions", "messages to the sessions of others", streams::sessions),
    row("request-shapes", "requests that two servers read in two ways", streams::shapes),
    row("sockjs-never-reading", "50 SockJS streams of 5 MB/s that are not read", sockjs::deaf),
    whole("sockjs-silent", "10,000 SockJS streams that say nothing", sockjs::silent),
    row("sockjs-abandoned", "20,000 SockJS sessions that are not asked for again", sockjs::abandoned),
    whole("sockjs-sessions", "messages to the SockJS sessions of others", sockjs::sessions),
    row(
        "grpc-never-reading",
        "50 gRPC streams of 5 MB/s that are not read, half of them without a window",
        grpc::deaf,
    ),
    whole("grpc-silent", "10,000 gRPC streams that say nothing, of 100 connections", grpc::silent),
    row("grpc-resets", "20 connections of gRPC that reset each call at once", grpc::resets),
    whole("grpc-half-open", "3,000 connections to the gRPC port without a whole request", grpc::half_open),
    row("quic-half-open", "2,000 QUIC handshakes that end after the first packets", quic::half_open),
    whole("quic-silent", "300 WebTransport sessions without a stream", quic::silent),
    row("quic-never-reading", "50 WebTransport subscribers of 5 MB/s that do not read", quic::deaf),
    whole("quic-resets", "100 WebTransport sessions whose streams are reset at once", quic::resets),
    whole("quic-garbage", "datagrams that only begin like QUIC", quic::garbage),
    row("history-names", "history calls on names that do not exist", memory::history_names),
    row("presence-names", "presence calls on names that do not exist", memory::presence_names),
    row("subscribe-cycle", "subscribe and unsubscribe, each time another channel", memory::subscribe_cycle),
    row("long-names", "history calls on names of 60 KB", memory::long_names),
    row("long-names-api", "API calls on names of 60 KB", memory::long_names_api),
    row("connect-names", "2,000 logins with name and version of 30 KB", memory::connect_names),
    row("ttl-channels", "channels with a TTL of 1 s, as many as the API takes", memory::ttl_channels),
    row("filter-churn", "2,000 filters of 50 KB, of subscribers who leave", memory::filter_churn),
    row("filter-cost", "200 filters of 500 comparisons each, asked 100 times a second", memory::filter_cost),
    row("filter-weight", "10 connections with 128 filters of 50 KB each", memory::filter_weight),
    row("token-flood", "logins with bad tokens of 50 KB", logins::bad_tokens),
    row("login-storm", "200 clients that log in, leave and come again", logins::storm),
    row("log-pipe", "refused logins, and a log that nobody drains", logins::log_pipe),
    row("revocation-disk-full", "a full disk under the revocation file, then space again", files::disk_full),
    row("shutdown-deadline", "shutdown.timeout of 2 s under floods", outgoing::deadline),
];
