//! Three nodes under simulation that reach each other by a bus and share a broker, both of which misbehave: judged by
//! the delivery checker, and by what operations, surveys and the list of nodes must be.
//!
//! `SPINWARD_SEEDS=10000` runs so many seeds in place of 500; `SPINWARD_SEED=7` runs one and prints its log.

use spinward::fault::{self, Fault};
use spinward_testkit::bus::Trouble;
use spinward_testkit::checker::{Counts, Report, check_within};
use spinward_testkit::log::{Event, Line, hash, to_text};
use spinward_testkit::world::{Scenario, run};

/// Longest time until a loss is told, as in the simulation of the broker alone.
const SIGNAL_MS: u64 = 12_000;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn judged(seed: u64) -> (Vec<Line>, Report) {
    let lines = run(&Scenario::clustered(seed));
    let report = check_within(&lines, SIGNAL_MS);
    (lines, report)
}

/// The first violations of a run, with the log lines before the first.
fn explain(seed: u64, report: &Report, lines: &[Line]) -> String {
    let mut text = format!("seed {seed}: {:#?}\n", Scenario::clustered(seed));
    for violation in report.violations.iter().take(8) {
        text.push_str(&format!("{violation}\n"));
    }
    let end = (report.violations[0].line + 1).min(lines.len());
    text + &to_text(&lines[end.saturating_sub(40)..end])
}

#[test]
fn seeds_are_clean() {
    if let Some(seed) = number("SPINWARD_SEED") {
        let (lines, report) = judged(seed);
        print!("{}", to_text(&lines));
        assert!(report.violations.is_empty(), "{}", explain(seed, &report, &lines));
        return;
    }
    let seeds = number("SPINWARD_SEEDS").unwrap_or(500);
    let (mut failed, mut first) = (Vec::new(), String::new());
    let (mut counts, mut total) = (Counts::default(), Happened::default());
    for seed in 0..seeds {
        let (lines, report) = judged(seed);
        counts += report.counts;
        total.add(&lines);
        if !report.violations.is_empty() {
            if failed.is_empty() {
                first = explain(seed, &report, &lines);
            }
            failed.push((seed, report.violations[0].to_string()));
        }
    }
    println!("{seeds} seeds: {total:?}, {counts:?}");
    assert!(failed.is_empty(), "{} of {seeds} seeds failed: {failed:#?}\n{first}", failed.len());
    // Clean is worth nothing where nothing happened.
    assert!(total.arrived > 4 * seeds && total.missing > seeds / 2, "{total:?}");
    assert!(total.closed > 2 * seeds && total.restarted > seeds / 2, "{total:?}");
    assert!(counts.recovered_with_publications as u64 > seeds / 2, "{counts:?}");
}

/// Occurrences in all runs.
#[derive(Debug, Default)]
struct Happened {
    /// Operations that reached another node.
    arrived: u64,
    /// Ends that named a missing node.
    missing: u64,
    /// Connections that operations closed.
    closed: u64,
    restarted: u64,
}

impl Happened {
    fn add(&mut self, lines: &[Line]) {
        for line in lines {
            match &line.event {
                Event::Arrived { .. } => self.arrived += 1,
                Event::Told { missing, .. } => self.missing += u64::from(!missing.is_empty()),
                Event::Disconnected { code: 3011 | 4001, .. } => self.closed += 1,
                Event::Fault { fault: spinward_testkit::log::Fault::Restarted { .. } } => self.restarted += 1,
                _ => {}
            }
        }
    }
}

#[test]
fn a_seed_repeats_exactly() {
    for seed in 0..10 {
        let (one, other) = (judged(seed).0, judged(seed).0);
        assert_eq!(hash(&one), hash(&other), "seed {seed}");
    }
}

/// Plants each fault in run after run until it is caught.
#[test]
fn planted_faults_are_caught() {
    for planted in Fault::CLUSTER {
        let caught = (0..200).any(|seed| {
            let mut scenario = Scenario::clustered(seed);
            if planted == Fault::OperationRepeats {
                // A repetition does harm only to a connection that has come since.
                scenario.bus = Some(Trouble { repeat: 500, ..Trouble::default() });
            }
            fault::plant(Some(planted), seed as u32 % 7);
            let report = check_within(&run(&scenario), SIGNAL_MS);
            let struck = fault::struck();
            fault::plant(None, 0);
            let Some(first) = report.violations.first() else { return false };
            println!("{planted:?}: caught with seed {seed}: {first}");
            assert!(struck, "{planted:?}: something else was caught: {first}");
            true
        });
        assert!(caught, "{planted:?} was not caught in 200 seeds");
    }
}
