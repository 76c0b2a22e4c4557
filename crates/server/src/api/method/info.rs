//! `info`: facts about the nodes.

use super::{Method, Reach};
use crate::api::error::ApiError;
use crate::api::interval::Metrics;
use crate::api::output::output;
use crate::api::parameter::{Rejection, parameters};
use crate::api::{Context, LatestInfo};
use crate::grpc::proto::api as proto;
use spinward::cluster::NodeStatus;
use std::time::Duration;

/// The age at which the numbers are counted again. As in Centrifugo v6.9, and asking often costs nothing.
const MAX_AGE: Duration = Duration::from_secs(3);

/// See [`Method::SUMMARY`].
pub(crate) struct Info;

parameters! {
    /// Parameters of `info`.
    struct Params {}
}

output! {
    /// Facts about the nodes.
    struct Nodes as "Info" {
        /// The nodes.
        nodes: Vec<Node>,
    }
}

output! {
    /// Facts about a node. The numbers are up to three seconds old.
    struct Node as "Node" {
        /// A random id, for each life of the process.
        uid: String,
        /// `node.name`.
        name: String,
        /// The version of the server.
        version: String,
        /// Logged-in connections.
        num_clients: u64,
        /// Distinct users.
        num_users: u64,
        /// Channels with subscribers.
        num_channels: u64,
        /// Seconds since the start.
        uptime: u64,
        /// Numbers of the last interval of `node.info_metrics_aggregate_interval`, once one has ended. Not there for
        /// other nodes of a cluster.
        metrics: Option<Metrics> = optional,
        /// Subscriptions.
        num_subs: u64,
    }
}

impl Method for Info {
    const NAME: &'static str = "info";
    const NUMBER: Option<u8> = Some(9);
    const SUMMARY: &'static str = "Returns facts about the nodes.";
    const ERRORS: &'static [ApiError] = &[];
    const EXAMPLE: &'static str = "{}";

    type Params = Params;
    type Output = Nodes;
    type Request = proto::InfoRequest;
    type Result = proto::InfoResult;

    fn params(proto::InfoRequest {}: proto::InfoRequest) -> Result<Self::Params, Rejection> {
        Ok(Params {})
    }

    fn reach(_: &Self::Params) -> Reach<'_> {
        Reach::Nothing
    }

    async fn call(cx: &Context<'_>, Params {}: Params) -> Result<Nodes, ApiError> {
        let uptime = cx.node().uptime();
        let mut latest = cx.api.latest_info.lock();
        let (age, nodes) = match &*latest {
            Some(info) if uptime.saturating_sub(info.at) < MAX_AGE => {
                (uptime.saturating_sub(info.at), info.nodes.clone())
            }
            _ => {
                let info = LatestInfo { at: uptime, nodes: cx.node().nodes() };
                (Duration::ZERO, latest.insert(info).nodes.clone())
            }
        };
        drop(latest);
        let own = cx.node().id();
        let metrics = cx.api.aggregate.lock().at(&cx.node().info());
        let node = |status: NodeStatus| Node {
            uid: status.id.to_string(),
            name: status.name,
            version: status.version,
            num_clients: status.clients,
            num_users: status.users,
            num_channels: status.channels,
            uptime: (status.uptime + age).as_secs(),
            metrics: metrics.clone().filter(|_| status.id == own),
            num_subs: status.subscriptions,
        };
        Ok(Nodes { nodes: nodes.into_iter().map(node).collect() })
    }
}

impl From<Nodes> for proto::InfoResult {
    fn from(Nodes { nodes }: Nodes) -> Self {
        Self { nodes: nodes.into_iter().map(Into::into).collect() }
    }
}

impl From<Node> for proto::NodeResult {
    fn from(node: Node) -> Self {
        let Node { uid, name, version, num_clients, num_users, num_channels, uptime, metrics, num_subs } =
            node;
        // The schema has four bytes for each of them.
        let number = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        Self {
            uid,
            name,
            version,
            num_clients: number(num_clients),
            num_users: number(num_users),
            num_channels: number(num_channels),
            uptime: number(uptime),
            metrics: metrics.map(Into::into),
            process: None,
            num_subs: number(num_subs),
        }
    }
}
