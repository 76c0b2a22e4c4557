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
