//! The nodes that a node knows: a state machine without I/O. Times are milliseconds of the node's monotonic clock.

use super::message::Heartbeat;
use super::window::Window;
use super::{Config, MAX_NODES};
use crate::fault::{Fault, holds};
use crate::id::NodeId;
use std::collections::BTreeMap;
use std::time::Duration;

/// Times the node timeout that an ended or lost node is remembered, so that what it sent before and arrives late is
/// neither applied a second time nor taken for a sign of life.
const REMEMBERED: u32 = 6;

/// A node of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeStatus {
    /// Its id.
    pub id: NodeId,
    /// Its name, as given to [`NodeBuilder::name`](crate::NodeBuilder::name).
    pub name: String,
    /// Its version.
    pub version: String,
    /// Time since its start.
    pub uptime: Duration,
    /// Logged-in connections.
    pub clients: u64,
    /// Distinct users.
    pub users: u64,
    /// Channels with subscribers.
    pub channels: u64,
    /// Subscriptions.
    pub subscriptions: u64,
    /// Time since it was heard of; zero for this node. The numbers are as old as its last heartbeat.
    pub silent: Duration,
}

/// The other nodes.
pub(crate) struct Registry {
    nodes: BTreeMap<NodeId, Other>,
    timeout_ms: u64,
}

/// Another node.
struct Other {
    window: Window,
    /// Time of its last message.
    heard: u64,
    state: State,
    /// Number of the message that `state` comes from: older ones do not change it.
    number: u64,
}

enum State {
    /// It sent something, but no heartbeat yet.
    Unknown,
    Present(Box<Heartbeat>, u64),
    /// It said goodbye, or was silent for too long.
    Ended,
}

/// Result of hearing a message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// It is to be handled.
    First,
    /// It was seen before, or is too old to know.
    Repeated,
    /// There are too many nodes.
    Ignored,
}

impl Registry {
    pub(crate) fn new(config: &Config) -> Self {
        let timeout = config.node_timeout.max(2 * config.heartbeat_interval);
        Self { nodes: BTreeMap::new(), timeout_ms: millis(timeout) }
    }

    /// A message of a node has arrived.
    pub(crate) fn hear(&mut self, node: NodeId, number: u64, now: u64) -> Heard {
        if !self.nodes.contains_key(&node) && self.nodes.len() >= MAX_NODES && !self.make_room() {
            return Heard::Ignored;
        }
        let other = self.nodes.entry(node).or_insert_with(|| Other {
            window: Window::default(),
            heard: now,
            state: State::Unknown,
            number: 0,
        });
        if !other.window.take(number) {
            return Heard::Repeated;
        }
        // An ended node that is heard of late is not alive.
        if !matches!(other.state, State::Ended) {
            other.heard = now;
        }
        Heard::First
    }

    /// Forgets the node that ended first. Returns false if none has.
    fn make_room(&mut self) -> bool {
        let ended = self.nodes.iter().filter(|(_, other)| matches!(other.state, State::Ended));
        let Some(first) = ended.min_by_key(|(_, other)| other.heard).map(|(node, _)| *node) else {
            return false;
        };
        self.nodes.remove(&first);
        true
    }

    /// A heartbeat of a node that was [heard](Self::hear). Returns true if the node is new.
    pub(crate) fn heartbeat(&mut self, node: NodeId, number: u64, heartbeat: Heartbeat, now: u64) -> bool {
        let Some(other) = self.nodes.get_mut(&node) else { return false };
        if number < other.number {
            return false;
        }
        other.number = number;
        other.heard = now;
        let new = !matches!(other.state, State::Present(..));
        other.state = State::Present(Box::new(heartbeat), now);
        new
    }

    /// A node that was [heard](Self::hear) ends. Returns true if it was present.
    pub(crate) fn goodbye(&mut self, node: NodeId, number: u64) -> bool {
        let Some(other) = self.nodes.get_mut(&node) else { return false };
        if number < other.number {
            return false;
        }
        other.number = number;
        let was = matches!(std::mem::replace(&mut other.state, State::Ended), State::Present(..));
        was
    }

    /// Returns nodes that are lost: silent for too long. Forgets those that ended long ago.
    pub(crate) fn expire(&mut self, now: u64) -> Vec<NodeId> {
        let mut lost = Vec::new();
        let (timeout, remembered) = (self.timeout_ms, u64::from(REMEMBERED) * self.timeout_ms);
        self.nodes.retain(|node, other| {
            let silent = if holds(Fault::LostStays) { 0 } else { now.saturating_sub(other.heard) };
            if silent >= timeout && !matches!(other.state, State::Ended) {
                if matches!(other.state, State::Present(..)) {
                    lost.push(*node);
                }
                // Heard of again, it is back: a partition has healed.
                other.state = State::Unknown;
            }
            silent < remembered
        });
        lost
    }

    /// Time at which the next node may be lost.
    pub(crate) fn next(&self) -> Option<u64> {
        let present = self.nodes.values().filter(|other| matches!(other.state, State::Present(..)));
        present.map(|other| other.heard + self.timeout_ms).min()
    }

    /// Ids of the nodes that are present.
    pub(crate) fn present(&self) -> Vec<NodeId> {
        let present = self.nodes.iter().filter(|(_, other)| matches!(other.state, State::Present(..)));
        present.map(|(node, _)| *node).collect()
    }

    /// The nodes that are present, in the order of their ids.
    pub(crate) fn list(&self, now: u64) -> Vec<NodeStatus> {
        let status = |(id, other): (&NodeId, &Other)| {
            let State::Present(heartbeat, at) = &other.state else { return None };
            Some(NodeStatus {
                id: *id,
                name: heartbeat.name.clone(),
                version: heartbeat.version.clone(),
                uptime: heartbeat.uptime + Duration::from_millis(now.saturating_sub(*at)),
                clients: heartbeat.clients,
                users: heartbeat.users,
                channels: heartbeat.channels,
                subscriptions: heartbeat.subscriptions,
                silent: Duration::from_millis(now.saturating_sub(other.heard)),
            })
        };
        self.nodes.iter().filter_map(status).collect()
    }
}

pub(crate) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(number: u32) -> NodeId {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        NodeId::from_bytes(bytes)
    }

    fn registry() -> Registry {
        Registry::new(&Config::default())
    }

    fn beat(registry: &mut Registry, id: u32, number: u64, now: u64) -> bool {
        registry.hear(node(id), number, now) == Heard::First
            && registry.heartbeat(node(id), number, Heartbeat::default(), now)
    }

    #[test]
    fn a_silent_node_is_lost_once_and_may_come_back() {
        let mut registry = registry();
        assert!(beat(&mut registry, 1, 1, 0));
        assert!(!beat(&mut registry, 1, 2, 3_000), "known");
        assert_eq!(registry.next(), Some(13_000));
        assert_eq!(registry.expire(12_999), []);
        assert_eq!(registry.expire(13_000), [node(1)]);
        assert_eq!((registry.expire(14_000), registry.present()), (vec![], vec![]));
        assert_eq!(registry.hear(node(1), 2, 14_000), Heard::Repeated, "its numbers are remembered");
        assert!(beat(&mut registry, 1, 3, 15_000));
        assert_eq!(registry.present(), [node(1)]);
    }

    #[test]
    fn a_heartbeat_from_before_the_goodbye_changes_nothing() {
        let mut registry = registry();
        assert!(beat(&mut registry, 1, 1, 0));
        assert_eq!(registry.hear(node(1), 3, 10), Heard::First);
        assert!(registry.goodbye(node(1), 3));
        assert!(!beat(&mut registry, 1, 2, 20));
        assert_eq!(registry.present(), []);
        assert!(!registry.goodbye(node(1), 4), "it has ended already");
    }

    #[test]
    fn a_goodbye_that_comes_first_holds() {
        let mut registry = registry();
        assert_eq!(registry.hear(node(1), 2, 0), Heard::First);
        assert!(!registry.goodbye(node(1), 2));
        assert!(!beat(&mut registry, 1, 1, 5));
        assert_eq!(registry.present(), []);
    }

    #[test]
    fn ended_nodes_make_room_and_no_other_does() {
        let mut registry = registry();
        for id in 0..MAX_NODES as u32 {
            assert!(beat(&mut registry, id, 1, u64::from(id)));
        }
        assert_eq!(registry.hear(node(9_999), 1, 2_000), Heard::Ignored);
        assert_eq!(registry.hear(node(7), 2, 2_000), Heard::First);
        registry.goodbye(node(7), 2);
        assert!(beat(&mut registry, 9_999, 2, 2_000));
        assert_eq!(registry.list(2_000).len(), MAX_NODES);
        assert_eq!(registry.expire(200_000).len(), MAX_NODES);
        assert!(registry.nodes.is_empty(), "nothing is kept of those that are gone for long");
    }

    #[test]
    fn ages_go_on_between_heartbeats() {
        let mut registry = registry();
        registry.hear(node(1), 1, 1_000);
        let told = Heartbeat { uptime: Duration::from_secs(5), clients: 3, ..Heartbeat::default() };
        registry.heartbeat(node(1), 1, told, 1_000);
        let list = registry.list(3_000);
        assert_eq!((list[0].uptime, list[0].silent), (Duration::from_secs(7), Duration::from_secs(2)));
        assert_eq!(list[0].clients, 3);
    }
}
