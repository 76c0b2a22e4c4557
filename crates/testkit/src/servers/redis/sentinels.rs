//! A primary with two replicas, watched by three Sentinels.

use super::{Options, Server, wait};
use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::path::Path;

/// Name of the primary in the Sentinels.
const NAME: &str = "main";

/// The user that replicas log in with, so that replication can be cut without a change for anyone else.
const REPLICATION: (&str, &str) = ("replication", "replication-password");

/// Three servers of which one is the primary, and three Sentinels that take it for down after a second of silence.
#[derive(Debug)]
pub struct Sentinels {
    /// The servers. Which of them is the primary changes.
    pub servers: Vec<Server>,
    /// The Sentinels.
    pub sentinels: Vec<Server>,
}

impl Sentinels {
    /// Starts everything, and waits until all know each other. The Sentinels require `sentinel_password` if it is
    /// given.
    ///
    /// # Panics
    /// It does not come to that.
    #[must_use]
    pub fn start(options: &Options, sentinel_password: Option<&str>) -> Self {
        Self::behind(Ipv4Addr::LOCALHOST, options, sentinel_password, |_| {})
    }

    /// The same where Sentinels, and clients that ask them, reach the servers by another address. `open` is called with
    /// the ports of the servers before the Sentinels start.
    ///
    /// # Panics
    /// It does not come to that.
    #[must_use]
    pub fn behind(
        address: Ipv4Addr,
        options: &Options,
        sentinel_password: Option<&str>,
        open: impl FnOnce(&[u16]),
    ) -> Self {
        let mut options = options.clone();
        options.further.push(format!("replica-announce-ip {address}"));
        let (user, password) = REPLICATION;
        let primary = {
            options.further.extend([
                format!("user {user} on >{password} ~* &* +@all"),
                format!("masteruser {user}\nmasterauth {password}"),
            ]);
            // The later line counts.
            Server::start(options.clone())
        };
        let port = primary.port();
        let mut replica = options.clone();
        replica.further.push(format!("replicaof 127.0.0.1 {port}"));
        let servers = vec![primary, Server::start(replica.clone()), Server::start(replica)];
        for replica in &servers[1..] {
            wait("replication", || replicates(replica));
        }
        open(&servers.iter().map(Server::port).collect::<Vec<_>>());
        let sentinel = Options {
            program: options.program.clone(),
            password: sentinel_password.map(str::to_owned),
            ..Options::default()
        };
        let text = |own: &Options, own_port: u16, _: u16, folder: &Path| {
            let mut text = format!(
                "port {own_port}\nbind 127.0.0.1\ndir {}\nsentinel monitor {NAME} {address} {port} 2\n\
                 sentinel down-after-milliseconds {NAME} 1000\nsentinel failover-timeout {NAME} 5000\n\
                 sentinel parallel-syncs {NAME} 2\n",
                folder.display(),
            );
            let mut line = |line: String| writeln!(text, "{line}").unwrap_or_default();
            if let Some(password) = &own.password {
                line(format!("requirepass {password}"));
            }
            if let Some(password) = &options.password {
                line(format!("sentinel auth-pass {NAME} {password}"));
            }
            text
        };
        let start = |_| Server::with(sentinel.clone(), &["--sentinel"], text);
        let sentinels: Vec<_> = (0..3).map(start).collect();
        let all = Self { servers, sentinels };
        wait("the Sentinels to know each other", || {
            all.sentinels.iter().all(|sentinel| {
                let info = sentinel.line(&["INFO", "sentinel"], "master0").unwrap_or_default();
                info.contains("status=ok") && info.contains("slaves=2") && info.contains("sentinels=3")
            })
        });
        all
    }

    /// Name of the primary, as clients ask for it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        NAME
    }

    /// Ports of the Sentinels.
    #[must_use]
    pub fn ports(&self) -> Vec<u16> {
        self.sentinels.iter().map(Server::port).collect()
    }

    /// Index of the server that most Sentinels take for the primary.
    ///
    /// # Panics
    /// No Sentinel answers.
    #[must_use]
    pub fn primary(&self) -> usize {
        let votes = self.sentinels.iter().filter_map(|sentinel| {
            let reply = sentinel.client().call(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME]).ok()?;
            let port = reply.list().get(1)?.number();
            self.servers.iter().position(|server| i64::from(server.port()) == port)
        });
        let votes: Vec<usize> = votes.collect();
        let count = |index: usize| votes.iter().filter(|vote| **vote == index).count();
        let most = (0..self.servers.len()).max_by_key(|index| count(*index));
        assert!(!votes.is_empty(), "no Sentinel answers");
        most.unwrap_or_default()
    }

    /// Has the Sentinels replace the primary, without a loss, and waits until it is done. Returns the new one.
    ///
    /// # Panics
    /// They do not.
    pub fn fail_over(&self) -> usize {
        let former = self.primary();
        // Refused for a moment after another one, and while replicas catch up.
        wait("a graceful failover", || {
            self.sentinels.iter().any(|one| one.client().call(&["SENTINEL", "FAILOVER", NAME]).is_ok())
        });
        self.wait_for_other(former)
    }

    /// Waits until another server than `former` is the primary, and returns it.
    ///
    /// # Panics
    /// None becomes it.
    pub fn wait_for_other(&self, former: usize) -> usize {
        let mut now = former;
        wait("an election", || {
            now = self.primary();
            now != former
                && self.servers[now].line(&["INFO", "replication"], "role").as_deref() == Some("master")
        });
        now
    }

    /// Waits until every server but the primary replicates it.
    ///
    /// # Panics
    /// One does not.
    pub fn wait_for_replicas(&self) {
        let primary = self.primary();
        for (index, server) in self.servers.iter().enumerate() {
            if index != primary {
                wait("replication", || replicates(server));
            }
        }
    }

    /// Cuts the replicas from the primary: what it takes from now on is only there. Clients and Sentinels notice
    /// nothing.
    ///
    /// # Panics
    /// The primary does not answer.
    pub fn cut_replication(&self) {
        let primary = &self.servers[self.primary()];
        primary.call(&["ACL", "SETUSER", REPLICATION.0, "off"]);
        primary.call(&["CLIENT", "KILL", "USER", REPLICATION.0]);
        let connected = || primary.line(&["INFO", "replication"], "connected_slaves");
        wait("the end of replication", || connected().as_deref() == Some("0"));
    }

    /// Lets a server that replication was cut on take replicas again.
    ///
    /// # Panics
    /// It does not answer.
    pub fn heal_replication(&self, server: usize) {
        self.servers[server].call(&["ACL", "SETUSER", REPLICATION.0, "on"]);
    }
}

fn replicates(replica: &Server) -> bool {
    replica.line(&["INFO", "replication"], "master_link_status").as_deref() == Some("up")
}

impl Drop for Sentinels {
    fn drop(&mut self) {
        // Sentinels first, so that they hold no election while the servers end.
        for sentinel in &mut self.sentinels {
            sentinel.kill();
        }
    }
}
