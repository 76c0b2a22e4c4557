//! `http_api` and `grpc_api`: the server API.

use super::Tls;
use crate::config::catalogue::{Pem, options};
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
        /// JSON Web Tokens in place of keys.
        jwks: ApiJwks => ours;
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
        /// JSON Web Tokens in place of keys.
        jwks: ApiJwks => ours;
    }

    /// Key of callers of the server API, with what it allows.
    pub struct ApiKey {
        /// Name in logs and metrics. Entries of one name are keys of one caller, such as the old and the new one.
        name: String;
        /// The key.
        key: Secret;
        /// Methods that it allows; empty means all.
        methods: Vec<String>;
        /// Channels that it allows them for, by name or by the start of a name with a `*` behind it; empty means all.
        channels: Vec<String>;
        /// Calls per second for all keys of the name; 0 means no limit.
        rate_limit: u32;
        /// Last second of validity, in Unix seconds; 0 means no end.
        valid_until: i64;
    }

    /// Tokens of callers of the server API, in the header `Authorization: Bearer`.
    pub struct ApiJwks {
        /// Accepts tokens.
        enabled: bool;
        /// URL of the key set.
        endpoint: String;
        /// Audience that tokens must have; empty means any.
        audience: String;
        /// Issuer that tokens must have; empty means any.
        issuer: String;
        /// Scope that tokens must have; empty means none.
        scope: String;
        /// Certificate authorities for the key set's server, in PEM; empty means those of the system.
        server_ca_pem: Pem;
    }
}
