//! `http_api` and `grpc_api`: the server API.

use super::Tls;
use crate::config::catalogue::options;
use crate::secret::Secret;

options! {
    /// HTTP server API.
    pub struct HttpApi {
        /// Disables the HTTP API.
        disabled: bool;
        /// URL path.
        handler_prefix: String = "/api";
        /// API key of callers.
        key: Secret;
        /// Error mode: empty reports errors in the body with status 200, `transport` uses HTTP statuses.
        error_mode: String => one_of(&["", "transport"]) since("5.1.0");
        /// Serves the API on the external port even if an internal port is set.
        external: bool => since("3.0.0");
        /// Accepts calls without a key. Insecure.
        insecure: bool;
        /// Rejects keys in the query string, which may end up in logs of proxies.
        disable_query_key: bool => ours;
    }

    /// gRPC server API.
    pub struct GrpcApi {
        /// Enables the gRPC API.
        enabled: bool;
        /// Error mode: empty reports errors in the message, `transport` uses gRPC statuses.
        error_mode: String => one_of(&["", "transport"]) since("5.1.0");
        /// Address to listen on; empty means all addresses.
        address: String;
        /// Port to listen on.
        port: u16 = 10000u16;
        /// API key of callers; empty accepts calls without a key.
        key: Secret;
        /// TLS of the server.
        tls: Tls;
        /// Enables gRPC reflection.
        reflection: bool;
        /// Maximum message size in bytes; 0 means 4 MiB.
        max_receive_message_size: u32;
    }
}
