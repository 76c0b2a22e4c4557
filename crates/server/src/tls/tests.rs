//! Certificates in every way wrong, and TLS as a layer against rustls' client.

use super::*;
use crate::config::catalogue::Pem;
use crate::config::typed::{Tls, TlsVersion};
use base64::Engine as _;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme};
use spinward::layer::Layer;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::sync::Arc;

const PATH: &str = "http_server.tls";

/// A certificate authority, one below it, and a certificate for `localhost` by that one.
pub(super) struct Chain {
    pub(super) root: CertifiedIssuer<'static, KeyPair>,
    pub(super) middle: CertifiedIssuer<'static, KeyPair>,
    pub(super) leaf: String,
    pub(super) key: String,
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

impl Chain {
    pub(super) fn new() -> Self {
        Self::ending(2099)
    }

    fn ending(year: i32) -> Self {
        let root = CertifiedIssuer::self_signed(authority("root"), KeyPair::generate().unwrap()).unwrap();
        let middle =
            CertifiedIssuer::signed_by(authority("middle"), KeyPair::generate().unwrap(), &root).unwrap();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(year, 1, 1);
        let leaf = params.signed_by(&key, &middle).unwrap().pem();
        Self { root, middle, leaf, key: key.serialize_pem() }
    }

    pub(super) fn chain(&self) -> String {
        format!("{}{}", self.leaf, self.middle.pem())
    }

    pub(super) fn options(&self) -> Tls {
        Tls { enabled: true, cert_pem: pem(&self.chain()), key_pem: pem(&self.key), ..Tls::default() }
    }
}

pub(super) fn pem(text: &str) -> Pem {
    Pem(text.into())
}

fn port(options: &Tls) -> TlsPort {
    TlsPort::new(options, PATH).unwrap_or_else(|error| panic!("{error}"))
}

fn refusal(options: &Tls) -> String {
    match TlsPort::new(options, PATH) {
        Ok(_) => panic!("it was accepted"),
        Err(error) => error.to_string(),
    }
}

/// A file that is removed in the end.
struct File(PathBuf);

impl File {
    fn new(content: &[u8]) -> Self {
        static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("spinward-tls-{}-{number}", std::process::id()));
        std::fs::write(&path, content).unwrap();
        Self(path)
    }

    fn pem(&self) -> Pem {
        pem(self.0.to_str().unwrap())
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn every_fault_names_its_option_and_the_change() {
    let (one, other) = (Chain::new(), Chain::new());
    let der = CertificateDer::from_pem_slice(one.leaf.as_bytes()).unwrap();
    let key_der = PrivateKeyDer::from_pem_slice(one.key.as_bytes()).unwrap();
    let (der, key_der) = (File::new(&der), File::new(key_der.secret_der()));
    let (empty, text) = (File::new(b""), File::new(b"no certificate"));
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let old = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,0\n\nMIIB\n-----END RSA PRIVATE KEY-----\n";
    let public = "-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----\n";
    let broken = one.leaf.replace("MII", "!!!");
    let cut = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
    let odd = "-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n";
    let folder = std::env::temp_dir();
    let folder = folder.to_str().unwrap();
    let good = (one.chain(), one.key.clone(), String::new());
    let cert = |text: &str| (text.to_owned(), one.key.clone(), String::new());
    let key = |text: &str| (one.chain(), text.to_owned(), String::new());
    let ca = |text: &str| (one.chain(), one.key.clone(), text.to_owned());
    let path = |file: &File| file.pem().0.expose().to_owned();
    for ((cert_pem, key_pem, client_ca_pem), option, part) in [
        (cert(""), "cert_pem", "not set"),
        (key(""), "key_pem", "not set"),
        (cert("/does/not/exist.pem"), "cert_pem", "nor the path of a file"),
        (key("/does/not/exist.pem"), "key_pem", "nor the path of a file"),
        (cert(folder), "cert_pem", "the file cannot be read"),
        (key(folder), "key_pem", "the file cannot be read"),
        (cert(&path(&empty)), "cert_pem", "the file holds no PEM"),
        (key(&path(&text)), "key_pem", "the file holds no PEM"),
        (cert(&path(&der)), "cert_pem", "openssl x509 -inform DER"),
        (key(&path(&key_der)), "key_pem", "openssl pkey -inform DER"),
        (cert(&one.key), "cert_pem", "holds no certificate, but \"PRIVATE KEY\""),
        (key(&one.leaf), "key_pem", "holds no private key, but \"CERTIFICATE\""),
        (key(public), "key_pem", "holds no private key, but \"PUBLIC KEY\""),
        (key(encrypted), "key_pem", "without a password"),
        (key(old), "key_pem", "without a password"),
        (key(&format!("{}{}", one.key, other.key)), "key_pem", "holds 2 private keys"),
        (key(odd), "key_pem", "cannot be used"),
        (cert(&broken), "cert_pem", "damaged"),
        (cert(cut), "cert_pem", "certificate 1 cannot be read"),
        (cert(&format!("{}{cut}", one.leaf)), "cert_pem", "certificate 2 cannot be read"),
        (key(&other.key), "key_pem", "does not belong to the certificate of `http_server.tls.cert_pem`"),
        (cert(&format!("{}{}", one.middle.pem(), one.leaf)), "cert_pem", "number 2 and must come first"),
        (
            cert(&format!("{}{}{}", one.leaf, one.root.pem(), one.middle.pem())),
            "cert_pem",
            "number 1 was not issued by number 2",
        ),
        (ca("/does/not/exist.pem"), "client_ca_pem", "nor the path of a file"),
        (ca(&one.key), "client_ca_pem", "holds no certificate"),
        (ca(&one.leaf), "client_ca_pem", "certificate 1 is not one of a certificate authority"),
        (ca(&format!("{}{}", one.root.pem(), one.leaf)), "client_ca_pem", "certificate 2 is not one"),
    ] {
        let options = Tls {
            enabled: true,
            cert_pem: pem(&cert_pem),
            key_pem: pem(&key_pem),
            client_ca_pem: pem(&client_ca_pem),
            ..Tls::default()
        };
        let told = refusal(&options);
        assert!(told.starts_with(&format!("{PATH}.{option}: ")) && told.contains(part), "{told}\nfor {part}");
        let secret = one.key.lines().nth(1).unwrap();
        assert!(!told.contains(secret), "a key is told: {told}");
    }
    let (cert_pem, key_pem) = (pem(&good.0), pem(&good.1));
    port(&Tls { enabled: true, cert_pem, key_pem, ..Tls::default() });
}

#[test]
fn every_form_of_pem_is_read() {
    let one = Chain::new();
    let both = format!("{}{}", one.key, one.chain());
    let base64 = base64::engine::general_purpose::STANDARD.encode(&both);
    let (file, windows) = (File::new(both.as_bytes()), File::new(both.replace('\n', "\r\n").as_bytes()));
    for given in [pem(&both), pem(&base64), file.pem(), windows.pem(), pem(&both.replace('\n', "\\n"))] {
        let options = Tls { enabled: true, cert_pem: given.clone(), key_pem: given, ..Tls::default() };
        let mut pair = Pair::new(&port(&options), &one, |_| {});
        pair.shake().unwrap();
    }
}

/// A client and a layer, and the bytes between them.
struct Pair {
    client: ClientConnection,
    layer: TlsLayer,
    plain: Vec<u8>,
}

fn trusting(one: &Chain) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(one.root.der().clone()).unwrap();
    ClientConfig::builder_with_provider(port::provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

impl Pair {
    fn new(port: &TlsPort, one: &Chain, change: impl FnOnce(&mut ClientConfig)) -> Self {
        let mut config = trusting(one);
        change(&mut config);
        Self::with(port, Arc::new(config))
    }

    fn with(port: &TlsPort, config: Arc<ClientConfig>) -> Self {
        let client = ClientConnection::new(config, ServerName::try_from("localhost").unwrap()).unwrap();
        Self { client, layer: port.layer().unwrap(), plain: Vec::new() }
    }

    /// Gives the layer what the client sends, in pieces, and the client the answers.
    fn exchange(&mut self, piece: usize) -> std::io::Result<()> {
        let mut sent = Vec::new();
        while self.client.wants_write() {
            self.client.write_tls(&mut sent).unwrap();
        }
        let mut sealed = Vec::new();
        let mut result = Ok(());
        for bytes in sent.chunks_mut(piece) {
            result = self.layer.open(bytes, &mut self.plain, &mut sealed);
            if result.is_err() {
                break;
            }
        }
        self.hear(&sealed)?;
        result
    }

    fn hear(&mut self, sealed: &[u8]) -> std::io::Result<()> {
        let mut rest = sealed;
        while !rest.is_empty() {
            self.client.read_tls(&mut rest)?;
            self.client.process_new_packets().map_err(std::io::Error::other)?;
        }
        Ok(())
    }

    fn shake(&mut self) -> std::io::Result<()> {
        for _ in 0..8 {
            self.exchange(usize::MAX)?;
            if !self.client.is_handshaking() && !self.layer.is_handshaking() && !self.client.wants_write() {
                return Ok(());
            }
        }
        Err(std::io::Error::other("no end"))
    }

    /// Says something from either end, and returns what came.
    fn echo(&mut self, text: &[u8], piece: usize) -> (Vec<u8>, Vec<u8>) {
        self.client.writer().write_all(text).unwrap();
        self.exchange(piece).unwrap();
        let mut sealed = Vec::new();
        self.layer.seal(text, &mut sealed).unwrap();
        self.hear(&sealed).unwrap();
        let mut heard = vec![0; text.len()];
        self.client.reader().read_exact(&mut heard).unwrap();
        (std::mem::take(&mut self.plain), heard)
    }
}

#[test]
fn bytes_pass_in_whatever_pieces_they_come() {
    let one = Chain::new();
    for (version, piece) in
        [(&rustls::version::TLS13, 1), (&rustls::version::TLS12, 1), (&rustls::version::TLS13, 1000)]
    {
        let mut config = ClientConfig::builder_with_provider(port::provider())
            .with_protocol_versions(&[version])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anyone))
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let mut pair = Pair::with(&port(&one.options()), Arc::new(config));
        for _ in 0..4 {
            pair.exchange(piece).unwrap();
        }
        assert!(!pair.layer.is_handshaking());
        assert_eq!(pair.layer.alpn(), Some(&b"http/1.1"[..]));
        let text = vec![7; 3_000];
        assert_eq!(pair.echo(&text, piece), (text.clone(), text));
        // Sealed while a record has come in part.
        pair.client.writer().write_all(b"to come").unwrap();
        let mut sent = Vec::new();
        pair.client.write_tls(&mut sent).unwrap();
        let (mut sealed, mut plain) = (Vec::new(), Vec::new());
        let (first, second) = sent.split_at_mut(9);
        pair.layer.open(first, &mut plain, &mut sealed).unwrap();
        pair.layer.seal(b"meanwhile", &mut sealed).unwrap();
        pair.layer.open(second, &mut plain, &mut sealed).unwrap();
        pair.hear(&sealed).unwrap();
        assert_eq!(plain, b"to come");
        let mut heard = [0; 9];
        pair.client.reader().read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"meanwhile");
    }
}

#[test]
fn keys_are_updated_when_the_peer_asks() {
    let one = Chain::new();
    let mut pair = Pair::new(&port(&one.options()), &one, |_| {});
    pair.shake().unwrap();
    for _ in 0..3 {
        pair.client.refresh_traffic_keys().unwrap();
        assert_eq!(pair.echo(b"with new keys", 5), (b"with new keys".to_vec(), b"with new keys".to_vec()));
    }
}

#[test]
fn either_end_may_end() {
    let one = Chain::new();
    let mut pair = Pair::new(&port(&one.options()), &one, |_| {});
    pair.shake().unwrap();
    let mut sealed = Vec::new();
    pair.layer.finish(&mut sealed);
    assert!(!sealed.is_empty());
    let mut rest = &sealed[..];
    pair.client.read_tls(&mut rest).unwrap();
    assert!(pair.client.process_new_packets().unwrap().peer_has_closed());
    assert!(!pair.layer.has_ended());
    pair.client.writer().write_all(b"last").unwrap();
    pair.client.send_close_notify();
    pair.exchange(usize::MAX).unwrap();
    assert_eq!(pair.plain, b"last");
    assert!(pair.layer.has_ended());
}

#[test]
fn garbage_is_answered_by_an_alert_and_requests_without_tls_by_text() {
    let one = Chain::new();
    let port = port(&one.options());
    let open = |bytes: &[u8]| {
        let mut layer = port.layer().unwrap();
        let (mut plain, mut sealed) = (Vec::new(), Vec::new());
        let result = layer.open(&mut bytes.to_vec(), &mut plain, &mut sealed);
        assert!(result.is_err() && plain.is_empty());
        sealed
    };
    assert!(String::from_utf8(open(b"GET / HTTP/1.1\r\n\r\n")).unwrap().contains("400 Bad Request"));
    // An alert of TLS.
    assert_eq!(open(b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00")[0], 21);
    open(b"\x16\x03\x01\x00\x05hello");
    open(&[0x17; 300]);
}

#[test]
fn a_hello_that_never_ends_is_bounded() {
    let one = Chain::new();
    let mut layer = port(&one.options()).layer().unwrap();
    let (mut plain, mut sealed) = (Vec::new(), Vec::new());
    // The first message says that it has 16 MB less one; records of it go on and on.
    let mut first = b"\x16\x03\x01\x3f\x00\x01\xff\xff\xff".to_vec();
    first.resize(5 + 0x3f00, 0);
    let mut taken = 0;
    for _ in 0..16 {
        taken += first.len();
        if layer.open(&mut first, &mut plain, &mut sealed).is_err() {
            break;
        }
        first[5..9].fill(0);
    }
    assert!(taken < 100 << 10, "{taken} bytes were taken");
    // One of a size that is allowed, and bytes that dribble.
    let mut layer = port(&one.options()).layer().unwrap();
    let mut record = b"\x16\x03\x01\x3f\x00\x01\x00\xff\xf0".to_vec();
    record.resize(5 + 0x3f00, 0);
    let refused = (0..16).any(|_| {
        let refused = layer.open(&mut record.clone(), &mut plain, &mut sealed).is_err();
        record[5..9].fill(0);
        refused
    });
    assert!(refused);
}

#[test]
fn a_session_is_resumed_and_not_under_other_terms() {
    let one = Chain::new();
    let (own, foreign) = (port(&one.options()), port(&one.options()));
    let config = Arc::new(trusting(&one));
    let shaken = |port: &TlsPort| {
        let mut pair = Pair::with(port, Arc::clone(&config));
        pair.shake().unwrap();
        pair.echo(b"x", 100);
        pair.layer.is_resumed()
    };
    assert!(!shaken(&own));
    assert!(shaken(&own));
    // Another certificate: the session is still this server's.
    let fresh = Tls { ..one.options() };
    own.exchange(&fresh).unwrap();
    assert!(shaken(&own));
    assert!(!shaken(&foreign), "a ticket of another port");
    let stricter = Tls { min_version: TlsVersion::V13, ..one.options() };
    assert!(shaken(&foreign));
    foreign.exchange(&stricter).unwrap();
    assert!(!shaken(&foreign), "a ticket of other terms");
}

#[test]
fn clients_need_a_certificate_of_the_authority() {
    let (one, other) = (Chain::new(), Chain::new());
    let options = Tls { client_ca_pem: pem(&one.root.pem()), ..one.options() };
    let port = port(&options);
    let with = |of: &Chain| {
        let mut roots = RootCertStore::empty();
        roots.add(one.root.der().clone()).unwrap();
        let chain: Vec<_> =
            CertificateDer::pem_slice_iter(of.chain().as_bytes()).map(Result::unwrap).collect();
        let key = PrivateKeyDer::from_pem_slice(of.key.as_bytes()).unwrap();
        let config = ClientConfig::builder_with_provider(port::provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)
            .unwrap();
        Pair::with(&port, Arc::new(config)).shake()
    };
    with(&one).unwrap();
    assert!(with(&other).is_err());
    assert!(Pair::new(&port, &one, |_| {}).shake().is_err());
}

#[test]
fn the_lowest_version_holds() {
    let one = Chain::new();
    let mut options = one.options();
    let old = || {
        let mut roots = RootCertStore::empty();
        roots.add(one.root.der().clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(port::provider());
        let builder = builder.with_protocol_versions(&[&rustls::version::TLS12]).unwrap();
        Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
    };
    Pair::with(&port(&options), old()).shake().unwrap();
    options.min_version = TlsVersion::V13;
    assert!(Pair::with(&port(&options), old()).shake().is_err());
}

#[test]
fn a_certificate_that_cannot_be_used_changes_nothing() {
    let (one, other) = (Chain::new(), Chain::new());
    let port = port(&one.options());
    let end = port.certificate().ends().unwrap();
    let bad = Tls { key_pem: pem(&other.key), ..one.options() };
    assert!(port.exchange(&bad).is_err());
    Pair::new(&port, &one, |_| {}).shake().unwrap();
    let next = Chain::ending(2050);
    port.exchange(&next.options()).unwrap();
    Pair::new(&port, &next, |_| {}).shake().unwrap();
    assert!(Pair::new(&port, &one, |_| {}).shake().is_err());
    assert!(port.certificate().ends().unwrap() < end);
    assert_eq!(port.counters.exchanges(), [("success", 1), ("failure", 1)]);
    assert_eq!(port.certificate().days_left(port.certificate().ends().unwrap() + 1), -1);
}

#[test]
fn files_are_at_rest_before_they_are_loaded() {
    let (one, two) = (Chain::new(), Chain::new());
    let (cert, key) = (File::new(one.chain().as_bytes()), File::new(one.key.as_bytes()));
    let options = Tls { cert_pem: cert.pem(), key_pem: key.pem(), ..one.options() };
    let mut watch = watch::Watch::new(&options);
    assert!(!watch.changed() && !watch.changed());
    std::fs::write(&cert.0, two.chain() + "\n").unwrap();
    assert!(!watch.changed());
    std::fs::write(&key.0, two.key + "\n\n").unwrap();
    assert!(!watch.changed());
    assert!(watch.changed());
    assert!(!watch.changed() && !watch.changed());
    // The way Kubernetes exchanges files: another one under the same name.
    let fresh = File::new(one.chain().as_bytes());
    std::fs::rename(&fresh.0, &cert.0).unwrap();
    assert!(!watch.changed());
    assert!(watch.changed());
    std::fs::remove_file(&cert.0).unwrap();
    assert!(!watch.changed());
    assert!(watch.changed(), "that a file is gone is told once");
    assert!(!watch.changed());
}

/// Trusts every server.
#[derive(Debug)]
struct Anyone;

impl ServerCertVerifier for Anyone {
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
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signature, &algorithms())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &algorithms())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        algorithms().supported_schemes()
    }
}

fn algorithms() -> WebPkiSupportedAlgorithms {
    aws_lc_rs::default_provider().signature_verification_algorithms
}
