//! The typed configuration: one struct per section, each the source of its part of the option catalogue.
//!
//! Names, types and defaults are Centrifugo v6.9's unless an option is marked `ours`. The structs are plain data;
//! a zero that means "use a built-in value" is left as zero.

mod admin;
mod api;
mod broker;
mod channel;
mod client;
mod consumer;
mod http;
mod proxy;
mod redis;
mod rpc;
mod transport;

pub use admin::*;
pub use api::*;
pub use broker::*;
pub use channel::*;
pub use client::*;
pub use consumer::*;
pub use http::*;
pub use proxy::*;
pub use redis::*;
pub use rpc::*;
pub use transport::*;

use super::catalogue::options;
use super::duration::Duration;

options! {
    /// The whole configuration.
    pub struct Config {
        /// HTTP server: addresses, ports, TLS.
        http_server: HttpServer;
        /// Log destination and level.
        log: Log;
        /// Broker and presence manager in one.
        engine: Engine;
        /// Message broker, when chosen apart from the engine.
        broker: Broker;
        /// Presence manager, when chosen apart from the engine.
        presence_manager: PresenceManager;
        /// Broker of map subscriptions.
        map_broker: MapBroker => planned since("6.8.0");
        /// Communication between nodes, when not through the engine.
        controller: Controller => planned since("6.8.0");
        /// Keys and limits of shared poll subscriptions.
        shared_poll: SharedPoll => planned since("6.8.0");
        /// Client connections: who may connect, tokens, limits, timers.
        client: Client;
        /// Channels: the grammar of their names, and namespaces.
        channel: Channel;
        /// RPC calls of clients.
        rpc: Rpc;
        /// Named proxies that namespaces refer to.
        proxies: Vec<NamedProxy> => planned;
        /// HTTP server API.
        http_api: HttpApi;
        /// gRPC server API.
        grpc_api: GrpcApi => planned;
        /// Consumers, which take API calls from queues.
        consumers: Vec<Consumer> => planned since("5.2.0");
        /// WebSocket transport.
        websocket: WebSocket;
        /// Server-sent events, with emulation for what clients send.
        sse: Sse => planned since("4.0.0");
        /// HTTP streaming, with emulation for what clients send.
        http_stream: HttpStream => planned since("4.0.0");
        /// WebTransport over HTTP/3.
        webtransport: WebTransport => planned since("4.0.0");
        /// Server-sent events in one direction.
        uni_sse: UniSse => planned since("3.0.0");
        /// HTTP streaming in one direction.
        uni_http_stream: UniHttpStream => planned since("3.0.0");
        /// WebSocket in one direction.
        uni_websocket: UniWebSocket => planned since("3.0.0");
        /// gRPC stream in one direction.
        uni_grpc: UniGrpc => planned since("3.0.0");
        /// Endpoint to which clients of emulated transports send.
        emulation: Emulation => planned since("4.0.0");
        /// Admin web interface.
        admin: Admin => planned;
        /// Metrics endpoint.
        prometheus: Prometheus;
        /// Health endpoint.
        health: Health;
        /// Description of the HTTP API: a page, and beside it `openapi.json`.
        swagger: Swagger;
        /// Profiling endpoints.
        debug: Debug => planned;
        /// Endpoint that tells clients how to connect.
        init: ConnectInit => since("6.9.0");
        /// OpenTelemetry tracing.
        opentelemetry: OpenTelemetry => planned since("5.0.0");
        /// Export of metrics to Graphite.
        graphite: Graphite => planned;
        /// Usage statistics. Spinward sends none, whatever is set here.
        usage_stats: UsageStats;
        /// This node.
        node: Node;
        /// Graceful shutdown.
        shutdown: Shutdown;
        /// File to write the process id to; empty writes none.
        pid_file: String;
        /// Centrifugo's switch for unreleased features. Spinward has none behind it.
        enable_unreleased_features: bool;
        /// Threads that serve connections, 1 to 64; 0 takes the number of CPUs.
        shards: u16 => ours between(0, 64);
        /// Refuse to start while any insecure option is set or the token secret is weak.
        production: bool => ours;
    }

    /// Logs.
    pub struct Log {
        /// Least severe level that is written; none writes nothing.
        level: String = "info" => one_of(&["trace", "debug", "info", "warn", "error", "fatal", "none"]);
        /// File to write to instead of standard output.
        file: String;
    }

    /// This node.
    pub struct Node {
        /// Name shown in `info`; empty makes one of host name and port.
        name: String;
        /// Interval between updates of the metrics in node information.
        info_metrics_aggregate_interval: Duration = Duration::secs(60);
    }

    /// Graceful shutdown.
    pub struct Shutdown {
        /// Most time to spend on closing connections.
        timeout: Duration = Duration::secs(30);
    }

    /// Usage statistics.
    pub struct UsageStats {
        /// Send none.
        disabled: bool => since("3.2.1");
    }
}
