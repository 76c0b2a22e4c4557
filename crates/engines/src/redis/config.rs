//! Settings of the engine, and the servers that they name.

use super::address::{self, AddressError};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;

/// Settings of the Redis engine. The default ones are those of the server's documentation.
///
/// Addresses of Cluster come before those of Sentinel, and those before [`Config::address`].
#[derive(Clone)]
pub struct Config {
    /// Addresses of servers: `redis://`, `rediss://`, `redis+sentinel://`, `redis+cluster://`, `unix://`,
    /// `redis+unix://`, `host:port`, or the path of a Unix socket. Several are shards: a channel belongs to one of
    /// them by consistent hashing, so that all nodes need the same list in the same order.
    pub address: Vec<String>,
    /// Time that connecting and the handshake may take.
    pub connect_timeout: Duration,
    /// Time that a call may take, including the wait for a connection.
    pub io_timeout: Duration,
    /// Number of the database. Redis Cluster has only 0.
    pub db: u32,
    /// User of the server's access control list.
    pub user: String,
    /// Password.
    pub password: String,
    /// Name of connections, as `CLIENT LIST` shows it.
    pub client_name: String,
    /// Speaks version 2 of the protocol. Version 3 is the default.
    pub force_resp2: bool,
    /// Addresses of nodes of a Redis Cluster, some of which have to be reachable. If an entry has commas, each entry is
    /// a cluster of its own, and they are shards.
    pub cluster_address: Vec<String>,
    /// TLS for connections to servers.
    pub tls: Option<Tls>,
    /// Addresses of Sentinels. If an entry has commas, each entry is a shard of its own.
    pub sentinel_address: Vec<String>,
    /// User for Sentinels.
    pub sentinel_user: String,
    /// Password for Sentinels.
    pub sentinel_password: String,
    /// Name of the primary, as Sentinels know it.
    pub sentinel_master_name: String,
    /// Name of connections to Sentinels.
    pub sentinel_client_name: String,
    /// TLS for connections to Sentinels.
    pub sentinel_tls: Option<Tls>,
    /// Prefix of keys and Pub/Sub channels, without `{` and `}`.
    pub prefix: String,
    /// Layout of keys and messages.
    pub layout: Layout,
    /// Keeps history in lists in place of streams.
    pub history_use_lists: bool,
    /// Number of replicas that must have a stored publication before it is acknowledged. 0 does not wait.
    pub wait_replicas: u32,
    /// Time to wait for these replicas, at most [`Config::io_timeout`].
    pub wait_timeout: Duration,
}

/// Layout of keys and messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Layout {
    /// That of this project.
    #[default]
    Spinward,
    /// That of Centrifugo v6, whose nodes can use the same servers. It cannot promise everything: see
    /// `docs/adr/0039-layout-of-centrifugo.md`.
    Centrifugo,
}

/// TLS for connections.
#[derive(Clone)]
pub struct Tls {
    /// Roots, certificates and protocol versions.
    pub config: Arc<rustls::ClientConfig>,
    /// Name that the server's certificate must have. `None` for the host of the address.
    pub server_name: Option<String>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("server_name", &self.server_name).finish_non_exhaustive()
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            address: vec!["redis://127.0.0.1:6379".to_owned()],
            connect_timeout: Duration::from_secs(1),
            io_timeout: Duration::from_secs(4),
            db: 0,
            user: String::new(),
            password: String::new(),
            client_name: String::new(),
            force_resp2: false,
            cluster_address: Vec::new(),
            tls: None,
            sentinel_address: Vec::new(),
            sentinel_user: String::new(),
            sentinel_password: String::new(),
            sentinel_master_name: String::new(),
            sentinel_client_name: String::new(),
            sentinel_tls: None,
            prefix: "centrifugo".to_owned(),
            layout: Layout::default(),
            history_use_lists: false,
            wait_replicas: 0,
            wait_timeout: Duration::from_secs(1),
        }
    }
}

impl fmt::Debug for Config {
    /// Addresses may contain passwords, so that they are counted, and not shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("address", &self.address.len())
            .field("cluster_address", &self.cluster_address.len())
            .field("sentinel_address", &self.sentinel_address.len())
            .field("db", &self.db)
            .field("user", &self.user)
            .field("tls", &self.tls.is_some())
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

/// Errors of settings. None shows a password.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigError {
    /// There is no address.
    #[error("no Redis server is named: set `address`")]
    NoAddress,
    /// An address that cannot be read.
    #[error("entry {} of `{option}`: {error}", index + 1)]
    Address {
        /// The option.
        option: &'static str,
        /// Place of the entry in its list, from 0.
        index: usize,
        /// The error.
        #[source]
        error: AddressError,
    },
    /// An address wants TLS, and there are no settings for it.
    #[error("entry {} of `{option}` uses TLS: set `{tls}`", index + 1)]
    NoTls {
        /// The option with the address.
        option: &'static str,
        /// Place of the entry in its list, from 0.
        index: usize,
        /// The option that is missing.
        tls: &'static str,
    },
    /// Sentinels without the name of a primary.
    #[error("the name of the primary is missing: set `sentinel_master_name`")]
    NoMasterName,
    /// The prefix would move the hash tag of keys.
    #[error("`prefix` contains `{{` or `}}`, which name hash slots in Redis Cluster: remove them")]
    Prefix,
    /// Cluster has one database.
    #[error("`db` is not 0, the only database of Redis Cluster")]
    Database,
}

/// A place that a connection can be made to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Endpoint {
    Tcp(Arc<str>, u16),
    Unix(PathBuf),
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp(host, port) => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

/// Everything that one connection needs to know apart from its endpoint.
#[derive(Clone)]
pub(crate) struct Access {
    pub(crate) user: String,
    pub(crate) password: String,
    pub(crate) client_name: String,
    pub(crate) db: u32,
    pub(crate) resp2: bool,
    pub(crate) tls: Option<Tls>,
    pub(crate) connect_timeout: Duration,
    pub(crate) io_timeout: Duration,
}

impl Access {
    /// Returns true if there are credentials. A user may have no password.
    pub(crate) const fn logs_in(&self) -> bool {
        !self.password.is_empty() || !self.user.is_empty()
    }
}

/// One shard: a server, or a group of servers that know each other.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) kind: Kind,
    pub(crate) access: Access,
}

#[derive(Clone)]
pub(crate) enum Kind {
    /// One server, which may turn out to be a node of a cluster.
    Single(Endpoint),
    Sentinel {
        sentinels: Vec<Endpoint>,
        access: Access,
        master: String,
    },
    Cluster(Vec<Endpoint>),
}

impl Config {
    /// Returns true if an address asks for TLS by its scheme or a parameter, which [`Config::tls`] or
    /// [`Config::sentinel_tls`] has to have the settings for.
    #[must_use]
    pub fn needs_tls(&self) -> bool {
        let mut bare = self.clone();
        (bare.tls, bare.sentinel_tls) = (None, None);
        matches!(bare.targets(), Err(ConfigError::NoTls { .. }))
    }

    /// Checks everything that can be checked without a connection.
    ///
    /// # Errors
    /// Names the option to change.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.targets().map(drop)
    }

    /// The shards, in their order.
    pub(crate) fn targets(&self) -> Result<Vec<Target>, ConfigError> {
        if self.prefix.contains(['{', '}']) {
            return Err(ConfigError::Prefix);
        }
        let (option, entries, scheme) = if !self.cluster_address.is_empty() {
            ("cluster_address", grouped(&self.cluster_address), address::Scheme::Cluster)
        } else if !self.sentinel_address.is_empty() {
            ("sentinel_address", grouped(&self.sentinel_address), address::Scheme::Sentinel)
        } else {
            let single = self.address.iter().enumerate().map(|(index, one)| (index, vec![&**one]));
            ("address", single.collect(), address::Scheme::Single)
        };
        if entries.is_empty() {
            return Err(ConfigError::NoAddress);
        }
        let target = |(index, entry): (usize, Vec<&str>)| {
            let mut parts = entry.into_iter();
            let first = parts.next().unwrap_or_default();
            let read = |text| {
                address::read(text, scheme).map_err(|error| ConfigError::Address { option, index, error })
            };
            let mut address = read(first)?;
            for part in parts {
                address.endpoints.extend(read(part)?.endpoints);
            }
            self.target(address, option, index)
        };
        entries.into_iter().map(target).collect()
    }

    fn target(
        &self,
        address: address::Address,
        option: &'static str,
        index: usize,
    ) -> Result<Target, ConfigError> {
        let given = address.given;
        let tls = |wanted: Option<bool>, settings: &Option<Tls>, name| match (wanted, settings) {
            (Some(true), None) => Err(ConfigError::NoTls { option, index, tls: name }),
            (Some(false), _) => Ok(None),
            (_, settings) => Ok(settings.clone()),
        };
        let connect_timeout = given.connect_timeout.unwrap_or(self.connect_timeout);
        let io_timeout = given.io_timeout.unwrap_or(self.io_timeout);
        let resp2 = given.force_resp2.unwrap_or(self.force_resp2);
        // The credentials of an address with Sentinels are those for the Sentinels, as in Centrifugo.
        let sentinel = address.scheme == address::Scheme::Sentinel;
        let (own, sentinels) = if sentinel { (None, address.login) } else { (address.login, None) };
        let (user, password) = own.unwrap_or_default();
        let or = |one: Option<String>, url: String, option: &String| {
            one.unwrap_or_else(|| if url.is_empty() { option.clone() } else { url })
        };
        let access = Access {
            user: or(given.user, user, &self.user),
            password: or(given.password, password, &self.password),
            client_name: given.client_name.unwrap_or_else(|| self.client_name.clone()),
            db: given.db.or(address.db).unwrap_or(self.db),
            resp2,
            tls: tls(given.tls_enabled.or(address.tls), &self.tls, "tls")?,
            connect_timeout,
            io_timeout,
        };
        let kind = match address.scheme {
            address::Scheme::Single => match address.endpoints.into_iter().next() {
                Some(endpoint) => Kind::Single(endpoint),
                None => return Err(ConfigError::NoAddress),
            },
            address::Scheme::Cluster if access.db != 0 => return Err(ConfigError::Database),
            address::Scheme::Cluster => Kind::Cluster(address.endpoints),
            address::Scheme::Sentinel => {
                let master = given.sentinel_master_name.unwrap_or_else(|| self.sentinel_master_name.clone());
                if master.is_empty() {
                    return Err(ConfigError::NoMasterName);
                }
                let (user, password) = sentinels.unwrap_or_default();
                let asked = Access {
                    user: or(given.sentinel_user, user, &self.sentinel_user),
                    password: or(given.sentinel_password, password, &self.sentinel_password),
                    client_name: given
                        .sentinel_client_name
                        .unwrap_or_else(|| self.sentinel_client_name.clone()),
                    db: 0,
                    tls: tls(given.sentinel_tls_enabled, &self.sentinel_tls, "sentinel_tls")?,
                    ..access
                };
                Kind::Sentinel { sentinels: address.endpoints, access: asked, master }
            }
        };
        Ok(Target { kind, access })
    }
}

/// Entries with commas are shards of their own; without any comma, all entries are of one.
fn grouped(entries: &[String]) -> Vec<(usize, Vec<&str>)> {
    if entries.iter().any(|entry| entry.contains(',')) {
        let parts = |entry| -> Vec<&str> { str::split(entry, ',').map(str::trim).collect() };
        entries.iter().enumerate().map(|(index, entry)| (index, parts(entry))).collect()
    } else {
        vec![(0, entries.iter().map(String::as_str).collect())]
    }
}
