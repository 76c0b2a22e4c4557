//! Nodes of a configuration in an application of one's own.

use super::build::BuildError;
use super::node::{Deciders, Reports};
use crate::config::Config;
use crate::session::ServerHooks;
use spinward::Node;
use spinward::hooks::Hooks;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// A node whose clients are decided about by a configuration of the server: tokens, namespaces and permissions, event
/// proxies, revocations, engines and limits are as in the server. Nothing of it listens: the application mounts the
/// transports of [`Embedded::node`] where it likes.
///
/// Options of ports have no effect: `http_server`, `http_api`, `grpc_api`, `client.allowed_origins`, the limits by
/// address, overload protection, `consumers` (see the crate `spinward-consumers`), `prometheus`, `log`.
///
/// ```
/// use spinward_server::app::Embedded;
/// use spinward_server::config::{self, Vars};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let options = serde_json::json!({
///     "client": {"token": {"hmac_secret_key": "example key of 32 characters, or more"}},
///     "channel": {
///         "without_namespace": {"subscribe_proxy_enabled": true},
///         "proxy": {"subscribe": {"endpoint": "http://127.0.0.1:3000/subscribe"}},
///     },
/// });
/// let serde_json::Value::Object(options) = options else { unreachable!() };
/// let loaded = config::from_tree(options, &Vars::default(), &[])?;
/// let embedded = Embedded::start(&loaded.config)?;
/// let websocket = embedded.node().websocket(); // a tower service
/// # drop(websocket);
/// # Ok(())
/// # }
/// # tokio::runtime::Runtime::new().unwrap().block_on(run()).unwrap();
/// ```
pub struct Embedded {
    node: Node,
    reports: Reports,
    /// Ends the reports when it is dropped.
    _reporting: watch::Sender<bool>,
}

impl Embedded {
    /// Starts a node in this tokio runtime.
    ///
    /// # Errors
    /// The configuration does not make a node; the text names the option.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn start(config: &Config) -> Result<Self, BuildError> {
        Self::start_with(config, |hooks| hooks)
    }

    /// The same with hooks of the application, which call those of the configuration for what they do not decide
    /// themselves.
    ///
    /// # Errors
    /// As [`Embedded::start`].
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn start_with<H: Hooks>(
        config: &Config,
        hooks: impl FnOnce(ServerHooks) -> H,
    ) -> Result<Self, BuildError> {
        let ignored = without_effect(config);
        if !ignored.is_empty() {
            tracing::warn!(
                options = ignored.join(", "),
                "options of ports have no effect in a node that an application embeds"
            );
        }
        let deciders = Deciders::new(config)?;
        let reports = deciders.reports.clone();
        let hooks = hooks(deciders.hooks.clone());
        let node = deciders.node(config, hooks)?;
        let (reporting, ended) = watch::channel(false);
        tokio::spawn(reports.clone().run(ended));
        Ok(Self { node, reports, _reporting: reporting })
    }

    /// The node.
    #[must_use]
    pub const fn node(&self) -> &Node {
        &self.node
    }

    /// Disconnects all clients, and sends the events of channels and clients that are left, within this time.
    pub async fn shutdown(self, time: Duration) {
        let until = Instant::now() + time;
        self.node.shutdown(time).await;
        self.reports.finish(until.saturating_duration_since(Instant::now())).await;
    }
}

/// Options of ports that are set, although an embedded node has none.
fn without_effect(config: &Config) -> Vec<&'static str> {
    let usual = Config::default();
    let set = [
        ("http_server", config.http_server != usual.http_server),
        ("http_api", config.http_api != usual.http_api),
        ("grpc_api", config.grpc_api != usual.grpc_api),
        ("client.allowed_origins", config.client.allowed_origins != usual.client.allowed_origins),
        ("consumers", config.consumers.iter().any(|consumer| consumer.enabled)),
        ("prometheus", config.prometheus != usual.prometheus),
        ("log", config.log != usual.log),
    ];
    set.into_iter().filter(|(_, set)| *set).map(|(option, _)| option).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::typed::Consumer;

    #[test]
    fn options_of_ports_are_named_where_they_are_set() {
        let mut config = Config::default();
        config.client.concurrency = 4;
        config.consumers = vec![Consumer::default()];
        assert_eq!(without_effect(&config), [""; 0]);
        config.grpc_api.enabled = true;
        config.http_server.port = 9_000;
        config.consumers[0].enabled = true;
        assert_eq!(without_effect(&config), ["http_server", "grpc_api", "consumers"]);
    }
}
