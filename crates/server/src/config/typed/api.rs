//! `http_api` and `grpc_api`: the server API.

use super::Tls;
use crate::config::catalogue::options;
use crate::secret::Secret;

options! {
    /// HTTP server API.
    pub struct HttpApi {
        /// Do not serve it.
        disabled: bool;
        /// Path.
        handler_prefix: String = "/api";
        /// Key that callers must present.
        key: Secret;
        /// Form of errors: empty for a body with status 200, `transport` for HTTP statuses.
        error_mode: String => one_of(&["", "transport"]) since("5.1.0");
        /// Serve it on the external port although an internal one is set.
        external: bool => since("3.0.0");
        /// Serve it without a key. Insecure.
        insecure: bool;
        /// Do not accept the key as a query parameter, where it ends up in logs of proxies.
        disable_query_key: bool => ours;
    }

    /// gRPC server API.
    pub struct GrpcApi {
        /// Serve it.
        enabled: bool;
        /// Form of errors: empty for errors in the message, `transport` for gRPC statuses.
        error_mode: String => one_of(&["", "transport"]) since("5.1.0");
        /// Address to listen on; empty listens on all.
        address: String;
        /// Port.
        port: u16 = 10000u16;
        /// Key that callers must present; empty asks for none.
        key: Secret;
        /// TLS.
        tls: Tls;
        /// Serve reflection.
        reflection: bool;
        /// Most bytes in a message; 0 takes 4 MiB.
        max_receive_message_size: u32;
    }
}
