//! TLS towards other servers, such as those of engines.

use super::load::{Fault, TlsError, certificates, private_key};
use super::port::{provider, versions};
use crate::config::typed::Tls;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::sync::Arc;

/// Returns the settings of connections to a server: its certificate is checked with `server_ca_pem`, or the authorities that
/// the system trusts, and `cert_pem` is shown where the server asks for one. `None` without TLS. `path` is the section
/// of the options.
///
/// # Errors
/// An option holds something that cannot be used.
pub(crate) fn client(options: &Tls, path: &str) -> Result<Option<Arc<ClientConfig>>, TlsError> {
    if !options.enabled {
        return Ok(None);
    }
    let provider = provider();
    let refused = |error: rustls::Error, option: &str| TlsError {
        option: format!("{path}.{option}"),
        fault: Fault::Refused(error),
    };
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions(options.min_version))
        .map_err(|error| refused(error, "min_version"))?;
    let builder = if options.insecure_skip_verify {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(Unverified(provider)))
    } else {
        let roots = roots(options, &format!("{path}.server_ca_pem"))?;
        match &options.server_name {
            name if name.is_empty() => builder.with_root_certificates(roots),
            name => {
                let verifier = Named::new(name, roots, provider)
                    .ok_or_else(|| TlsError { option: format!("{path}.server_name"), fault: Fault::Name })?;
                builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
            }
        }
    };
    let (certificate, key) = (format!("{path}.cert_pem"), format!("{path}.key_pem"));
    let config = if options.cert_pem.0.is_empty() && options.key_pem.0.is_empty() {
        builder.with_no_client_auth()
    } else {
        let chain = certificates(&options.cert_pem, &certificate)?;
        let secret = private_key(&options.key_pem, &key)?;
        builder.with_client_auth_cert(chain, secret).map_err(|error| refused(error, "key_pem"))?
    };
    Ok(Some(Arc::new(config)))
}

/// TLS that trusts no server: for clients that speak without TLS, and have to have one all the same.
///
/// # Errors
/// The cryptography of this process has no version of TLS.
pub(crate) fn trusting_nobody() -> Result<ClientConfig, rustls::Error> {
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    Ok(builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
}

/// Expects a certificate of this name, whatever the host is called: `server_name`.
#[derive(Debug)]
struct Named {
    name: ServerName<'static>,
    inner: Arc<WebPkiServerVerifier>,
}

impl Named {
    fn new(name: &str, roots: RootCertStore, provider: Arc<CryptoProvider>) -> Option<Self> {
        let name = ServerName::try_from(name.to_owned()).ok()?;
        let inner = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().ok()?;
        Some(Self { name, inner })
    }
}

impl ServerCertVerifier for Named {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.inner.verify_server_cert(certificate, intermediates, &self.name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// The authorities of `server_ca_pem`, or those of the system.
fn roots(options: &Tls, option: &str) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    if options.server_ca_pem.0.is_empty() {
        // One that cannot be read is left out, as browsers do.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        return Ok(roots);
    }
    for (at, der) in certificates(&options.server_ca_pem, option)?.into_iter().enumerate() {
        let fault = |_| TlsError { option: option.to_owned(), fault: Fault::Certificate(at + 1) };
        roots.add(der).map_err(fault)?;
    }
    Ok(roots)
}

/// Takes every certificate: `insecure_skip_verify`. Signatures are still checked, so that the server has the key of the
/// certificate that it shows.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
