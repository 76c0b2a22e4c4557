//! Effects of the faults.

use super::arena::Arena;
use super::faults::Fault;
use super::proxy::Passage;
use super::store::Store;
use crate::log::Fault as Injected;
use crate::servers::redis::Server;
use std::io;
use std::sync::atomic::Ordering;
use std::thread::sleep;
use std::time::Duration;

/// Time that a node has to end after SIGTERM, which is more than its `shutdown.timeout`.
const ENDING: Duration = Duration::from_secs(12);

/// Time before a failover in which what is acknowledged is lost.
const LOSING: Duration = Duration::from_millis(500);

/// Beginnings of the keys of publications in Redis, as streams and as lists, and of offsets and epochs.
const STREAMS: &str = "centrifugo.s.";
const LISTS: &str = "centrifugo.l.";
const META: &str = "centrifugo.m.";

impl Arena {
    /// Commits a fault, undoes it, and waits until all are back.
    pub(super) fn strike(&mut self, fault: Fault) -> io::Result<()> {
        let node = self.random.below(self.nodes.len());
        let (low, high) = self.settings.pauses;
        let pause = self.random.between(low.as_millis() as usize, high.as_millis() as usize);
        let pause = Duration::from_millis(pause as u64);
        let count = self.struck.entry(fault).or_default();
        *count += 1;
        let what = format!("{fault} {count}");
        let begun = self.elapsed().as_secs_f64();
        self.destroying.store(fault.destroys(self.settings.engine), Ordering::Relaxed);
        if fault.destroys(self.settings.engine) {
            self.log.fault(Injected::Failover);
        }
        self.log.fault(Injected::Begun { what: what.clone() });
        self.commit(fault, node, pause)?;
        self.log.fault(Injected::Over { what });
        let over = self.elapsed().as_secs_f64();
        sleep(self.settings.rest);
        let back = self.settle();
        println!(
            "{begun:>6.1} s  {fault} (node {node}, {:.1} s); all back after {:.1} s",
            over - begun,
            (back + self.settings.rest).as_secs_f64()
        );
        if self.destroying.load(Ordering::Relaxed) {
            self.log.fault(Injected::Failover);
            self.destroying.store(false, Ordering::Relaxed);
        }
        Ok(())
    }

    fn commit(&mut self, fault: Fault, node: usize, pause: Duration) -> io::Result<()> {
        match fault {
            Fault::NodeKill => {
                self.nodes[node].kill();
                sleep(pause);
                self.nodes[node].start(node == 0)?;
                self.nodes[node].wait();
            }
            Fault::NodeTerminate => {
                if !self.nodes[node].terminate(ENDING) {
                    self.wrong.push(format!("node {node} runs {} s after SIGTERM", ENDING.as_secs()));
                }
                self.nodes[node].start(node == 0)?;
                self.nodes[node].wait();
            }
            Fault::Clock => {
                let hour = if self.random.below(2) == 0 { 3_600 } else { -3_600 };
                self.nodes[0].set_clock(hour)?;
                sleep(pause);
                self.nodes[0].set_clock(0)?;
            }
            Fault::Cut => self.hinder(node, pause, Passage { cut: true, ..Passage::OPEN }),
            Fault::BlackHole => {
                self.hinder(node, pause, Passage { there: false, back: false, ..Passage::OPEN })
            }
            Fault::Deaf => self.hinder(node, pause, Passage { back: false, ..Passage::OPEN }),
            Fault::Mute => self.hinder(node, pause, Passage { there: false, ..Passage::OPEN }),
            Fault::Pause => {
                self.store.signal("STOP", 0);
                sleep(pause);
                self.store.signal("CONT", 0);
            }
            Fault::PauseOne => {
                let one = self.one();
                self.store.signal("STOP", one);
                sleep(pause);
                self.store.signal("CONT", one);
                self.whole();
            }
            Fault::EngineKill | Fault::EngineRestart | Fault::EngineLoss => {
                self.store.end(fault != Fault::EngineRestart, 0);
                sleep(pause);
                self.store.begin(fault != Fault::EngineLoss, 0);
            }
            Fault::KillOne => {
                let one = self.one();
                self.store.end(true, one);
                sleep(pause);
                self.store.begin(true, one);
                self.whole();
            }
            Fault::CutDeliveries => self.on_primaries(&["CLIENT", "KILL", "TYPE", "pubsub"]),
            Fault::Flush => self.on_primaries(&["FLUSHALL"]),
            Fault::EvictPublications => {
                self.evict(STREAMS);
                self.evict(LISTS);
            }
            Fault::EvictMeta => self.evict(META),
            Fault::FailOver => match &mut self.store {
                Store::PostgresPair(..) => self.store.exchange(None),
                Store::Sentinels(all, _) => {
                    all.fail_over();
                    all.wait_for_replicas();
                }
                Store::Cluster(cluster) => {
                    let replica = |server: &Server| {
                        server.line(&["INFO", "replication"], "role").as_deref() == Some("slave")
                    };
                    let replicas = (0..cluster.servers.len()).filter(|one| replica(&cluster.servers[*one]));
                    let replicas: Vec<usize> = replicas.collect();
                    if !replicas.is_empty() {
                        cluster.fail_over(*self.random.one_of(&replicas));
                    }
                }
                _ => {}
            },
            Fault::FailOverWithLoss => {
                self.store.exchange(Some(LOSING));
                if let Store::Sentinels(all, _) = &mut self.store {
                    let former = all.primary();
                    all.cut_replication();
                    // What is published now is acknowledged, and lost.
                    sleep(LOSING);
                    all.servers[former].kill();
                    all.wait_for_other(former);
                    all.servers[former].start_again();
                    all.wait_for_replicas();
                }
            }
            Fault::MoveSlots => self.move_slots(),
        }
        Ok(())
    }

    /// Something is in the way for a while between a node and the servers, or between all and the primary.
    fn hinder(&self, node: usize, pause: Duration, passage: Passage) {
        let one = self.one();
        let set = |passage| {
            if !self.store.hinder(one, passage) {
                self.proxies.get(node).into_iter().flatten().for_each(|proxy| proxy.set(passage));
            }
        };
        set(passage);
        sleep(pause);
        set(Passage::OPEN);
        self.whole();
    }

    /// One of several servers: the primary where there is one.
    fn one(&self) -> usize {
        match &self.store {
            Store::Sentinels(all, _) => all.primary(),
            Store::Cluster(cluster) => {
                let slot = self.random.below(16_384) as u16;
                cluster.owner(slot)
            }
            Store::NatsCluster(cluster) => self.random.below(cluster.servers.len()),
            _ => 0,
        }
    }

    /// Waits until the servers have settled which of them serves.
    fn whole(&self) {
        match &self.store {
            Store::Sentinels(all, _) => {
                // A server that was silent may be deposed only after it speaks again.
                sleep(Duration::from_secs(2));
                all.wait_for_replicas();
            }
            Store::Cluster(cluster) => cluster.wait_until_whole(),
            _ => {}
        }
    }

    fn on_primaries(&self, command: &[&str]) {
        for server in self.store.primaries() {
            let _ = server.client().call(command);
        }
    }

    /// Removes the keys of a kind, of every third channel.
    fn evict(&self, prefix: &str) {
        for server in self.store.primaries() {
            for key in keys(server, prefix).iter().step_by(3) {
                let _ = server.client().call(&["UNLINK", key]);
            }
        }
    }

    /// Moves the slots of some channels to the next primary.
    fn move_slots(&self) {
        let Store::Cluster(cluster) = &self.store else { return };
        for server in self.store.primaries() {
            for key in keys(server, META).iter().take(3) {
                let slot = cluster.slot(key);
                let owner = cluster.owner(slot);
                let mut others = cluster.servers.iter().enumerate().filter(|(one, other)| {
                    *one != owner && other.line(&["INFO", "replication"], "role").as_deref() == Some("master")
                });
                if let Some((to, _)) = others.next_back() {
                    cluster.migrate(slot, to);
                }
            }
        }
    }
}

/// Keys of a server that begin like this.
fn keys(server: &Server, prefix: &str) -> Vec<String> {
    let pattern = format!("{prefix}*");
    let reply = server.client().call(&["KEYS", &pattern]);
    reply
        .map(|reply| reply.list().iter().map(crate::servers::redis::Reply::text).collect())
        .unwrap_or_default()
}
