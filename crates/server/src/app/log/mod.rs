//! Log output: JSON lines, or coloured text on a terminal.

mod json;
mod queue;

use super::RunError;
use crate::config::typed::Log;
use json::Json;
use queue::{Destination, Queue};
use std::backtrace::{Backtrace, BacktraceStatus};
use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::time::Duration;
use tracing::Level;
use tracing_subscriber::filter::{LevelFilter, filter_fn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::reload::{self, Handle};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer, Registry, fmt};

/// The crate whose lines are left out: they hold the headers of requests, tokens among them.
const TELLING: &str = "wtransport";

/// A log that runs: its level can be changed, and its file be opened again. Clones share it.
#[derive(Clone)]
pub(super) struct Running {
    level: Handle<LevelFilter, Registry>,
    queue: Option<Queue>,
}

/// Standard error.
struct Stderr;

impl Destination for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        io::stderr().write(bytes)
    }
}

/// A file that may be moved away and made again.
struct LogFile {
    path: PathBuf,
    open: File,
}

impl LogFile {
    fn open(path: &str) -> io::Result<Self> {
        let path = PathBuf::from(path);
        let open = append_to(&path)?;
        Ok(Self { path, open })
    }
}

impl Destination for LogFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.open.write(bytes)
    }

    /// Reopens the file after a log rotation has moved the open one.
    fn reopen(&mut self) {
        match append_to(&self.path) {
            Ok(file) => self.open = file,
            Err(error) => {
                let file = self.path.display();
                tracing::error!(%error, %file, "cannot reopen log.file; logging continues to the old file");
            }
        }
    }
}

fn append_to(path: &PathBuf) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

impl Running {
    /// Logs by `log.level` of these settings from now on.
    pub(super) fn set_level(&self, settings: &Log) {
        // An error is a log that is gone, as where another one was started before: there is nothing to change.
        let _ = self.level.reload(level(settings));
    }

    /// Opens `log.file` again.
    pub(super) fn reopen(&self) {
        if let Some(queue) = &self.queue {
            queue.reopen();
        }
    }

    /// Lines that were not written.
    pub(super) fn dropped(&self) -> u64 {
        self.queue.as_ref().map_or(0, Queue::dropped)
    }

    /// Waits for the lines that are not written yet, but no longer than this.
    pub(super) fn drain(&self, limit: Duration) {
        if let Some(queue) = &self.queue {
            queue.drain(limit);
        }
    }
}

fn level(settings: &Log) -> LevelFilter {
    match settings.level.to_ascii_lowercase().as_str() {
        "none" => LevelFilter::OFF,
        "trace" => Level::TRACE.into(),
        "debug" => Level::DEBUG.into(),
        "warn" => Level::WARN.into(),
        "error" | "fatal" => Level::ERROR.into(),
        _ => Level::INFO.into(),
    }
}

/// Starts logging. A second start in one process changes nothing.
///
/// # Errors
/// The file cannot be opened, or the thread that writes the log cannot be started.
pub(super) fn start(settings: &Log) -> Result<Running, RunError> {
    let (filter, handle) = reload::Layer::new(level(settings));
    let log = tracing_subscriber::registry().with(filter);
    let file = (!settings.file.is_empty()).then(|| LogFile::open(&settings.file)).transpose();
    let file = file.map_err(|source| RunError::LogFile { path: settings.file.clone(), source })?;
    let (queue, text) = match file {
        Some(file) => (Queue::start(file), false),
        None => (Queue::start(Stderr), io::stderr().is_terminal()),
    };
    let queue = queue.map_err(RunError::Start)?;
    let writer = queue.clone();
    let lines = fmt::layer().with_target(false).with_writer(move || writer.clone());
    let layer = if text { lines.boxed() } else { lines.event_format(Json).boxed() };
    // Engines and consumers say themselves that a connection was lost, once; these client libraries would for each
    // attempt.
    let noisy = |target: &str| target.starts_with("async_nats") || target.starts_with("krafka");
    let unwanted = move |target: &str| target.starts_with(TELLING) || noisy(target);
    let layer = layer.with_filter(filter_fn(move |line| !unwanted(line.target())));
    // A log that was started before stays as it is.
    let ours = log.with(layer).try_init().is_ok();
    if ours {
        std::panic::set_hook(Box::new(report));
    }
    Ok(Running { level: handle, queue: ours.then_some(queue) })
}

/// Logs a panic. The usual report goes to standard error, which may block, and has a message that may hold data.
fn report(panic: &std::panic::PanicHookInfo<'_>) {
    let thread = std::thread::current();
    let thread = thread.name().unwrap_or("unnamed");
    let location = panic.location().map(ToString::to_string).unwrap_or_default();
    let backtrace = Backtrace::capture();
    if backtrace.status() == BacktraceStatus::Captured {
        tracing::error!(location, thread, %backtrace, "a thread panicked");
    } else {
        tracing::error!(location, thread, "a thread panicked");
    }
}
