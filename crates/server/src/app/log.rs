//! Where the log goes: JSON lines, or coloured text on a terminal.

use crate::config::typed::Log;
use parking_lot::RwLock;
use std::fs::{File, OpenOptions};
use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;
use tracing::Level;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::reload::{self, Handle};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer, Registry, fmt};

/// A log that runs: how much it tells can be changed, and its file be opened anew.
pub(super) struct Running {
    level: Handle<LevelFilter, Registry>,
    file: Option<LogFile>,
}

struct LogFile {
    path: PathBuf,
    /// A line is one write to a file that is appended to: lines need no lock between them.
    open: Arc<RwLock<Arc<File>>>,
}

impl LogFile {
    fn open(path: &str) -> std::io::Result<Self> {
        let path = PathBuf::from(path);
        let open = append_to(&path)?;
        Ok(Self { path, open: Arc::new(RwLock::new(Arc::new(open))) })
    }
}

fn append_to(path: &PathBuf) -> std::io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

impl Running {
    /// Logs by `log.level` of these settings from now on.
    pub(super) fn set_level(&self, settings: &Log) {
        // An error is a log that is gone, as where another one was started before: there is nothing to change.
        let _ = self.level.reload(level(settings));
    }

    /// Opens `log.file` anew: what rotates logs has moved the one that is open, and made room for another.
    pub(super) fn reopen(&self) {
        let Some(LogFile { path, open }) = &self.file else { return };
        match append_to(path) {
            Ok(file) => *open.write() = Arc::new(file),
            Err(error) => {
                tracing::error!(%error, file = %path.display(), "log.file cannot be opened anew; logging to the one before");
            }
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
pub(super) fn start(settings: &Log) -> Running {
    let (filter, handle) = reload::Layer::new(level(settings));
    let log = tracing_subscriber::registry().with(filter);
    let lines = || fmt::layer().with_target(false);
    let to_stderr = || lines().json().flatten_event(true).with_writer(std::io::stderr).boxed();
    let file = (!settings.file.is_empty()).then(|| LogFile::open(&settings.file)).transpose();
    let layer = match &file {
        Ok(Some(file)) => {
            let open = Arc::clone(&file.open);
            lines().json().flatten_event(true).with_writer(move || Arc::clone(&open.read())).boxed()
        }
        Ok(None) if std::io::stderr().is_terminal() => lines().with_writer(std::io::stderr).boxed(),
        Ok(None) | Err(_) => to_stderr(),
    };
    // A log that was started before stays as it is, which is all that this result could tell.
    let _ = log.with(layer).try_init();
    if let Err(error) = &file {
        tracing::error!(%error, file = settings.file, "log.file cannot be written; logging to standard error");
    }
    Running { level: handle, file: file.unwrap_or_default() }
}
