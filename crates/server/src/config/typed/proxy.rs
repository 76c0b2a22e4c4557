//! The proxy object: how an event of a client reaches the application's back end.

use super::Tls;
use crate::config::catalogue::options;
use crate::config::duration::Duration;
use crate::secret::Secret;
use std::collections::BTreeMap;

options! {
    /// Named proxy.
    pub struct NamedProxy {
        /// Name of the proxy: two or more letters, digits, `-`, `_` or `.`; not `default`.
        name: String;
        /// Proxy options.
        #[serde(flatten)]
        proxy: Proxy;
    }

    /// Proxy: an endpoint of the application backend that receives events.
    pub struct Proxy {
        /// URL of the backend: `http://…`, `https://…` or `grpc://…`.
        endpoint: String;
        /// Request timeout.
        timeout: Duration = Duration::secs(1);
        /// Headers of the client's request to forward.
        http_headers: Vec<String>;
        /// gRPC metadata of the client to forward.
        grpc_metadata: Vec<String>;
        /// Headers of the connect command to forward; clients choose them freely.
        emulated_headers: Vec<String> => since("6.9.0");
        /// Sends data as base64.
        binary_encoding: bool;
        /// Sends the connection's meta.
        include_connection_meta: bool;
        /// Maximum number of subscribes of one message that are asked about in one request; 0 asks about each. HTTP only.
        batch: u32 = 0u32 => ours between(0, 256);
        /// Maximum number of concurrent requests.
        concurrency: u32 = 512u32 => ours between(1, 1_000_000);
        /// Maximum number of requests that wait for a place; further ones are refused with error 100.
        queue_size: u32 = 2048u32 => ours;
        /// Number of requests in a row without a response after which no more are sent for a while; 0 sends them always.
        breaker_failures: u32 = 64u32 => ours;
        /// Time after which one request tries the backend again; it doubles each time that fails, up to sixteen times.
        breaker_delay: Duration = Duration::secs(1) => ours;
        /// Maximum number of open streams of the subscribe stream proxy; further ones are refused with error 100.
        max_streams: u32 = 10_000u32 => ours;
        /// Maximum size of a response in bytes, and of a message in a stream.
        max_response_size: u64 = 1_048_576u64 => ours;
        /// HTTP options.
        http: ProxyHttp;
        /// gRPC options.
        grpc: ProxyGrpc;
    }

    /// HTTP options of a proxy.
    pub struct ProxyHttp {
        /// TLS options for the backend.
        tls: Tls;
        /// Headers added to each request.
        static_headers: BTreeMap<String, Secret>;
        /// Maps HTTP statuses to client errors or disconnects.
        status_to_code_transforms: Vec<StatusTransform>;
    }

    /// Mapping of an HTTP status.
    pub struct StatusTransform {
        /// HTTP status.
        status_code: u16;
        /// Client error for this status.
        to_error: ErrorCode;
        /// Disconnect for this status.
        to_disconnect: super::DisconnectCode;
    }

    /// Client error.
    pub struct ErrorCode {
        /// Code.
        code: u32;
        /// Message, in ASCII, at most 123 bytes.
        message: String;
        /// True if the client may retry.
        temporary: bool;
    }

    /// gRPC options of a proxy.
    pub struct ProxyGrpc {
        /// TLS options for the backend.
        tls: Tls;
        /// Metadata key of the credentials.
        credentials_key: String;
        /// Value of the credentials.
        credentials_value: Secret;
        /// Compresses messages.
        compression: bool;
        /// Metadata added to each call.
        static_metadata: BTreeMap<String, Secret>;
    }
}
