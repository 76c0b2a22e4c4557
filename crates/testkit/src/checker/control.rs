//! Judges operations on several nodes: what reached a node was applied there, once, and those who waited were told
//! the truth in time.

use super::{Check, Checker};
use crate::log::{Event, Fault, Operation};
use std::collections::{BTreeMap, BTreeSet};

/// Time that may pass between two looks at those who wait, in milliseconds.
const LOOK_MS: u64 = 250;
/// The codes of operations on subscriptions.
const UNSUBSCRIBES: [u32; 2] = [2000, 2501];

/// State of the judgement.
#[derive(Default)]
pub(super) struct Control<'a> {
    operations: BTreeMap<u64, Issued<'a>>,
    arrived: BTreeSet<(u64, usize)>,
    connections: BTreeMap<u32, Connection<'a>>,
    /// The nodes that each node knows in the end.
    nodes: BTreeMap<usize, &'a [usize]>,
}

struct Issued<'a> {
    line: usize,
    node: usize,
    what: &'a Operation,
    deadline: u64,
    told: bool,
    /// The nodes knew each other, and nothing was done on purpose any more.
    calm: bool,
}

/// A connection of a client to a node.
#[derive(Default)]
struct Connection<'a> {
    node: usize,
    logged_in: bool,
    /// The operation that ends it, for which it was there.
    ends: Option<u64>,
    /// Codes of operations that have reached its node since it was opened.
    codes: BTreeSet<u32>,
    channels: BTreeMap<&'a str, Channel>,
}

#[derive(Default)]
struct Channel {
    subscribed: bool,
    /// The operation that ends the subscription.
    ends: Option<u64>,
    /// Operations that have reached the node since the connection was opened, and ends that the client was told of.
    arrived: u32,
    told: u32,
}

const fn code(what: &Operation) -> u32 {
    match what {
        Operation::Revoke { .. } => 4001,
        _ => 3011,
    }
}

impl<'a> Checker<'a> {
    pub(super) fn control(&mut self, at: usize, event: &'a Event) {
        match event {
            Event::Opened { c, node } => {
                let connection = Connection { node: *node, ..Connection::default() };
                self.control.connections.insert(*c, connection);
            }
            Event::Connected { c } => {
                if let Some(connection) = self.control.connections.get_mut(c) {
                    connection.logged_in = true;
                }
            }
            Event::Subscribed { c, ch, .. } => {
                if let Some(connection) = self.control.connections.get_mut(c) {
                    connection.channels.entry(ch).or_default().subscribed = true;
                }
            }
            Event::Unsubscribed { c, ch, code } => self.unsubscribed(at, *c, ch, *code),
            Event::Disconnected { c, code } => {
                let Some(connection) = self.control.connections.remove(c) else { return };
                if [3011, 4001].contains(code) && !connection.codes.contains(code) {
                    let what =
                        format!("client {c} was closed with {code}, which nothing on its node asked for");
                    self.violation(at, Check::Once, what);
                }
            }
            Event::Issued { op, node, what, deadline } => {
                let issued = Issued {
                    line: at,
                    node: *node,
                    what,
                    deadline: *deadline,
                    told: false,
                    calm: !self.control.nodes.is_empty(),
                };
                self.control.operations.insert(*op, issued);
                // The node itself needs no message.
                self.arrived(*op, *node);
            }
            Event::Arrived { op, node } => self.arrived(*op, *node),
            Event::Told { op, confirmed, missing } => self.told_of(at, *op, confirmed, missing),
            Event::Nodes { node, knows } => {
                self.control.nodes.insert(*node, knows);
            }
            // The waits on that node are over.
            Event::Fault { fault: Fault::Restarted { node } } => {
                self.control.operations.values_mut().filter(|issued| issued.node == *node).for_each(
                    |issued| {
                        issued.told = true;
                    },
                );
            }
            _ => {}
        }
    }

    /// An operation has reached a node.
    fn arrived(&mut self, op: u64, node: usize) {
        let Control { operations, arrived, connections, .. } = &mut self.control;
        let Some(issued) = operations.get(&op) else { return };
        arrived.insert((op, node));
        let (Operation::Disconnect { c } | Operation::Revoke { c } | Operation::Unsubscribe { c, .. }) =
            issued.what
        else {
            return;
        };
        let Some(connection) = connections.get_mut(c).filter(|connection| connection.node == node) else {
            return;
        };
        if let Operation::Unsubscribe { ch, .. } = issued.what {
            let channel = connection.channels.entry(ch).or_default();
            channel.arrived += 1;
            if channel.subscribed {
                channel.ends.get_or_insert(op);
            }
            return;
        }
        connection.codes.insert(code(issued.what));
        // Before its login the connection is nobody's.
        if connection.logged_in {
            connection.ends.get_or_insert(op);
        }
    }

    fn unsubscribed(&mut self, at: usize, c: u32, ch: &'a str, code: u32) {
        let Some(connection) = self.control.connections.get_mut(&c) else { return };
        let channel = connection.channels.entry(ch).or_default();
        (channel.subscribed, channel.ends) = (false, None);
        if UNSUBSCRIBES.contains(&code) {
            channel.told += 1;
            if channel.told > channel.arrived {
                let what = format!("client {c} lost {ch} by {code} more often than its node was asked for");
                self.violation(at, Check::Once, what);
            }
        }
    }

    /// The application was told that an operation is over.
    fn told_of(&mut self, at: usize, op: u64, confirmed: &[usize], missing: &[usize]) {
        let (now, all) = (self.now, self.control.nodes.len());
        let Some(issued) = self.control.operations.get_mut(&op) else { return };
        issued.told = true;
        let survey = *issued.what == Operation::Survey;
        // Others wait for their own node too, which takes as long as it takes.
        let bounded = matches!(issued.what, Operation::Survey | Operation::Revoke { .. });
        let (deadline, calm) = (issued.deadline, issued.calm);
        if bounded && now > deadline + LOOK_MS {
            let what = format!("operation {op} was over at {now}, {} ms late", now - deadline);
            self.violation(at, Check::Deadline, what);
        }
        for node in confirmed.iter().filter(|node| !survey && **node != usize::MAX) {
            if !self.control.arrived.contains(&(op, *node)) {
                let what = format!("node {node} has confirmed operation {op}, which never reached it");
                self.violation(at, Check::Applied, what);
            }
        }
        let everyone = confirmed.len() + usize::from(!survey) == all;
        if calm && !(missing.is_empty() && everyone) {
            let what = format!("operation {op} of quiet times: confirmed {confirmed:?}, missing {missing:?}");
            self.violation(at, Check::Registry, what);
        }
    }

    /// The run is over.
    pub(super) fn check_control(&mut self, lines: usize) {
        let mut found = Vec::new();
        for (c, connection) in &self.control.connections {
            if let Some(op) = connection.ends {
                found.push((Check::Applied, format!("client {c} is still there after operation {op}")));
            }
            for (ch, channel) in &connection.channels {
                if let Some(op) = channel.ends {
                    found.push((Check::Applied, format!("client {c} is still in {ch} after operation {op}")));
                }
            }
        }
        for (op, issued) in self.control.operations.iter().filter(|(_, issued)| !issued.told) {
            let Issued { line, node, .. } = issued;
            found.push((
                Check::Deadline,
                format!("operation {op} of node {node}, line {line}, was never over"),
            ));
        }
        let all: Vec<usize> = self.control.nodes.keys().copied().collect();
        for (node, knows) in &self.control.nodes {
            if **knows != all {
                found.push((Check::Registry, format!("node {node} knows {knows:?} of {all:?}")));
            }
        }
        for (check, what) in found {
            self.violation(lines, check, what);
        }
    }
}
