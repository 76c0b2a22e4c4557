//! TLS as a layer, by rustls.
//!
//! rustls' buffered connections keep their read buffer for good. The unbuffered ones read where the bytes are, so an idle
//! connection keeps keys and state alone.

use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus, WriteTraffic};
use rustls::{HandshakeKind, ServerConfig};
use spinward::layer::Layer;
use std::io;
use std::sync::Arc;

/// Most bytes of records that are not complete, once the handshake is done: a record with what is around it.
const MAX_HELD: usize = 17 << 10;
/// The same during the handshake: a message of the handshake may take several records, as those with certificates do.
const MAX_HELD_HANDSHAKE: usize = 66 << 10;

/// Room for what a record adds to its bytes, and for a change of keys before it.
const OVERHEAD: usize = 128;

/// The answer to a request without TLS.
const NOT_TLS: &[u8] =
    b"HTTP/1.0 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n\
    This port speaks HTTPS: use https:// or wss://\n";

/// The methods that requests without TLS begin with.
const METHODS: [&[u8]; 8] = [b"GET ", b"POST", b"HEAD", b"PUT ", b"OPTI", b"DELE", b"PATC", b"PRI "];

/// TLS of one connection.
pub(crate) struct TlsLayer {
    connection: Box<UnbufferedServerConnection>,
    /// The beginning of a record that is not complete.
    held: Vec<u8>,
    ended: bool,
    /// Something was received.
    begun: bool,
    /// The peer has violated the protocol: rustls is not asked again.
    failed: bool,
}

/// Progress of [`advance`].
#[derive(Default)]
struct Advance {
    /// Bytes that are done with.
    used: usize,
    ended: bool,
}

impl TlsLayer {
    /// A connection whose handshake is to come.
    pub(crate) fn new(config: Arc<ServerConfig>) -> io::Result<Self> {
        let connection = UnbufferedServerConnection::new(config).map_err(io::Error::other)?;
        Ok(Self {
            connection: Box::new(connection),
            held: Vec::new(),
            ended: false,
            begun: false,
            failed: false,
        })
    }

    pub(crate) fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    /// Returns true if the client resumed an earlier session.
    pub(crate) fn is_resumed(&self) -> bool {
        self.connection.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// The protocol that was negotiated for the bytes within.
    pub(crate) fn alpn(&self) -> Option<&[u8]> {
        self.connection.alpn_protocol()
    }
}

/// Processes records until more of them are needed.
fn advance(
    connection: &mut UnbufferedServerConnection,
    records: &mut [u8],
    plain: &mut Vec<u8>,
    sealed: &mut Vec<u8>,
) -> (Advance, io::Result<()>) {
    let mut progress = Advance::default();
    loop {
        let UnbufferedStatus { discard, state } =
            connection.process_tls_records(&mut records[progress.used..]);
        let mut done = discard;
        let again = match state {
            Ok(ConnectionState::ReadTraffic(mut traffic)) => loop {
                match traffic.next_record() {
                    Some(Ok(record)) => {
                        plain.extend_from_slice(record.payload);
                        done += record.discard;
                    }
                    Some(Err(error)) => break Err(io::Error::other(error)),
                    None => break Ok(true),
                }
            },
            Ok(ConnectionState::EncodeTlsData(mut data)) => {
                encode(sealed, |room| data.encode(room).map_err(missing)).map(|()| true)
            }
            Ok(ConnectionState::TransmitTlsData(data)) => {
                data.done();
                Ok(true)
            }
            Ok(ConnectionState::PeerClosed) => {
                progress.ended = true;
                Ok(true)
            }
            Ok(ConnectionState::Closed) => {
                progress.ended = true;
                Ok(false)
            }
            Ok(ConnectionState::BlockedHandshake | ConnectionState::WriteTraffic(_)) => Ok(false),
            // Early data is not offered.
            Ok(_) => Err(io::ErrorKind::InvalidData.into()),
            Err(error) => Err(io::Error::new(io::ErrorKind::InvalidData, error)),
        };
        progress.used += done;
        match again {
            Ok(true) => {}
            Ok(false) => return (progress, Ok(())),
            Err(error) => return (progress, Err(error)),
        }
    }
}

/// The room that a record needs, if that was too small.
const fn missing(error: EncodeError) -> Option<usize> {
    match error {
        EncodeError::InsufficientSize(short) => Some(short.required_size),
        EncodeError::AlreadyEncoded => None,
    }
}

/// Appends what still waits to be sent after an error: the alert that says why.
fn last_words(connection: &mut UnbufferedServerConnection, records: &mut [u8], sealed: &mut Vec<u8>) {
    while connection.wants_write() {
        let UnbufferedStatus { state, .. } = connection.process_tls_records(records);
        let Ok(ConnectionState::EncodeTlsData(mut data)) = state else { return };
        let encoded = encode(sealed, |room| data.encode(room).map_err(missing));
        if encoded.is_err() {
            return;
        }
    }
}

/// Appends what `write` writes, with the room that it asks for. Its error is the room that it needs.
fn encode(
    sealed: &mut Vec<u8>,
    mut write: impl FnMut(&mut [u8]) -> Result<usize, Option<usize>>,
) -> io::Result<()> {
    let begin = sealed.len();
    let mut room = OVERHEAD;
    // Once to learn the size, and once to write.
    for _ in 0..2 {
        sealed.resize(begin + room, 0);
        match write(&mut sealed[begin..]) {
            Ok(count) => {
                sealed.truncate(begin + count);
                return Ok(());
            }
            Err(Some(needed)) => room = needed,
            Err(None) => break,
        }
    }
    sealed.truncate(begin);
    Err(io::Error::other("a TLS record could not be encoded"))
}

impl Layer for TlsLayer {
    fn open(&mut self, received: &mut [u8], plain: &mut Vec<u8>, sealed: &mut Vec<u8>) -> io::Result<()> {
        if self.failed {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if !self.begun {
            self.begun = true;
            if METHODS.iter().any(|method| received.starts_with(method)) {
                self.failed = true;
                sealed.extend_from_slice(NOT_TLS);
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a request without TLS"));
            }
        }
        let mut held = std::mem::take(&mut self.held);
        let waited = !held.is_empty();
        let records = if waited {
            held.extend_from_slice(received);
            &mut held[..]
        } else {
            received
        };
        let (progress, mut result) = advance(&mut self.connection, records, plain, sealed);
        if result.is_err() {
            self.failed = true;
            last_words(&mut self.connection, &mut records[progress.used..], sealed);
        }
        self.ended |= progress.ended;
        let rest = &records[progress.used..];
        let limit = if self.connection.is_handshaking() { MAX_HELD_HANDSHAKE } else { MAX_HELD };
        if rest.len() > limit && result.is_ok() {
            self.failed = true;
            result = Err(io::Error::new(io::ErrorKind::InvalidData, "a TLS message is too large"));
        }
        if waited {
            held.drain(..progress.used);
            held.shrink_to_fit();
            self.held = held;
        } else if !rest.is_empty() {
            self.held = rest.to_vec();
        }
        result
    }

    fn seal(&mut self, plain: &[u8], sealed: &mut Vec<u8>) -> io::Result<()> {
        if self.failed {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let begin = sealed.len();
        let mut room = plain.len() + OVERHEAD;
        with_traffic(&mut self.connection, &mut self.held, sealed, |mut traffic, sealed| {
            let begin = sealed.len().max(begin);
            for _ in 0..2 {
                sealed.resize(begin + room, 0);
                match traffic.encrypt(plain, &mut sealed[begin..]) {
                    Ok(count) => {
                        sealed.truncate(begin + count);
                        return Ok(());
                    }
                    Err(EncryptError::InsufficientSize(short)) => room = short.required_size,
                    Err(EncryptError::EncryptExhausted) => break,
                }
            }
            sealed.truncate(begin);
            Err(io::Error::other("the keys of the TLS connection are used up"))
        })
    }

    fn finish(&mut self, sealed: &mut Vec<u8>) {
        if self.failed {
            return;
        }
        // Without the end the peer takes the stream for cut off, which it is then.
        let _ = with_traffic(&mut self.connection, &mut self.held, sealed, |mut traffic, sealed| {
            encode(sealed, |room| match traffic.queue_close_notify(room) {
                Ok(count) => Ok(count),
                Err(EncryptError::InsufficientSize(short)) => Err(Some(short.required_size)),
                Err(EncryptError::EncryptExhausted) => Err(None),
            })
        });
    }

    fn has_ended(&self) -> bool {
        self.ended
    }
}

/// Calls `act` with a connection that may send. Answers that wait go out before.
fn with_traffic(
    connection: &mut UnbufferedServerConnection,
    held: &mut [u8],
    sealed: &mut Vec<u8>,
    act: impl FnOnce(WriteTraffic<'_, rustls::server::ServerConnectionData>, &mut Vec<u8>) -> io::Result<()>,
) -> io::Result<()> {
    loop {
        // With what is held, because rustls remembers how far it has come in it. None of it can be complete.
        let UnbufferedStatus { discard, state } = connection.process_tls_records(held);
        debug_assert_eq!(discard, 0, "complete records were left");
        match state {
            Ok(ConnectionState::WriteTraffic(traffic)) => return act(traffic, sealed),
            Ok(ConnectionState::EncodeTlsData(mut data)) => {
                encode(sealed, |room| data.encode(room).map_err(missing))?
            }
            Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
            Ok(ConnectionState::PeerClosed) => {}
            Ok(_) => return Err(io::ErrorKind::BrokenPipe.into()),
            Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
        }
    }
}
