//! Namespaces with a broker of their own.

use crate::channel::Registry;
use std::sync::Arc;

/// Brokers by namespace, as they were at the start of the server: a channel in use does not change its broker.
#[derive(Clone, Default)]
pub(crate) struct Brokers {
    registry: Option<Arc<Registry>>,
    names: Arc<[String]>,
}

impl Brokers {
    /// The brokers that namespaces of `registry` may name.
    pub(crate) fn new(registry: Arc<Registry>, names: impl IntoIterator<Item = String>) -> Self {
        Self { registry: Some(registry), names: names.into_iter().collect() }
    }

    /// Name of the broker of a channel. `None` is the default.
    pub(super) fn of(&self, channel: &str) -> Option<&str> {
        let namespace = self.registry.as_ref()?.resolve(channel).namespace?;
        let name = &namespace.options().broker_name;
        self.names.iter().find(|known| *known == name).map(String::as_str)
    }
}
