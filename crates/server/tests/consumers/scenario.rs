//! The scenario: numbered messages, kills of nodes, a restart of the source, and the judgement of what was published.

use crate::node::Node;
use serde_json::Value;
use spinward_testkit::servers::redis::{self, Options, Server};
use spinward_testkit::servers::{installed, within};
use std::collections::BTreeSet;
use std::future::Future;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

/// A place that numbered messages are put into. Number `n` belongs to partition `n % partitions`, and asks for the
/// publication of `{"n": n}` in channel `rows:PARTITION`.
pub(crate) trait Feed {
    /// Puts in messages, and with each hundredth a message that can never be carried out, before it.
    fn feed(&mut self, numbers: Range<u64>) -> impl Future<Output = ()>;

    /// Stops the source and starts it again.
    fn restart(&mut self) -> impl Future<Output = ()>;

    /// Variables of the environment that nodes need.
    fn variables(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }
}

/// Time in which a node begins to carry messages out.
const PATIENCE: Duration = Duration::from_secs(60);

/// Numbers of a run.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) rows: u64,
    pub(crate) kills: u64,
    pub(crate) nodes: usize,
    pub(crate) partitions: u64,
    /// Numbers of a partition appear for the first time in their order.
    pub(crate) ordered: bool,
    /// Each kill waits until the node carries messages of its round out: those of other sources begin at once.
    pub(crate) busy: bool,
}

impl Plan {
    /// The numbers that the environment asks for, or these.
    pub(crate) fn new(rows: u64, kills: u64) -> Self {
        let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
        let rows = number("SPINWARD_ROWS").unwrap_or(rows);
        let kills = number("SPINWARD_KILLS").unwrap_or(kills);
        Self { rows, kills, nodes: 1, partitions: 1, ordered: true, busy: false }
    }
}

/// The Redis that publications are kept in. `None`, said so: it is not installed.
pub(crate) fn engine() -> Option<Server> {
    installed(&[redis::redis()]).then(|| Server::start(Options::default()))
}

/// Returns true if a program is installed, too.
pub(crate) fn has(program: &Path) -> bool {
    installed(&[program, redis::redis()])
}

/// Runs nodes with a consumer named `numbered` through kills and a restart of its source.
pub(crate) async fn run(plan: Plan, engine: &Server, consumer: &Value, feed: &mut impl Feed) -> Vec<Node> {
    let consumers = Value::Array(vec![consumer.clone()]);
    let mut nodes: Vec<_> = (0..plan.nodes).map(|_| Node::new(&engine.url(), &consumers)).collect();
    nodes.iter_mut().for_each(|node| node.set(&feed.variables()));
    nodes.iter_mut().for_each(Node::start);
    let mut next = 0_u64;
    let rounds = plan.kills + 1;
    for round in 0..rounds {
        let end = plan.rows * (round + 1) / rounds;
        // Half of a round is there before the kill, and half while the node is away.
        let middle = next.midpoint(end);
        let killed = usize::try_from(round).unwrap() % nodes.len();
        let before = nodes[killed].processed();
        feed.feed(next..middle).await;
        if plan.busy && round < plan.kills {
            let busy = within(PATIENCE, || nodes[killed].processed() > before);
            assert!(busy, "it carries nothing out:\n{}", nodes[killed].log());
        }
        // The kill comes anywhere in the work on them.
        tokio::time::sleep(Duration::from_millis(round * 37 % 150)).await;
        if round == plan.kills / 2 {
            feed.restart().await;
        }
        if round < plan.kills {
            nodes[killed].kill();
        }
        feed.feed(middle..end).await;
        if round < plan.kills {
            nodes[killed].start();
        }
        next = end;
    }
    judge(plan, &nodes);
    nodes
}

/// Waits until everything was published, and looks at the order.
fn judge(plan: Plan, nodes: &[Node]) {
    let patience = Duration::from_secs(60 + plan.rows / 500);
    for partition in 0..plan.partitions {
        let channel = format!("rows:{partition}");
        let wanted: BTreeSet<u64> = (0..plan.rows).filter(|n| n % plan.partitions == partition).collect();
        let mut found = Vec::new();
        let complete = within(patience, || {
            found = nodes[0].numbers(&channel).unwrap_or_default();
            let complete = found.iter().collect::<BTreeSet<_>>().len() >= wanted.len();
            if !complete {
                std::thread::sleep(Duration::from_millis(500));
            }
            complete
        });
        let unique: BTreeSet<u64> = found.iter().copied().collect();
        let missing: Vec<_> = wanted.difference(&unique).take(20).collect();
        let logs: Vec<_> = nodes.iter().map(Node::log).collect();
        assert!(complete && missing.is_empty(), "{channel} lacks {missing:?}:\n{}", logs.join("\n---\n"));
        assert_eq!(unique, wanted, "{channel} has numbers of others");
        let (mut seen, mut highest) = (BTreeSet::new(), None);
        for number in &found {
            let first = seen.insert(*number);
            if first && plan.ordered {
                assert!(Some(*number) > highest, "{channel}: {number} comes after {highest:?}");
                highest = Some(*number);
            }
        }
        println!(
            "{channel}: {} numbers, {} repeated, after {} kills",
            wanted.len(),
            found.len() - wanted.len(),
            plan.kills
        );
    }
}
