//! `cargo xtask test`: installs what the tests need and runs everything, a step at a time.

use crate::shell::{self, Failure, cargo, command, run as must, works};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// One step: its name, what it is about, and how it is done.
struct Step {
    name: &'static str,
    about: &'static str,
    run: fn() -> Result<(), Failure>,
}

/// In this order: what is quick and what others stand on comes first.
const STEPS: &[Step] = &[
    Step { name: "tools", about: "programs that the tests need", run: tools },
    Step { name: "fmt", about: "format", run: || must(&mut cargo(&["fmt", "--all", "--check"])) },
    Step { name: "arrows", about: "which crate may know which", run: crate::arrows::run },
    Step { name: "build", about: "everything, in development mode", run: build },
    Step { name: "unit", about: "unit, property, simulation and socket tests", run: unit },
    Step { name: "clippy", about: "lints", run: clippy },
    Step { name: "doc", about: "documentation", run: doc },
    Step { name: "deny", about: "licences and bans of dependencies", run: deny },
    Step { name: "compat", about: "answers beside those of Centrifugo v6.9", run: || crate::compat::run(&[]) },
    Step { name: "web", about: "the console is what its source makes", run: web },
    Step { name: "node", about: "the official JavaScript SDK, in Node and in Chromium", run: node },
    Step { name: "python", about: "Python clients, tokens and bad input", run: python },
    Step { name: "sdk-suite", about: "the own tests of the Python SDK", run: sdk_suite },
    Step { name: "rust-sdk", about: "the official Rust SDK", run: rust_sdk },
    Step { name: "go-sdk", about: "the official Go SDK, where Go is", run: go_sdk },
    Step { name: "fuzz", about: "every fuzz target, 15 seconds each", run: || crate::fuzz::run(15, false) },
];

/// Runs all steps, or those named. `--list` names them.
pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    if shell::flag(arguments, "--list") {
        for step in STEPS {
            println!("{:<10} {}", step.name, step.about);
        }
        return Ok(());
    }
    let wanted = shell::positional(arguments, &[]);
    if let Some(unknown) = wanted.iter().find(|name| STEPS.iter().all(|step| step.name != **name)) {
        return Err(format!("no step {unknown}: see cargo xtask test --list").into());
    }
    let mut rows = Vec::new();
    for step in STEPS.iter().filter(|step| wanted.is_empty() || wanted.contains(&step.name)) {
        println!("\n== {}: {}", step.name, step.about);
        let start = Instant::now();
        let result = (step.run)();
        if let Err(error) = &result {
            println!("== {} failed: {error}", step.name);
        }
        rows.push((step.name, result.is_ok(), start.elapsed()));
    }
    println!("\n{:<10} {:>8}", "step", "seconds");
    for (name, passed, time) in &rows {
        println!("{name:<10} {:>8.1}  {}", time.as_secs_f64(), if *passed { "" } else { "FAILED" });
    }
    let total: f64 = rows.iter().map(|(.., time)| time.as_secs_f64()).sum();
    let failed = rows.iter().filter(|(_, passed, _)| !passed).count();
    println!("{:<10} {total:>8.1}\n\n{} passed, {failed} failed", "all", rows.len() - failed);
    if failed > 0 { Err(format!("{failed} steps failed").into()) } else { Ok(()) }
}

/// Installs Debian packages for programs that are missing, where this may install anything.
fn tools() -> Result<(), Failure> {
    const WANTED: &[(&str, &[&str], &[&str])] = &[
        ("python3", &["-c", "import venv, ensurepip"], &["python3", "python3-venv", "python3-pip"]),
        ("node", &["--version"], &["nodejs", "npm"]),
        ("npm", &["--version"], &["npm"]),
        ("chromium", &["--version"], &["chromium"]),
        ("curl", &["--version"], &["curl"]),
        ("c++", &["--version"], &["g++"]),
        ("make", &["--version"], &["make"]),
    ];
    let missing: Vec<&str> = WANTED
        .iter()
        .filter(|(program, arguments, _)| !works(program, arguments))
        .flat_map(|(_, _, packages)| packages.iter().copied())
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    if !works("apt-get", &["--version"]) {
        return Err(format!("please install: {}", missing.join(" ")).into());
    }
    let sudo = if works("sh", &["-c", "test \"$(id -u)\" = 0"]) { "" } else { "sudo " };
    let script = format!(
        "{sudo}apt-get update -q && DEBIAN_FRONTEND=noninteractive {sudo}apt-get install -q -y --no-install-recommends {}",
        missing.join(" ")
    );
    must(&mut command("sh", &["-c", &script]))
}

fn build() -> Result<(), Failure> {
    must(&mut cargo(&["build", "--workspace", "--locked"]))
}

fn unit() -> Result<(), Failure> {
    must(&mut cargo(&["test", "--workspace", "--locked", "--no-fail-fast"]))
}

fn clippy() -> Result<(), Failure> {
    must(&mut cargo(&["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"]))
}

fn doc() -> Result<(), Failure> {
    must(cargo(&["doc", "--workspace", "--no-deps", "--locked"]).env("RUSTDOCFLAGS", "-D warnings"))
}

/// Version of the program that checks licences and bans.
const DENY: &str = "0.20.2";

fn deny() -> Result<(), Failure> {
    if !works("cargo", &["deny", "--version"]) {
        must(&mut cargo(&["install", "--locked", "--quiet", "cargo-deny", "--version", DENY]))?;
    }
    must(&mut cargo(&["deny", "--locked", "check", "bans", "licenses"]))
}

/// Builds the console anew and compares it with what is committed.
fn web() -> Result<(), Failure> {
    let web = shell::root().join("web");
    must(command("npm", &["ci", "--no-audit", "--no-fund"]).current_dir(&web))?;
    must(command("npm", &["run", "build"]).current_dir(&web))?;
    must(&mut command("git", &["diff", "--exit-code", "--stat", "--", "web/dist"]))
}

/// The binary that the black-box tests start.
fn binary() -> Result<PathBuf, Failure> {
    must(&mut cargo(&["build", "--locked", "--package", "spinward-server"]))?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| shell::root().join("target"), PathBuf::from);
    Ok(target.join("debug/spinward"))
}

fn node() -> Result<(), Failure> {
    let folder = shell::root().join("compat/node");
    must(command("npm", &["ci", "--no-audit", "--no-fund"]).current_dir(&folder))?;
    must(command("npm", &["test"]).current_dir(&folder).env("SPINWARD_BIN", binary()?))
}

/// A Python with the packages of `compat/python`.
fn interpreter() -> Result<PathBuf, Failure> {
    let folder = shell::root().join("compat/python");
    let environment = shell::root().join("compat/.work/python");
    let python = environment.join("bin/python");
    if !python.exists() {
        must(&mut command("python3", &["-m", "venv", &environment.to_string_lossy()]))?;
    }
    let requirements = folder.join("requirements.txt");
    let requirements = requirements.to_string_lossy();
    must(&mut command(&python, &["-m", "pip", "install", "--quiet", "--requirement", &requirements]))?;
    Ok(python)
}

fn python() -> Result<(), Failure> {
    let folder = shell::root().join("compat/python");
    must(command(interpreter()?, &["-m", "pytest", "-q"]).current_dir(folder).env("SPINWARD_BIN", binary()?))
}

fn sdk_suite() -> Result<(), Failure> {
    let folder = shell::root().join("compat/python");
    must(command(interpreter()?, &["sdk_suite.py"]).current_dir(folder).env("SPINWARD_BIN", binary()?))
}

/// A project outside of the workspace, if it is there.
fn outside(folder: &str, mut test: std::process::Command) -> Result<(), Failure> {
    let path: PathBuf = shell::root().join(folder);
    if !Path::new(&path).exists() {
        return Err(format!("{folder} is missing").into());
    }
    must(test.current_dir(path).env("SPINWARD_BIN", binary()?))
}

fn rust_sdk() -> Result<(), Failure> {
    outside("compat/rust", cargo(&["test", "--locked"]))
}

fn go_sdk() -> Result<(), Failure> {
    if !works("go", &["version"]) {
        println!("skipped: there is no Go here");
        return Ok(());
    }
    outside("compat/go", command("go", &["test", "-count=1", "./..."]))
}
