//! Production nodes under simulation, judged by the delivery checker.
//!
//! `SPINWARD_SEEDS=10000` runs so many seeds in place of 500; `SPINWARD_SEED=7` runs one and prints its log.

use spinward::fault::{self, Fault};
use spinward_testkit::broker::Misdeeds;
use spinward_testkit::checker::{Counts, Report, check, check_within};
use spinward_testkit::log::{hash, to_text};
use spinward_testkit::world::{Scenario, run, run_counting};

/// Time within which a loss must be signalled: the position check, the delay of a publication, and as much again.
const SIGNAL_MS: u64 = 12_000;

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
        let report = check_within(&lines, SIGNAL_MS);
        assert!(report.violations.is_empty(), "{}", explain(seed, &report, &lines));
        return;
    }
    let seeds = number("SPINWARD_SEEDS").unwrap_or(500);
    let (mut failed, mut first) = (Vec::new(), String::new());
    let mut total = Counts::default();
    for seed in 0..seeds {
        let lines = run(&Scenario::from_seed(seed));
        let report = check_within(&lines, SIGNAL_MS);
        total += report.counts;
        if !report.violations.is_empty() {
            if failed.is_empty() {
                first = explain(seed, &report, &lines);
            }
            failed.push((seed, report.violations[0].to_string()));
        }
    }
    println!("{seeds} seeds: {total:?}");
    assert!(failed.is_empty(), "{} of {seeds} seeds failed: {failed:#?}\n{first}", failed.len());
    // Clean is worth nothing where nothing happened.
    assert!(total.recovered_with_publications as u64 > seeds, "{total:?}");
    assert!(total.not_recovered as u64 > seeds / 4 && total.alarms as u64 > seeds / 10, "{total:?}");
}

/// Half of the clients speak the protocol of 2018 to 2022.
#[test]
fn seeds_with_old_clients_are_clean() {
    let seeds = number("SPINWARD_SEEDS").unwrap_or(500) / 4;
    let mut total = Counts::default();
    for seed in 0..seeds {
        let scenario = Scenario { old: Some(500), ..Scenario::from_seed(seed) };
        let lines = run(&scenario);
        let report = check_within(&lines, SIGNAL_MS);
        total += report.counts;
        assert!(report.violations.is_empty(), "with old clients, {}", explain(seed, &report, &lines));
    }
    println!("{seeds} seeds with old clients: {total:?}");
    assert!(total.recovered_with_publications as u64 > seeds, "{total:?}");
}

/// Many clients of few channels, whose node loses all sockets again and again.
fn storms(seed: u64) -> Scenario {
    let scenario = Scenario::from_seed(seed);
    Scenario {
        remote_nodes: 1 + (seed % 2) as usize,
        clients: 8,
        channels: 1,
        storms: 3,
        history: scenario.history.max(10),
        ..scenario
    }
}

/// Those who come back are served by what others have read.
#[test]
fn seeds_with_storms_are_clean() {
    let seeds = number("SPINWARD_SEEDS").unwrap_or(500) / 2;
    let (mut total, mut saved) = (Counts::default(), 0);
    for seed in 0..seeds {
        let (lines, count) = run_counting(&storms(seed));
        let report = check_within(&lines, SIGNAL_MS);
        total += report.counts;
        saved += count;
        assert!(report.violations.is_empty(), "with storms, {}", explain(seed, &report, &lines));
    }
    println!("{seeds} seeds with storms: {total:?}, {saved} reads saved");
    assert!(saved > 2 * seeds, "{saved} reads saved");
}

/// Faults of old clients alone are found too.
#[test]
fn faults_are_caught_with_old_clients_alone() {
    for fault in [Fault::InboxDrop, Fault::InboxRepeat, Fault::InboxSwap, Fault::FalseRecovered] {
        caught(&format!("{fault:?} with old clients"), |scenario| {
            (scenario.remote_nodes, scenario.old) = (0, Some(1_000));
            fault::plant(Some(fault), 3 + (scenario.seed % 7) as u32);
        });
    }
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

/// Plants a fault in run after run until one is caught.
fn caught(name: &str, mut plant: impl FnMut(&mut Scenario)) {
    for seed in 0..50 {
        let mut scenario = Scenario::from_seed(seed);
        plant(&mut scenario);
        let report = check(&run(&scenario));
        let struck = fault::struck();
        fault::plant(None, 0);
        if let Some(first) = report.violations.first() {
            println!("{name}: caught with seed {seed}: {first}");
            assert!(struck || name.starts_with("broker"), "{name}: something else was caught: {first}");
            return;
        }
    }
    panic!("{name} was not caught in 50 seeds");
}

#[test]
fn planted_faults_are_caught() {
    for fault in Fault::ALL {
        caught(&format!("{fault:?}"), |scenario| {
            let merge = matches!(fault, Fault::MergeDrop | Fault::MergeRepeat | Fault::MergeSwap);
            if merge && scenario.remote_nodes == 0 {
                scenario.remote_nodes = 1;
            }
            if matches!(fault, Fault::RecentAcrossGap | Fault::RecentOfAnotherEpoch) {
                *scenario = storms(scenario.seed);
                let gap = fault == Fault::RecentAcrossGap;
                (scenario.misdeeds.lose, scenario.havoc) = if gap { (150, 0) } else { (0, 20) };
                (scenario.limit, scenario.history) = (500, 1_000);
                fault::plant(Some(fault), 0);
                return;
            }
            if fault == Fault::ReusedEpoch {
                (scenario.remote_nodes, scenario.jumps, scenario.havoc) = (0, true, 10);
            }
            if matches!(fault, Fault::InboxDrop | Fault::InboxRepeat | Fault::InboxSwap) {
                // Over a bus that loses, a loss that is told is not the node's doing.
                scenario.remote_nodes = 0;
            }
            let after = if merge { scenario.seed % 3 } else { 3 + scenario.seed % 7 };
            fault::plant(Some(fault), after as u32);
        });
    }
}

#[test]
fn a_broker_that_breaks_its_contract_is_caught() {
    caught("broker that keeps epochs over a fail-over", |scenario| {
        (scenario.remote_nodes, scenario.havoc) = (2, 10);
        scenario.misdeeds.keep_incarnation = true;
    });
    caught("broker that swaps", |scenario| {
        (scenario.remote_nodes, scenario.havoc) = (2, 0);
        scenario.misdeeds = Misdeeds { swap: true, tarry: 300, ..Misdeeds::default() };
    });
}
