//! The server put together: configuration in, a running process out.

mod activation;
mod api_metrics;
mod build;
mod callers;
mod clients;
mod consumer_metrics;
mod consumers;
mod dev;
mod drain;
mod embedded;
mod emulation;
mod ending;
mod engines;
mod files;
mod grpc_api;
mod handshake;
mod heap;
mod init;
mod log;
pub(crate) mod metrics;
mod node;
mod ports;
mod probes;
mod proxy_metrics;
mod rates;
mod reload;
mod remind;
mod serve;
mod signals;
mod sockjs;
mod supervisor;
mod tls;
mod tokens;
mod uni_grpc;
#[cfg(feature = "webtransport")]
mod webtransport;

pub use build::BuildError;
#[cfg(test)]
pub(crate) use build::active_config;
pub(crate) use build::{faults, onlooker, rules};
pub use callers::KeyError;
pub use embedded::Embedded;
pub use engines::EngineError;
pub(crate) use files::{serve_files, serve_page};
pub use reload::Source;
pub use tokens::TokensError;

use crate::admission::Networks;
use crate::api::stats::Via;
use crate::config::typed::HttpServer;
use crate::config::{Config, Loaded, Warning};
use crate::grpc;
use crate::http::Limits;
use crate::session::personal_rule;
use activation::Activated;
use build::Built;
use ending::{EXIT_SHARD, Ending, LAST_LINES};
use grpc_api::GrpcPort;
use ports::Bound;
use reload::{Reloader, Reloads};
use remind::Reminder;
use signals::Heard;
use std::sync::Arc;
use thiserror::Error;
use tokio::sync::watch;
use tokio::time::Instant;
use uni_grpc::UniGrpc;

/// Time for calls under way once no more are accepted, before the node ends.
const ANSWERS: std::time::Duration = std::time::Duration::from_millis(250);

/// Most time for the last channel events, once every client has left.
const LAST_EVENTS: std::time::Duration = std::time::Duration::from_secs(3);

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
    /// A socket that was passed on by systemd cannot be used.
    #[error("LISTEN_FDS: {0}")]
    Activation(String),
    /// The file for the process ID cannot be written.
    #[error("pid_file: cannot write {path}: {source}")]
    Pid {
        /// The file.
        path: String,
        /// The cause.
        source: std::io::Error,
    },
    /// A consumer cannot be made of its options, or its database cannot be used.
    #[error(transparent)]
    Consumer(EngineError),
    /// The file of the log cannot be opened.
    #[error("log.file: cannot write {path}: {source}")]
    LogFile {
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
            Self::Build(_)
            | Self::Listen { .. }
            | Self::Activation(_)
            | Self::Pid { .. }
            | Self::Consumer(_)
            | Self::LogFile { .. }
            | Self::Start(_) => 1,
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
    let log = log::start(&config.log)?;
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
    let warnings = own.as_ref().map_or_else(Vec::new, |own| own.warnings.clone());
    let mut setup = dev::Setup::new(port, own);
    logged(&setup.config().clone(), &warnings, |log| {
        let ending = ending(false, setup.config(), &log)?;
        let external = setup.listen()?;
        let config = setup.config().clone();
        let built = Built::explaining(&config)?;
        let address = external.socket_address().map_err(RunError::Start)?;
        let dev = Box::new(setup.announce(address, &built));
        Ok((config, built, ending, Run::Dev(dev, external)))
    })
}

/// Mode of a run.
enum Run {
    Server(Box<Reloader>),
    Dev(Box<dev::Dev>, Bound),
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
    let prepared = Box::pin(consumers::prepare(config, &build::node_name(config))).await;
    let prepared = prepared.map_err(RunError::Consumer)?;
    let passed = Activated::take()?;
    let (external, dev, mut reloader) = match (run, passed.external) {
        (Run::Dev(dev, external), _) => (external, Some(*dev), None),
        (Run::Server(reloader), Some(passed)) => (passed, None, Some(reloader)),
        (Run::Server(reloader), None) => {
            let bound = Bound::bind("http_server.address", &server.address, server.port).await?;
            (bound, None, Some(reloader))
        }
    };
    let address = external.address();
    let reloads = reloader.as_ref().map_or_else(Arc::<Reloads>::default, |reloader| reloader.counts());
    let internal = match (passed.internal, internal(server)) {
        (Some(passed), _) => Some(passed),
        (None, Some((at, port))) => Some(Bound::bind("http_server.internal_address", at, port).await?),
        (None, None) => None,
    };
    let (outer, inner) = built.routers(config, dev, &reloads, &log, internal.is_some());
    let limits = Limits::default();
    let mut accepting = Vec::new();
    // An entry that is no network is refused when the configuration is read.
    let proxies = Networks::new(&server.proxy_protocol_sources).unwrap_or_default();
    if let (Some(internal), Some(routes)) = (internal, inner) {
        let tls = built.tls.internal.clone();
        let (address, paths) = (internal.address(), routes.paths());
        tracing::info!(address, tls = tls.is_some(), paths, "serving internal endpoints");
        accepting.push(internal.serve(tls, Networks::default(), routes, limits, stopped.clone()));
    }
    if config.uni_grpc.enabled {
        let options = &config.uni_grpc;
        let port = Bound::bind("uni_grpc.address", &options.address, options.port).await?;
        let tls = built.tls.uni_grpc.is_some();
        tracing::info!(address = port.address(), tls, "serving unidirectional gRPC");
        let (node, active, admission) = (built.node.clone(), built.active.clone(), built.admission.clone());
        let service = UniGrpc::new(node, active, admission, options.max_receive_message_size);
        accepting.push(port.serve(
            built.tls.uni_grpc.clone(),
            proxies.clone(),
            service,
            grpc::limits(limits),
            stopped.clone(),
        ));
    }
    if config.grpc_api.enabled {
        let options = &config.grpc_api;
        let port = Bound::bind("grpc_api.address", &options.address, options.port).await?;
        tracing::info!(address = port.address(), tls = built.tls.grpc_api.is_some(), "serving gRPC API");
        let service = GrpcPort::new(config, &built, stopped.clone());
        let tls = built.tls.grpc_api.clone();
        accepting.push(port.serve(tls, Networks::default(), service, grpc::limits(limits), stopped.clone()));
    }
    #[cfg(feature = "webtransport")]
    if let (true, Some(tls)) = (config.webtransport.enabled, &built.tls.external) {
        let sessions = webtransport::sessions(config, &built);
        let ping = config.client.ping_interval.get();
        let port = crate::webtransport::Port::bind(&server.address, server.port, Arc::clone(tls), ping).await;
        let port = port.map_err(|source| RunError::Listen {
            option: "http_server.http3.enabled",
            address: format!("UDP port {}", server.port),
            source,
        })?;
        tracing::info!(address = port.address(), "serving WebTransport over HTTP/3, and nothing else there");
        accepting.push(tokio::spawn(port.serve(sessions, stopped.clone())));
    }
    let (overload, measured) = (Arc::clone(built.admission.overload()), built.node.clone());
    tokio::spawn(overload.watch(move || measured.loop_lag(), stopped.clone()));
    tokio::spawn(heap::watch(stopped.clone()));
    write_pid(&config.pid_file)?;
    let tls = built.tls.external.is_some();
    let paths = outer.paths();
    tracing::info!(address, tls, paths, version = env!("CARGO_PKG_VERSION"), "serving");
    let (node, active) = (built.node.clone(), built.active.clone());
    let refusals = Arc::clone(&built.refusals);
    let limits = Limits { http2: server.h2c_external, ..limits };
    built.tls.watch(&built.clock, &stopped);
    #[cfg(feature = "acme")]
    built.tls.obtain(config, &stopped).await?;
    accepting.push(external.serve(built.tls.external.clone(), proxies, outer, limits, stopped.clone()));
    let consumers = built.consumers.clone();
    // There is a runtime.
    prepared
        .start(&consumers, &built.api.via(Via::Consumer))
        .map_err(|error| RunError::Start(std::io::Error::other(error)))?;
    tokio::spawn(consumers.clone().follow(node.clone(), stopped.clone()));
    let reports = built.reports.clone();
    let (events_ended, ended) = watch::channel(false);
    let reporting = tokio::spawn(reports.clone().run(ended));
    supervisor::begin(node.clone(), stopped);
    let mut reminder = Reminder::new(built.clock.clone());
    let result = loop {
        tokio::select! {
            heard = ending.next() => match (heard, &mut reloader) {
                (Heard::Stop, _) => break Ok(()),
                (Heard::Reload, Some(reloader)) => {
                    supervisor::reloading();
                    reloader.reload();
                    reports.reloaded();
                    supervisor::ready();
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
                    remind::tell_old_clients(&node.info().counters);
                }
            }
        }
    };
    supervisor::stopping();
    let time = ending.begin();
    let until = Instant::now() + time;
    // They end before the node does, so that no call is cut short, and do not hold up the drain.
    let consumed = tokio::spawn(async move {
        // The rest is taken again after the next start.
        let _ = tokio::time::timeout(time, consumers.stop()).await;
    });
    if result.is_ok() {
        let shutdown = reloader.as_ref().map_or(&config.shutdown, |reloader| &reloader.config().shutdown);
        drain::drain(&node, shutdown, &mut ending).await;
    }
    let _ = consumed.await;
    tracing::info!("stopping");
    // Nobody listens any longer once the accepting tasks are gone: that is not a failure.
    let _ = stop.send(true);
    for task in accepting {
        let _ = task.await;
    }
    // Calls under way are answered by a node that is there. What goes on for longer, such as a WebSocket in a stream of
    // HTTP/2, ends with the node.
    let grace = ANSWERS.min(until.duration_since(Instant::now()));
    let _ = tokio::time::timeout(grace, stop.closed()).await;
    let time = until.duration_since(Instant::now());
    let _ = tokio::join!(node.shutdown(time), tokio::time::timeout(time, stop.closed()));
    reports.finish(LAST_EVENTS.min(until.duration_since(Instant::now()))).await;
    let _ = events_ended.send(true);
    let _ = reporting.await;
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
