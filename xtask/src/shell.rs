//! Running programs and reading arguments.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Any failure of a task, in words.
pub(crate) type Failure = Box<dyn std::error::Error>;

/// Root of the workspace.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

/// Cargo's target directory.
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// A program, to be run in the root of the workspace.
pub(crate) fn command(program: impl AsRef<OsStr>, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(root());
    command
}

/// Cargo as this task was called by it.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    command(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()), arguments)
}

/// Runs to the end; a status other than zero is a failure.
pub(crate) fn run(command: &mut Command) -> Result<(), Failure> {
    let status = command.status().map_err(|e| format!("{}: {e}", show(command)))?;
    if status.success() { Ok(()) } else { Err(format!("{}: {status}", show(command)).into()) }
}

/// Runs to the end and gives what it wrote to standard output.
pub(crate) fn output(command: &mut Command) -> Result<String, Failure> {
    let output = command.stderr(Stdio::inherit()).output().map_err(|e| format!("{}: {e}", show(command)))?;
    if !output.status.success() {
        return Err(format!("{}: {}", show(command), output.status).into());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Returns true if a program can be run with these arguments. Its output is discarded.
pub(crate) fn works(program: &str, arguments: &[&str]) -> bool {
    command(program, arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Runs a program with the soft limit of open files raised to the hard one; it keeps its process id.
pub(crate) fn with_all_files(program: &Path, arguments: &[&str]) -> Command {
    let mut command = command("sh", &["-c", "ulimit -n \"$(ulimit -Hn)\"; exec \"$0\" \"$@\""]);
    command.arg(program).args(arguments);
    command
}

/// Value that follows an option.
pub(crate) fn option<'a>(arguments: &'a [String], name: &str) -> Option<&'a str> {
    let at = arguments.iter().position(|a| a == name)?;
    arguments.get(at + 1).map(String::as_str)
}

/// Returns true if an option without a value is present.
pub(crate) fn flag(arguments: &[String], name: &str) -> bool {
    arguments.iter().any(|a| a == name)
}

/// Arguments that are neither an option nor the value of one of `valued`.
pub(crate) fn positional<'a>(arguments: &'a [String], valued: &[&str]) -> Vec<&'a str> {
    let mut skip = false;
    let mut out = Vec::new();
    for argument in arguments {
        if std::mem::take(&mut skip) {
            continue;
        }
        if argument.starts_with("--") {
            skip = valued.contains(&argument.as_str());
        } else {
            out.push(argument.as_str());
        }
    }
    out
}

fn show(command: &Command) -> String {
    let mut text = command.get_program().to_string_lossy().into_owned();
    for argument in command.get_args().take(8) {
        text.push(' ');
        text.push_str(&argument.to_string_lossy());
    }
    text
}
