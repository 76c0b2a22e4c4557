//! TLS of the load side, certificates for servers under measurement, and the bare cost of a handshake.

use crate::control::{Error, commands, emit, number};
use mio::net::TcpStream;
use rcgen::{CertificateParams, KeyPair};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientSessionMemoryCache, Resumption};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, ServerConfig, ServerConnection, SignatureScheme,
};
use serde_json::json;
use std::io::{self, ErrorKind, Read, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Sessions that are kept to be resumed.
const SESSIONS: usize = 50_000;

/// The settings of clients. With `resumes`, each connection resumes the session that it had before.
pub(crate) fn config(resumes: bool) -> Result<Arc<ClientConfig>, Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone(provider)))
        .with_no_client_auth();
    config.resumption = if resumes {
        Resumption::store(Arc::new(ClientSessionMemoryCache::new(SESSIONS)))
    } else {
        Resumption::disabled()
    };
    Ok(Arc::new(config))
}

/// The client's end of one connection. The name makes its sessions its own.
pub(crate) fn connection(config: &Arc<ClientConfig>, index: usize) -> io::Result<Box<ClientConnection>> {
    let name = ServerName::try_from(format!("c{index}.bench.example")).map_err(io::Error::other)?;
    ClientConnection::new(Arc::clone(config), name).map(Box::new).map_err(io::Error::other)
}

/// Reads plain bytes, as `read` of a socket does.
pub(crate) fn read(tls: &mut ClientConnection, stream: &mut TcpStream, into: &mut [u8]) -> io::Result<usize> {
    loop {
        match tls.reader().read(into) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            other => return other,
        }
        if tls.read_tls(stream)? == 0 {
            return Ok(0);
        }
        tls.process_new_packets().map_err(io::Error::other)?;
        flush(tls, stream)?;
    }
}

/// Takes plain bytes, and sends what the socket takes.
pub(crate) fn write(tls: &mut ClientConnection, stream: &mut TcpStream, bytes: &[u8]) -> io::Result<usize> {
    let count = tls.writer().write(bytes)?;
    flush(tls, stream)?;
    if count == 0 { Err(ErrorKind::WouldBlock.into()) } else { Ok(count) }
}

/// Sends what waits, as far as the socket takes it.
pub(crate) fn flush(tls: &mut ClientConnection, stream: &mut TcpStream) -> io::Result<()> {
    while tls.wants_write() {
        match tls.write_tls(stream) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            other => drop(other?),
        }
    }
    Ok(())
}

/// Answers lines on standard input: `{"op":"certificate"}` with a certificate and its key, and
/// `{"op":"handshakes","count":N}` with what the server's side of a handshake costs in memory, in microseconds.
pub(crate) fn run() -> Result<(), Error> {
    let input = commands(|| ());
    while let Ok(command) = input.recv() {
        let command = command?;
        let key = KeyPair::generate()?;
        let certificate = CertificateParams::new(vec!["localhost".to_owned()])?.self_signed(&key)?;
        if command.get("op").is_some_and(|op| op == "certificate") {
            let (certificate, key) = (certificate.pem(), key.serialize_pem());
            emit(&json!({"event": "certificate", "certificate": certificate, "key": key}));
            continue;
        }
        let count = usize::try_from(number(&command, "count", 2_000))?;
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let mut server = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)?;
        server.ticketer = aws_lc_rs::Ticketer::new()?;
        server.send_tls13_tickets = 1;
        let (server, client) = (Arc::new(server), config(true)?);
        let spent = |at: usize| handshake(&server, &client, at);
        let full: Duration = (0..count).map(&spent).sum::<Result<_, _>>()?;
        let resumed: Duration = (0..count).map(&spent).sum::<Result<_, _>>()?;
        let each = |time: Duration| time.as_secs_f64() * 1e6 / count as f64;
        emit(&json!({"event": "handshakes", "full_us": each(full), "resumed_us": each(resumed)}));
    }
    Ok(())
}

/// Time that the server's side of one handshake takes, with the first bytes in either direction.
fn handshake(server: &Arc<ServerConfig>, client: &Arc<ClientConfig>, at: usize) -> Result<Duration, Error> {
    let mut client = connection(client, at)?;
    let mut spent = Duration::ZERO;
    let mut server = {
        let begin = Instant::now();
        let server = ServerConnection::new(Arc::clone(server))?;
        spent += begin.elapsed();
        server
    };
    let mut bytes = Vec::new();
    client.writer().write_all(b"ping")?;
    let mut heard = 0;
    while heard == 0 {
        bytes.clear();
        while client.wants_write() {
            client.write_tls(&mut bytes)?;
        }
        let (mut rest, mut answer) = (&bytes[..], Vec::new());
        let begin = Instant::now();
        while !rest.is_empty() {
            server.read_tls(&mut rest)?;
            server.process_new_packets()?;
        }
        let mut text = [0; 16];
        if server.reader().read(&mut text).is_ok_and(|count| count > 0) {
            server.writer().write_all(b"pong")?;
        }
        while server.wants_write() {
            server.write_tls(&mut answer)?;
        }
        spent += begin.elapsed();
        let mut rest = &answer[..];
        while !rest.is_empty() {
            client.read_tls(&mut rest)?;
            client.process_new_packets()?;
        }
        heard = client.reader().read(&mut text).unwrap_or(0);
    }
    Ok(spent)
}

/// Trusts every server: it is the one under measurement.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

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
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
