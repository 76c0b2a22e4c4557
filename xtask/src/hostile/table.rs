//! The table of a run, in Markdown.

use super::arena::{Latency, Outcome};
use crate::shell::Failure;
use std::fmt::Write as _;

/// Rows in the order in which they were run.
#[derive(Default)]
pub(super) struct Table(Vec<Line>);

struct Line {
    row: &'static str,
    server: &'static str,
    outcome: Outcome,
}

const HEAD: &str = "\
| row | server | RSS before → peak → later, MB (allowed) | witness p50 / p99 / max, ms: quiet | under attack | p99 × | max × | lost / doubled | attackers | SIGTERM, s | holds |
|---|---|---|---|---|---|---|---|---|---|---|
";

impl Table {
    pub(super) fn add(&mut self, row: &'static str, server: &'static str, outcome: Result<Outcome, Failure>) {
        let outcome = outcome.unwrap_or_else(|error| Outcome {
            faults: vec![format!("the row failed: {error}")],
            ..Outcome::default()
        });
        let line = Line { row, server, outcome };
        print!("{}", line.markdown());
        self.0.push(line);
    }

    /// Rows that do not hold for the server of that name.
    pub(super) fn faults_of(&self, server: &str) -> usize {
        self.0.iter().filter(|line| line.server == server && !line.outcome.faults.is_empty()).count()
    }

    pub(super) fn markdown(&self) -> String {
        let mut text = format!("{}\n\n{HEAD}", crate::bench::process::machine());
        self.0.iter().for_each(|line| text.push_str(&line.markdown()));
        text
    }
}

impl Line {
    fn markdown(&self) -> String {
        let Self { row, server, outcome } = self;
        let mb = |bytes: f64| format!("{:.0}", bytes / 1e6);
        let mut memory = format!("{} → {}", mb(outcome.before), mb(outcome.peak));
        // Writing to a string does not fail.
        if let Some(later) = outcome.later {
            let _ = write!(memory, " → {}", mb(later));
        }
        if let Some(allowed) = outcome.allowed {
            let _ = write!(memory, " ({})", mb(allowed));
        }
        let holds = if outcome.faults.is_empty() { "yes".to_owned() } else { outcome.faults.join("; ") };
        let ratio = |of: fn(&Latency) -> f64| match of(&outcome.quiet) {
            quiet if quiet > 0.0 => format!("{:.1}", of(&outcome.attacked) / quiet),
            _ => String::new(),
        };
        let mut attackers = outcome.attackers.join("; ");
        if !outcome.notes.is_empty() {
            let _ = write!(attackers, " ({})", outcome.notes.join("; "));
        }
        format!(
            "| {row} | {server} | {memory} | {} | {} | {} | {} | {} / {} | {attackers} | {} | {holds} |\n",
            show(&outcome.quiet),
            show(&outcome.attacked),
            ratio(|latency| latency.p99),
            ratio(|latency| latency.max),
            outcome.lost,
            outcome.doubled,
            outcome.ending.map_or(String::new(), |time| format!("{:.2}", time.as_secs_f64())),
        )
    }
}

fn show(latency: &Latency) -> String {
    format!("{:.1} / {:.1} / {:.1}", latency.p50, latency.p99, latency.max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_that_failed_does_not_hold() {
        let mut table = Table::default();
        table.add("one", "before", Err("no server".into()));
        table.add("one", "after", Ok(Outcome::default()));
        assert_eq!((table.faults_of("before"), table.faults_of("after")), (1, 0));
        let text = table.markdown();
        assert!(text.contains("no server") && text.trim_end().ends_with("yes |"), "{text}");
    }
}
