//! The server put together: configuration in, a running process out.

mod build;
mod dev;
mod ending;
mod explain;
mod handshake;
mod init;
mod log;
mod metrics;
mod ports;
mod probes;
mod reload;
mod remind;
mod serve;
mod signals;
mod tokens;

pub use build::BuildError;
#[cfg(test)]
pub(crate) use build::active_config;
pub(crate) use build::{onlooker, rules};
pub use reload::Source;
pub use tokens::TokensError;

use crate::config::typed::HttpServer;
use crate::config::{Config, Loaded, Warning};
use crate::http::Limits;
use crate::session::personal_rule;
use build::Built;
use ending::{EXIT_SHARD, Ending, LAST_LINES};
use ports::Bound;
use reload::{Reloader, Reloads};
use remind::Reminder;
use signals::Heard;
use std::sync::Arc;
use thiserror::Error;
use tokio::sync::watch;

/// The server could not run.
#[derive(Debug, Error)]
pub enum RunError {
    /// The configuration does not make a server.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// A port cannot be listened on.
    #[error("{option}: cannot listen on {address}: {source}")]
    Listen {
        /// The option that names the address.
        option: &'static str,
        /// The address and port.
        address: String,
        /// The cause.
        source: std::io::Error,
    },
    /// The file for the process ID cannot be written.
    #[error("pid_file: cannot write {path}: {source}")]
    Pid {
        /// The file.
        path: String,
        /// The cause.
        source: std::io::Error,
    },
    /// The runtime could not be started, or signals cannot be heard.
    #[error("cannot start: {0}")]
    Start(#[source] std::io::Error),
    /// A thread that holds connections has failed. The log says where.
    #[error("a shard has failed: the process ends, to be started again")]
    Shard,
}

impl RunError {
    /// The exit code of a process that ends with this error.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Build(_) | Self::Listen { .. } | Self::Pid { .. } | Self::Start(_) => 1,
            Self::Shard => EXIT_SHARD,
        }
    }
}

/// Runs the server until it is told to stop. On SIGHUP the configuration is reloaded from `source`.
///
/// # Errors
/// It could not be started.
pub fn run(loaded: Loaded, source: Source) -> Result<(), RunError> {
    logged(&loaded.config.clone(), &loaded.warnings.clone(), |log| {
        // From here on SIGHUP does not end the process.
        let ending = ending(true, &loaded.config, &log)?;
        let built = Built::new(&loaded.config)?;
        let config = loaded.config.clone();
        let reloader = Reloader::new(loaded, source, &built, log);
        Ok((config, built, ending, Run::Server(Box::new(reloader))))
    })
}

/// Everything needed to serve.
type Made = (Config, Built, Ending, Run);

/// Starts log and runtime, and serves with what is made then. The last lines of the log are written in any case.
fn logged(
    config: &Config,
    warnings: &[Warning],
    make: impl FnOnce(log::Running) -> Result<Made, RunError>,
) -> Result<(), RunError> {
    let log = log::start(&config.log).map_err(RunError::Start)?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    let result = runtime().and_then(|runtime| {
        let result = {
            let _entered = runtime.enter();
            make(log.clone())
        };
        let result = result.and_then(|(config, built, ending, run)| {
            runtime.block_on(serve(&config, built, ending, run, log.clone()))
        });
        // What still runs there is abandoned: waiting for it could take for ever.
        runtime.shutdown_background();
        result
    });
    log.drain(LAST_LINES);
    result
}

fn ending(reload: bool, config: &Config, log: &log::Running) -> Result<Ending, RunError> {
    Ending::listen(reload, config.shutdown.timeout.get(), log.clone()).map_err(RunError::Start)
}

/// Runs a server to try things on, with a console at `/` and refusals that say why: with keys made for this run and
/// open channels, or as the configuration `own` says, for this machine alone.
///
/// # Errors
/// It could not be started.
pub fn dev(port: Option<u16>, own: Option<Loaded>) -> Result<(), RunError> {
    let (config, ready, warnings) = match own {
        Some(mut own) => {
            let ready = dev::adopt(&mut own.config, port);
            (own.config, ready, own.warnings)
        }
        None => {
            let (config, ready) = dev::configure(port.unwrap_or(8000));
            (config, ready, Vec::new())
        }
    };
    logged(&config.clone(), &warnings, |log| {
        let ending = ending(false, &config, &log)?;
        let built = Built::explaining(&config)?;
        Ok((config, built, ending, Run::Dev(ready)))
    })
}

/// Mode of a run.
enum Run {
    Server(Box<Reloader>),
    Dev(dev::Made),
}

fn runtime() -> Result<tokio::runtime::Runtime, RunError> {
    raise_file_limit();
    tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(RunError::Start)
}

/// Every connection is a descriptor, and the soft limit is often 1,024.
fn raise_file_limit() {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let limit = getrlimit(Resource::Nofile);
        let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
        if limit.current != limit.maximum && setrlimit(Resource::Nofile, raised).is_err() {
            tracing::warn!(limit = ?limit.current, "cannot raise the limit of open files");
        }
    }
}

async fn serve(
    config: &Config,
    built: Built,
    mut ending: Ending,
    run: Run,
    log: log::Running,
) -> Result<(), RunError> {
    let (stop, stopped) = watch::channel(false);
    let server = &config.http_server;
    let external = Bound::bind("http_server.address", &server.address, server.port).await?;
    let address = external.address();
    let (dev, mut reloader) = match run {
        Run::Dev(made) => {
            let address = external.socket_address().map_err(RunError::Start)?;
            (Some(made.announce(address, built.explainer.clone())), None)
        }
        Run::Server(reloader) => (None, Some(reloader)),
    };
    let reloads = reloader.as_ref().map_or_else(Arc::<Reloads>::default, |reloader| reloader.counts());
    let internal = internal(server);
    let (outer, inner) = built.routers(config, dev, &reloads, &log, internal.is_some());
    let limits = Limits::default();
    let mut accepting = Vec::new();
    if let (Some((at, port)), Some(routes)) = (internal, inner) {
        let internal = Bound::bind("http_server.internal_address", at, port).await?;
        tracing::info!(address = internal.address(), "serving internal endpoints");
        accepting.push(internal.serve(routes, limits, stopped.clone()));
    }
    let (overload, measured) = (Arc::clone(built.admission.overload()), built.node.clone());
    tokio::spawn(overload.watch(move || measured.loop_lag(), stopped.clone()));
    write_pid(&config.pid_file)?;
    tracing::info!(address, version = env!("CARGO_PKG_VERSION"), "serving");
    let (node, active) = (built.node.clone(), built.active.clone());
    let refusals = Arc::clone(&built.refusals);
    let limits = Limits { http2: server.h2c_external, ..limits };
    accepting.push(external.serve(outer, limits, stopped));
    let mut reminder = Reminder::new(built.clock.clone());
    let result = loop {
        tokio::select! {
            heard = ending.next() => match (heard, &mut reloader) {
                (Heard::Stop, _) => break Ok(()),
                (Heard::Reload, Some(reloader)) => {
                    reloader.reload();
                    ending.set_timeout(reloader.config().shutdown.timeout.get());
                    if let Some(rule) = personal_rule(active.get(), Arc::clone(&refusals)) {
                        // It goes on by itself, and nobody waits for it.
                        drop(node.enforce(None, &rule));
                    }
                }
                (Heard::Reload, None) => {}
            },
            () = node.failed() => break Err(RunError::Shard),
            () = tokio::time::sleep(reminder.wait()) => {
                if let (true, Some(reloader)) = (reminder.is_due(), &reloader) {
                    remind::tell(reloader.warnings());
                }
            }
        }
    };
    let time = ending.begin();
    tracing::info!("stopping");
    // Nobody listens any longer once the accepting tasks are gone: that is not a failure.
    let _ = stop.send(true);
    for task in accepting {
        let _ = task.await;
    }
    // Calls that are under way get their answers in that time as well.
    let _ = tokio::join!(node.shutdown(time), tokio::time::timeout(time, stop.closed()));
    if !config.pid_file.is_empty() {
        let _ = std::fs::remove_file(&config.pid_file);
    }
    result
}

/// Address and port of the internal endpoints, if they differ from those of clients.
fn internal(server: &HttpServer) -> Option<(&str, u16)> {
    let port = server.internal_port.parse().unwrap_or(server.port);
    let at = if server.internal_address.is_empty() { &server.address } else { &server.internal_address };
    (port != server.port || *at != server.address).then_some((at, port))
}

fn write_pid(path: &str) -> Result<(), RunError> {
    if path.is_empty() {
        Ok(())
    } else {
        std::fs::write(path, std::process::id().to_string())
            .map_err(|source| RunError::Pid { path: path.to_owned(), source })
    }
}
