//! The engines' servers, and what can be done to them.

use crate::servers::redis::{self, Cluster, Sentinels, Server};
use crate::servers::{self, nats, postgres};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Engine that nodes run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Everything in one process; for one node.
    Memory,
    /// Redis, with history in streams.
    Redis,
    /// Redis, with history in lists.
    RedisLists,
    /// Valkey.
    Valkey,
    /// A primary with two replicas under Sentinel.
    Sentinel,
    /// Redis Cluster: three primaries with a replica each.
    Cluster,
    /// Core NATS, without history.
    Nats,
    /// NATS with JetStream, one server.
    JetStream,
    /// Three servers of NATS with JetStream, three copies of everything.
    JetStreamCluster,
    /// PostgreSQL.
    Postgres,
}

/// All engines, with their names.
pub const KINDS: &[(&str, Kind)] = &[
    ("memory", Kind::Memory),
    ("redis", Kind::Redis),
    ("redis-lists", Kind::RedisLists),
    ("valkey", Kind::Valkey),
    ("sentinel", Kind::Sentinel),
    ("cluster", Kind::Cluster),
    ("nats", Kind::Nats),
    ("jetstream", Kind::JetStream),
    ("jetstream-cluster", Kind::JetStreamCluster),
    ("postgres", Kind::Postgres),
];

impl FromStr for Kind {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let of = |(own, kind): &(&str, Self)| (*own == name).then_some(*kind);
        let names: Vec<_> = KINDS.iter().map(|(name, _)| *name).collect();
        KINDS.iter().find_map(of).ok_or_else(|| format!("no engine {name}: one of {}", names.join(", ")))
    }
}

impl Kind {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        KINDS.iter().find(|(_, kind)| *kind == self).map_or("", |(name, _)| name)
    }

    /// Returns true if its servers are installed. Says what is missing.
    #[must_use]
    pub fn is_installed(self) -> bool {
        match self {
            Self::Memory => true,
            Self::Redis | Self::RedisLists | Self::Sentinel | Self::Cluster => {
                servers::installed(&[redis::redis()])
            }
            Self::Valkey => servers::installed(&[&redis::valkey()]),
            Self::Nats | Self::JetStream | Self::JetStreamCluster => nats::installed(),
            Self::Postgres => servers::installed(&[&postgres::debian()]),
        }
    }

    /// Returns true if publications are kept, so that clients recover.
    pub(super) const fn keeps(self) -> bool {
        !matches!(self, Self::Nats)
    }

    /// Returns true if a SIGKILL of the process costs what was acknowledged, or may.
    pub(super) const fn forgets(self) -> bool {
        matches!(self, Self::Memory)
    }
}

/// Servers of an engine that run.
pub(super) enum Store {
    None,
    Redis(Server),
    Sentinels(Box<Sentinels>),
    Cluster(Cluster),
    Nats(nats::Nats),
    NatsCluster(nats::Cluster),
    Postgres(postgres::Server),
}

impl Store {
    /// Starts the servers.
    pub(super) fn start(kind: Kind) -> Self {
        let durable = |options| redis::Options { append_only: true, ..options };
        match kind {
            Kind::Memory => Self::None,
            Kind::Redis | Kind::RedisLists => Self::Redis(Server::start(durable(redis::Options::default()))),
            Kind::Valkey => Self::Redis(Server::start(durable(redis::Options::valkey()))),
            Kind::Sentinel => Self::Sentinels(Box::new(Sentinels::start(&redis::Options::default(), None))),
            Kind::Cluster => Self::Cluster(Cluster::start(&redis::Options::default(), true)),
            Kind::Nats => Self::Nats(nats::Nats::start(&nats::Options::default())),
            Kind::JetStream => {
                let options = nats::Options { jetstream: true, ..nats::Options::default() };
                Self::Nats(nats::Nats::start(&options))
            }
            Kind::JetStreamCluster => Self::NatsCluster(nats::Cluster::start()),
            Kind::Postgres => Self::Postgres(postgres::Server::start(&postgres::Options::default())),
        }
    }

    /// Logs of the servers, as far as they are files.
    pub(super) fn logs(&self) -> Vec<PathBuf> {
        match self {
            Self::Nats(server) => vec![server.log()],
            Self::NatsCluster(cluster) => cluster.servers.iter().map(nats::Nats::log).collect(),
            Self::None | Self::Redis(_) | Self::Sentinels(_) | Self::Cluster(_) | Self::Postgres(_) => {
                Vec::new()
            }
        }
    }

    /// The port that a proxy can stand in front of, where all traffic goes to one.
    pub(super) fn port(&self) -> Option<u16> {
        match self {
            Self::Redis(server) => Some(server.port()),
            Self::Nats(server) => Some(server.port()),
            Self::Postgres(server) => Some(server.port()),
            Self::None | Self::Sentinels(_) | Self::Cluster(_) | Self::NatsCluster(_) => None,
        }
    }

    /// Sections of the configuration of the node with this number, which reaches the engine by this port.
    pub(super) fn sections(&self, kind: Kind, node: usize, port: u16) -> Value {
        let presence = "10s";
        let url = format!("nats://127.0.0.1:{port}");
        let redis = |further: Value| {
            let mut redis = json!({ "presence_ttl": presence });
            super::node::merge(&mut redis, &further);
            json!({ "engine": { "type": "redis", "redis": redis } })
        };
        let nats = |url: String, replicas: u32| {
            let nats = json!({ "url": url, "presence_ttl": presence, "replicas": replicas });
            json!({ "engine": { "type": "nats", "nats": nats } })
        };
        let addresses =
            |ports: Vec<u16>| ports.iter().map(|port| format!("127.0.0.1:{port}")).collect::<Vec<_>>();
        match self {
            Self::None => json!({}),
            Self::Redis(_) => redis(json!({
                "address": [format!("redis://127.0.0.1:{port}")], "history_use_lists": kind == Kind::RedisLists,
            })),
            Self::Sentinels(all) => redis(json!({
                "sentinel_address": addresses(all.ports()), "sentinel_master_name": all.name(),
            })),
            Self::Cluster(cluster) => redis(json!({ "cluster_address": addresses(cluster.ports()) })),
            Self::Nats(_) if kind == Kind::Nats => {
                json!({ "broker": { "enabled": true, "type": "nats", "nats": { "url": url } } })
            }
            Self::Nats(_) => nats(url, 1),
            Self::NatsCluster(cluster) => nats(cluster.urls(node).join(","), 3),
            Self::Postgres(server) => {
                let own = format!("port={}", server.port());
                let dsn = server.dsn(postgres::ADMIN, "postgres").replace(&own, &format!("port={port}"));
                let postgres = json!({ "dsn": dsn, "presence_ttl": presence, "pool_size": 6 });
                json!({ "engine": { "type": "postgres", "postgres": postgres } })
            }
        }
    }

    /// Stops or continues the process that serves, or one of several by `pick`.
    pub(super) fn signal(&mut self, name: &str, pick: usize) {
        let redis = |server: &Server| if name == "STOP" { server.pause() } else { server.resume() };
        let nats = |server: &nats::Nats| if name == "STOP" { server.pause() } else { server.resume() };
        match self {
            Self::None => {}
            Self::Redis(server) => redis(server),
            Self::Sentinels(all) => all.servers.get(pick).into_iter().for_each(redis),
            Self::Cluster(cluster) => cluster.servers.get(pick).into_iter().for_each(redis),
            Self::Nats(server) => nats(server),
            Self::NatsCluster(cluster) => cluster.servers.get(pick).into_iter().for_each(nats),
            Self::Postgres(server) => server.signal(name),
        }
    }

    /// Ends the process that serves, or one of several by `pick`.
    pub(super) fn end(&mut self, kill: bool, pick: usize) {
        let redis = |server: &mut Server| if kill { server.kill() } else { server.terminate() };
        let nats = |server: &mut nats::Nats| if kill { server.kill() } else { server.terminate() };
        match self {
            Self::None => {}
            Self::Redis(server) => redis(server),
            Self::Sentinels(all) => all.servers.get_mut(pick).into_iter().for_each(redis),
            Self::Cluster(cluster) => cluster.servers.get_mut(pick).into_iter().for_each(redis),
            Self::Nats(server) => nats(server),
            Self::NatsCluster(cluster) => cluster.servers.get_mut(pick).into_iter().for_each(nats),
            Self::Postgres(server) if kill => server.crash(),
            Self::Postgres(server) => server.stop(),
        }
    }

    /// Starts again what [`end`](Self::end) has ended; without its files if they are not to be kept.
    pub(super) fn begin(&mut self, keep: bool, pick: usize) {
        match self {
            Self::None => {}
            Self::Redis(server) => {
                if !keep {
                    let _ = std::fs::remove_dir_all(folder(server).join("appendonlydir"));
                }
                server.start_again();
            }
            Self::Sentinels(all) => all.servers.get_mut(pick).into_iter().for_each(Server::start_again),
            Self::Cluster(cluster) => {
                cluster.servers.get_mut(pick).into_iter().for_each(Server::start_again);
            }
            Self::Nats(server) => {
                if !keep {
                    server.wipe();
                }
                server.restart();
            }
            Self::NatsCluster(cluster) => {
                cluster.servers.get_mut(pick).into_iter().for_each(nats::Nats::restart);
            }
            Self::Postgres(server) => server.start_again(),
        }
    }

    /// The Redis servers that take writes now.
    pub(super) fn primaries(&self) -> Vec<&Server> {
        match self {
            Self::Redis(server) => vec![server],
            Self::Sentinels(all) => all.servers.get(all.primary()).into_iter().collect(),
            Self::Cluster(cluster) => {
                let role = |server: &&Server| {
                    server.line(&["INFO", "replication"], "role").as_deref() == Some("master")
                };
                cluster.servers.iter().filter(role).collect()
            }
            Self::None | Self::Nats(_) | Self::NatsCluster(_) | Self::Postgres(_) => Vec::new(),
        }
    }
}

/// Folder of a server, which is also that of its socket.
fn folder(server: &Server) -> PathBuf {
    server.socket().parent().map_or_else(|| Path::new("/nonexistent").to_owned(), Path::to_owned)
}
