//! The verdict on a run.

use super::faults::Fault;
use super::judge::Delays;
use super::node::Node;
use super::store::{Kind, Store};
use crate::checker;
use crate::log::{self, Line};
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::Path;
use std::time::Duration;

/// Most violations that are shown of a kind.
const SHOWN: usize = 8;

/// Result of a run.
#[derive(Debug)]
pub struct Report {
    /// Engine.
    pub engine: Kind,
    /// Seed.
    pub seed: u64,
    /// Duration.
    pub took: Duration,
    /// Faults, and how often each was committed.
    pub struck: BTreeMap<Fault, u32>,
    /// Verdict of the delivery checker.
    pub checked: checker::Report,
    /// Times from a publication or a loss to the client.
    pub delays: Delays,
    /// Attempts to publish that failed, and were repeated.
    pub failed: u64,
    /// Handshakes that were refused.
    pub refused: u64,
    /// Everything else that must not be.
    pub wrong: Vec<String>,
}

impl Report {
    /// Returns true if nothing is wrong.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.checked.violations.is_empty() && self.wrong.is_empty()
    }

    /// Keeps the log of a run with violations, those of its nodes, and those of the engine's servers.
    pub(super) fn keep(
        &self,
        folder: &Path,
        lines: &[Line],
        nodes: &[Node],
        store: &Store,
    ) -> io::Result<()> {
        if self.is_good() {
            return Ok(());
        }
        std::fs::create_dir_all(folder)?;
        let name = format!("{}-{}", self.engine.name(), self.seed);
        std::fs::write(folder.join(format!("{name}.log")), log::to_text(lines))?;
        for (number, node) in nodes.iter().enumerate() {
            let _ = std::fs::copy(node.log_file(), folder.join(format!("{name}-node{number}.log")));
        }
        for (number, log) in store.logs().iter().enumerate() {
            let _ = std::fs::copy(log, folder.join(format!("{name}-server{number}.log")));
        }
        println!("log: {}/{name}.log", folder.display());
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = &self.checked.counts;
        writeln!(f, "{}, seed {}, {:.1} s", self.engine.name(), self.seed, self.took.as_secs_f64())?;
        for (fault, count) in &self.struck {
            writeln!(f, "  {count:>4} × {fault}")?;
        }
        for (what, count) in [
            ("acknowledged", counts.acked),
            ("delivered", counts.delivered),
            ("recovered", counts.recovered),
            ("not recovered", counts.not_recovered),
            ("alarms", counts.alarms),
            ("disconnects", counts.disconnects),
            ("failed attempts", self.failed as usize),
            ("unknown", counts.unknown),
        ] {
            writeln!(f, "  {what:<16} {count:>9}")?;
        }
        writeln!(f, "  slowest delivery {:>7} ms after the publication or the fault", self.delays.delivery)?;
        writeln!(f, "  slowest signal   {:>7} ms, of {}", self.delays.signal, self.delays.signals)?;
        let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
        for violation in &self.checked.violations {
            let count = kinds.entry(format!("{:?}", violation.check)).or_default();
            *count += 1;
            if *count <= SHOWN {
                writeln!(f, "VIOLATION  {violation}")?;
            }
        }
        for (kind, count) in kinds.iter().filter(|(_, count)| **count > SHOWN) {
            writeln!(f, "VIOLATION  {kind}: {count} in all")?;
        }
        for wrong in self.wrong.iter().take(2 * SHOWN) {
            writeln!(f, "VIOLATION  {wrong}")?;
        }
        if self.wrong.len() > 2 * SHOWN {
            writeln!(f, "VIOLATION  {} more", self.wrong.len() - 2 * SHOWN)?;
        }
        let all = self.checked.violations.len() + self.wrong.len();
        writeln!(f, "{}", if all == 0 { "good".to_owned() } else { format!("{all} violations") })
    }
}
