//! The test programs of the workspace, several at a time.
//!
//! `cargo test` runs one program after another, and most of them wait for timers more than they compute.

use crate::shell::{self, Failure};
use serde_json::Value;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Programs at the same time.
const AT_ONCE: usize = 3;

/// Longest time of a program: one that hangs must not take the results of the others with it.
pub(super) const LIMIT: Duration = Duration::from_secs(600);

/// Programs that measure times or memory, and those that use every core: each runs alone.
const ALONE: &[&str] = &["bounds", "flood", "floods", "many", "pauses", "simulation", "storms"];

/// Status of `timeout` for a program that it has ended.
const TIMED_OUT: i32 = 124;

/// Programs that wait longest. They begin first.
const FIRST: &[&str] = &["http", "endpoints"];

/// Those that failed in the last run.
static FAILED: Mutex<Vec<Program>> = Mutex::new(Vec::new());

/// A program that Cargo has built.
#[derive(Clone)]
struct Program {
    /// Its package and target, as in `spinward: recovery`.
    name: String,
    file: PathBuf,
    /// Folder of its package, in which Cargo would run it.
    folder: PathBuf,
    alone: bool,
    first: bool,
}

/// Some of the test programs, and how they are run.
pub(super) struct Suite<'a> {
    /// Returns true for the name of a target that belongs to it.
    pub(super) has: fn(&str) -> bool,
    /// Variables of the environment.
    pub(super) variables: &'a [(&'a str, &'a OsStr)],
    /// Time after which a program is ended, with everything that it has started.
    pub(super) limit: Duration,
}

impl Suite<'_> {
    /// Builds all test programs of the workspace, and runs those of the suite.
    pub(super) fn run(&self) -> Result<(), Failure> {
        failed().clear();
        self.run_these(built(self.has)?)
    }

    /// Runs those that failed in the last run, one after another; all of them if the last run did not get to them.
    pub(super) fn run_failed(&self) -> Result<(), Failure> {
        let mut last = std::mem::take(&mut *failed());
        if last.is_empty() {
            return self.run();
        }
        last.iter_mut().for_each(|program| program.alone = true);
        self.run_these(last)
    }

    fn run_these(&self, programs: Vec<Program>) -> Result<(), Failure> {
        let count = programs.len();
        let (alone, together): (Vec<_>, Vec<_>) = programs.into_iter().partition(|program| program.alone);
        for (programs, at_once) in [(together, AT_ONCE), (alone, 1)] {
            let waiting = Mutex::new(programs.into_iter());
            let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).next();
            std::thread::scope(|scope| {
                for _ in 0..at_once {
                    scope.spawn(|| {
                        while let Some(program) = next() {
                            if !self.passes(&program) {
                                failed().push(program);
                            }
                        }
                    });
                }
            });
        }
        let failed = failed();
        println!("{count} test programs, {} failed", failed.len());
        let names: Vec<&str> = failed.iter().map(|program| program.name.as_str()).collect();
        if names.is_empty() { Ok(()) } else { Err(format!("failed: {}", names.join(", ")).into()) }
    }

    /// Runs a program, and prints what it wrote if it fails.
    fn passes(&self, program: &Program) -> bool {
        let mut command = Command::new("timeout");
        command.args(["--kill-after=10", &self.limit.as_secs().to_string()]).arg(&program.file);
        command.arg("--quiet").current_dir(&program.folder).env("CARGO_MANIFEST_DIR", &program.folder);
        let start = Instant::now();
        let output = command.envs(self.variables.iter().copied()).output();
        let seconds = start.elapsed().as_secs_f64();
        let (passed, text) = match output {
            Ok(output) if output.status.success() => (true, String::new()),
            Ok(output) => {
                let mut written = [output.stdout, output.stderr].concat();
                if output.status.code() == Some(TIMED_OUT) {
                    written.extend(format!("ended after {} s\n", self.limit.as_secs()).bytes());
                }
                (false, format!("\n{}{}", String::from_utf8_lossy(&written), output.status))
            }
            Err(error) => (false, format!("\n{}: {error}", program.file.display())),
        };
        // In one call, so that the lines of two programs do not mix.
        println!("{} {:<40} {seconds:>6.1} s{text}", if passed { "ok    " } else { "FAILED" }, program.name);
        passed
    }
}

fn failed() -> MutexGuard<'static, Vec<Program>> {
    FAILED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Builds the workspace's tests, its examples with them.
fn built(has: fn(&str) -> bool) -> Result<Vec<Program>, Failure> {
    let arguments = ["test", "--workspace", "--locked", "--quiet", "--no-run"];
    let messages =
        shell::output(shell::cargo(&arguments).args(["--message-format", "json-render-diagnostics"]))?;
    let mut programs: Vec<Program> = messages
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .filter_map(|message| program(&message, has))
        .collect();
    if programs.is_empty() {
        return Err("cargo built no test program".into());
    }
    programs.sort_by_key(|program| !program.first);
    Ok(programs)
}

/// The test program that a message of Cargo's is about.
fn program(message: &Value, has: fn(&str) -> bool) -> Option<Program> {
    if message["profile"]["test"] != true {
        return None;
    }
    let target = message["target"]["name"].as_str().filter(|name| has(name))?;
    let folder = Path::new(message["manifest_path"].as_str()?).parent()?;
    let package = folder.file_name()?.to_string_lossy();
    Some(Program {
        name: format!("{package}: {target}"),
        file: message["executable"].as_str()?.into(),
        folder: folder.to_owned(),
        alone: ALONE.contains(&target),
        first: FIRST.contains(&target),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell_program(name: &str, script: &str) -> Program {
        let file = std::env::temp_dir().join(format!("spinward-program-{}-{name}", std::process::id()));
        std::fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
        let mut permissions = file.metadata().unwrap().permissions();
        std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o755);
        std::fs::set_permissions(&file, permissions).unwrap();
        Program {
            name: name.to_owned(),
            file,
            folder: std::env::temp_dir(),
            alone: name == "alone",
            first: false,
        }
    }

    #[test]
    #[cfg_attr(not(target_os = "linux"), ignore = "`timeout` is a program of Linux")]
    fn what_fails_is_named_and_has_the_second_run_to_itself() {
        let mark = std::env::temp_dir().join(format!("spinward-mark-{}", std::process::id()));
        let once = format!("test -e {0} || {{ touch {0}; exit 3; }}", mark.display());
        let programs = vec![
            shell_program("good", "exit 0"),
            shell_program("alone", "test \"$GIVEN\" = yes"),
            shell_program("once", &once),
            shell_program("endless", "sleep 60"),
        ];
        let suite = Suite {
            has: |_| unreachable!("nothing is built"),
            variables: &[("GIVEN", "yes".as_ref())],
            limit: Duration::from_secs(3),
        };
        let start = Instant::now();
        let error = suite.run_these(programs.clone()).unwrap_err().to_string();
        assert_eq!(error.replace("endless, once", "once, endless"), "failed: once, endless");
        assert!(start.elapsed() < Duration::from_secs(30));
        failed().retain(|program| program.name == "once");
        suite.run_failed().unwrap();
        assert!(failed().is_empty());
        for file in programs.iter().map(|program| &program.file).chain([&mark]) {
            std::fs::remove_file(file).unwrap();
        }
    }

    #[test]
    fn only_test_programs_are_taken_from_what_cargo_says() {
        let message = |test: bool, name: &str| {
            serde_json::json!({
                "reason": "compiler-artifact", "manifest_path": "/w/crates/wire/Cargo.toml", "executable": "/w/x",
                "target": {"name": name}, "profile": {"test": test},
            })
        };
        let found = program(&message(true, "bounds"), |_| true).unwrap();
        assert!(found.alone && found.name == "wire: bounds" && found.folder == Path::new("/w/crates/wire"));
        assert!(program(&message(false, "bounds"), |_| true).is_none(), "a program, not a test");
        assert!(program(&message(true, "bounds"), |name| name == "redis").is_none());
        assert!(program(&serde_json::json!({"reason": "build-finished"}), |_| true).is_none());
    }
}
