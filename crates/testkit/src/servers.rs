//! Real servers for tests: each is started on a free port, in a folder of its own, and ends with the value that holds
//! it.
//!
//! A test asks [`installed`] first. `cargo xtask test engines` installs everything and sets `SPINWARD_ENGINES`, so that
//! nothing is skipped there; elsewhere a test whose server is missing says so and passes.

pub mod clouds;
pub mod kafka;
pub mod nats;
pub mod postgres;
pub mod redis;

use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::sleep;
use std::time::Duration;

/// Name of the variable that says what becomes of tests that need a server: with `1` a missing one is a failure, and not
/// a reason to skip a test; with `0` every such test is skipped.
pub const REQUIRED: &str = "SPINWARD_ENGINES";

/// Time that a server may take to start or to end.
const PATIENCE: Duration = Duration::from_secs(20);

/// Returns true if a test can run that needs these programs, by name or path. Prints what is missing.
///
/// # Panics
/// One is missing, and [`REQUIRED`] is set.
#[must_use]
pub fn installed(programs: &[&Path]) -> bool {
    let wish = std::env::var_os(REQUIRED);
    if wish.as_ref().is_some_and(|wish| wish == "0") {
        eprintln!("SKIPPED: {REQUIRED} is 0");
        return false;
    }
    let missing: Vec<_> = programs.iter().filter(|program| found(program).is_none()).collect();
    if missing.is_empty() {
        return true;
    }
    assert!(wish.is_none(), "not installed: {missing:?}");
    eprintln!("SKIPPED: not installed: {missing:?}; `cargo xtask test engines` installs what is missing");
    false
}

/// The path of a program: itself if it is one, else the first of that name in `PATH` or `/usr/sbin`.
#[must_use]
pub fn found(program: &Path) -> Option<PathBuf> {
    if program.components().count() > 1 {
        return program.is_file().then(|| program.to_owned());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    folders.map(|folder| folder.join(program)).find(|candidate| candidate.is_file())
}

/// The folder where `cargo xtask test` keeps servers that it takes from PyPI: `bin` of a Python environment.
#[must_use]
pub fn wheels() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../compat/.work/servers/bin")
}

/// Ports that the system gives to nobody by itself: those of outgoing connections and of listeners on port 0 begin
/// above (`net.ipv4.ip_local_port_range`), so that such a one does not take a port before its server does.
const PORTS: std::ops::Range<u32> = 10_000..32_768;

/// A port that nothing listens on, given out once by this process. Another program may take it before it is used;
/// what starts a server tries again.
///
/// # Panics
/// No port is free.
#[must_use]
#[allow(clippy::expect_used, reason = "a test cannot go on without a port")]
pub fn free_port() -> u16 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let count = u64::from(PORTS.end - PORTS.start);
    // Processes side by side begin far from each other.
    let start = u64::from(std::process::id()) * 613;
    (0..count)
        .map(|_| (start + NEXT.fetch_add(1, Ordering::Relaxed)) % count + u64::from(PORTS.start))
        .filter_map(|port| u16::try_from(port).ok())
        .find(|&port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok())
        .expect("a free port")
}

/// An empty folder that is removed with this value.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// Makes a folder whose name begins like this.
    ///
    /// # Panics
    /// It cannot be made.
    #[must_use]
    #[allow(clippy::expect_used, reason = "a test cannot go on without its folder")]
    pub fn new(name: &str) -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("spinward-{name}-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder for the test");
        Self(folder)
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A program that runs, and is killed with this value. Its output is in the file `log` of its folder.
#[derive(Debug)]
pub struct Program {
    child: Child,
}

impl Program {
    /// Starts a program. Its output is appended to `log`.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(command: &mut Command, log: &Path) -> io::Result<Self> {
        let log = std::fs::File::options().create(true).append(true).open(log)?;
        let child = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?;
        Ok(Self { child })
    }

    /// Id of the process.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by name, such as `STOP`, `CONT` or `TERM`.
    ///
    /// # Errors
    /// The signal could not be sent.
    pub fn signal(&self, name: &str) -> io::Result<()> {
        let id = self.child.id().to_string();
        let status = Command::new("kill").args([&format!("-{name}"), &id]).status()?;
        if status.success() { Ok(()) } else { Err(io::Error::other(format!("kill -{name} {id}: {status}"))) }
    }

    /// Returns true while the program runs.
    pub fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Kills the program, and waits until it is gone.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Asks the program to end, and waits until it has. Kills it if it takes too long.
    pub fn terminate(&mut self) {
        let _ = self.signal("TERM");
        if !within(PATIENCE, || !self.runs()) {
            self.kill();
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // A stopped process is not killed before it continues.
        if self.runs() {
            let _ = self.signal("CONT");
        }
        self.kill();
    }
}

/// Waits until something holds, asked every 20 ms. Returns false if it does not within this time.
pub fn within(time: Duration, mut holds: impl FnMut() -> bool) -> bool {
    const PAUSE: Duration = Duration::from_millis(20);
    for _ in 0..=time.as_millis() / PAUSE.as_millis() {
        if holds() {
            return true;
        }
        sleep(PAUSE);
    }
    false
}

/// Starts a server, with another port if the first was taken in the meantime. `start` is given the port, `ready` says
/// when it serves.
///
/// # Panics
/// It does not start in three attempts.
pub fn serve(
    name: &str,
    start: impl FnMut(u16) -> io::Result<Program>,
    ready: impl Fn(u16) -> bool,
) -> (Program, u16) {
    serve_within(PATIENCE, name, start, ready)
}

/// The same for a server that may take longer than others.
///
/// # Panics
/// It does not start in three attempts.
pub fn serve_within(
    patience: Duration,
    name: &str,
    mut start: impl FnMut(u16) -> io::Result<Program>,
    ready: impl Fn(u16) -> bool,
) -> (Program, u16) {
    for _ in 0..3 {
        let port = free_port();
        match start(port) {
            Ok(mut program) => {
                let mut ended = false;
                within(patience, || {
                    ended = !program.runs();
                    ended || ready(port)
                });
                if !ended && ready(port) {
                    return (program, port);
                }
            }
            Err(error) => eprintln!("{name}: {error}"),
        }
    }
    panic!("{name} does not start");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_ends_with_its_value() {
        let folder = Folder::new("program");
        let mut command = Command::new("sleep");
        let program = Program::start(command.arg("600"), &folder.path().join("log")).unwrap();
        let path = format!("/proc/{}", program.id());
        assert!(Path::new(&path).exists() || !Path::new("/proc/self").exists());
        drop(program);
        assert!(!Path::new(&path).exists());
    }
}
