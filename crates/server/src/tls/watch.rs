//! Certificates whose files change are exchanged.
//!
//! The files are looked at every few seconds and not watched by the system, which would miss them behind the links that
//! Kubernetes exchanges, and on network file systems.

use super::TlsPort;
use crate::config::catalogue::Pem;
use crate::config::typed::Tls;
use spinward::clock::Clock;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Time between two looks at the files.
const EVERY: Duration = Duration::from_secs(2);

/// Milliseconds between two warnings of a certificate that expires.
const WARN_EVERY: u64 = 12 * 3_600_000;

/// State of a file: when it changed, its size and its place on the disk.
type Mark = Option<(Option<SystemTime>, u64, u64)>;

/// Looks at the files of options, and tells when they have changed and are at rest.
pub(crate) struct Watch {
    files: Vec<String>,
    /// State of the files when they were loaded or refused last.
    known: Vec<Mark>,
    /// State of the files at the last look.
    seen: Vec<Mark>,
}

impl Watch {
    pub(crate) fn new(options: &Tls) -> Self {
        let files: Vec<String> = [&options.cert_pem, &options.key_pem, &options.client_ca_pem]
            .into_iter()
            .filter_map(file)
            .collect();
        let known: Vec<Mark> = files.iter().map(|file| mark(file.as_ref())).collect();
        Self { files, seen: known.clone(), known }
    }

    /// Returns true if the files have changed, and not since the last call: a certificate and its key are written one
    /// after the other.
    pub(crate) fn changed(&mut self) -> bool {
        let now: Vec<Mark> = self.files.iter().map(|file| mark(file.as_ref())).collect();
        let at_rest = now == self.seen;
        self.seen = now;
        let changed = at_rest && self.seen != self.known;
        if changed {
            self.known.clone_from(&self.seen);
        }
        changed
    }
}

/// The path that an option names, if it names one.
fn file(pem: &Pem) -> Option<String> {
    let given = pem.0.expose();
    (!given.is_empty() && !given.contains("-----BEGIN") && Path::new(given).exists())
        .then(|| given.to_owned())
}

fn mark(file: &Path) -> Mark {
    let found = std::fs::metadata(file).ok()?;
    #[cfg(unix)]
    let place = std::os::unix::fs::MetadataExt::ino(&found);
    #[cfg(not(unix))]
    let place = 0;
    Some((found.modified().ok(), found.len(), place))
}

/// Exchanges the certificate of a port whenever its files change, without end.
pub(crate) async fn run(port: Arc<TlsPort>, clock: Clock) {
    let mut active = port.options();
    let mut watch = Watch::new(&active);
    let mut warn_at = clock.now().mono + WARN_EVERY;
    loop {
        tokio::time::sleep(EVERY).await;
        let mono = clock.now().mono;
        if mono >= warn_at {
            warn_at = mono + WARN_EVERY;
            port.certificate().warn(port.path(), clock.now().unix());
        }
        let now = port.options();
        if now != active {
            // A reload has taken other files.
            active = now;
            watch = Watch::new(&active);
        } else if watch.changed() {
            exchange(&port, &active, clock.now().unix());
        }
    }
}

fn exchange(port: &TlsPort, options: &Tls, now: i64) {
    let section = port.path();
    match port.exchange(options) {
        Ok(()) => {
            let days_left = port.certificate().days_left(now);
            tracing::info!(section, days_left, "TLS certificate exchanged");
            port.certificate().warn(section, now);
        }
        Err(error) => {
            tracing::error!(%error, section, "TLS certificate files changed and cannot be used, keeping the current certificate");
        }
    }
}
