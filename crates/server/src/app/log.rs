//! Where the log goes: JSON lines, or coloured text on a terminal.

use crate::config::typed::Log;
use std::io::IsTerminal;
use tracing::Level;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::reload::{self, Handle};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer, Registry, fmt};

/// How much is logged, which can be changed.
pub(super) struct Verbosity(Handle<LevelFilter, Registry>);

impl Verbosity {
    /// Logs by `log.level` of these settings from now on.
    pub(super) fn set(&self, settings: &Log) {
        // An error is a log that is gone, as where another one was started before: there is nothing to change.
        let _ = self.0.reload(level(settings));
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
pub(super) fn start(settings: &Log) -> Verbosity {
    let (filter, handle) = reload::Layer::new(level(settings));
    let log = tracing_subscriber::registry().with(filter);
    let lines = || fmt::layer().with_target(false);
    let to_stderr = || lines().json().flatten_event(true).with_writer(std::io::stderr).boxed();
    let file = (!settings.file.is_empty())
        .then(|| std::fs::OpenOptions::new().create(true).append(true).open(&settings.file))
        .transpose();
    let (layer, failed) = match file {
        Ok(Some(file)) => {
            (lines().json().flatten_event(true).with_writer(std::sync::Mutex::new(file)).boxed(), None)
        }
        Ok(None) if std::io::stderr().is_terminal() => (lines().with_writer(std::io::stderr).boxed(), None),
        Ok(None) => (to_stderr(), None),
        Err(error) => (to_stderr(), Some(error)),
    };
    // A log that was started before stays as it is, which is all that this result could tell.
    let _ = log.with(layer).try_init();
    if let Some(error) = failed {
        tracing::error!(%error, file = settings.file, "log.file cannot be written; logging to standard error");
    }
    Verbosity(handle)
}
