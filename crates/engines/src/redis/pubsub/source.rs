//! The server that a feed is of.

use super::super::cluster::Cluster;
use super::super::config::Endpoint;
use super::super::keys::{Keys, Kind};
use super::super::lives::Lives;
use super::super::server::Server;
use super::super::slots::{redirection, slot};
use std::sync::Arc;

/// The server of a feed.
#[derive(Clone)]
pub(super) enum Source {
    /// The only one of its shard, wherever it is. `index` of `count` shards.
    One { server: Arc<Server>, index: usize, count: usize },
    /// A node of a cluster.
    Node { cluster: Arc<Cluster>, endpoint: Endpoint, index: usize, count: usize },
}

impl Source {
    fn server(&self) -> Arc<Server> {
        match self {
            Self::One { server, .. } => Arc::clone(server),
            Self::Node { cluster, endpoint, .. } => cluster.node(endpoint),
        }
    }

    pub(super) fn name(&self) -> String {
        self.server().name().to_owned()
    }

    pub(super) fn lives(&self) -> Arc<Lives> {
        Arc::clone(self.server().lives())
    }

    pub(super) fn down(&self) -> Option<String> {
        self.server().down()
    }

    /// Returns true for channels of a hash slot: `SSUBSCRIBE` and its like.
    pub(super) const fn sharded(&self) -> bool {
        matches!(self, Self::Node { .. })
    }

    /// Waits until it is known where the server is. `None` once it is closed.
    pub(super) async fn endpoint(&self) -> Option<Endpoint> {
        self.server().endpoint().await
    }

    /// Waits until it is somewhere else.
    pub(super) async fn moved_from(&self, here: &Endpoint) {
        self.server().moved_from(here).await;
    }

    /// Returns true for a channel that this server delivers.
    pub(super) fn has(&self, keys: &Keys, channel: &str) -> bool {
        let (Self::One { index, count, .. } | Self::Node { index, count, .. }) = self;
        if super::super::jump::bucket(channel, *count) != *index {
            return false;
        }
        match self {
            Self::One { .. } => true,
            Self::Node { cluster, endpoint, .. } => {
                let slot = slot(&keys.of(Kind::Channel, channel));
                cluster.map().owner(slot) == Some(endpoint)
            }
        }
    }

    /// The servers of slots may have changed.
    pub(super) fn refresh(&self) {
        if let Self::Node { cluster, .. } = self {
            cluster.refresh();
        }
    }

    /// A command was refused. Returns true if the reason passes: another node serves the slot, or none does yet.
    pub(super) fn redirected(&self, from: &Endpoint, code: &str, detail: &str) -> bool {
        let Self::Node { cluster, .. } = self else { return matches!(code, "LOADING" | "MASTERDOWN") };
        match code {
            "MOVED" => {
                if let Some((slot, endpoint)) = redirection(detail, from) {
                    cluster.moved(slot, &endpoint);
                }
                true
            }
            "ASK" | "TRYAGAIN" | "CLUSTERDOWN" | "LOADING" | "MASTERDOWN" => {
                cluster.refresh();
                true
            }
            _ => false,
        }
    }
}
