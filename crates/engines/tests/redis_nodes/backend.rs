//! The kinds of servers that everything is tested on.

use spinward_engines::redis::Config;
use spinward_testkit::servers::installed;
use spinward_testkit::servers::redis::{Cluster, Options, Sentinels, Server, redis, valkey};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// Kinds of back ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Redis,
    Valkey,
    /// A user of the access control list, by a Unix socket.
    Socket,
    Sentinel,
    Cluster,
    /// Two servers by consistent hashing.
    Shards,
}

/// Servers of one kind.
pub(crate) enum Backend {
    Servers(Vec<Server>),
    Socket(Box<Server>),
    Sentinels(Sentinels),
    Cluster(Cluster),
}

impl Backend {
    /// Starts the servers; `None` where a program is missing.
    pub(crate) fn start(kind: Kind) -> Option<Self> {
        let valkey = valkey();
        let program = if matches!(kind, Kind::Valkey) { &*valkey } else { redis() };
        if !installed(&[program]) {
            return None;
        }
        let secured = Options { password: Some("secret".into()), ..Options::default() };
        Some(match kind {
            Kind::Redis => Self::Servers(vec![Server::start(Options::default())]),
            Kind::Valkey => Self::Servers(vec![Server::start(Options::valkey())]),
            Kind::Shards => Self::Servers((0..2).map(|_| Server::start(Options::default())).collect()),
            Kind::Socket => {
                let user = Some(("ann".into(), "p@ss:word/?".into()));
                Self::Socket(Box::new(Server::start(Options { user, unix_socket: true, ..secured })))
            }
            Kind::Sentinel => Self::Sentinels(Sentinels::start(&secured, Some("watch"))),
            Kind::Cluster => Self::Cluster(Cluster::start(&secured, true)),
        })
    }

    /// Settings to use them with a prefix of its own.
    pub(crate) fn config(&self) -> Config {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let prefix = format!("test{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let addresses = |ports: Vec<u16>| ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        let basic = Config { prefix, connect_timeout: Duration::from_secs(1), ..Config::default() };
        match self {
            Self::Servers(servers) => Config { address: servers.iter().map(Server::url).collect(), ..basic },
            Self::Socket(server) => Config {
                address: vec![server.socket().display().to_string()],
                user: "ann".into(),
                password: "p@ss:word/?".into(),
                force_resp2: true,
                client_name: "spinward".into(),
                ..basic
            },
            Self::Sentinels(sentinels) => Config {
                sentinel_address: addresses(sentinels.ports()),
                sentinel_master_name: sentinels.name().into(),
                sentinel_password: "watch".into(),
                password: "secret".into(),
                ..basic
            },
            Self::Cluster(cluster) => {
                Config { cluster_address: addresses(cluster.ports()), password: "secret".into(), ..basic }
            }
        }
    }

    /// All servers that hold data.
    pub(crate) fn servers(&self) -> &[Server] {
        match self {
            Self::Servers(servers) => servers,
            Self::Socket(server) => std::slice::from_ref(&**server),
            Self::Sentinels(sentinels) => &sentinels.servers,
            Self::Cluster(cluster) => &cluster.servers,
        }
    }

    /// Kills the connections of all clients.
    pub(crate) fn cut_clients(&self) {
        self.servers().iter().for_each(Server::cut_clients);
    }
}

/// Waits until something holds, asked every 20 ms. Returns the time that it took.
pub(crate) async fn until(what: &str, most: Duration, mut holds: impl AsyncFnMut() -> bool) -> Duration {
    let start = Instant::now();
    while !holds().await {
        assert!(start.elapsed() < most, "{what}: not within {most:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    start.elapsed()
}
