//! `rpc`: calls of clients to the application's back end.

use super::Proxy;
use crate::config::catalogue::options;

options! {
    /// RPC calls from clients.
    pub struct Rpc {
        /// Default proxy for RPC calls.
        proxy: Proxy;
        /// Options of methods without a namespace.
        without_namespace: RpcOptions;
        /// Namespaces of methods.
        namespaces: Vec<RpcNamespace>;
        /// Ping method, answered by the server itself.
        ping: RpcPing;
        /// Separator between namespace and name of a method.
        namespace_boundary: String = ":";
    }

    /// RPC namespace.
    pub struct RpcNamespace {
        /// Name of the namespace: two or more letters, digits, `-`, `_` or `.`.
        name: String;
        /// RPC options.
        #[serde(flatten)]
        options: RpcOptions;
    }

    /// RPC options.
    pub struct RpcOptions {
        /// Sends calls to the proxy.
        proxy_enabled: bool;
        /// Name of the proxy.
        proxy_name: String = "default";
    }

    /// Ping method, answered by the server itself.
    pub struct RpcPing {
        /// Enables the method.
        enabled: bool;
        /// Name of the method.
        method: String = "ping";
    }
}
