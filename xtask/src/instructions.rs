//! `cargo xtask instructions`: counts what the hot paths cost and compares with what is on record.
//!
//! Times on a shared machine say little; instructions are the same each time. A change that costs a path more
//! than the tolerance fails, and one that saves as much asks for a new record.

use crate::shell::{self, Failure};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// Path of the recorded counts, below the root: a name and a count per line.
const RECORD: &str = "xtask/instructions.txt";
/// Tolerance between a count and the record, in percent. The memory allocator of the system and the processor's
/// string instructions have their part in it.
const TOLERANCE: f64 = 6.0;
/// The program with the cases of the library: codecs, sessions and fan-out.
const LIBRARY: &str = "spinward-loadgen";
/// That with the decisions of the server. It takes all that the server is made of, and minutes to build.
const SERVER: &str = "spinward-server";

/// Counts, prints, and fails where a count is too far off. `--record` replaces the record.
pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    count_all(&[LIBRARY, SERVER], shell::flag(arguments, "--record"))
}

/// The cases of the library alone, as continuous integration counts them.
pub(crate) fn short() -> Result<(), Failure> {
    count_all(&[LIBRARY], false)
}

fn count_all(packages: &[&str], replace: bool) -> Result<(), Failure> {
    let file = shell::root().join(RECORD);
    let record = read(&std::fs::read_to_string(&file).unwrap_or_default())?;
    let mut counts = BTreeMap::new();
    for package in packages {
        let program = build(package)?;
        for case in shell::output(&mut shell::command(&program, &[]))?.lines() {
            counts.insert(case.to_owned(), count(&program, case)?);
        }
    }
    println!("{:<24} {:>12} {:>12}", "instructions", "counted", "on record");
    for (case, counted) in &counts {
        match record.get(case) {
            Some(known) => {
                println!("{case:<24} {counted:>12} {known:>12} {:>+7.1}%", percent(*counted, *known))
            }
            None => println!("{case:<24} {counted:>12} {:>12}", "none"),
        }
    }
    let mut wrong = compare(&counts, &record);
    if packages.contains(&SERVER) {
        wrong.extend(gone(&counts, &record));
    }
    if replace {
        let mut text = String::new();
        for (case, counted) in &counts {
            writeln!(text, "{case} {counted}")?;
        }
        std::fs::write(&file, text)?;
        return Ok(());
    }
    if wrong.is_empty() {
        return Ok(());
    }
    Err(format!(
        "{}; if that is meant, replace the record with `cargo xtask instructions --record`",
        wrong.join("; ")
    )
    .into())
}

fn percent(counted: u64, known: u64) -> f64 {
    (counted as f64 / known as f64 - 1.0) * 100.0
}

/// Describes each count that differs too much from the record.
fn compare(counts: &BTreeMap<String, u64>, record: &BTreeMap<String, u64>) -> Vec<String> {
    let counted = counts.iter().filter_map(|(case, counted)| match record.get(case) {
        None => Some(format!("{case} is not on record")),
        Some(known) => {
            let percent = percent(*counted, *known);
            (percent.abs() > TOLERANCE).then(|| format!("{case}: {percent:+.1} % of {known}"))
        }
    });
    counted.collect()
}

/// Describes each case of the record that no program has.
fn gone(counts: &BTreeMap<String, u64>, record: &BTreeMap<String, u64>) -> Vec<String> {
    let gone = record.keys().filter(|case| !counts.contains_key(*case));
    gone.map(|case| format!("{case} is on record and was not counted")).collect()
}

fn read(text: &str) -> Result<BTreeMap<String, u64>, Failure> {
    text.lines()
        .map(|line| {
            let (case, count) =
                line.split_once(' ').ok_or_else(|| format!("{RECORD}: {line:?} has no count"))?;
            Ok((case.to_owned(), count.parse().map_err(|error| format!("{RECORD}: {line:?}: {error}"))?))
        })
        .collect()
}

/// Builds the program of a package; answers its path.
fn build(package: &str) -> Result<PathBuf, Failure> {
    let messages = shell::output(&mut shell::cargo(&[
        "bench",
        "--locked",
        "--quiet",
        "--package",
        package,
        "--bench",
        "instructions",
        "--no-run",
        "--message-format",
        "json",
    ]))?;
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["target"]["name"] == "instructions")
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .ok_or_else(|| format!("cargo built no program of {package}").into())
}

/// Instructions of the measured part of one case.
fn count(program: &Path, case: &str) -> Result<u64, Failure> {
    let mut command = shell::command(
        "valgrind",
        &[
            "--tool=callgrind",
            "--callgrind-out-file=/dev/null",
            "--collect-atstart=no",
            "--toggle-collect=spinward_testkit::counted::measured*",
        ],
    );
    let output = command.arg(program).arg(case).output()?;
    let text = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(format!("{case} failed: {text}").into());
    }
    let counted = text.lines().find_map(|line| line.split_once("Collected :")?.1.trim().parse().ok());
    match counted {
        Some(0) | None => Err(format!("{case}: nothing was counted: {text}").into()),
        Some(counted) => Ok(counted),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_near_the_record_passes() {
        let record = read("a 1000\nb 1000\nc 1000\nd 1000\n").expect("it is a record");
        let counts = read("a 1059\nb 941\nc 1061\ne 1\n").expect("it is a record");
        let wrong = compare(&counts, &record);
        assert_eq!(wrong.len(), 2, "{wrong:?}");
        assert!(wrong[0].starts_with("c: +6.1 %") && wrong[1].starts_with("e is not"));
        assert_eq!(gone(&counts, &record), ["d is on record and was not counted"]);
        assert!(read("a").is_err() && read("a b").is_err());
    }
}
