//! The chaos test finds faults that are planted in the Redis engine.

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

/// The faults of the chaos that show a planted one.
fn occasions(fault: Fault) -> (Kind, &'static [&'static str]) {
    match fault {
        Fault::ConstantLife => (Kind::Sentinel, &["FailOverWithLoss"]),
        Fault::ConstantEpoch => (Kind::Redis, &["Flush"]),
        Fault::ForgottenChannels => (Kind::Redis, &["CutDeliveries"]),
        Fault::IgnoredKeys => (Kind::Redis, &["Deaf"]),
        Fault::FalseAck => (Kind::Redis, &["EngineRestart"]),
        Fault::DeafChannels | Fault::HistoryDrop | Fault::HistoryChange | Fault::StaleTop => {
            (Kind::Redis, &["NodeKill"])
        }
    }
}

/// Time that an engine is away: for longer than a publish waits where that is what shows the fault.
fn pauses(fault: Option<Fault>) -> (Duration, Duration) {
    let (shortest, longest) = match fault {
        Some(Fault::IgnoredKeys | Fault::FalseAck) => (6_500, 7_500),
        _ => (2_000, 2_500),
    };
    (Duration::from_millis(shortest), Duration::from_millis(longest))
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
        out: std::env::temp_dir().join("spinward-chaos-teeth"),
        ..Settings::short(engine, launch)
    }
}

#[test]
#[ignore = "takes minutes: cargo xtask test chaos-teeth"]
fn each_planted_fault_is_found() {
    if !Kind::Redis.is_installed() {
        return;
    }
    let mut missed = Vec::new();
    let named = std::env::var("SPINWARD_FAULTS").ok();
    let chosen = |fault: &Fault| {
        let name = format!("{fault:?}");
        named.as_ref().is_none_or(|named| named.split(',').any(|one| one == name))
    };
    for fault in Fault::ALL.into_iter().filter(chosen) {
        let (engine, only) = occasions(fault);
        let report = chaos::run(&settings(Some(fault), engine, only)).unwrap();
        let first = report.checked.violations.first().map(ToString::to_string);
        let first = first.or_else(|| report.wrong.first().cloned());
        println!("{fault:?}: {}", first.as_deref().unwrap_or("NOT FOUND"));
        if report.is_good() {
            missed.push(fault);
        }
    }
    assert!(missed.is_empty(), "not found: {missed:?}");
}

#[test]
#[ignore = "takes minutes: cargo xtask test chaos-teeth"]
fn nothing_is_found_without_a_planted_fault() {
    if !Kind::Redis.is_installed() {
        return;
    }
    for engine in [Kind::Redis, Kind::Sentinel] {
        let only: Vec<&str> = Fault::ALL
            .iter()
            .map(|fault| occasions(*fault))
            .filter(|(kind, _)| *kind == engine)
            .flat_map(|(_, only)| only)
            .copied()
            .collect();
        let report = chaos::run(&Settings { faults: 0, ..settings(None, engine, &only) }).unwrap();
        assert!(report.is_good(), "{report}");
    }
}
