//! TLS of one port.

use super::counters::Counters;
use super::layer::TlsLayer;
use super::load::{Fault, Identity, TlsError, authorities, identity};
use crate::config::typed::{Tls, TlsVersion};
use parking_lot::RwLock;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::CertificateDer;
use rustls::server::{
    ClientHello, NoServerSessionStorage, ResolvesServerCert, ServerConfig, WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, SupportedProtocolVersion, version};
use std::io;
use std::sync::Arc;

/// Protocols within, in the order of preference.
const ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Seconds before the end of a certificate from which there are warnings.
const WARN_BEFORE: i64 = 14 * 86_400;

/// The cryptography of this process.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// The versions that a lowest one allows.
pub(super) fn versions(lowest: TlsVersion) -> &'static [&'static SupportedProtocolVersion] {
    static ALL: [&SupportedProtocolVersion; 2] = [&version::TLS13, &version::TLS12];
    match lowest {
        TlsVersion::V12 => &ALL,
        TlsVersion::V13 => &ALL[..1],
    }
}

/// TLS of a port: what its new connections are accepted with.
pub(crate) struct TlsPort {
    /// The section of the options.
    path: &'static str,
    provider: Arc<CryptoProvider>,
    options: RwLock<Tls>,
    config: RwLock<Arc<ServerConfig>>,
    certificate: Arc<Certificate>,
    /// Options loaded last, without the certificate. They decide whether sessions may be resumed.
    terms: RwLock<Terms>,
    pub(crate) counters: Counters,
}

/// Terms of a session beside the certificate.
#[derive(PartialEq, Eq)]
struct Terms {
    min_version: TlsVersion,
    authorities: Option<Vec<CertificateDer<'static>>>,
}

/// The certificate of a port, to be exchanged at any time.
#[derive(Debug, Default)]
pub(crate) struct Certificate(RwLock<Option<Identity>>);

impl Certificate {
    pub(crate) fn set(&self, identity: Identity) {
        let _former = self.0.write().replace(identity);
    }

    /// Seconds since 1970 until which it holds.
    pub(crate) fn ends(&self) -> Option<i64> {
        self.0.read().as_ref().map(|identity| identity.valid.end)
    }

    /// Whole days until it ends; less than 0 afterwards.
    pub(crate) fn days_left(&self, now: i64) -> i64 {
        self.ends().map_or(0, |end| (end - now).div_euclid(86_400))
    }

    /// Warns of a certificate that does not hold now, or not for much longer.
    pub(crate) fn warn(&self, section: &str, now: i64) {
        let Some(valid) = self.0.read().as_ref().map(|identity| identity.valid.clone()) else { return };
        let option = format!("{section}.cert_pem");
        // Certificates of a few days are renewed late.
        let soon = WARN_BEFORE.min((valid.end - valid.start) / 4);
        if now >= valid.end {
            tracing::warn!(
                option,
                "{option}: the certificate has expired, or one of its chain; clients refuse it"
            );
        } else if now < valid.start {
            tracing::warn!(option, "{option}: the certificate does not hold yet; clients refuse it");
        } else if valid.end - now < soon {
            let days_left = self.days_left(now);
            tracing::warn!(option, days_left, "{option}: the certificate expires soon");
        }
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.read().as_ref().map(|identity| Arc::clone(&identity.key))
    }
}

impl TlsPort {
    /// TLS by the options of the section `path`.
    ///
    /// # Errors
    /// A certificate or key cannot be used.
    pub(crate) fn new(options: &Tls, path: &'static str) -> Result<Self, TlsError> {
        let provider = provider();
        let certificate = Arc::new(Certificate::default());
        certificate.set(identity(options, path, &provider)?);
        let terms = terms(options, path)?;
        let resolver = Arc::clone(&certificate) as Arc<dyn ResolvesServerCert>;
        let config = config(&provider, &terms, resolver, &ALPN, path)?;
        let (config, terms) = (RwLock::new(Arc::new(config)), RwLock::new(terms));
        let options = RwLock::new(options.clone());
        Ok(Self { path, provider, options, config, certificate, terms, counters: Counters::default() })
    }

    #[cfg(feature = "acme")]
    /// TLS with certificates that `resolver` finds, and these protocols beside the usual ones.
    pub(crate) fn resolving(
        resolver: Arc<dyn ResolvesServerCert>,
        further: &[&'static [u8]],
        path: &'static str,
    ) -> Result<Self, TlsError> {
        let provider = provider();
        let terms = Terms { min_version: TlsVersion::default(), authorities: None };
        let alpn: Vec<&[u8]> = ALPN.iter().chain(further).copied().collect();
        let config = RwLock::new(Arc::new(config(&provider, &terms, resolver, &alpn, path)?));
        let (certificate, terms, options) = (Arc::default(), RwLock::new(terms), RwLock::default());
        Ok(Self { path, provider, options, config, certificate, terms, counters: Counters::default() })
    }

    /// Returns true if its certificate is one of the options, and not requested by ACME.
    pub(crate) fn is_configured(&self) -> bool {
        self.options.read().enabled
    }

    /// The section of its options.
    pub(crate) const fn path(&self) -> &'static str {
        self.path
    }

    /// The options that were loaded last.
    pub(crate) fn options(&self) -> Tls {
        self.options.read().clone()
    }

    pub(crate) fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// Takes certificate, key, client CAs and version of these options from now on. Connections that are open go on.
    ///
    /// # Errors
    /// One of them cannot be used. Nothing is changed.
    pub(crate) fn exchange(&self, options: &Tls) -> Result<(), TlsError> {
        let exchanged = self.prepare(options);
        self.counters.exchanged(exchanged.is_ok());
        exchanged.map(Exchange::apply)
    }

    /// Loads what [`TlsPort::exchange`] puts in place.
    pub(crate) fn prepare(&self, options: &Tls) -> Result<Exchange<'_>, TlsError> {
        let identity = identity(options, self.path, &self.provider)?;
        let terms = terms(options, self.path)?;
        // Sessions of other terms are not resumed: the new configuration has keys of its own for tickets.
        let changed = if *self.terms.read() == terms {
            None
        } else {
            let resolver = Arc::clone(&self.certificate) as Arc<dyn ResolvesServerCert>;
            Some((config(&self.provider, &terms, resolver, &ALPN, self.path)?, terms))
        };
        Ok(Exchange { port: self, options: options.clone(), identity, changed })
    }

    /// Terms for new connections. Another value once client CAs or versions are exchanged.
    #[cfg(feature = "webtransport")]
    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config.read())
    }

    /// The layer of a new connection.
    pub(crate) fn layer(&self) -> io::Result<TlsLayer> {
        TlsLayer::new(Arc::clone(&self.config.read()))
    }
}

/// Values ready to be put in place.
pub(crate) struct Exchange<'a> {
    port: &'a TlsPort,
    options: Tls,
    identity: Identity,
    changed: Option<(ServerConfig, Terms)>,
}

impl Exchange<'_> {
    pub(crate) fn apply(self) {
        self.port.certificate.set(self.identity);
        *self.port.options.write() = self.options;
        if let Some((config, terms)) = self.changed {
            *self.port.config.write() = Arc::new(config);
            *self.port.terms.write() = terms;
        }
    }
}

fn terms(options: &Tls, path: &str) -> Result<Terms, TlsError> {
    let authorities = authorities(&options.client_ca_pem, &format!("{path}.client_ca_pem"))?;
    Ok(Terms { min_version: options.min_version, authorities })
}

fn config(
    provider: &Arc<CryptoProvider>,
    terms: &Terms,
    resolver: Arc<dyn ResolvesServerCert>,
    alpn: &[&[u8]],
    path: &str,
) -> Result<ServerConfig, TlsError> {
    let refused = |fault: Fault, name: &str| TlsError { option: format!("{path}{name}"), fault };
    let versions = versions(terms.min_version);
    let builder = ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(versions)
        .map_err(|error| refused(error.into(), ".min_version"))?;
    let builder = match &terms.authorities {
        None => builder.with_no_client_auth(),
        Some(certificates) => {
            let mut roots = RootCertStore::empty();
            for (at, certificate) in certificates.iter().enumerate() {
                roots
                    .add(certificate.clone())
                    .map_err(|_| refused(Fault::Certificate(at + 1), ".client_ca_pem"))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
            builder.with_client_cert_verifier(
                verifier.build().map_err(|error| refused(error.into(), ".client_ca_pem"))?,
            )
        }
    };
    let mut config = builder.with_cert_resolver(resolver);
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    // Its keys are changed every few hours. Each configuration has its own, so that what one port or one list of
    // client CAs has admitted is not resumed at another.
    config.ticketer = aws_lc_rs::Ticketer::new().map_err(|error| refused(error.into(), ""))?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 1;
    Ok(config)
}
