//! TLS of the ports.

#[cfg(feature = "acme")]
use super::RunError;
use crate::config::Config;
use crate::config::typed::Tls;
#[cfg(feature = "acme")]
use crate::tls::acme::Acme;
use crate::tls::{TlsError, TlsPort, watch};
use spinward::clock::Clock;
use std::sync::Arc;
use tokio::sync::watch::Receiver;

/// TLS of the external port, of the internal one where there is one, and of those of gRPC.
#[derive(Clone, Default)]
pub(super) struct Ports {
    pub(super) external: Option<Arc<TlsPort>>,
    pub(super) internal: Option<Arc<TlsPort>>,
    pub(super) uni_grpc: Option<Arc<TlsPort>>,
    pub(super) grpc_api: Option<Arc<TlsPort>>,
    #[cfg(feature = "acme")]
    pub(super) acme: Option<Arc<Acme>>,
}

impl Ports {
    /// Loads every certificate that is used.
    ///
    /// # Errors
    /// One of them cannot be used.
    pub(super) fn new(
        config: &Config,
        #[allow(unused, reason = "ACME alone needs it")] clock: &Clock,
    ) -> Result<Self, TlsError> {
        let server = &config.http_server;
        let port = |options: &Tls, path| options.enabled.then(|| TlsPort::new(options, path).map(Arc::new));
        #[cfg(feature = "acme")]
        let (acme, external) = if server.tls_autocert.enabled {
            let (acme, external) = Acme::new(&server.tls_autocert, clock.clone())?;
            (Some(acme), Some(Arc::new(external)))
        } else {
            (None, port(&server.tls, "http_server.tls").transpose()?)
        };
        #[cfg(not(feature = "acme"))]
        let external = port(&server.tls, "http_server.tls").transpose()?;
        let internal = match port(&server.internal_tls, "http_server.internal_tls").transpose()? {
            None if !server.tls_external => external.clone(),
            own => own,
        };
        let uni_grpc = match config.uni_grpc.enabled {
            true => port(&config.uni_grpc.tls, "uni_grpc.tls").transpose()?,
            false => None,
        };
        let grpc_api = match config.grpc_api.enabled {
            true => port(&config.grpc_api.tls, "grpc_api.tls").transpose()?,
            false => None,
        };
        Ok(Self {
            external,
            internal,
            uni_grpc,
            grpc_api,
            #[cfg(feature = "acme")]
            acme,
        })
    }

    /// Requests certificates by ACME until `stop` changes, where the options want it.
    ///
    /// # Errors
    /// The address for challenges cannot be listened on.
    #[cfg(feature = "acme")]
    pub(super) async fn obtain(&self, config: &Config, stop: &Receiver<bool>) -> Result<(), RunError> {
        let Some(acme) = &self.acme else { return Ok(()) };
        let address = &config.http_server.tls_autocert.http_addr;
        Arc::clone(acme).serve_http(stop.clone()).await.map_err(|source| RunError::Listen {
            option: "http_server.tls_autocert.http_addr",
            address: address.clone(),
            source,
        })?;
        let (acme, mut stop) = (Arc::clone(acme), stop.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = acme.run() => {}
                _ = stop.changed() => {}
            }
        });
        Ok(())
    }

    /// Each port once, with the name that metrics have for it.
    pub(super) fn each(&self) -> impl Iterator<Item = (&'static str, &Arc<TlsPort>)> {
        let shared = self.is_shared();
        let internal = self.internal.iter().filter(move |_| !shared);
        let external = self.external.iter().map(|port| ("external", port));
        let uni_grpc = self.uni_grpc.iter().map(|port| ("uni_grpc", port));
        let grpc_api = self.grpc_api.iter().map(|port| ("grpc_api", port));
        external.chain(internal.map(|port| ("internal", port))).chain(uni_grpc).chain(grpc_api)
    }

    fn is_shared(&self) -> bool {
        matches!((&self.external, &self.internal), (Some(one), Some(other)) if Arc::ptr_eq(one, other))
    }

    /// Warns of certificates that expire, and exchanges those whose files change, until `stop` changes.
    pub(super) fn watch(&self, clock: &Clock, stop: &Receiver<bool>) {
        for (_, port) in self.each().filter(|(_, port)| port.is_configured()) {
            port.certificate().warn(port.path(), clock.now().unix());
            let (port, clock, mut stop) = (Arc::clone(port), clock.clone(), stop.clone());
            tokio::spawn(async move {
                tokio::select! {
                    () = watch::run(port, clock) => {}
                    _ = stop.changed() => {}
                }
            });
        }
    }

    /// Takes the certificates of these options from now on, and keeps all of the present ones if one cannot be used.
    ///
    /// # Errors
    /// One of them cannot be used.
    pub(super) fn exchange(&self, config: &Config) -> Result<(), TlsError> {
        let mut ready = Vec::new();
        for (_, port) in self.each().filter(|(_, port)| port.is_configured()) {
            let options = match port.path() {
                "http_server.tls" => &config.http_server.tls,
                "uni_grpc.tls" => &config.uni_grpc.tls,
                "grpc_api.tls" => &config.grpc_api.tls,
                _ => &config.http_server.internal_tls,
            };
            let prepared = port.prepare(options);
            port.counters.exchanged(prepared.is_ok());
            ready.push(prepared?);
        }
        for one in ready {
            one.apply();
        }
        Ok(())
    }
}

/// Loads every certificate that a server would use, for `checkconfig`. Returns those that cannot be used.
pub(super) fn faults(config: &Config) -> Vec<TlsError> {
    let server = &config.http_server;
    let (grpc, api) = (&config.uni_grpc, &config.grpc_api);
    let ports = [
        ("http_server.tls", &server.tls, server.tls.enabled && !server.tls_autocert.enabled),
        ("http_server.internal_tls", &server.internal_tls, server.internal_tls.enabled),
        ("uni_grpc.tls", &grpc.tls, grpc.enabled && grpc.tls.enabled),
        ("grpc_api.tls", &api.tls, api.enabled && api.tls.enabled),
    ];
    let used = ports.into_iter().filter(|(.., used)| *used);
    #[cfg_attr(not(feature = "acme"), allow(unused_mut, reason = "ACME alone adds one"))]
    let mut faults: Vec<TlsError> =
        used.filter_map(|(path, options, _)| TlsPort::new(options, path).err()).collect();
    #[cfg(feature = "acme")]
    if server.tls_autocert.enabled {
        faults.extend(Acme::new(&server.tls_autocert, Clock::system()).err());
    }
    faults
}
