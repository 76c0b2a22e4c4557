//! `cargo xtask chaos`: several nodes over each engine, and faults drawn from a seed.

use crate::shell::{self, Failure};
use std::ffi::OsStr;
use std::path::Path;

/// Seconds of faults for each engine in continuous integration.
const SHORT: &[(&str, &str)] = &[
    ("redis", "20"),
    ("redis-lists", "10"),
    ("valkey", "10"),
    ("sentinel", "25"),
    ("cluster", "25"),
    ("jetstream", "20"),
    ("postgres", "20"),
];

/// Runs the program of the test kit with these arguments; it explains them.
pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    start(&path, &crate::bench::server::binary()?, &arguments.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Every fault of each engine about once, a drain, and emulated transports without sticky sessions. `path` is where the
/// servers are, `binary` the server under test.
pub(crate) fn short(path: &OsStr, binary: &Path) -> Result<(), Failure> {
    for (engine, seconds) in SHORT {
        let minutes = (seconds.parse::<f64>()? / 60.0).to_string();
        start(path, binary, &["--short", "--engine", engine, "--minutes", &minutes])?;
    }
    start(path, binary, &["--short", "--engine", "redis", "--emulated"])?;
    start(path, binary, &["--short", "--engine", "redis", "--drain", "--clients", "3000"])
}

fn start(path: &OsStr, binary: &Path, arguments: &[&str]) -> Result<(), Failure> {
    // With a test, so that nothing is built again with other features than those of the tests.
    let build =
        ["build", "--workspace", "--locked", "--quiet", "--bin", "spinward-chaos", "--test", "chaos_teeth"];
    shell::run(&mut shell::cargo(&build))?;
    let program = shell::target().join("debug/spinward-chaos");
    let mut command = shell::command(program, arguments);
    shell::run(command.env("PATH", path).env("SPINWARD_BIN", binary).env("SPINWARD_ENGINES", "1"))
}
