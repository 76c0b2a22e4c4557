//! A client that always reconnects and recovers from its last position.

use super::checker::{Entered, Seen};
use super::ledger::Ledger;
use crate::protocol::{self, Encoding, Kind, Position, Signer};
use crate::{frame, payload};
use mio::net::TcpStream;
use serde_json::Value;
use socket2::{Domain, Protocol, Socket, Type};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// Delay before it reconnects.
const BACKOFF: u64 = 200_000_000;

/// Time limit of a login.
const PATIENCE: u64 = 10_000_000_000;

/// Counts over all clients.
#[derive(Default)]
pub(super) struct Counts {
    pub(super) deliveries: u64,
    pub(super) recovered: u64,
    /// Losses that the server announced.
    pub(super) announced: u64,
    pub(super) connects: u64,
    pub(super) violations: u64,
    pub(super) first_violations: Vec<String>,
    pub(super) last_end: String,
}

/// State that all clients share.
pub(super) struct World<'a> {
    pub(super) address: SocketAddr,
    pub(super) signer: &'a Signer,
    pub(super) ledger: &'a Ledger,
    pub(super) now: u64,
}

/// One client with one subscription.
pub(super) struct Client {
    number: usize,
    channel: usize,
    pub(super) seen: Seen,
    pub(super) link: Option<Link>,
    /// Time of the next attempt to connect.
    due: u64,
}

/// A connection.
pub(super) struct Link {
    pub(super) stream: TcpStream,
    stage: Stage,
    since: u64,
    out: Vec<u8>,
    spill: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Connecting,
    Upgrading,
    Joining,
    Live,
}

impl Client {
    pub(super) fn new(number: usize, channels: usize) -> Self {
        Self { number, channel: number % channels, seen: Seen::default(), link: None, due: 0 }
    }

    pub(super) fn is_live(&self) -> bool {
        self.link.as_ref().is_some_and(|link| link.stage == Stage::Live)
    }

    /// Returns true if it has seen the last publication of its channel.
    pub(super) fn is_level(&self, ledger: &Ledger) -> bool {
        self.seen.number().is_some() && self.seen.number() == ledger.accepted(self.channel)
    }

    /// A new connection, if it is time for one.
    pub(super) fn connect(&mut self, world: &World<'_>) -> Option<&mut Link> {
        if self
            .link
            .as_ref()
            .is_some_and(|link| link.stage != Stage::Live && world.now.saturating_sub(link.since) > PATIENCE)
        {
            self.cut(world.now);
        }
        if self.link.is_some() || world.now < self.due {
            return None;
        }
        match open(world.address, self.number) {
            Ok(stream) => {
                let link = Link {
                    stream,
                    stage: Stage::Connecting,
                    since: world.now,
                    out: Vec::new(),
                    spill: Vec::new(),
                };
                self.link = Some(link);
            }
            Err(_) => self.due = world.now + BACKOFF,
        }
        self.link.as_mut()
    }

    /// Drops the connection, by a reset.
    pub(super) fn cut(&mut self, now: u64) {
        self.link = None;
        // Spread, so that not all come back in one moment.
        self.due = now + BACKOFF + (self.number as u64 % 100) * 2_000_000;
    }

    /// Takes what its socket has; an end of the connection is not a failure.
    pub(super) fn on_event(&mut self, world: &World<'_>, counts: &mut Counts, scratch: &mut [u8]) {
        let end = match self.step(world, counts, scratch) {
            Ok(true) => return,
            Ok(false) => "end of stream".to_owned(),
            Err(error) => error.to_string(),
        };
        counts.last_end = end;
        self.cut(world.now);
    }

    fn step(&mut self, world: &World<'_>, counts: &mut Counts, scratch: &mut [u8]) -> io::Result<bool> {
        let Some(link) = &mut self.link else { return Ok(true) };
        if link.stage == Stage::Connecting {
            if let Some(error) = link.stream.take_error()? {
                return Err(error);
            }
            match link.stream.peer_addr() {
                Ok(_) => {}
                Err(e) if e.kind() == ErrorKind::NotConnected => return Ok(true),
                Err(e) => return Err(e),
            }
            link.stage = Stage::Upgrading;
            link.out =
                protocol::upgrade(protocol::WEBSOCKET, &world.address.to_string(), Encoding::Json, false);
        }
        loop {
            self.flush()?;
            let Some(link) = &mut self.link else { return Ok(true) };
            let n = match link.stream.read(scratch) {
                Ok(0) => return Ok(false),
                Ok(n) => n,
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(true),
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(e) => return Err(e),
            };
            link.spill.extend_from_slice(&scratch[..n]);
            let spill = std::mem::take(&mut link.spill);
            let used = self.take(world, counts, &spill)?;
            if let Some(link) = &mut self.link {
                link.spill = spill;
                link.spill.drain(..used);
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        let Some(link) = &mut self.link else { return Ok(()) };
        while !link.out.is_empty() {
            match link.stream.write(&link.out) {
                Ok(n) => drop(link.out.drain(..n)),
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    fn take(&mut self, world: &World<'_>, counts: &mut Counts, bytes: &[u8]) -> io::Result<usize> {
        let mut used = 0;
        if self.link.as_ref().is_some_and(|link| link.stage == Stage::Upgrading) {
            let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n") else { return Ok(0) };
            if !bytes.starts_with(b"HTTP/1.1 101") {
                let line = bytes.split(|b| *b == b'\r').next().unwrap_or_default();
                return Err(io::Error::other(String::from_utf8_lossy(line).into_owned()));
            }
            used = end + 4;
            self.join(world);
        }
        while let Some(frame) = frame::read(&bytes[used..]).map_err(io::Error::other)? {
            used += frame.length;
            match frame.opcode {
                frame::TEXT => self.messages(world, counts, frame.body)?,
                frame::CLOSE => {
                    let code = frame.body.first_chunk().map_or(1005, |raw| u16::from_be_bytes(*raw));
                    return Err(io::Error::other(code.to_string()));
                }
                frame::PING => {
                    if let Some(link) = &mut self.link {
                        frame::write(&mut link.out, frame::PONG, frame.body);
                    }
                }
                _ => {}
            }
        }
        Ok(used)
    }

    fn join(&mut self, world: &World<'_>) {
        let token = world.signer.token(&format!("u{}", self.number));
        let position = self.seen.position();
        let position = position.map(|(epoch, offset)| Position { epoch: epoch.into(), offset });
        let commands = [
            protocol::connect(1, Some(token)),
            protocol::subscribe(2, super::channel(self.channel), position.as_ref()),
        ];
        if let Some(link) = &mut self.link {
            link.stage = Stage::Joining;
            Encoding::Json.write(&mut link.out, &commands);
        }
    }

    fn messages(&mut self, world: &World<'_>, counts: &mut Counts, body: &[u8]) -> io::Result<()> {
        let mut result = Ok(());
        Encoding::Json.messages(body, |kind, message| {
            if result.is_err() {
                return;
            }
            match kind {
                Kind::Ping => {
                    if let Some(link) = &mut self.link {
                        link.out.extend_from_slice(&Encoding::Json.pong());
                    }
                }
                Kind::Push | Kind::Reply => result = self.message(world, counts, message),
            }
        });
        result
    }

    fn message(&mut self, world: &World<'_>, counts: &mut Counts, message: &[u8]) -> io::Result<()> {
        let value: Value = serde_json::from_slice(message)?;
        if let Some(error) = value.get("error") {
            return Err(io::Error::other(error.to_string()));
        }
        let channel = self.channel;
        let twice = |number| world.ledger.may_be_twice(channel, number);
        let found = if let Some(reply) = value.get("subscribe") {
            let entered = entered(reply);
            if let Some(link) = &mut self.link {
                link.stage = Stage::Live;
            }
            counts.connects += 1;
            counts.recovered += u64::from(entered.recovered);
            self.seen.on_entered(&entered, &twice).map(|announced| counts.announced += u64::from(announced))
        } else if let Some(publication) = value.pointer("/push/pub") {
            counts.deliveries += 1;
            let (offset, number) = publication_of(publication);
            self.seen.on_publication(offset, number, &twice)
        } else if let Some(unsubscribe) = value.pointer("/push/unsubscribe") {
            return Err(io::Error::other(format!("unsubscribed: {unsubscribe}")));
        } else {
            Ok(())
        };
        if let Err(violation) = found {
            counts.violations += 1;
            if counts.first_violations.len() < 10 {
                counts.first_violations.push(format!("client {}: {violation}", self.number));
            }
        }
        Ok(())
    }
}

fn entered(reply: &Value) -> Entered {
    let publications = reply.get("publications").and_then(Value::as_array);
    Entered {
        epoch: reply.get("epoch").and_then(Value::as_str).unwrap_or_default().into(),
        offset: reply.get("offset").and_then(Value::as_u64).unwrap_or(0),
        recovered: reply.get("recovered").and_then(Value::as_bool).unwrap_or(false),
        publications: publications.into_iter().flatten().map(publication_of).collect(),
    }
}

/// Offset and number; one that has neither is found as a violation.
fn publication_of(publication: &Value) -> (u64, u64) {
    let offset = publication.get("offset").and_then(Value::as_u64).unwrap_or(0);
    let data = publication.get("data").map(Value::to_string).unwrap_or_default();
    (offset, payload::read(data.as_bytes()).map_or(u64::MAX, |(number, _)| number))
}

fn open(address: SocketAddr, number: usize) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_linger(Some(Duration::ZERO))?;
    let block = u8::try_from(number / 2_000 % 200).unwrap_or(0);
    socket.bind(&SocketAddr::from((Ipv4Addr::new(127, 0, 1, 2 + block), 0)).into())?;
    match socket.connect(&address.into()) {
        Ok(()) => {}
        // EINPROGRESS has no name of its own in std.
        Err(e) if e.kind() == ErrorKind::WouldBlock || e.raw_os_error() == Some(115) => {}
        Err(e) => return Err(e),
    }
    Ok(TcpStream::from_std(socket.into()))
}
