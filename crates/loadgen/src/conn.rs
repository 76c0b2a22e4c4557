//! One connection: its socket, how far its handshake is, what it has received.

use crate::frame;
use crate::payload;
use crate::plan::Plan;
use crate::protocol::{self, Encoding, Kind, Position};
use crate::stream::{self, Transport};
use crate::{clock, histogram::Histogram, http2, tls};
use mio::net::TcpStream;
use rustls::ClientConnection;
use serde_json::{Value, json};
use socket2::{Domain, Protocol, Socket, Type};
use spinward_wire::message::Command;
use spinward_wire::ws::{Event, Inflater, Limits, Reader};
use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read, Write};
use std::time::Duration;

/// Counters of a set of connections since the last reset.
pub(crate) struct Tally {
    pub(crate) deliveries: u64,
    /// Pushes that carry no number.
    pub(crate) other_pushes: u64,
    /// Numbers that were left out before the one that came.
    pub(crate) missing: u64,
    /// Numbers that came again or too late.
    pub(crate) repeated: u64,
    pub(crate) bytes: u64,
    pub(crate) frames: u64,
    pub(crate) reads: u64,
    pub(crate) pings: u64,
    pub(crate) replies: u64,
    pub(crate) errors: BTreeMap<u32, u64>,
    /// Close codes; 0 for an end without a close frame.
    pub(crate) closed: BTreeMap<u16, u64>,
    pub(crate) recovered: u64,
    pub(crate) recovered_publications: u64,
    pub(crate) latency: Histogram,
    /// Distance of the numbers that one subscriber gets: the channels that are published to in turn.
    pub(crate) step: u64,
    /// Time of the last delivery.
    pub(crate) last: u64,
}

impl Tally {
    pub(crate) fn new() -> Self {
        Self {
            deliveries: 0,
            other_pushes: 0,
            missing: 0,
            repeated: 0,
            bytes: 0,
            frames: 0,
            reads: 0,
            pings: 0,
            replies: 0,
            errors: BTreeMap::new(),
            closed: BTreeMap::new(),
            recovered: 0,
            recovered_publications: 0,
            latency: Histogram::new(),
            step: 1,
            last: 0,
        }
    }

    pub(crate) fn reset(&mut self, step: u64) {
        let mut latency = std::mem::take(&mut self.latency);
        latency.clear();
        *self = Self { latency, step, ..Self::new() };
    }

    /// Counts a push. Returns true if it had a number; `last` is the one before.
    pub(crate) fn push(&mut self, last: &mut Option<u64>, message: &[u8]) -> bool {
        let Some((number, due)) = payload::read(message) else {
            self.other_pushes += 1;
            return false;
        };
        let now = clock::now();
        self.deliveries += 1;
        self.last = now;
        self.latency.record(now.saturating_sub(due));
        match *last {
            Some(last) if number <= last => self.repeated += 1,
            Some(last) => self.missing += (number - last) / self.step - 1,
            None => {}
        }
        *last = Some(number);
        true
    }

    /// The event `stats`, for so many connections.
    pub(crate) fn stats(&self, connections: usize) -> Value {
        json!({
            "event": "stats",
            "connections": connections,
            "deliveries": self.deliveries,
            "other_pushes": self.other_pushes,
            "missing": self.missing,
            "repeated": self.repeated,
            "bytes": self.bytes,
            "frames": self.frames,
            "reads": self.reads,
            "pings": self.pings,
            "replies": self.replies,
            "errors": self.errors,
            "closed": self.closed,
            "recovered": self.recovered,
            "recovered_publications": self.recovered_publications,
            "p50_ms": self.latency.quantile(0.5) as f64 / 1e6,
            "p99_ms": self.latency.quantile(0.99) as f64 / 1e6,
            "max_ms": self.latency.max() as f64 / 1e6,
        })
    }
}

/// Progress of a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Connecting,
    Upgrading,
    /// So many replies of the handshake are still to come.
    Joining(u32),
    Live,
    Closed,
}

/// One connection.
pub(crate) struct Conn {
    pub(crate) stream: TcpStream,
    tls: Option<Box<ClientConnection>>,
    pub(crate) state: State,
    encoding: Encoding,
    transport: Transport,
    /// Start of a message that is not whole yet.
    spill: Vec<u8>,
    /// Data of a gRPC call that is no whole message yet.
    data: Vec<u8>,
    /// Bytes that the socket did not take.
    unsent: Vec<u8>,
    last_number: Option<u64>,
    /// Pushes are counted without a look at their numbers.
    unnumbered: bool,
    pub(crate) position: Option<Position>,
    /// The command of a closed loop, sent again after each reply until then.
    looping: Option<(Box<[u8]>, u64)>,
}

impl Conn {
    /// Starts to connect.
    pub(crate) fn open(plan: &Plan, index: usize, position: Option<Position>) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(plan.address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        // A reset at the end leaves no TIME_WAIT behind that the next round would trip over.
        socket.set_linger(Some(Duration::ZERO))?;
        if plan.may_stall(index) {
            socket.set_recv_buffer_size(4096)?;
        }
        if plan.address.ip().is_loopback() {
            socket.bind(&plan.source(index).into())?;
        }
        match socket.connect(&plan.address.into()) {
            Ok(()) => {}
            // EINPROGRESS has no name of its own in std.
            Err(e) if e.kind() == ErrorKind::WouldBlock || e.raw_os_error() == Some(115) => {}
            Err(e) => return Err(e),
        }
        Ok(Self {
            stream: TcpStream::from_std(socket.into()),
            tls: plan.tls.as_ref().map(|config| tls::connection(config, index)).transpose()?,
            state: State::Connecting,
            encoding: plan.encoding,
            transport: plan.transport,
            spill: Vec::new(),
            data: Vec::new(),
            unsent: Vec::new(),
            last_number: None,
            unnumbered: plan.delta,
            position,
            looping: None,
        })
    }

    pub(crate) fn forget_number(&mut self) {
        self.last_number = None;
    }

    /// The socket may take bytes.
    pub(crate) fn writable(&mut self, plan: &Plan, index: usize) -> io::Result<()> {
        if self.state == State::Connecting {
            if let Some(error) = self.stream.take_error()? {
                return Err(error);
            }
            if plan.raw {
                self.state = State::Live;
                return Ok(());
            }
            self.state = State::Upgrading;
            let commands = match plan.transport {
                Transport::HttpStream | Transport::Sse => self.commands(plan, index),
                _ => Vec::new(),
            };
            self.unsent = match stream::request(plan, index, &commands) {
                Some((request, _)) => request,
                None => {
                    let path = stream::socket_path(plan, index);
                    protocol::upgrade(&path, &plan.address.to_string(), plan.encoding, plan.deflate)
                }
            };
        }
        self.flush()
    }

    /// The socket has bytes. `ends`: the peer has closed, so read up to that. `Ok(false)`: it has ended.
    pub(crate) fn readable(
        &mut self,
        plan: &Plan,
        index: usize,
        tally: &mut Tally,
        scratch: &mut [u8],
        ends: bool,
    ) -> io::Result<bool> {
        loop {
            let read = match &mut self.tls {
                Some(tls) => tls::read(tls, &mut self.stream, scratch),
                None => self.stream.read(scratch),
            };
            let n = match read {
                Ok(0) => return Ok(false),
                Ok(n) => n,
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(true),
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(e) => return Err(e),
            };
            tally.reads += 1;
            tally.bytes += n as u64;
            if self.spill.is_empty() {
                let used = self.take(plan, index, tally, &scratch[..n])?;
                self.spill.extend_from_slice(&scratch[used..n]);
            } else {
                let mut spill = std::mem::take(&mut self.spill);
                spill.extend_from_slice(&scratch[..n]);
                let used = self.take(plan, index, tally, &spill)?;
                if used < spill.len() {
                    spill.drain(..used);
                    self.spill = spill;
                }
            }
            // A short read has emptied the socket, and with edges the next bytes raise the next one.
            if n < scratch.len() && !ends && self.tls.is_none() {
                return Ok(true);
            }
        }
    }

    /// Starts a closed loop: `command` goes out now and after each reply until `until`.
    pub(crate) fn start_loop(&mut self, command: &Command, until: u64) -> io::Result<()> {
        let mut bytes = Vec::new();
        self.encoding.write(&mut bytes, std::slice::from_ref(command));
        self.unsent.extend_from_slice(&bytes);
        self.looping = Some((bytes.into(), until));
        self.flush()
    }

    fn take(&mut self, plan: &Plan, index: usize, tally: &mut Tally, bytes: &[u8]) -> io::Result<usize> {
        let mut used = 0;
        if self.transport == Transport::UniGrpc {
            return self.calls(tally, bytes);
        }
        if self.state == State::Upgrading {
            let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n") else { return Ok(0) };
            let status: &[u8] = match self.transport {
                transport if transport.has_frames() => b"HTTP/1.1 101",
                _ => b"HTTP/1.1 200",
            };
            if !bytes.starts_with(status) {
                let line = bytes.split(|b| *b == b'\r').next().unwrap_or_default();
                return Err(io::Error::other(format!("no upgrade: {}", String::from_utf8_lossy(line))));
            }
            used = end + 4;
            match stream::request(plan, index, b"") {
                Some((_, replies)) => self.state = State::Joining(replies),
                None => self.join(plan, index)?,
            }
        }
        if !self.transport.has_frames() {
            return Ok(used + self.lines(tally, &bytes[used..]));
        }
        loop {
            let frame = frame::read(&bytes[used..]).map_err(io::Error::other)?;
            let Some(frame) = frame else { return Ok(used) };
            let whole = &bytes[used..used + frame.length];
            used += frame.length;
            if !frame.compressed {
                self.frame(tally, frame.opcode, frame.body)?;
            } else if !plan.deflate {
                return Err(io::Error::other("extension bit"));
            } else if matches!(self.state, State::Joining(_)) {
                self.frame(tally, frame.opcode, &inflated(whole)?)?;
            } else {
                // Nothing but pushes is compressed here: a ping is too small.
                tally.frames += 1;
                tally.deliveries += 1;
                tally.last = clock::now();
            }
        }
    }

    /// Sends connect and all subscribes in one frame.
    fn join(&mut self, plan: &Plan, index: usize) -> io::Result<()> {
        let commands = self.first(plan, index);
        let mut replies = u32::try_from(commands.len()).unwrap_or(u32::MAX);
        match self.transport {
            Transport::SockJs => {
                let packed = stream::packed(&self.commands(plan, index));
                frame::write(&mut self.unsent, frame::TEXT, &packed);
            }
            Transport::UniWebSocket => {
                frame::write(&mut self.unsent, frame::TEXT, &stream::connect_request(plan, index));
                replies = 1;
            }
            _ => self.encoding.write(&mut self.unsent, &commands),
        }
        self.state = State::Joining(replies);
        self.flush()
    }

    /// Frames of HTTP/2 with the pushes of a call, which does not end.
    fn calls(&mut self, tally: &mut Tally, bytes: &[u8]) -> io::Result<usize> {
        let mut used = 0;
        while let Some(frame) = http2::read(&bytes[used..]) {
            used += frame.length;
            match frame.kind {
                http2::SETTINGS if frame.flags & http2::ACK == 0 => {
                    http2::write(&mut self.unsent, http2::SETTINGS, http2::ACK, 0, &[]);
                }
                http2::PING if frame.flags & http2::ACK == 0 => {
                    http2::write(&mut self.unsent, http2::PING, http2::ACK, 0, frame.payload);
                }
                http2::GOAWAY | http2::RESET => return Err(io::Error::other("the call was ended")),
                http2::DATA => {
                    let mut data = std::mem::take(&mut self.data);
                    data.extend_from_slice(frame.payload);
                    let taken = stream::grpc_messages(&data, |message| self.pushed(tally, message));
                    data.drain(..taken);
                    self.data = data;
                }
                http2::HEADERS if frame.flags & http2::END != 0 => {
                    return Err(io::Error::other("the call has ended"));
                }
                _ => {}
            }
        }
        self.flush().map(|()| used)
    }

    /// A push of a unidirectional client, in Protobuf: the first one is that of the connect.
    fn pushed(&mut self, tally: &mut Tally, message: &[u8]) {
        /// Field `connect`, with a length.
        const CONNECT: u8 = 10 << 3 | 2;
        tally.frames += 1;
        match message.first() {
            None => tally.pings += 1,
            Some(&CONNECT) => {
                tally.replies += 1;
                self.state = State::Live;
            }
            Some(_) => drop(tally.push(&mut self.last_number, message)),
        }
    }

    /// Connect and all subscribes, as the body of a request.
    fn commands(&self, plan: &Plan, index: usize) -> Vec<u8> {
        let mut body = Vec::new();
        for command in self.first(plan, index) {
            self.encoding.append(&mut body, &command);
        }
        body
    }

    /// Connect and all subscribes.
    fn first(&self, plan: &Plan, index: usize) -> Vec<Command> {
        let token = plan.signer.as_ref().map(|signer| signer.token(&plan.user(index)));
        let mut commands = vec![protocol::connect(1, token)];
        let mut id = 1;
        for subscription in 0..plan.subscriptions {
            id += 1;
            let channel = plan.channel(index, subscription);
            let mut subscribe = protocol::subscribe(id, channel, self.position.as_ref());
            protocol::wish(&mut subscribe, plan.delta, plan.filter(index));
            commands.push(subscribe);
        }
        commands
    }

    /// Messages of a response. They bring no frames, and nothing is sent in the same connection.
    fn lines(&mut self, tally: &mut Tally, bytes: &[u8]) -> usize {
        let used = stream::messages(bytes, |kind, message| {
            tally.frames += 1;
            self.message(tally, kind, message);
        });
        self.unsent.clear();
        used
    }

    fn frame(&mut self, tally: &mut Tally, opcode: u8, body: &[u8]) -> io::Result<()> {
        match opcode {
            frame::TEXT | frame::BINARY => {
                tally.frames += 1;
                self.messages(tally, body);
            }
            frame::PING => frame::write(&mut self.unsent, frame::PONG, body),
            frame::CLOSE => {
                let code = body.first_chunk().map_or(1005, |raw| u16::from_be_bytes(*raw));
                *tally.closed.entry(code).or_default() += 1;
                self.state = State::Closed;
                return Ok(());
            }
            frame::PONG => {}
            _ => return Err(io::Error::other("unknown opcode")),
        }
        if self.unsent.is_empty() && self.tls.is_none() { Ok(()) } else { self.flush() }
    }

    fn messages(&mut self, tally: &mut Tally, body: &[u8]) {
        match self.transport {
            Transport::SockJs => {
                for text in stream::unpacked(body).into_iter().flatten() {
                    for line in text.split('\n').map(str::as_bytes).filter(|line| !line.is_empty()) {
                        self.message(tally, stream::kind(line), line);
                    }
                }
            }
            Transport::UniWebSocket => {
                for line in body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                    match stream::kind(line) {
                        // It is not answered.
                        Kind::Ping => tally.pings += 1,
                        kind => self.message(tally, kind, line),
                    }
                }
            }
            _ => self.encoding.messages(body, |kind, message| self.message(tally, kind, message)),
        }
    }

    fn message(&mut self, tally: &mut Tally, kind: Kind, message: &[u8]) {
        let Self { encoding, transport, state, unsent, last_number, unnumbered, position, looping, .. } =
            self;
        match kind {
            Kind::Push if *unnumbered => {
                tally.deliveries += 1;
                tally.last = clock::now();
            }
            Kind::Push => {
                if tally.push(last_number, message)
                    && let Some(position) = position
                {
                    position.offset += 1;
                }
            }
            Kind::Ping => {
                tally.pings += 1;
                match *transport {
                    Transport::SockJs => frame::write(unsent, frame::TEXT, &stream::packed(b"{}")),
                    _ => unsent.extend_from_slice(&encoding.pong()),
                }
            }
            Kind::Reply => {
                tally.replies += 1;
                if let State::Joining(left) = *state {
                    let answer = encoding.answer(message);
                    if let Some(code) = answer.error {
                        *tally.errors.entry(code).or_default() += 1;
                    }
                    tally.recovered += u64::from(answer.recovered);
                    tally.recovered_publications += answer.publications;
                    if let Some(mut at) = answer.position {
                        if answer.recovered {
                            at.offset = at
                                .offset
                                .max(position.as_ref().map_or(0, |old| old.offset) + answer.publications);
                        }
                        *position = Some(at);
                    }
                    *state = if left == 1 { State::Live } else { State::Joining(left - 1) };
                } else if let Some((command, until)) = looping {
                    if let Some(code) = encoding.quick_error(message) {
                        *tally.errors.entry(code).or_default() += 1;
                    }
                    if clock::now() < *until {
                        unsent.extend_from_slice(command);
                    } else {
                        *looping = None;
                    }
                }
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        while !self.unsent.is_empty() {
            let written = match &mut self.tls {
                Some(tls) => tls::write(tls, &mut self.stream, &self.unsent),
                None => self.stream.write(&self.unsent),
            };
            match written {
                Ok(n) if n == self.unsent.len() => self.unsent = Vec::new(),
                Ok(n) => drop(self.unsent.drain(..n)),
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        match &mut self.tls {
            Some(tls) => tls::flush(tls, &mut self.stream),
            None => Ok(()),
        }
    }
}

/// The message of one compressed frame.
fn inflated(frame: &[u8]) -> io::Result<Vec<u8>> {
    let (mut frame, limits) = (frame.to_vec(), Limits::of(16 << 20));
    let (_, event) = Reader::client().with_deflate().read(&limits, &mut frame);
    match event.map_err(io::Error::other)? {
        Some(Event::Compressed(message)) => Inflater::default()
            .inflate(&limits, &message)
            .map(|message| message.to_vec())
            .map_err(io::Error::other),
        other => Err(io::Error::other(format!("{other:?} in place of a compressed message"))),
    }
}
