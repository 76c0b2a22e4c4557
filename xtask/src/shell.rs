//! Running programs and reading arguments.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

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

/// Lines of a program's output that are kept to be shown again.
const KEPT: usize = 120;

/// Runs to the end; a status other than zero is a failure. What the program writes is shown as it comes, and the last
/// lines of a program that fails are a part of the failure: where thousands of lines follow, as in a log that is cut to
/// its end, the reason is still there.
pub(crate) fn run(command: &mut Command) -> Result<(), Failure> {
    let name = show(command);
    let failed = |e: io::Error| format!("{name}: {e}");
    let (reader, writer) = io::pipe().map_err(failed)?;
    command.stderr(writer.try_clone().map_err(failed)?).stdout(writer);
    let child = command.spawn();
    // The command holds the writing end, without which the reader would not end with the program.
    command.stdout(Stdio::inherit()).stderr(Stdio::inherit());
    let mut child = child.map_err(failed)?;
    let last = Arc::new(Mutex::new(VecDeque::with_capacity(KEPT)));
    let (reading, ended) = mpsc::channel::<()>();
    let keep = Arc::clone(&last);
    thread::spawn(move || {
        show_and_keep(reader, &keep);
        drop(reading);
    });
    let status = child.wait().map_err(failed)?;
    // What the program has started may still hold the pipe.
    let _ = ended.recv_timeout(Duration::from_secs(1));
    if status.success() {
        return Ok(());
    }
    let last = Vec::from(last.lock().unwrap_or_else(PoisonError::into_inner).clone()).join("\n");
    Err(format!("{name}: {status}\n{last}").into())
}

/// Copies everything to standard output, and keeps the last lines.
fn show_and_keep(reader: impl Read, last: &Mutex<VecDeque<String>>) {
    for line in BufReader::new(reader).split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line).into_owned();
        // A closed terminal does not end the tests.
        let _ = writeln!(io::stdout(), "{line}");
        let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.len() == KEPT {
            last.pop_front();
        }
        last.push_back(line);
    }
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

/// A port that nothing listens on, given out once by this process. It is below those that the system gives out by
/// itself (`net.ipv4.ip_local_port_range`), so that no outgoing connection takes it before its server does.
pub(crate) fn free_port() -> Result<u16, Failure> {
    const FIRST: u16 = 10_000;
    const COUNT: u32 = 22_768;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Processes side by side begin far from each other.
    let start = std::process::id().wrapping_mul(613);
    for _ in 0..COUNT {
        let number = start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT;
        let port = FIRST + u16::try_from(number)?;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    Err("no port is free".into())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_what_was_written_last() {
        let script = "i=0; while [ $i -lt 200 ]; do echo line $i; i=$((i+1)); done; echo why >&2; exit 3";
        let error = run(&mut command("sh", &["-c", script])).unwrap_err().to_string();
        assert!(error.contains("exit status: 3") && error.ends_with("line 199\nwhy"), "{error}");
        assert_eq!(error.lines().filter(|line| line.starts_with("line ")).count(), KEPT - 1);
    }

    #[test]
    fn a_program_that_goes_on_in_the_background_is_not_waited_for() {
        run(&mut command("sh", &["-c", "sleep 3 &"])).unwrap();
    }
}
