//! `cargo xtask hostile`: attacks on a real server, and their cost for well-behaved clients.
//!
//! Each row starts a server, connects witnesses on every transport that read a numbered stream, and measures them first in
//! a quiet phase and then during the attack. Attackers are processes of their own at the lowest priority
//! (`spinward-loadgen hostile` and `quic`), so that the witnesses measure the server and not the rig. Times are only
//! printed; memory, losses and the response to SIGTERM must keep their bounds. Pings of the protocol are rare: no client
//! is to be closed for want of an answer, and witnesses over SSE and HTTP streaming give none.

mod arena;
mod rows;
mod table;
pub(crate) mod watch;

use crate::shell::{self, Failure};
use rows::Row;
use std::path::{Path, PathBuf};
use table::Table;

const VALUED: &[&str] = &["--bin", "--against-bin", "--out"];

/// A server to attack.
pub(crate) struct Target {
    pub(crate) name: &'static str,
    pub(crate) binary: PathBuf,
    /// As continuous integration runs it: seconds, not minutes, and fewer clients.
    pub(crate) short: bool,
}

/// Runs the rows named, or all.
pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    if shell::flag(arguments, "--list") {
        for row in rows::ALL {
            println!("{:<26} {}", row.name, row.what);
        }
        return Ok(());
    }
    let named = shell::positional(arguments, VALUED);
    if let Some(unknown) = named.iter().find(|name| rows::ALL.iter().all(|row| row.name != **name)) {
        return Err(format!("no row {unknown}: see cargo xtask hostile --list").into());
    }
    let short = shell::flag(arguments, "--short");
    let is_chosen =
        |row: &&Row| if named.is_empty() { row.short || !short } else { named.contains(&row.name) };
    let chosen: Vec<&Row> = rows::ALL.iter().filter(is_chosen).collect();
    crate::bench::build_load_generator()?;
    let binary = match shell::option(arguments, "--bin") {
        Some(file) => file.into(),
        None => crate::bench::server::binary()?,
    };
    let mut targets = vec![Target { name: "server", binary, short }];
    if let Some(file) = shell::option(arguments, "--against-bin") {
        targets[0].name = "after";
        targets.insert(0, Target { name: "before", binary: file.into(), short });
    }
    let out = shell::option(arguments, "--out");
    let mut table = Table::default();
    for row in chosen {
        for target in &targets {
            println!("{} ({}): {}", row.name, target.name, row.what);
            let outcome = (row.run)(target);
            table.add(row.name, target.name, outcome);
            // What was measured so far is kept, whatever becomes of the rest.
            if let Some(file) = out {
                std::fs::write(file, table.markdown())?;
            }
        }
    }
    println!("\n{}", table.markdown());
    // The binary before is there to be compared with.
    let judged = targets.last().map_or("", |target| target.name);
    let bad = table.faults_of(judged);
    if bad == 0 { Ok(()) } else { Err(format!("{bad} rows do not hold").into()) }
}

/// The rows that continuous integration runs, shortened.
pub(crate) fn short(binary: &Path) -> Result<(), Failure> {
    run(&["--short".to_owned(), "--bin".to_owned(), binary.to_string_lossy().into_owned()])
}
