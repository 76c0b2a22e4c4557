//! Where the log goes: JSON lines, or coloured text on a terminal.

use crate::config::typed::Log;
use std::io::IsTerminal;
use tracing::Level;
use tracing_subscriber::filter::LevelFilter;

/// Starts logging. A second start in one process changes nothing.
pub(super) fn start(settings: &Log) {
    let level = match settings.level.to_ascii_lowercase().as_str() {
        "none" => LevelFilter::OFF,
        "trace" => Level::TRACE.into(),
        "debug" => Level::DEBUG.into(),
        "warn" => Level::WARN.into(),
        "error" | "fatal" => Level::ERROR.into(),
        _ => Level::INFO.into(),
    };
    let builder = tracing_subscriber::fmt().with_max_level(level).with_target(false);
    let file = (!settings.file.is_empty())
        .then(|| std::fs::OpenOptions::new().create(true).append(true).open(&settings.file))
        .transpose();
    // A log that was started before stays as it is, which is all that these results could tell.
    let _ = match file {
        Ok(Some(file)) => {
            builder.json().flatten_event(true).with_writer(std::sync::Mutex::new(file)).try_init()
        }
        Ok(None) if std::io::stderr().is_terminal() => builder.with_writer(std::io::stderr).try_init(),
        Ok(None) => builder.json().flatten_event(true).with_writer(std::io::stderr).try_init(),
        Err(error) => {
            let started = builder.json().flatten_event(true).with_writer(std::io::stderr).try_init();
            tracing::error!(%error, file = settings.file, "log.file cannot be written; logging to standard error");
            started
        }
    };
}
