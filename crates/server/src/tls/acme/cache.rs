//! The directory of certificates: for each host a file with key and chain, readable by the owner alone.
//!
//! Names and form of the files are those of Go's autocert, so that a directory of Centrifugo's is taken over.

use crate::tls::load::{Fault, Identity, TlsError, assemble, only_key, sections};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::SectionKind;
use std::io;
use std::path::{Path, PathBuf};

/// The file of the account.
const ACCOUNT: &str = "acme_account.json";

/// A directory, or none.
pub(super) struct Cache(Option<PathBuf>);

impl Cache {
    pub(super) fn new(directory: &str) -> Self {
        Self((!directory.is_empty()).then(|| directory.into()))
    }

    /// The certificate of a host. `None` if there is none.
    pub(super) fn identity(
        &self,
        host: &str,
        provider: &CryptoProvider,
    ) -> Result<Option<Identity>, TlsError> {
        let Some(path) = self.path(host) else { return Ok(None) };
        let shown = path.display().to_string();
        let bad = |fault: Fault| TlsError { option: shown.clone(), fault };
        match std::fs::read(&path) {
            Ok(text) => parse(&text, &shown, provider).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(bad(crate::config::pem::PemError::File(error).into())),
        }
    }

    /// Keeps the certificate of a host.
    pub(super) fn keep(&self, host: &str, text: &str) -> io::Result<()> {
        self.path(host).map_or(Ok(()), |path| self.write(&path, text))
    }

    /// The account, if there is one.
    pub(super) fn account(&self) -> Option<String> {
        std::fs::read_to_string(self.0.as_ref()?.join(ACCOUNT)).ok()
    }

    pub(super) fn keep_account(&self, text: &str) -> io::Result<()> {
        self.0.as_ref().map_or(Ok(()), |directory| self.write(&directory.join(ACCOUNT), text))
    }

    /// Names that could lead out of the directory have no file.
    fn path(&self, host: &str) -> Option<PathBuf> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        let is_name = !host.is_empty() && !host.starts_with('.') && host.bytes().all(fits);
        self.0.as_ref().filter(|_| is_name).map(|directory| directory.join(host))
    }

    /// Writes a file as a whole or not at all.
    fn write(&self, path: &Path, text: &str) -> io::Result<()> {
        use std::io::Write;
        if let Some(directory) = &self.0 {
            let mut builder = std::fs::DirBuilder::new();
            builder.recursive(true);
            #[cfg(unix)]
            std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
            builder.create(directory)?;
        }
        let mut name = path.as_os_str().to_owned();
        name.push(".new");
        let fresh = PathBuf::from(name);
        let _ = std::fs::remove_file(&fresh);
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&fresh)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&fresh, path)
    }
}

/// Reads a key and the chain behind it. `shown` is where they come from.
pub(super) fn parse(text: &[u8], shown: &str, provider: &CryptoProvider) -> Result<Identity, TlsError> {
    let bad = |fault: Fault| TlsError { option: shown.to_owned(), fault };
    let (blocks, labels) = sections(text).map_err(bad)?;
    let chain: Vec<CertificateDer<'static>> = blocks
        .iter()
        .filter(|(kind, _)| *kind == SectionKind::Certificate)
        .map(|(_, der)| CertificateDer::from(der.clone()))
        .collect();
    if chain.is_empty() {
        return Err(bad(Fault::NoCertificate(labels)));
    }
    let key = only_key(blocks, labels).map_err(bad)?;
    assemble(chain, key, shown, shown, provider)
}
