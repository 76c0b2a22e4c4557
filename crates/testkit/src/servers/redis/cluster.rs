//! Redis Cluster.

use super::{Options, Server, free_port, wait};
use std::path::Path;

/// Number of slots.
const SLOTS: u32 = 16_384;

/// Number of primaries.
const PRIMARIES: usize = 3;

/// A cluster of three primaries, each with a third of the slots, and on demand a replica of each.
#[derive(Debug)]
pub struct Cluster {
    /// The servers: three primaries, then the replica of each in the same order. A failover exchanges roles.
    pub servers: Vec<Server>,
}

impl Cluster {
    /// Starts a cluster, and waits until all of its nodes take it for whole. A primary that is silent for two seconds
    /// is replaced by its replica, if there is one.
    ///
    /// # Panics
    /// It does not come to that.
    #[must_use]
    pub fn start(options: &Options, replicas: bool) -> Self {
        let count = if replicas { 2 * PRIMARIES } else { PRIMARIES };
        let text = |options: &Options, port: u16, tls_port: u16, folder: &Path| {
            // By default 10,000 above the port, which may be none.
            let bus = free_port();
            let cluster = format!(
                "cluster-enabled yes\ncluster-port {bus}\ncluster-node-timeout 2000\ncluster-config-file nodes\n"
            );
            options.text(port, tls_port, folder) + &cluster
        };
        let cluster =
            Self { servers: (0..count).map(|_| Server::with(options.clone(), &[], text)).collect() };
        for (index, primary) in cluster.servers.iter().take(PRIMARIES).enumerate() {
            let [from, to] = [index, index + 1].map(|index| SLOTS * index as u32 / PRIMARIES as u32);
            primary.call(&["CLUSTER", "ADDSLOTSRANGE", &from.to_string(), &(to - 1).to_string()]);
            // With one epoch for all, nodes have to settle who is right about slots.
            primary.call(&["CLUSTER", "SET-CONFIG-EPOCH", &(index + 1).to_string()]);
        }
        let first = &cluster.servers[0];
        for other in &cluster.servers[1..] {
            let bus = other.call(&["CONFIG", "GET", "cluster-port"]).list()[1].text();
            first.call(&["CLUSTER", "MEET", "127.0.0.1", &other.port().to_string(), &bus]);
        }
        for server in &cluster.servers {
            let known = || server.line(&["CLUSTER", "INFO"], "cluster_known_nodes");
            wait("the nodes to know each other", || known() == Some(count.to_string()));
        }
        for (index, replica) in cluster.servers.iter().enumerate().skip(PRIMARIES) {
            let primary = cluster.id(index - PRIMARIES);
            wait("a replica", || replica.client().call(&["CLUSTER", "REPLICATE", &primary]).is_ok());
            let link = || replica.line(&["INFO", "replication"], "master_link_status");
            wait("replication", || link().as_deref() == Some("up"));
        }
        cluster.wait_until_whole();
        cluster
    }

    /// Ports of all nodes.
    #[must_use]
    pub fn ports(&self) -> Vec<u16> {
        self.servers.iter().map(Server::port).collect()
    }

    /// Waits until every node that runs takes the cluster for whole, and agrees with the others about the owner of
    /// every slot.
    ///
    /// # Panics
    /// They do not.
    pub fn wait_until_whole(&self) {
        wait("a whole cluster", || {
            let states =
                self.servers.iter().filter_map(|server| server.line(&["CLUSTER", "INFO"], "cluster_state"));
            let states: Vec<_> = states.collect();
            let views = self.servers.iter().filter_map(view);
            let views: Vec<_> = views.collect();
            !states.is_empty()
                && states.iter().all(|state| state == "ok")
                && views.windows(2).all(|pair| pair[0] == pair[1])
        });
    }

    /// Id of a node in the cluster.
    #[must_use]
    pub fn id(&self, server: usize) -> String {
        self.servers[server].call(&["CLUSTER", "MYID"]).text()
    }

    /// Slot of a key.
    #[must_use]
    pub fn slot(&self, key: &str) -> u16 {
        let asked = self.servers.iter().find_map(|one| one.client().call(&["CLUSTER", "KEYSLOT", key]).ok());
        asked.and_then(|reply| reply.number().try_into().ok()).unwrap_or_default()
    }

    /// Index of the primary that has a slot, by the first node that answers.
    ///
    /// # Panics
    /// No node knows.
    #[must_use]
    #[allow(clippy::expect_used, reason = "a test cannot go on without the owner")]
    pub fn owner(&self, slot: u16) -> usize {
        let view = self.servers.iter().find_map(view).expect("a node that answers");
        let of =
            |(from, to, port): &(i64, i64, i64)| (*from..=*to).contains(&i64::from(slot)).then_some(*port);
        let port = view.iter().find_map(of).expect("an owner of the slot");
        let index = self.servers.iter().position(|server| i64::from(server.port()) == port);
        index.expect("a server of this cluster")
    }

    /// Begins to move a slot to another primary. Until [`finish`](Self::finish), the old owner answers for keys that
    /// it has, and sends clients to the new one for others (`ASK`).
    pub fn begin(&self, slot: u16, to: usize) {
        let (from, number) = (self.owner(slot), slot.to_string());
        self.servers[to].call(&["CLUSTER", "SETSLOT", &number, "IMPORTING", &self.id(from)]);
        self.servers[from].call(&["CLUSTER", "SETSLOT", &number, "MIGRATING", &self.id(to)]);
    }

    /// Moves the keys of a slot, and ends what [`begin`](Self::begin) has begun.
    pub fn finish(&self, slot: u16, to: usize) {
        let (from, number) = (self.owner(slot), slot.to_string());
        loop {
            let keys = self.servers[from].call(&["CLUSTER", "GETKEYSINSLOT", &number, "100"]);
            if keys.list().is_empty() {
                break;
            }
            for key in keys.list() {
                let port = self.servers[to].port().to_string();
                let key = key.text();
                let mut command = vec!["MIGRATE", "127.0.0.1", &*port, &*key, "0", "5000"];
                if let Some(password) = &self.servers[to].options.password {
                    command.extend(["AUTH", password]);
                }
                self.servers[from].call(&command);
            }
        }
        // The new owner first: a slot that nobody claims is worse than one that two do.
        let id = self.id(to);
        self.servers[to].call(&["CLUSTER", "SETSLOT", &number, "NODE", &id]);
        self.servers[from].call(&["CLUSTER", "SETSLOT", &number, "NODE", &id]);
        self.wait_until_whole();
    }

    /// Moves a slot with its keys to another primary.
    pub fn migrate(&self, slot: u16, to: usize) {
        self.begin(slot, to);
        self.finish(slot, to);
    }

    /// Has a replica take the place of its primary without a loss, and waits until it has.
    ///
    /// # Panics
    /// It does not.
    pub fn fail_over(&self, replica: usize) {
        wait("a graceful failover", || self.servers[replica].client().call(&["CLUSTER", "FAILOVER"]).is_ok());
        self.wait_for_primary(replica);
    }

    /// Waits until a replica has become a primary, and the others know.
    ///
    /// # Panics
    /// It does not.
    pub fn wait_for_primary(&self, server: usize) {
        let role = || self.servers[server].line(&["INFO", "replication"], "role");
        wait("an election", || role().as_deref() == Some("master"));
        self.wait_until_whole();
    }
}

/// First slot, last slot and port of each range of slots, as a node sees it.
fn view(server: &Server) -> Option<Vec<(i64, i64, i64)>> {
    let mut client = super::Client::connect(server.port()).ok()?;
    if let Some(password) = &server.options.password {
        client.call(&["AUTH", password]).ok()?;
    }
    let reply = client.call(&["CLUSTER", "SLOTS"]).ok()?;
    let range = |range: &super::Reply| {
        let list = range.list();
        Some((list.first()?.number(), list.get(1)?.number(), list.get(2)?.list().get(1)?.number()))
    };
    let mut ranges: Vec<_> = reply.list().iter().filter_map(range).collect();
    ranges.sort_unstable();
    Some(ranges)
}
