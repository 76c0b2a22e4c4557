//! The faults, and their order.

use super::node::has_faketime;
use super::store::Kind;
use crate::random::Random;
use std::fmt;

/// One fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// SIGKILL of a node.
    NodeKill,
    /// SIGTERM of a node.
    NodeTerminate,
    /// Wall clock of a node an hour forward or back, and back again.
    Clock,
    /// Connections between a node and all servers of the engine end, and none is made for a while. Under Sentinel, this
    /// and the next three are between the primary and all nodes and Sentinels.
    Cut,
    /// Nothing gets through between a node and the engine.
    BlackHole,
    /// A node does not hear the engine.
    Deaf,
    /// The engine does not hear a node.
    Mute,
    /// The engine ends the connections of deliveries.
    CutDeliveries,
    /// SIGSTOP of the engine.
    Pause,
    /// SIGSTOP of one server of several, for less than an election needs, or more.
    PauseOne,
    /// SIGKILL of the engine, and a start with its files.
    EngineKill,
    /// SIGTERM of the engine, and a start with its files.
    EngineRestart,
    /// SIGKILL of the engine, and a start without its files.
    EngineLoss,
    /// FLUSHALL.
    Flush,
    /// Publications of some channels are evicted.
    EvictPublications,
    /// Offset and epoch of some channels are evicted.
    EvictMeta,
    /// An orderly failover.
    FailOver,
    /// The replicas are cut off first, then the primary is killed: what it took in between is gone.
    FailOverWithLoss,
    /// Hash slots move to other servers.
    MoveSlots,
    /// SIGKILL of one server of several; it comes back.
    KillOne,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl Fault {
    /// The faults that an engine can have.
    pub(super) fn of(kind: Kind) -> Vec<Self> {
        let mut all = vec![Self::NodeKill, Self::NodeTerminate];
        if has_faketime() {
            all.push(Self::Clock);
        }
        let proxied = [Self::Cut, Self::BlackHole, Self::Deaf, Self::Mute];
        let restarted = [Self::Pause, Self::EngineKill, Self::EngineRestart, Self::EngineLoss];
        let redis = [Self::CutDeliveries, Self::Flush, Self::EvictPublications, Self::EvictMeta];
        match kind {
            Kind::Memory => {}
            Kind::Redis | Kind::RedisLists | Kind::Valkey => {
                all.extend(proxied.iter().chain(&restarted).chain(&redis));
            }
            Kind::Sentinel => {
                all.extend([Self::FailOver, Self::FailOverWithLoss, Self::PauseOne]);
                all.extend(proxied.iter().chain(&redis));
            }
            Kind::Cluster => {
                all.extend([Self::FailOver, Self::MoveSlots, Self::PauseOne, Self::KillOne]);
                all.extend(proxied.iter().chain(&redis));
            }
            Kind::Nats | Kind::JetStream => all.extend(proxied.iter().chain(&restarted)),
            Kind::Postgres => {
                all.extend(proxied);
                all.extend([Self::Pause, Self::EngineKill, Self::EngineRestart]);
            }
            Kind::PostgresPair => {
                all.extend(proxied);
                all.extend([Self::FailOver, Self::FailOverWithLoss]);
            }
            Kind::JetStreamCluster => {
                all.extend([Self::PauseOne, Self::KillOne]);
                all.extend(proxied);
            }
            Kind::Mixed => {
                all.extend(proxied);
                all.extend([Self::Pause, Self::CutDeliveries]);
            }
        }
        all
    }

    /// Returns true if the fault may end epochs: something is lost, or the store cannot prove that nothing is.
    pub(super) const fn destroys(self, kind: Kind) -> bool {
        match self {
            // SIGKILL of a node is the loss of the memory engine's state.
            Self::NodeKill | Self::NodeTerminate => kind.forgets(),
            Self::Flush
            | Self::EvictPublications
            | Self::EvictMeta
            | Self::EngineLoss
            | Self::FailOver
            | Self::FailOverWithLoss
            | Self::MoveSlots => true,
            // A server of Redis has another life after each start.
            Self::EngineKill | Self::EngineRestart => {
                matches!(kind, Kind::Redis | Kind::RedisLists | Kind::Valkey)
            }
            Self::PauseOne | Self::KillOne => matches!(kind, Kind::Sentinel | Kind::Cluster),
            // The Sentinels depose a primary that they do not reach.
            Self::Cut | Self::BlackHole | Self::Deaf | Self::Mute => matches!(kind, Kind::Sentinel),
            _ => false,
        }
    }
}

/// Faults drawn from a seed: each comes once in a round.
pub(super) struct Draws {
    random: Random,
    all: Vec<Fault>,
    round: Vec<Fault>,
}

impl Draws {
    pub(super) fn new(random: Random, all: Vec<Fault>) -> Self {
        Self { random, all, round: Vec::new() }
    }
}

impl Iterator for Draws {
    type Item = Fault;

    fn next(&mut self) -> Option<Fault> {
        if self.round.is_empty() {
            self.round.clone_from(&self.all);
        }
        (!self.round.is_empty()).then(|| self.round.swap_remove(self.random.below(self.round.len())))
    }
}
