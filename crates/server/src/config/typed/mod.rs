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
        /// Engine: broker, presence manager and controller in one.
        engine: Engine;
        /// Message broker, if separate from the engine.
        broker: Broker;
        /// Presence manager, if separate from the engine.
        presence_manager: PresenceManager;
        /// Brokers for single namespaces: see `broker_name`.
        brokers: Vec<NamedBroker>;
        /// Presence managers for single namespaces: see `presence_manager_name`.
        presence_managers: Vec<NamedPresenceManager>;
        /// Broker of map subscriptions.
        map_broker: MapBroker => planned since("6.8.0");
        /// Controller for communication between nodes, if separate from the engine.
        controller: Controller => since("6.8.0");
        /// Keys and limits of shared poll subscriptions.
        shared_poll: SharedPoll => planned since("6.8.0");
        /// Client connections: origins, tokens, limits, timers.
        client: Client;
        /// Channels: name rules and namespaces.
        channel: Channel;
        /// RPC calls from clients.
        rpc: Rpc;
        /// Named proxies for namespaces.
        proxies: Vec<NamedProxy>;
        /// HTTP server API.
        http_api: HttpApi;
        /// gRPC server API.
        grpc_api: GrpcApi;
        /// Keys of callers of the server API over HTTP and gRPC, each with what it allows.
        api_keys: Vec<ApiKey> => ours;
        /// Consumers: API calls from queues.
        consumers: Vec<Consumer> => since("5.2.0");
        /// WebSocket transport.
        websocket: WebSocket;
        /// SockJS: WebSocket, streaming, server-sent events and polling for pages that load `sockjs-client`.
        sockjs: SockJs => ours;
        /// Server-sent events (SSE), bidirectional through emulation.
        sse: Sse => since("4.0.0");
        /// HTTP streaming, bidirectional through emulation.
        http_stream: HttpStream => since("4.0.0");
        /// WebTransport over HTTP/3.
        webtransport: WebTransport => since("4.0.0");
        /// Unidirectional server-sent events (SSE).
        uni_sse: UniSse => since("3.0.0");
        /// Unidirectional HTTP streaming.
        uni_http_stream: UniHttpStream => since("3.0.0");
        /// Unidirectional WebSocket.
        uni_websocket: UniWebSocket => since("3.0.0");
        /// Unidirectional gRPC stream.
        uni_grpc: UniGrpc => since("3.0.0");
        /// Emulation endpoint: receives the commands of SSE and HTTP streaming clients.
        emulation: Emulation => since("4.0.0");
        /// Admin web interface.
        admin: Admin => planned;
        /// Metrics endpoint.
        prometheus: Prometheus;
        /// Health endpoint.
        health: Health;
        /// OpenAPI description of the HTTP API: a page and `openapi.json`.
        swagger: Swagger;
        /// Profiling endpoints.
        debug: Debug => planned;
        /// Endpoint with connection parameters for clients.
        init: ConnectInit => since("6.9.0");
        /// OpenTelemetry tracing.
        opentelemetry: OpenTelemetry => planned since("5.0.0");
        /// Export of metrics to Graphite.
        graphite: Graphite => planned;
        /// Usage statistics. Spinward never sends any.
        usage_stats: UsageStats;
        /// This node.
        node: Node;
        /// Graceful shutdown.
        shutdown: Shutdown;
        /// Path of a file for the process id; empty writes no file.
        pid_file: String;
        /// Centrifugo's switch for unreleased features. It has no effect in Spinward.
        enable_unreleased_features: bool;
        /// Number of threads that serve connections, 1 to 64; 0 means the number of CPUs.
        shards: u16 => ours between(0, 64);
        /// Refuses to start with an insecure option or a weak secret.
        production: bool => ours;
    }

    /// Logs.
    pub struct Log {
        /// Minimum level of log lines: `trace`, `debug`, `info`, `warn`, `error` or `fatal`; `none` turns logging off.
        level: String = "info";
        /// Path of a log file; empty logs to standard error.
        file: String;
    }

    /// This node.
    pub struct Node {
        /// Node name, shown in `info`; empty derives it from host name and port.
        name: String;
        /// Interval between updates of the metrics in `info`.
        info_metrics_aggregate_interval: Duration = Duration::secs(60);
    }

    /// Graceful shutdown.
    pub struct Shutdown {
        /// Maximum duration of a graceful shutdown, the drain included.
        timeout: Duration = Duration::secs(30);
        /// Time between the moment at which `/readyz` fails and the first connection that is closed.
        drain_notice: Duration => ours;
        /// Time over which the connections are closed, evenly and in random order; 0 closes them at once.
        drain_duration: Duration => ours;
    }

    /// Usage statistics.
    pub struct UsageStats {
        /// Disables usage statistics.
        disabled: bool => since("3.2.1");
    }
}
