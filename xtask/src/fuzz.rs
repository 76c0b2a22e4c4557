//! Runs the fuzz targets under `fuzz/`, and proves that they would find something.
//!
//! `cargo xtask fuzz [--seconds N] [--teeth]` builds every target with LLVM's coverage counters and the
//! address sanitizer, as cargo-fuzz would (which is not needed, but works as well), runs each for N seconds,
//! as many at a time as there are cores, and prints executions and covered edges per target. What a run learns
//! stays in `fuzz/corpus`; an input that fails is kept in `fuzz/artifacts`. The golden messages of `wire`
//! and `spinward` are the seeds, `fuzz/dictionaries` holds words worth trying.
//!
//! With `--teeth` the targets are built with `--cfg planted_fault`: each then holds one fault, and fails the
//! run if it does not find it within the N seconds, starting from the seeds alone.

mod seeds;

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Mutex;

/// The flags of cargo-fuzz. One codegen unit, so that counters are laid out the same each time.
const FLAGS: &[&str] = &[
    "--cfg=fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Ccodegen-units=1",
    "-Zsanitizer=address",
];

/// Inputs longer than this say nothing new; the reader's limit is smaller too.
const MAX_LEN: u32 = 4_096;

/// Fuzzes every target for `seconds`; with `teeth`, checks that every target finds its planted fault.
///
/// # Errors
/// The targets do not build, one of them fails, or with `teeth`, one of them passes.
pub(crate) fn run(seconds: u64, teeth: bool) -> Result<(), Box<dyn Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().ok_or("xtask lies in the workspace")?;
    let fuzz = root.join("fuzz");
    let targets = targets(&fuzz)?;
    let binaries = build(&fuzz, teeth)?;

    println!("{:<18} {:>12} {:>8} {:>8}", "target", "executions", "edges", "verdict");
    let waiting = Mutex::new(targets.iter());
    let failures = Mutex::new(Vec::new());
    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(targets.len());
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some(target) = next(&waiting) {
                    if let Err(error) = fuzz_one(&fuzz, &binaries, target, seconds, teeth)
                        && let Ok(mut failures) = failures.lock()
                    {
                        failures.push(format!("{target}: {error}"));
                    }
                }
            });
        }
    });
    let failures = failures.into_inner()?;
    if failures.is_empty() { Ok(()) } else { Err(failures.join("\n").into()) }
}

fn next<'a>(waiting: &Mutex<impl Iterator<Item = &'a String>>) -> Option<&'a String> {
    waiting.lock().ok()?.next()
}

fn targets(fuzz: &Path) -> Result<Vec<String>, Box<dyn Error>> {
    let mut targets = Vec::new();
    for entry in fs::read_dir(fuzz.join("fuzz_targets"))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "rs")
            && let Some(name) = path.file_stem().and_then(|name| name.to_str())
        {
            targets.push(name.to_owned());
        }
    }
    targets.sort_unstable();
    if targets.is_empty() { Err("fuzz/fuzz_targets holds no target".into()) } else { Ok(targets) }
}

/// Builds all targets and returns the folder they are in.
fn build(fuzz: &Path, teeth: bool) -> Result<PathBuf, Box<dyn Error>> {
    // A folder of its own for the other flags, so that neither build undoes the other.
    let target_dir = fuzz.join(if teeth { "target/teeth" } else { "target" });
    let (mut rustc, mut cargo) = toolchain();
    let version = String::from_utf8(rustc.arg("-vV").output()?.stdout)?;
    let host =
        version.lines().find_map(|line| line.strip_prefix("host: ")).ok_or("rustc -vV names no host")?;

    let mut flags = FLAGS.to_vec();
    if teeth {
        flags.push("--cfg=planted_fault");
    }
    // The explicit target keeps the flags away from build scripts and macros.
    let status = cargo
        .args(["build", "--release", "--target", host, "--manifest-path"])
        .arg(fuzz.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(&target_dir)
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"))
        .env_remove("RUSTFLAGS")
        .status()?;
    if !status.success() {
        return Err("the fuzz targets do not build".into());
    }
    Ok(target_dir.join(host).join("release"))
}

/// `rustc` and `cargo` of an installed nightly, or else the present ones with nightly features let in.
fn toolchain() -> (Command, Command) {
    let list = Command::new("rustup").args(["toolchain", "list"]).output();
    let nightly = list.ok().and_then(|list| {
        let list = String::from_utf8_lossy(&list.stdout).into_owned();
        list.split_whitespace().find(|name| name.starts_with("nightly")).map(str::to_owned)
    });
    let command = |program: &str| {
        let mut command = match &nightly {
            Some(nightly) => {
                let mut command = Command::new("rustup");
                command.args(["run", nightly, program]);
                command
            }
            None => {
                let mut command = Command::new(program);
                command.env("RUSTC_BOOTSTRAP", "1");
                command
            }
        };
        // The outer cargo's libraries are not for another toolchain's compiler.
        command.env_remove("LD_LIBRARY_PATH");
        command
    };
    (command("rustc"), command("cargo"))
}

fn fuzz_one(
    fuzz: &Path,
    binaries: &Path,
    target: &str,
    seconds: u64,
    teeth: bool,
) -> Result<(), Box<dyn Error>> {
    let (corpus, artifacts) = if teeth {
        let scratch = fuzz.join("target/teeth/found").join(target);
        if scratch.exists() {
            fs::remove_dir_all(&scratch)?;
        }
        (scratch.join("corpus"), scratch.join("artifacts"))
    } else {
        (fuzz.join("corpus").join(target), fuzz.join("artifacts").join(target))
    };
    fs::create_dir_all(&corpus)?;
    fs::create_dir_all(&artifacts)?;

    let mut command = Command::new(binaries.join(target));
    command
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-max_len={MAX_LEN}"))
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .args(["-print_final_stats=1", "-timeout=10", "-rss_limit_mb=2048"])
        .arg(&corpus)
        // Rust's and LLVM's copies of the same constants are not violations.
        .env("ASAN_OPTIONS", "detect_odr_violation=0");
    let dictionary = fuzz.join("dictionaries").join(format!("{target}.dict"));
    if dictionary.is_file() {
        command.arg(format!("-dict={}", dictionary.display()));
    }
    let golden = fuzz.join("../crates").join(seeds::owner(target)).join("tests/golden");
    if golden.is_dir() {
        let seeds = fuzz.join("target/seeds").join(target);
        seeds::write(&golden, target, &seeds)?;
        command.arg(seeds);
    }
    let output = command.output()?;
    let report = Report::new(&output);
    let found = !output.status.success();
    // A target that cannot start has not found anything.
    let found_something = found && fs::read_dir(&artifacts)?.next().is_some();
    let verdict = match (teeth, found) {
        (false, false) => "clean",
        (true, true) if found_something => "bites",
        (true, false) => "no teeth",
        _ => "FAILED",
    };
    println!("{target:<18} {:>12} {:>8} {verdict:>8}", report.executions, report.edges);
    match verdict {
        "clean" if report.executions == 0 => Err("nothing was executed".into()),
        "clean" | "bites" => Ok(()),
        "no teeth" => Err(format!("the planted fault was not found in {seconds} seconds").into()),
        _ => Err(format!("failed; input kept under {}\n{}", artifacts.display(), report.tail).into()),
    }
}

/// Summary of a libFuzzer run.
struct Report {
    executions: u64,
    edges: u64,
    tail: String,
}

impl Report {
    fn new(output: &Output) -> Self {
        let text = String::from_utf8_lossy(&output.stderr);
        let (mut executions, mut edges) = (0, 0);
        // Lines such as `#4096 pulse cov: 231 ft: 702 corp: 64/1310b`.
        for line in text.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            if let Some(number) = line.strip_prefix('#')
                && let Some(number) = number.split_whitespace().next()
            {
                executions = number.parse().unwrap_or(executions);
            }
            if let ["stat::number_of_executed_units:", number] = words[..] {
                executions = number.parse().unwrap_or(executions);
            }
            if let Some(at) = words.iter().position(|word| *word == "cov:") {
                edges = words.get(at + 1).and_then(|number| number.parse().ok()).unwrap_or(edges);
            }
        }
        let lines: Vec<&str> = text.lines().collect();
        let tail = lines[lines.len().saturating_sub(40)..].join("\n");
        Self { executions, edges, tail }
    }
}
