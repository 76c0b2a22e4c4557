//! `cargo xtask soak`: a server with all its files, steady clients, and a fault a minute.
//!
//! The faults are drawn from a seed. After each, all clients are back, have seen what there is to see, and the server
//! has its files; at the end, and before each restart, memory, descriptors and threads of the process are what they
//! were after its first minutes.

mod faults;
mod field;

use crate::bench::rig::number;
use crate::shell::{self, Failure};
use faults::Fault;
use field::Field;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

const VALUED: &[&str] = &["--minutes", "--every", "--seed", "--bin"];

/// Settings of a run.
struct Settings {
    minutes: f64,
    /// From one fault to the next.
    every: Duration,
    seed: u64,
}

/// Runs for `--minutes N`, with a fault every `--every SECONDS`, drawn from `--seed N`.
pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    if let Some(unknown) = shell::positional(arguments, VALUED).first() {
        return Err(format!("{unknown}: soak takes --minutes, --every, --seed and --bin").into());
    }
    let settings = Settings {
        minutes: shell::option(arguments, "--minutes").map_or(Ok(120.0), str::parse)?,
        every: Duration::from_secs_f64(shell::option(arguments, "--every").map_or(Ok(60.0), str::parse)?),
        seed: match shell::option(arguments, "--seed") {
            Some(seed) => seed.parse()?,
            None => u64::from(std::process::id()),
        },
    };
    crate::bench::build_load_generator()?;
    let binary = match shell::option(arguments, "--bin") {
        Some(file) => file.into(),
        None => crate::bench::server::binary()?,
    };
    let settling = settings.every.mul_f64(0.4).min(Duration::from_secs(15));
    soak(&settings, Field::new(binary, settling)?)
}

/// A minute, as continuous integration runs it.
pub(crate) fn short(binary: &Path) -> Result<(), Failure> {
    let binary = binary.to_string_lossy();
    run(&["--minutes", "0.9", "--every", "5", "--seed", "1", "--bin", &binary].map(str::to_owned))
}

fn soak(settings: &Settings, mut field: Field) -> Result<(), Failure> {
    println!(
        "soak: {} min, a fault every {} s, seed {}",
        settings.minutes,
        settings.every.as_secs_f64(),
        settings.seed
    );
    let begin = Instant::now();
    let until = begin + Duration::from_secs_f64(settings.minutes * 60.0);
    let mut draws = faults::Draws::new(settings.seed);
    let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
    field.start()?;
    let mut at = begin;
    while Instant::now() < until {
        let fault = draws.next();
        println!("{:>6.0} s  {}", begin.elapsed().as_secs_f64(), fault.name());
        if fault.restarts() {
            field.end_of_life()?;
        }
        field.strike(fault, &mut draws)?;
        field.recover()?;
        *counts.entry(fault.name()).or_default() += 1;
        at += settings.every;
        std::thread::sleep(at.saturating_duration_since(Instant::now()));
    }
    field.end_of_life()?;
    let stats = field.finish()?;
    println!("\n{:.1} min, seed {}", begin.elapsed().as_secs_f64() / 60.0, settings.seed);
    for (name, count) in &counts {
        println!("  {count:>4} × {name}");
    }
    for what in ["published", "deliveries", "connects", "recovered", "announced", "repeated", "violations"] {
        println!("  {what:<12} {:>10}", number(&stats, what));
    }
    field.lives().iter().for_each(|life| println!("  {life}"));
    let faults = field.faults();
    faults.iter().for_each(|fault| println!("FAULT  {fault}"));
    if faults.is_empty() { Ok(()) } else { Err(format!("{} faults", faults.len()).into()) }
}

impl Fault {
    /// Returns true if the fault ends the process.
    fn restarts(self) -> bool {
        matches!(self, Self::Kill | Self::Terminate)
    }
}
