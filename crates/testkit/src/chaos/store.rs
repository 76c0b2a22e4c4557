//! The engines' servers, and what can be done to them.

use super::proxy::{Passage, Proxy};
use crate::servers::redis::{self, Cluster, Sentinels, Server};
use crate::servers::{self, nats, postgres};
use serde_json::{Value, json};
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::thread::sleep;
use std::time::Duration;
use tokio::runtime::Handle;

/// Names the binary of Centrifugo v6 for fleets of both.
const INCUMBENT: &str = "CENTRIFUGO";

/// Address by which nodes and Sentinels reach the servers that the Sentinels watch.
const WATCHED: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

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
    /// PostgreSQL with a standby, which replicates without the primary waiting for it.
    PostgresPair,
    /// Redis with the layout of Centrifugo, and one of the nodes is Centrifugo.
    Mixed,
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
    ("postgres-pair", Kind::PostgresPair),
    ("mixed", Kind::Mixed),
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
            Self::Postgres | Self::PostgresPair => servers::installed(&[&postgres::debian()]),
            Self::Mixed => {
                let there = incumbent().is_some();
                if !there {
                    eprintln!("SKIPPED: {INCUMBENT} does not name a binary of Centrifugo v6");
                }
                there && servers::installed(&[redis::redis()])
            }
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

/// The binary of Centrifugo v6, if one is named.
pub(super) fn incumbent() -> Option<PathBuf> {
    std::env::var_os(INCUMBENT).map(PathBuf::from)
}

/// Address by which a node reaches the servers: one of its own, so that it alone can be cut off.
pub(super) fn address(node: usize) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 0, 11 + node as u8)
}

/// Servers of an engine that run.
pub(super) enum Store {
    None,
    Redis(Server),
    /// With a proxy in front of each server.
    Sentinels(Box<Sentinels>, Vec<Proxy>),
    Cluster(Cluster),
    Nats(nats::Nats),
    NatsCluster(nats::Cluster),
    Postgres(postgres::Server),
    /// One of the two is the primary.
    PostgresPair([postgres::Server; 2], usize),
}

impl Store {
    /// Starts the servers.
    ///
    /// # Errors
    /// A proxy cannot listen.
    pub(super) fn start(kind: Kind, runtime: &Handle) -> io::Result<Self> {
        let durable = |options| redis::Options { append_only: true, ..options };
        Ok(match kind {
            Kind::Memory => Self::None,
            Kind::Redis | Kind::RedisLists | Kind::Mixed => {
                Self::Redis(Server::start(durable(redis::Options::default())))
            }
            Kind::Valkey => Self::Redis(Server::start(durable(redis::Options::valkey()))),
            Kind::Sentinel => {
                let mut proxies = Ok(Vec::new());
                let all = Sentinels::behind(WATCHED, &redis::Options::default(), None, |ports| {
                    proxies = ports.iter().map(|port| Proxy::beside(runtime, WATCHED, *port)).collect();
                });
                Self::Sentinels(Box::new(all), proxies?)
            }
            Kind::Cluster => {
                // Nodes are told ports alone, and reach them by the address that they know.
                let further = vec!["cluster-preferred-endpoint-type unknown-endpoint".to_owned()];
                Self::Cluster(Cluster::start(&redis::Options { further, ..redis::Options::default() }, true))
            }
            Kind::Nats => Self::Nats(nats::Nats::start(&nats::Options::default())),
            Kind::JetStream => {
                let options = nats::Options { jetstream: true, ..nats::Options::default() };
                Self::Nats(nats::Nats::start(&options))
            }
            Kind::JetStreamCluster => Self::NatsCluster(nats::Cluster::start()),
            Kind::Postgres => Self::Postgres(postgres::Server::start(&postgres::Options::default())),
            Kind::PostgresPair => {
                let primary = postgres::Server::start(&postgres::Options::default());
                let standby = primary.standby();
                Self::PostgresPair([primary, standby], 0)
            }
        })
    }

    /// Logs of the servers, as far as they are files.
    pub(super) fn logs(&self) -> Vec<PathBuf> {
        match self {
            Self::Nats(server) => vec![server.log()],
            Self::NatsCluster(cluster) => cluster.servers.iter().map(nats::Nats::log).collect(),
            Self::None
            | Self::Redis(_)
            | Self::Sentinels(..)
            | Self::Cluster(_)
            | Self::Postgres(_)
            | Self::PostgresPair(..) => Vec::new(),
        }
    }

    /// Ports that each node reaches by an address of its own.
    fn ports(&self) -> Vec<u16> {
        match self {
            Self::Redis(server) => vec![server.port()],
            Self::Cluster(cluster) => cluster.ports(),
            Self::Nats(server) => vec![server.port()],
            Self::NatsCluster(cluster) => cluster.servers.iter().map(nats::Nats::port).collect(),
            Self::Postgres(server) => vec![server.port()],
            Self::PostgresPair(servers, _) => servers.iter().map(postgres::Server::port).collect(),
            Self::None | Self::Sentinels(..) => Vec::new(),
        }
    }

    /// Proxies between the node with this number and all servers.
    ///
    /// # Errors
    /// One cannot listen.
    pub(super) fn proxies(&self, runtime: &Handle, node: usize) -> io::Result<Vec<Proxy>> {
        self.ports().into_iter().map(|port| Proxy::beside(runtime, address(node), port)).collect()
    }

    /// Changes the passage between clients and Sentinels on one side and a server on the other, where the servers are
    /// reached by one address. Returns false elsewhere.
    pub(super) fn hinder(&self, server: usize, passage: Passage) -> bool {
        let Self::Sentinels(_, proxies) = self else { return false };
        proxies.get(server).into_iter().for_each(|proxy| proxy.set(passage));
        true
    }

    /// Sections of the configuration of the node with this number, which reaches the servers by this address.
    pub(super) fn sections(&self, kind: Kind, node: usize, host: Ipv4Addr) -> Value {
        let presence = "10s";
        let url = |server: &nats::Nats| format!("nats://{host}:{}", server.port());
        let redis = |further: Value| {
            let mut redis = json!({ "presence_ttl": presence });
            super::node::merge(&mut redis, &further);
            json!({ "engine": { "type": "redis", "redis": redis } })
        };
        let nats = |url: String, replicas: u32| {
            let nats = json!({ "url": url, "presence_ttl": presence, "replicas": replicas });
            json!({ "engine": { "type": "nats", "nats": nats } })
        };
        let addresses = |host: Ipv4Addr, ports: Vec<u16>| {
            ports.iter().map(|port| format!("{host}:{port}")).collect::<Vec<_>>()
        };
        let postgres = |servers: &[postgres::Server]| {
            let list = |one: &dyn Fn(&postgres::Server) -> String| {
                servers.iter().map(one).collect::<Vec<_>>().join(",")
            };
            let dsn = format!(
                "host={} port={} user={} dbname=postgres sslmode=disable connect_timeout=2",
                list(&|_| host.to_string()),
                list(&|server| server.port().to_string()),
                postgres::ADMIN,
            );
            let postgres = json!({ "dsn": dsn, "presence_ttl": presence, "pool_size": 6 });
            json!({ "engine": { "type": "postgres", "postgres": postgres } })
        };
        match self {
            Self::None => json!({}),
            Self::Redis(server) => {
                let address = json!([format!("redis://{host}:{}", server.port())]);
                redis(match kind {
                    Kind::Mixed if node == 0 => json!({ "address": address }),
                    Kind::Mixed => json!({ "address": address, "layout": "centrifugo" }),
                    _ => json!({ "address": address, "history_use_lists": kind == Kind::RedisLists }),
                })
            }
            Self::Sentinels(all, _) => redis(json!({
                "sentinel_address": addresses(Ipv4Addr::LOCALHOST, all.ports()),
                "sentinel_master_name": all.name(),
            })),
            Self::Cluster(cluster) => redis(json!({ "cluster_address": addresses(host, cluster.ports()) })),
            Self::Nats(server) if kind == Kind::Nats => {
                json!({ "broker": { "enabled": true, "type": "nats", "nats": { "url": url(server) } } })
            }
            Self::Nats(server) => nats(url(server), 1),
            Self::NatsCluster(cluster) => {
                let count = cluster.servers.len();
                let urls = cluster.servers.iter().cycle().skip(node % count).take(count).map(url);
                nats(urls.collect::<Vec<_>>().join(","), 3)
            }
            Self::Postgres(server) => postgres(std::slice::from_ref(server)),
            Self::PostgresPair(servers, _) => postgres(servers),
        }
    }

    /// Stops or continues the process that serves, or one of several by `pick`.
    pub(super) fn signal(&mut self, name: &str, pick: usize) {
        let redis = |server: &Server| if name == "STOP" { server.pause() } else { server.resume() };
        let nats = |server: &nats::Nats| if name == "STOP" { server.pause() } else { server.resume() };
        match self {
            Self::None => {}
            Self::Redis(server) => redis(server),
            Self::Sentinels(all, _) => all.servers.get(pick).into_iter().for_each(redis),
            Self::Cluster(cluster) => cluster.servers.get(pick).into_iter().for_each(redis),
            Self::Nats(server) => nats(server),
            Self::NatsCluster(cluster) => cluster.servers.get(pick).into_iter().for_each(nats),
            Self::Postgres(server) => server.signal(name),
            Self::PostgresPair(servers, primary) => servers[*primary].signal(name),
        }
    }

    /// Ends the process that serves, or one of several by `pick`.
    pub(super) fn end(&mut self, kill: bool, pick: usize) {
        let redis = |server: &mut Server| if kill { server.kill() } else { server.terminate() };
        let nats = |server: &mut nats::Nats| if kill { server.kill() } else { server.terminate() };
        match self {
            Self::None => {}
            Self::Redis(server) => redis(server),
            Self::Sentinels(all, _) => all.servers.get_mut(pick).into_iter().for_each(redis),
            Self::Cluster(cluster) => cluster.servers.get_mut(pick).into_iter().for_each(redis),
            Self::Nats(server) => nats(server),
            Self::NatsCluster(cluster) => cluster.servers.get_mut(pick).into_iter().for_each(nats),
            Self::Postgres(server) if kill => server.crash(),
            Self::Postgres(server) => server.stop(),
            Self::PostgresPair(servers, primary) if kill => servers[*primary].crash(),
            Self::PostgresPair(servers, primary) => servers[*primary].stop(),
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
            Self::Sentinels(all, _) => all.servers.get_mut(pick).into_iter().for_each(Server::start_again),
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
            Self::PostgresPair(servers, primary) => servers[*primary].start_again(),
        }
    }

    /// Exchanges the roles of the two servers of PostgreSQL. With `loss`, the standby is cut off for a while first:
    /// what the primary took meanwhile is gone. The former primary becomes the standby.
    pub(super) fn exchange(&mut self, loss: Option<Duration>) {
        let Self::PostgresPair(servers, primary) = self else { return };
        let (former, standby) = (*primary, 1 - *primary);
        if let Some(time) = loss {
            servers[standby].signal("STOP");
            servers[former].end_replication();
            sleep(time);
            servers[former].crash();
            servers[standby].signal("CONT");
        } else {
            // In an orderly stop it waits for its standby.
            servers[former].stop();
        }
        servers[standby].promote();
        *primary = standby;
        let [first, second] = servers;
        let (now, then) = if standby == 0 { (first, second) } else { (second, first) };
        then.follow(now);
        now.wait_for_standby();
    }

    /// The Redis servers that take writes now.
    pub(super) fn primaries(&self) -> Vec<&Server> {
        match self {
            Self::Redis(server) => vec![server],
            Self::Sentinels(all, _) => all.servers.get(all.primary()).into_iter().collect(),
            Self::Cluster(cluster) => {
                let role = |server: &&Server| {
                    server.line(&["INFO", "replication"], "role").as_deref() == Some("master")
                };
                cluster.servers.iter().filter(role).collect()
            }
            Self::None
            | Self::Nats(_)
            | Self::NatsCluster(_)
            | Self::Postgres(_)
            | Self::PostgresPair(..) => Vec::new(),
        }
    }
}

/// Folder of a server, which is also that of its socket.
fn folder(server: &Server) -> PathBuf {
    server.socket().parent().map_or_else(|| Path::new("/nonexistent").to_owned(), Path::to_owned)
}
