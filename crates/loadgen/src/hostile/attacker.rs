//! One connection of an attack.

use super::plan::{Opening, Plan};
use super::tally::Tally;
use super::template::Values;
use super::unit::Sender;
use crate::protocol::{self, Kind};
use crate::{clock, frame, http, http2, stream, tls};
use mio::net::TcpStream;
use rustls::ClientConnection;
use socket2::{Domain, Protocol, Socket, Type};
use std::borrow::Cow;
use std::io::{self, ErrorKind, Read, Write};
use std::time::Duration;

/// Bytes that one connection writes, and that it reads, before it is another's turn.
const SLICE: usize = 1 << 20;

/// Bytes that are made ahead of the socket.
const AHEAD: usize = 256 * 1024;

/// The result of a turn.
pub(super) enum Turn {
    /// There is more to do.
    More,
    /// The socket or the time must come first.
    Blocked,
    /// The connection has ended, in this way.
    Ended(Cow<'static, str>),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Connecting,
    Upgrading,
    /// The reply to the connect command comes next.
    LoggingIn,
    /// So many replies come before the attack.
    Preparing(u64),
    Attacking,
    /// All units are sent.
    Done,
}

/// One connection.
pub(super) struct Attacker {
    pub(super) stream: TcpStream,
    tls: Option<Box<ClientConnection>>,
    pub(super) busy: bool,
    number: usize,
    stage: Stage,
    /// The server has ended it.
    ending: bool,
    since: u64,
    /// Running number of what it sends.
    next: u64,
    units: u64,
    bytes: u64,
    /// Answers that are due.
    owed: u64,
    out: Vec<u8>,
    written: usize,
    spill: Vec<u8>,
    close_code: Option<u16>,
    /// The error that a login was answered with.
    refused: Option<u32>,
    /// Time at which the next unit is due, with a pace.
    due: u64,
}

impl Attacker {
    pub(super) fn open(plan: &Plan, index: usize, now: u64) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        // A reset at the end leaves no TIME_WAIT behind that the next row would trip over.
        socket.set_linger(Some(Duration::ZERO))?;
        if plan.receive_buffer > 0 {
            socket.set_recv_buffer_size(plan.receive_buffer)?;
        }
        let number = plan.first + index;
        socket.bind(&plan.source(number).into())?;
        match socket.connect(&plan.address.into()) {
            Ok(()) => {}
            // EINPROGRESS has no name of its own in std.
            Err(e) if e.kind() == ErrorKind::WouldBlock || e.raw_os_error() == Some(115) => {}
            Err(e) => return Err(e),
        }
        Ok(Self {
            stream: TcpStream::from_std(socket.into()),
            tls: plan.tls.as_ref().map(|config| tls::connection(config, number)).transpose()?,
            busy: false,
            number,
            stage: Stage::Connecting,
            ending: false,
            since: now,
            next: 1,
            units: 0,
            bytes: 0,
            owed: 0,
            out: Vec::new(),
            written: 0,
            spill: Vec::new(),
            close_code: None,
            refused: None,
            due: 0,
        })
    }

    /// Returns true once the attack could begin.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.stage, Stage::Attacking | Stage::Done)
    }

    pub(super) fn is_ending(&self) -> bool {
        self.ending
    }

    pub(super) fn is_due(&self, now: u64) -> bool {
        self.stage == Stage::Attacking && self.due <= now
    }

    pub(super) fn on_event(&mut self, closed: bool) {
        self.ending |= closed;
    }

    /// Sends no further unit.
    pub(super) fn stop(&mut self) {
        if self.stage == Stage::Attacking {
            self.stage = Stage::Done;
        }
        self.out.clear();
        self.written = 0;
    }

    pub(super) fn turn(&mut self, plan: &Plan, tally: &mut Tally, scratch: &mut [u8], now: u64) -> Turn {
        match self.step(plan, tally, scratch, now) {
            Ok(turn) => turn,
            Err(error) => Turn::Ended(self.last_words(match error.kind() {
                ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => "reset".into(),
                ErrorKind::Other => error.to_string().into(),
                kind => kind.to_string().into(),
            })),
        }
    }

    fn last_words(&self, otherwise: Cow<'static, str>) -> Cow<'static, str> {
        self.close_code.map_or(otherwise, |code| code.to_string().into())
    }

    fn step(&mut self, plan: &Plan, tally: &mut Tally, scratch: &mut [u8], now: u64) -> io::Result<Turn> {
        if self.stage == Stage::Connecting {
            if let Some(error) = self.stream.take_error()? {
                return Err(error);
            }
            match self.stream.peer_addr() {
                Ok(_) => self.connected(plan, tally),
                Err(e) if e.kind() == ErrorKind::NotConnected => return Ok(Turn::Blocked),
                Err(e) => return Err(e),
            }
        }
        let mut more = false;
        // One that does not read looks only at why it was ended.
        if !(plan.deaf && self.is_open()) || self.ending {
            match self.read(plan, tally, scratch)? {
                Some(rest) => more = rest,
                None => return Ok(Turn::Ended(self.last_words("end of stream".into()))),
            }
        }
        if let Some(code) = self.refused {
            return Ok(Turn::Ended(format!("login error {code}").into()));
        }
        if self.close_code.is_some() {
            return Ok(Turn::Ended(self.last_words("".into())));
        }
        more |= self.write(plan, tally, now)?;
        if self.stage == Stage::Done && plan.leave && self.out.is_empty() && self.owed == 0 {
            return Ok(Turn::Ended("left".into()));
        }
        Ok(if more { Turn::More } else { Turn::Blocked })
    }

    fn connected(&mut self, plan: &Plan, tally: &mut Tally) {
        match plan.opening {
            Opening::Tcp => {
                for line in &plan.first_lines {
                    line.write(&mut self.out, &values(plan, self.next, self.number));
                }
                return self.begin(tally);
            }
            Opening::SockJs => {
                self.open_sockjs(plan);
                return self.begin(tally);
            }
            Opening::Grpc => {
                self.open_grpc(plan);
                return self.begin(tally);
            }
            Opening::WebSocket | Opening::Login => {}
        }
        self.stage = Stage::Upgrading;
        let mut headers = Vec::new();
        plan.headers.write(&mut headers, &values(plan, self.next, self.number));
        self.out = protocol::upgrade(protocol::WEBSOCKET, &plan.host, plan.encoding, false);
        // They come before the empty line.
        let end = self.out.len() - 2;
        self.out.splice(end..end, headers);
    }

    /// A session of SockJS over HTTP: the request that opens it, one with the login and the first lines, and the stream.
    fn open_sockjs(&mut self, plan: &Plan) {
        let number = self.number;
        let mut commands = Vec::new();
        let token = plan.signer.as_ref().map(|signer| signer.token(&format!("u{number}")));
        plan.encoding.append(&mut commands, &protocol::connect(1, token));
        for line in &plan.first_lines {
            commands.push(b'\n');
            line.write(&mut commands, &values(plan, self.next, number));
        }
        for (transport, body) in
            [("xhr", Vec::new()), ("xhr_send", stream::packed(&commands)), ("xhr_streaming", Vec::new())]
        {
            let path = format!("/connection/sockjs/000/h{number}/{transport}");
            http::post(&mut self.out, &path, &plan.host, &body);
        }
    }

    /// A connection of gRPC, and a stream in it for each of the first lines, which are names of channels.
    fn open_grpc(&mut self, plan: &Plan) {
        self.out = http2::open(if plan.windowless { 0 } else { http2::LARGEST_WINDOW });
        let token = plan.signer.as_ref().map(|signer| signer.token(&format!("u{}", self.number)));
        for line in &plan.first_lines {
            let mut channel = Vec::new();
            line.write(&mut channel, &values(plan, self.next, self.number));
            let channel = String::from_utf8_lossy(&channel).into_owned();
            let number = (self.next * 2 - 1) as u32;
            let channels = std::iter::once(channel);
            http2::consume(&mut self.out, number, &plan.host, token.as_deref().unwrap_or(""), channels);
            self.next += 1;
        }
    }

    fn upgraded(&mut self, plan: &Plan, tally: &mut Tally) {
        if plan.opening == Opening::WebSocket {
            self.begin(tally);
            return;
        }
        let user = format!("u{}", self.number);
        let commands = [protocol::connect(1, plan.signer.as_ref().map(|s| s.token(&user)))];
        plan.encoding.write(&mut self.out, &commands);
        let mut body = Vec::new();
        for line in plan.first_lines.iter().take(plan.first_replies() as usize) {
            body.extend_from_slice(if body.is_empty() { b"" } else { b"\n" });
            line.write(&mut body, &values(plan, self.next, self.number));
            self.next += 1;
        }
        if !body.is_empty() {
            frame::write(&mut self.out, frame::TEXT, &body);
        }
        self.stage = Stage::LoggingIn;
    }

    fn begin(&mut self, tally: &mut Tally) {
        self.stage = Stage::Attacking;
        self.due = clock::now();
        tally.opened += 1;
        tally.opening.record(self.due.saturating_sub(self.since));
    }

    /// `Ok(None)` at the end of the stream, else whether there may be more to read.
    fn read(&mut self, plan: &Plan, tally: &mut Tally, scratch: &mut [u8]) -> io::Result<Option<bool>> {
        let mut taken = 0;
        while taken < SLICE {
            let read = match &mut self.tls {
                Some(tls) => tls::read(tls, &mut self.stream, scratch),
                None => self.stream.read(scratch),
            };
            let n = match read {
                Ok(0) => return Ok(None),
                Ok(n) => n,
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(Some(false)),
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(e) => return Err(e),
            };
            taken += n;
            tally.read += n as u64;
            self.spill.extend_from_slice(&scratch[..n]);
            let spill = std::mem::take(&mut self.spill);
            let used = self.take(plan, tally, &spill)?;
            self.spill = spill;
            self.spill.drain(..used);
            if plan.deaf && self.is_open() && !self.ending {
                return Ok(Some(false));
            }
        }
        Ok(Some(true))
    }

    fn take(&mut self, plan: &Plan, tally: &mut Tally, bytes: &[u8]) -> io::Result<usize> {
        let mut used = 0;
        if matches!(plan.opening, Opening::SockJs | Opening::Grpc) {
            return Ok(bytes.len());
        }
        if plan.opening == Opening::Tcp {
            while let Some((length, status)) = answer(&bytes[used..]) {
                used += length;
                self.owed = self.owed.saturating_sub(1);
                tally.replies += 1;
                *tally.statuses.entry(status).or_default() += 1;
            }
            return Ok(used);
        }
        if self.stage == Stage::Upgrading {
            let Some((length, status)) = answer(bytes) else { return Ok(0) };
            if status != 101 {
                *tally.statuses.entry(status).or_default() += 1;
                return Err(io::Error::other(format!("HTTP {status}")));
            }
            used = length;
            self.upgraded(plan, tally);
        }
        while let Some(frame) = frame::read(&bytes[used..]).map_err(io::Error::other)? {
            used += frame.length;
            match frame.opcode {
                frame::TEXT | frame::BINARY => self.messages(plan, tally, frame.body),
                frame::PONG => self.owed = self.owed.saturating_sub(1),
                frame::CLOSE => {
                    let code = frame.body.first_chunk().map_or(1005, |raw| u16::from_be_bytes(*raw));
                    self.close_code = Some(code);
                }
                _ => {}
            }
        }
        Ok(used)
    }

    fn messages(&mut self, plan: &Plan, tally: &mut Tally, body: &[u8]) {
        plan.encoding.messages(body, |kind, message| match kind {
            Kind::Push => {}
            Kind::Ping => self.out.extend_from_slice(&plan.encoding.pong()),
            Kind::Reply => {
                tally.replies += 1;
                self.owed = self.owed.saturating_sub(1);
                if message.len() < 512
                    && let Some(code) = plan.encoding.quick_error(message)
                {
                    if self.stage == Stage::LoggingIn {
                        self.refused = Some(code);
                        return;
                    }
                    *tally.errors.entry(code).or_default() += 1;
                }
                if self.stage == Stage::LoggingIn {
                    self.stage = Stage::Preparing(plan.first_replies());
                    if plan.first_replies() == 0 {
                        self.begin(tally);
                    }
                    return;
                }
                if let Stage::Preparing(left) = self.stage {
                    if left > 1 {
                        self.stage = Stage::Preparing(left - 1);
                    } else {
                        self.begin(tally);
                    }
                }
            }
        });
    }

    /// Writes what the socket takes. Returns true if more can be written at once.
    fn write(&mut self, plan: &Plan, tally: &mut Tally, now: u64) -> io::Result<bool> {
        let mut written = 0;
        while written < SLICE {
            if self.out.len() - self.written < AHEAD {
                self.make(plan, tally, now);
            }
            if self.out.is_empty() {
                if let Some(tls) = &mut self.tls {
                    tls::flush(tls, &mut self.stream)?;
                }
                return Ok(false);
            }
            let rest = &self.out[self.written..];
            let wrote = match &mut self.tls {
                Some(tls) => tls::write(tls, &mut self.stream, rest),
                None => self.stream.write(rest),
            };
            match wrote {
                Ok(n) => {
                    written += n;
                    self.written += n;
                    tally.sent += n as u64;
                    if self.written == self.out.len() {
                        self.out.clear();
                        self.written = 0;
                    }
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(true)
    }

    /// Makes the next units.
    fn make(&mut self, plan: &Plan, tally: &mut Tally, now: u64) {
        self.out.drain(..self.written);
        self.written = 0;
        while self.stage == Stage::Attacking && self.out.len() < AHEAD {
            let enough = plan.unit.is_nothing()
                || (plan.units > 0 && self.units >= plan.units)
                || (plan.bytes > 0 && self.bytes >= plan.bytes);
            if enough {
                self.stage = Stage::Done;
                return;
            }
            if plan.outstanding > 0 && self.owed >= plan.outstanding {
                return;
            }
            if plan.pace > 0.0 {
                if self.due > now {
                    return;
                }
                // What a busy moment has held up is made up for, up to a second of it.
                self.due = self.due.max(now.saturating_sub(1_000_000_000)) + (1e9 / plan.pace) as u64;
            }
            let before = self.out.len();
            let mut values = values(plan, self.next, self.number);
            let sender = Sender { host: &plan.host, key: &plan.key };
            self.owed += plan.unit.write(&mut self.out, &sender, &mut values);
            self.next = values.number;
            self.units += 1;
            self.bytes += (self.out.len() - before) as u64;
            tally.units += 1;
        }
    }
}

fn values(plan: &Plan, number: u64, connection: usize) -> Values<'_> {
    Values { number, connection, signer: plan.signer.as_ref() }
}

/// Length and status of the HTTP answer at the start of `bytes`; `None` when it is not whole.
fn answer(bytes: &[u8]) -> Option<(usize, u16)> {
    let end = memchr::memmem::find(bytes, b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&bytes[..end]);
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    let length = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse::<usize>().ok())
        .unwrap_or(0);
    (bytes.len() >= end + length).then_some((end + length, status))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_found_one_after_the_other() {
        let (first, second) =
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", "HTTP/1.1 431 Too Large\r\n\r\n");
        let bytes = format!("{first}{second}").into_bytes();
        assert_eq!(answer(&bytes), Some((first.len(), 200)));
        assert_eq!(answer(&bytes[first.len()..]), Some((second.len(), 431)));
        assert_eq!(answer(&bytes[..first.len() - 1]), None);
    }
}
