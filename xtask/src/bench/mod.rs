//! `cargo xtask bench`: cost and latency of the server, beside a bare floor and if wished another server.
//!
//! The load generator and the floor are processes of their own (`spinward-loadgen`); only the server's CPU
//! counts. Each round runs floor, server, the other server if there is one, floor.

pub(crate) mod process;
mod report;
pub(crate) mod rig;
pub(crate) mod rows;
pub(crate) mod server;
pub(crate) mod settings;

use crate::shell::{self, Failure};
use report::Report;
use server::Target;

const VALUED: &[&str] = &["--json", "--rounds", "--against", "--against-pid", "--against-bin"];

/// Input of the rows.
pub(crate) struct Bench {
    pub(crate) targets: Vec<Target>,
    /// Rounds of a row that takes seconds.
    pub(crate) rounds: usize,
    pub(crate) full: bool,
    pub(crate) report: Report,
}

/// Runs the rows named, or the budget rows, or with `--full` all.
pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    if shell::flag(arguments, "--list") {
        for row in rows::ALL {
            println!("{:<16} {}{}", row.name, row.what, if row.quick { "" } else { " (--full)" });
        }
        return Ok(());
    }
    let full = shell::flag(arguments, "--full");
    let named = shell::positional(arguments, VALUED);
    if let Some(unknown) = named.iter().find(|name| rows::ALL.iter().all(|row| row.name != **name)) {
        return Err(format!("no row {unknown}: see cargo xtask bench --list").into());
    }
    let chosen = rows::ALL
        .iter()
        .filter(|row| if named.is_empty() { row.quick || full } else { named.contains(&row.name) });
    build_load_generator()?;
    let mut bench = Bench {
        targets: targets(arguments)?,
        rounds: shell::option(arguments, "--rounds").map_or(Ok(5), str::parse)?,
        full,
        report: Report::default(),
    };
    for row in chosen {
        println!("{}: {}", row.name, row.what);
        if let Err(error) = (row.run)(&mut bench, row.name) {
            bench.report.faults.push(format!("{}: {error}", row.name));
        }
    }
    let good = bench.report.print();
    if let Some(file) = shell::option(arguments, "--json") {
        bench.report.write(file)?;
    }
    if good { Ok(()) } else { Err("a budget is missed or a row is at fault".into()) }
}

/// Builds the load generator, always as it is measured with: release.
pub(crate) fn build_load_generator() -> Result<(), Failure> {
    // With its benchmark, so that the load generator and what `instructions` counts are one build.
    shell::run(&mut shell::cargo(&[
        "bench",
        "--no-run",
        "--quiet",
        "--locked",
        "--package",
        "spinward-loadgen",
    ]))
}

fn targets(arguments: &[String]) -> Result<Vec<Target>, Failure> {
    let ours = Target::Binary { name: "spinward".to_owned(), file: server::binary()? };
    let mut targets = vec![ours];
    if let Some(file) = shell::option(arguments, "--against-bin") {
        targets.push(Target::Binary { name: "against".to_owned(), file: file.into() });
    }
    if let Some(address) = shell::option(arguments, "--against") {
        let pid =
            shell::option(arguments, "--against-pid").ok_or("--against needs --against-pid")?.parse()?;
        targets.push(Target::Running { name: "against".to_owned(), address: address.to_owned(), pid });
    }
    Ok(targets)
}
