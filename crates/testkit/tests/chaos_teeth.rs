//! The chaos test finds faults that are planted in the engines.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails here")]

use spinward_engines::fault::Fault;
use spinward_server::app::{Source, run};
use spinward_server::config::{self, Vars};
use spinward_testkit::chaos::{self, Kind, Settings};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

/// Names the file of the configuration to the process of a node.
const CONFIG: &str = "SPINWARD_TEST_CONFIG";

/// Names the fault that is planted in the process of a node.
const PLANT: &str = "SPINWARD_PLANT";

/// Not a test of its own but the process that the others start: this program again, as a node.
#[test]
fn server() {
    let Some(file) = std::env::var_os(CONFIG).map(PathBuf::from) else { return };
    let source = config::Source { file: Some(&file), vars: Vars::default(), flags: Vec::new() };
    let loaded = config::load(&source).unwrap();
    let code =
        run(loaded, Source { file: file.clone(), flags: Vec::new() }).map_or_else(|e| e.exit_code(), |()| 0);
    std::process::exit(code.into());
}

/// The engines in which a fault can be planted, and the fault of the chaos that shows it there.
const fn occasions(fault: Fault) -> &'static [(Kind, &'static str)] {
    match fault {
        Fault::ConstantLife => {
            &[(Kind::Sentinel, "FailOverWithLoss"), (Kind::PostgresPair, "FailOverWithLoss")]
        }
        Fault::ConstantEpoch => &[(Kind::Redis, "Flush")],
        Fault::ForgottenChannels => &[(Kind::Redis, "CutDeliveries")],
        Fault::IgnoredKeys => &[(Kind::Redis, "Deaf")],
        Fault::FalseAck => &[(Kind::Redis, "EngineRestart")],
        Fault::DeafChannels => {
            &[(Kind::Redis, "NodeKill"), (Kind::JetStream, "NodeKill"), (Kind::Postgres, "NodeKill")]
        }
        Fault::HistoryDrop | Fault::HistoryChange | Fault::StaleTop => &[(Kind::Redis, "NodeKill")],
        Fault::SilentReconnect => &[(Kind::JetStream, "Cut")],
        Fault::StuckPresence => &[(Kind::Postgres, "NodeKill")],
    }
}

/// Time after a fault. A gap that nobody reports is found once something is published, which takes longer.
fn rest(fault: Option<Fault>) -> Duration {
    Duration::from_millis(if fault == Some(Fault::SilentReconnect) { 8_000 } else { 300 })
}

/// Time that an engine is away: for longer than a publish waits where that is what shows the fault.
fn pauses(fault: Option<Fault>) -> (Duration, Duration) {
    let (shortest, longest) = match fault {
        Some(Fault::IgnoredKeys | Fault::FalseAck) => (6_500, 7_500),
        _ => (2_000, 2_500),
    };
    (Duration::from_millis(shortest), Duration::from_millis(longest))
}

/// Returns true if the servers of all engines are there.
fn installed() -> bool {
    [Kind::Redis, Kind::JetStream, Kind::PostgresPair].into_iter().all(Kind::is_installed)
}

fn settings(fault: Option<Fault>, engine: Kind, only: &[&str]) -> Settings {
    let launch = Arc::new(move |file: &std::path::Path| {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "server", "--nocapture", "--test-threads=1"]).env(CONFIG, file);
        if let Some(fault) = fault {
            command.env(PLANT, format!("{fault:?}"));
        }
        command
    });
    Settings {
        faults: 2,
        only: only.iter().map(|name| (*name).to_owned()).collect(),
        limit: Duration::from_secs(4),
        rate: 20.0,
        channels: 60,
        pauses: pauses(fault),
        rest: rest(fault),
        out: std::env::temp_dir().join("spinward-chaos-teeth"),
        ..Settings::short(engine, launch)
    }
}

#[test]
#[ignore = "takes minutes: cargo xtask test chaos-teeth"]
fn each_planted_fault_is_found() {
    if !installed() {
        return;
    }
    let mut missed = Vec::new();
    let named = std::env::var("SPINWARD_FAULTS").ok();
    let chosen = |fault: &Fault| {
        let name = format!("{fault:?}");
        named.as_ref().is_none_or(|named| named.split(',').any(|one| one == name))
    };
    for fault in Fault::ALL.into_iter().filter(chosen) {
        for (engine, only) in occasions(fault) {
            let report = chaos::run(&settings(Some(fault), *engine, &[only])).unwrap();
            let first = report.checked.violations.first().map(ToString::to_string);
            let first = first.or_else(|| report.wrong.first().cloned());
            let engine = engine.name();
            println!("{fault:?} in {engine}: {}", first.as_deref().unwrap_or("NOT FOUND"));
            if report.is_good() {
                missed.push((fault, engine));
            }
        }
    }
    assert!(missed.is_empty(), "not found: {missed:?}");
}

#[test]
#[ignore = "takes minutes: cargo xtask test chaos-teeth"]
fn nothing_is_found_without_a_planted_fault() {
    if !installed() {
        return;
    }
    for engine in [Kind::Redis, Kind::Sentinel, Kind::JetStream, Kind::Postgres, Kind::PostgresPair] {
        let mut only: Vec<&str> = Fault::ALL
            .iter()
            .flat_map(|fault| occasions(*fault))
            .filter(|(kind, _)| *kind == engine)
            .map(|(_, only)| *only)
            .collect();
        only.sort_unstable();
        only.dedup();
        let report = chaos::run(&Settings { faults: 0, ..settings(None, engine, &only) }).unwrap();
        assert!(report.is_good(), "{report}");
    }
}
