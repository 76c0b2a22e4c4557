//! From options to certificates and keys, with a clear error for each way in which they can be wrong.

use super::x509::{self, Facts};
use crate::config::catalogue::Pem;
use crate::config::pem::{self, PemError};
use crate::config::typed::Tls;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{PemObject, SectionKind};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use std::sync::Arc;
use thiserror::Error;

/// The options of TLS hold something that cannot be used.
#[derive(Debug, Error)]
#[error("{option}: {fault}")]
pub struct TlsError {
    /// The option to change.
    pub option: String,
    /// The fault.
    pub fault: Fault,
}

/// A fault of a certificate or key.
#[derive(Debug, Error)]
pub enum Fault {
    /// Nothing is set.
    #[error(
        "not set: TLS needs a certificate and its key, each as PEM, as PEM in base64, or as the path of a file"
    )]
    Unset,
    /// PEM cannot be had.
    #[error(transparent)]
    Pem(#[from] PemError),
    /// A block cannot be decoded.
    #[error("a PEM block is damaged")]
    Damaged,
    /// There is no certificate.
    #[error("holds no certificate, but {0}: a block \"CERTIFICATE\" is expected")]
    NoCertificate(String),
    /// There is no private key.
    #[error(
        "holds no private key, but {0}: a block \"PRIVATE KEY\", \"RSA PRIVATE KEY\" or \"EC PRIVATE KEY\" is expected"
    )]
    NoKey(String),
    /// The key has a password.
    #[error(
        "the private key is encrypted: store it without a password, for example with `openssl pkey -in KEY -out NEW`"
    )]
    Encrypted,
    /// There is more than one key.
    #[error("holds {0} private keys: keep the one that belongs to the certificate")]
    SeveralKeys(usize),
    /// The key is not of a kind that can be used.
    #[error(
        "the private key cannot be used: RSA with 2048 bits or more, P-256, P-384, P-521 or Ed25519 is expected"
    )]
    Key,
    /// The name is not one of a host.
    #[error("not a host name")]
    Name,
    /// A certificate cannot be read.
    #[error("certificate {0} cannot be read")]
    Certificate(usize),
    /// The key is another one's.
    #[error("the private key does not belong to the certificate of `{0}`")]
    Mismatch(String),
    /// The server's certificate is not the first.
    #[error(
        "the certificates are in the wrong order: the one that belongs to the key is number {0} and must come first, \
         followed by those that issued it"
    )]
    LeafNotFirst(usize),
    /// The chain is broken.
    #[error(
        "the certificates are in the wrong order: number {0} was not issued by number {next}; each must be followed by \
         its issuer", next = .0 + 1
    )]
    Order(usize),
    /// A certificate of a client CA is not one of a CA.
    #[error("certificate {0} is not one of a certificate authority, and cannot have issued those of clients")]
    NotAuthority(usize),
    /// rustls refuses the options.
    #[error("cannot be used: {0}")]
    Refused(#[from] rustls::Error),
    /// The client CAs cannot be used.
    #[error("cannot be used: {0}")]
    Authorities(#[from] rustls::server::VerifierBuilderError),
}

/// A certificate with its key.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) key: Arc<CertifiedKey>,
    /// Seconds since 1970 from which and until which the whole chain holds.
    pub(crate) valid: std::ops::Range<i64>,
}

/// Loads what options of a server name. `path` is the section that holds them.
pub(crate) fn identity(options: &Tls, path: &str, provider: &CryptoProvider) -> Result<Identity, TlsError> {
    let (certificate, key) = (format!("{path}.cert_pem"), format!("{path}.key_pem"));
    let chain = certificates(&options.cert_pem, &certificate)?;
    let secret = private_key(&options.key_pem, &key)?;
    assemble(chain, secret, &certificate, &key, provider)
}

/// Puts a chain and a key together. `certificate` and `key` are the options that they come from.
pub(super) fn assemble(
    chain: Vec<CertificateDer<'static>>,
    secret: PrivateKeyDer<'static>,
    certificate: &str,
    key: &str,
    provider: &CryptoProvider,
) -> Result<Identity, TlsError> {
    let facts = chain
        .iter()
        .enumerate()
        .map(|(at, der)| x509::facts(der).ok_or_else(|| fault(certificate, Fault::Certificate(at + 1))));
    let facts: Vec<Facts> = facts.collect::<Result<_, _>>()?;
    let signer = provider.key_provider.load_private_key(secret).map_err(|_| fault(key, Fault::Key))?;
    let fits = |at: usize| {
        let one = CertifiedKey::new(vec![chain[at].clone()], Arc::clone(&signer));
        match one.keys_match() {
            Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => Ok(true),
            Err(rustls::Error::InconsistentKeys(_)) => Ok(false),
            Err(_) => Err(fault(certificate, Fault::Certificate(at + 1))),
        }
    };
    if !fits(0)? {
        for at in 1..chain.len() {
            if fits(at)? {
                return Err(fault(certificate, Fault::LeafNotFirst(at + 1)));
            }
        }
        return Err(fault(key, Fault::Mismatch(certificate.to_owned())));
    }
    if let Some(at) = facts.windows(2).position(|pair| pair[0].issuer != pair[1].subject) {
        return Err(fault(certificate, Fault::Order(at + 1)));
    }
    let from = facts.iter().map(|facts| facts.valid.start).max().unwrap_or_default();
    let until = facts.iter().map(|facts| facts.valid.end).min().unwrap_or_default();
    Ok(Identity { key: Arc::new(CertifiedKey::new(chain, signer)), valid: from..until })
}

/// Loads the certificates that client certificates must descend from. `None` if clients need none.
pub(crate) fn authorities(pem: &Pem, option: &str) -> Result<Option<Vec<CertificateDer<'static>>>, TlsError> {
    if pem.0.is_empty() {
        return Ok(None);
    }
    let found = certificates(pem, option)?;
    for (at, der) in found.iter().enumerate() {
        let facts = x509::facts(der).ok_or_else(|| fault(option, Fault::Certificate(at + 1)))?;
        if !facts.is_ca {
            return Err(fault(option, Fault::NotAuthority(at + 1)));
        }
    }
    Ok(Some(found))
}

fn fault(option: &str, fault: impl Into<Fault>) -> TlsError {
    TlsError { option: option.to_owned(), fault: fault.into() }
}

/// Blocks of PEM by kind, and the labels that were there, also those of no known kind.
pub(super) type Sections = (Vec<(SectionKind, Vec<u8>)>, String);

/// The blocks of an option.
fn blocks(pem: &Pem, option: &str) -> Result<Sections, TlsError> {
    if pem.0.is_empty() {
        return Err(fault(option, Fault::Unset));
    }
    let text = pem::load(pem).map_err(|error| fault(option, error))?;
    sections(&text).map_err(|error| fault(option, error))
}

/// The blocks of a text.
pub(super) fn sections(text: &[u8]) -> Result<Sections, Fault> {
    let text = String::from_utf8_lossy(text);
    // Environment variables have line breaks written out.
    let text = if text.contains('\n') { text } else { text.replace("\\n", "\n").into() };
    let labels = text.split("-----BEGIN ").skip(1).filter_map(|rest| rest.split_once("-----"));
    let mut labels: Vec<String> =
        labels.map(|(label, _)| format!("{:?}", label.chars().take(40).collect::<String>())).collect();
    labels.dedup();
    if labels.iter().any(|label| label == "\"ENCRYPTED PRIVATE KEY\"")
        || text.contains("Proc-Type: 4,ENCRYPTED")
    {
        return Err(Fault::Encrypted);
    }
    let found = <(SectionKind, Vec<u8>)>::pem_slice_iter(text.as_bytes());
    let found = found.collect::<Result<Vec<_>, _>>().map_err(|_| Fault::Damaged)?;
    Ok((found, labels.join(", ")))
}

/// The certificates of an option, of which there is at least one.
pub(super) fn certificates(pem: &Pem, option: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let (blocks, labels) = blocks(pem, option)?;
    let certificates = blocks.into_iter().filter(|(kind, _)| *kind == SectionKind::Certificate);
    let found: Vec<_> = certificates.map(|(_, der)| CertificateDer::from(der)).collect();
    if found.is_empty() { Err(fault(option, Fault::NoCertificate(labels))) } else { Ok(found) }
}

/// The private key of an option.
pub(super) fn private_key(pem: &Pem, option: &str) -> Result<PrivateKeyDer<'static>, TlsError> {
    let (blocks, labels) = blocks(pem, option)?;
    only_key(blocks, labels).map_err(|error| fault(option, error))
}

/// The one private key among blocks.
pub(super) fn only_key(
    blocks: Vec<(SectionKind, Vec<u8>)>,
    labels: String,
) -> Result<PrivateKeyDer<'static>, Fault> {
    let keys = blocks.into_iter().filter_map(|(kind, der)| PrivateKeyDer::from_pem(kind, der));
    let mut keys: Vec<PrivateKeyDer<'static>> = keys.collect();
    match (keys.len(), keys.pop()) {
        (1, Some(key)) => Ok(key),
        (0, _) | (_, None) => Err(Fault::NoKey(labels)),
        (count, Some(_)) => Err(Fault::SeveralKeys(count)),
    }
}
