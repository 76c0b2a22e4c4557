//! Production nodes under simulation, judged by the delivery checker.
//!
//! `SPINWARD_SEEDS=10000` runs so many seeds in place of 500; `SPINWARD_SEED=7` runs one and prints its log.

use spinward_testkit::checker::{Report, check};
use spinward_testkit::log::{hash, to_text};
use spinward_testkit::world::{Scenario, run};

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// The first violations of a run, with the log lines around the first.
fn explain(seed: u64, report: &Report, lines: &[spinward_testkit::log::Line]) -> String {
    let mut text = format!("seed {seed}: {:#?}\n", Scenario::from_seed(seed));
    for violation in report.violations.iter().take(8) {
        text.push_str(&format!("{violation}\n"));
    }
    text + &to_text(
        &lines[report.violations[0].line.saturating_sub(12).min(lines.len())
            ..(report.violations[0].line + 1).min(lines.len())],
    )
}

#[test]
fn seeds_are_clean() {
    if let Some(seed) = number("SPINWARD_SEED") {
        let lines = run(&Scenario::from_seed(seed));
        print!("{}", to_text(&lines));
        let report = check(&lines);
        assert!(report.violations.is_empty(), "{}", explain(seed, &report, &lines));
        return;
    }
    let seeds = number("SPINWARD_SEEDS").unwrap_or(500);
    let (mut failed, mut first) = (Vec::new(), String::new());
    for seed in 0..seeds {
        let lines = run(&Scenario::from_seed(seed));
        let report = check(&lines);
        if !report.violations.is_empty() {
            if failed.is_empty() {
                first = explain(seed, &report, &lines);
            }
            failed.push((seed, report.violations[0].to_string()));
        }
    }
    assert!(failed.is_empty(), "{} of {seeds} seeds failed: {failed:#?}\n{first}", failed.len());
}

#[test]
fn a_seed_repeats_exactly() {
    for seed in 0..20 {
        let scenario = Scenario::from_seed(seed);
        let (one, other) = (run(&scenario), run(&scenario));
        assert!(one.len() > 20, "something happened");
        assert_eq!(hash(&one), hash(&other), "seed {seed}");
    }
    assert_ne!(hash(&run(&Scenario::from_seed(1))), hash(&run(&Scenario::from_seed(2))));
}
