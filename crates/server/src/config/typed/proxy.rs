//! The proxy object: how an event of a client reaches the application's back end.

use super::Tls;
use crate::config::catalogue::options;
use crate::config::duration::Duration;
use crate::secret::Secret;
use std::collections::BTreeMap;

options! {
    /// A proxy with a name.
    pub struct NamedProxy {
        /// Its name: two or more letters, digits, `-`, `_` or `.`; not `default`.
        name: String;
        /// The proxy.
        #[serde(flatten)]
        proxy: Proxy;
    }

    /// Proxy that events are sent to.
    pub struct Proxy {
        /// Address of the back end: `http://…`, `https://…` or `grpc://…`.
        endpoint: String;
        /// Request timeout.
        timeout: Duration = Duration::secs(1);
        /// Headers of the client's request to pass on.
        http_headers: Vec<String>;
        /// gRPC metadata of the client to pass on.
        grpc_metadata: Vec<String>;
        /// Headers that the client set by its connect command to pass on; clients choose them freely.
        emulated_headers: Vec<String> => since("6.9.0");
        /// Send data as base64.
        binary_encoding: bool;
        /// Send the connection's meta.
        include_connection_meta: bool;
        /// Over HTTP.
        http: ProxyHttp;
        /// Over gRPC.
        grpc: ProxyGrpc;
    }

    /// Proxy over HTTP.
    pub struct ProxyHttp {
        /// TLS towards the back end.
        tls: Tls;
        /// Headers to send with each request.
        static_headers: BTreeMap<String, Secret>;
        /// Maps HTTP statuses to client errors or disconnects.
        status_to_code_transforms: Vec<StatusTransform>;
    }

    /// Mapping of an HTTP status.
    pub struct StatusTransform {
        /// The status.
        status_code: u16;
        /// Error to give.
        to_error: ErrorCode;
        /// Disconnect to give.
        to_disconnect: super::DisconnectCode;
    }

    /// An error for a client.
    pub struct ErrorCode {
        /// Its code.
        code: u32;
        /// Its message, in ASCII, at most 123 bytes.
        message: String;
        /// True if the client may try again.
        temporary: bool;
    }

    /// Proxy over gRPC.
    pub struct ProxyGrpc {
        /// TLS towards the back end.
        tls: Tls;
        /// Metadata key of the credentials.
        credentials_key: String;
        /// The credentials.
        credentials_value: Secret;
        /// Compress messages.
        compression: bool;
        /// Metadata to send with each call.
        static_metadata: BTreeMap<String, Secret>;
    }
}
