//! Certificates by ACME (RFC 8555): requested, kept in a directory, and renewed while the server runs.
//!
//! A host proves itself by TLS-ALPN-01 (RFC 8737) on the port of the server, or by HTTP-01 on a port of its own. A
//! failure stops nothing: what there is goes on serving, and the next try comes later each time.

mod cache;
mod client;
mod hosts;
mod http01;
mod order;
#[cfg(test)]
mod tests;

pub(crate) use hosts::Hosts;

use super::load::TlsError;
use super::port::{TlsPort, provider};
use crate::config::typed::TlsAutocert;
use cache::Cache;
use parking_lot::Mutex;
use spinward::clock::Clock;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::watch::Receiver;

/// The protocol of TLS-ALPN-01.
pub(crate) const CHALLENGE: &[u8] = b"acme-tls/1";

/// The section of the options.
pub(crate) const PATH: &str = "http_server.tls_autocert";

/// Wait after a first failure; it doubles with each further one.
const RETRY_FIRST: Duration = Duration::from_secs(60);
const RETRY_MOST: Duration = Duration::from_secs(6 * 3_600);

/// Least time between two certificates of one host.
const RETRY_LEAST: Duration = Duration::from_secs(1);

/// Time between two looks at what is to be renewed, if nothing is asked for.
const LOOK: Duration = Duration::from_secs(3_600);

/// Counts for metrics.
#[derive(Debug, Default)]
pub(crate) struct Orders {
    succeeded: AtomicU64,
    failed: AtomicU64,
}

impl Orders {
    /// By result.
    pub(crate) fn counts(&self) -> [(&'static str, u64); 2] {
        [("success", &self.succeeded), ("failure", &self.failed)]
            .map(|(result, count)| (result, count.load(Ordering::Relaxed)))
    }
}

/// Certificates by ACME for the hosts of this server.
pub(crate) struct Acme {
    options: TlsAutocert,
    pub(crate) hosts: Arc<Hosts>,
    cache: Cache,
    clock: Clock,
    pub(crate) orders: Orders,
    /// Answers of HTTP-01 by token.
    answers: Mutex<HashMap<String, String>>,
}

impl Acme {
    /// Prepares what the options ask for, with the certificates that are in the directory.
    ///
    /// # Errors
    /// The certificate authorities of the ACME server cannot be read.
    pub(crate) fn new(options: &TlsAutocert, clock: Clock) -> Result<(Arc<Self>, TlsPort), TlsError> {
        let hosts = Arc::new(Hosts::new(&options.host_whitelist, &options.server_name));
        let port = TlsPort::resolving(Arc::clone(&hosts) as _, &[CHALLENGE], PATH)?;
        client::authorities(&options.server_ca_pem)?;
        let acme = Self {
            options: options.clone(),
            hosts,
            cache: Cache::new(&options.cache_dir),
            clock,
            orders: Orders::default(),
            answers: Mutex::default(),
        };
        acme.load();
        Ok((Arc::new(acme), port))
    }

    /// Takes the certificates of the hosts that are known from the directory.
    fn load(&self) {
        for host in self.hosts.wanted() {
            match self.cache.identity(&host, &provider()) {
                Ok(Some(identity)) => self.hosts.set(&host, identity),
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(host, %error, "a certificate in {PATH}.cache_dir cannot be used, requesting a new one");
                }
            }
        }
    }

    /// Requests and renews certificates, without end.
    pub(crate) async fn run(self: Arc<Self>) {
        let mut failures: HashMap<String, Failures> = HashMap::new();
        loop {
            let now = self.clock.now();
            let mut wait = LOOK;
            for host in self.hosts.wanted() {
                let due_in = self.due_in(&host, now.unix());
                if !due_in.is_zero() {
                    failures.remove(&host);
                    wait = wait.min(due_in);
                    continue;
                }
                let before = failures.get(&host).map_or(0, |failed| failed.next.saturating_sub(now.mono));
                if before > 0 {
                    wait = wait.min(Duration::from_millis(before));
                    continue;
                }
                // A host that was named by a client may have its certificate in the directory already.
                if let Ok(Some(identity)) = self.cache.identity(&host, &provider())
                    && self.hosts.ends(&host).is_none()
                {
                    self.hosts.set(&host, identity);
                    wait = Duration::ZERO;
                    continue;
                }
                let Err(error) = self.obtain(&host).await else {
                    failures.remove(&host);
                    wait = wait.min(self.due_in(&host, self.clock.now().unix()).max(RETRY_LEAST));
                    continue;
                };
                self.orders.failed.fetch_add(1, Ordering::Relaxed);
                let failed = failures.entry(host.clone()).or_default();
                let pause = failed.pause();
                failed.next = self.clock.now().mono + u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
                wait = wait.min(pause);
                let retry_in = pause.as_secs();
                tracing::error!(host, %error, retry_in, "ACME: no certificate");
            }
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.hosts.asked() => {}
            }
        }
    }

    async fn obtain(&self, host: &str) -> Result<(), order::OrderError> {
        let identity = order::order(self, host).await?;
        let days_left = (identity.valid.end - self.clock.now().unix()) / 86_400;
        self.hosts.set(host, identity);
        self.orders.succeeded.fetch_add(1, Ordering::Relaxed);
        tracing::info!(host, days_left, "ACME: certificate issued");
        Ok(())
    }

    /// Time until a host needs a certificate: none if it has none, or one that is to be renewed.
    fn due_in(&self, host: &str, now: i64) -> Duration {
        let Some(valid) = self.hosts.valid(host) else { return Duration::ZERO };
        let before = i64::try_from(self.options.renew_before.get().as_secs()).unwrap_or(i64::MAX);
        let due = valid.end - before.min((valid.end - valid.start) / 3);
        Duration::from_secs(u64::try_from(due - now).unwrap_or(0))
    }

    /// Listens for HTTP-01 challenges until `stop` changes, if the options want it.
    pub(crate) async fn serve_http(self: Arc<Self>, stop: Receiver<bool>) -> Result<(), std::io::Error> {
        if self.options.http {
            http01::listen(self, stop).await?;
        }
        Ok(())
    }
}

/// Failures of one host.
#[derive(Default)]
struct Failures {
    count: u32,
    /// Time of the next try.
    next: u64,
}

impl Failures {
    /// Counts a failure. Returns the time until the next try.
    fn pause(&mut self) -> Duration {
        let pause = RETRY_FIRST.saturating_mul(1 << self.count.min(16)).min(RETRY_MOST);
        self.count += 1;
        pause
    }
}
