//! `rpc`: calls of clients to the application's back end.

use super::Proxy;
use crate::config::catalogue::options;

options! {
    /// RPC calls.
    pub struct Rpc {
        /// Default proxy of calls.
        proxy: Proxy => planned;
        /// Options of methods without a namespace.
        without_namespace: RpcOptions => planned;
        /// Namespaces of methods.
        namespaces: Vec<RpcNamespace> => planned;
        /// A method that the server answers itself.
        ping: RpcPing;
        /// Separator between the namespace and the rest of a method's name.
        namespace_boundary: String = ":";
    }

    /// A namespace of methods.
    pub struct RpcNamespace {
        /// Its name: two or more letters, digits, `-`, `_` or `.`.
        name: String;
        /// Its options.
        #[serde(flatten)]
        options: RpcOptions;
    }

    /// Options of methods.
    pub struct RpcOptions {
        /// Pass calls on.
        proxy_enabled: bool;
        /// Proxy that gets them.
        proxy_name: String = "default";
    }

    /// A method that the server answers itself.
    pub struct RpcPing {
        /// Answer it.
        enabled: bool;
        /// Its name.
        method: String = "ping";
    }
}
