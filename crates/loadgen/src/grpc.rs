//! Calls of the gRPC API: a closed loop of publishes over a few connections, with many calls on each.
//!
//! Fields of the command `grpc`: `address`, `key`, `seconds`, `connections`, `calls` (under way on each connection),
//! `size`, `channel`.

use crate::control::{Error, emit, float, number, text};
use crate::http2::{
    self, ACK, DATA, END, END_HEADERS, GOAWAY, HEADERS, PING, RESET, SETTINGS, WINDOW_UPDATE,
};
use crate::{clock, payload};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use serde_json::{Value, json};
use std::io::{self, ErrorKind, Read, Write};
use std::time::Duration;

const METHOD: &str = "/centrifugal.centrifugo.api.CentrifugoApi/Publish";

/// The largest window, less what a connection has from the start: answers of a run fit, so that it is given once.
const WINDOW: u32 = (u32::MAX >> 1) - 65_535;

/// Bytes before a message.
const HEAD: usize = 5;

/// The field `result` of a response. A response with an error has another.
const RESULT: u8 = 0x12;

/// Starts the closed loop on its own thread; it answers `grpc` at the end.
pub(crate) fn start(command: &Value) -> Result<(), Error> {
    let size = usize::try_from(number(command, "size", 128))?;
    let job = Job {
        address: text(command, "address", "").to_owned(),
        key: text(command, "key", "").to_owned(),
        seconds: float(command, "seconds", 3.0),
        connections: usize::try_from(number(command, "connections", 8))?,
        calls: usize::try_from(number(command, "calls", 4))?,
        message: message(text(command, "channel", "bench"), size),
    };
    std::thread::spawn(move || match job.run() {
        Ok(report) => emit(&report),
        Err(error) => emit(&json!({"event": "error", "message": format!("grpc: {error}")})),
    });
    Ok(())
}

/// A request to publish, with its head.
fn message(channel: &str, size: usize) -> Vec<u8> {
    let (mut data, mut message) = (Vec::new(), Vec::new());
    payload::write(&mut data, 0, 0, size);
    prost::encoding::bytes::encode(1, &channel.as_bytes().to_vec(), &mut message);
    prost::encoding::bytes::encode(2, &data, &mut message);
    let mut out = vec![0];
    out.extend_from_slice(&(message.len() as u32).to_be_bytes());
    out.extend_from_slice(&message);
    out
}

struct Job {
    address: String,
    key: String,
    seconds: f64,
    connections: usize,
    calls: usize,
    message: Vec<u8>,
}

/// Outcomes of calls.
#[derive(Default)]
struct Tally {
    results: u64,
    failed: u64,
}

impl Job {
    fn run(self) -> io::Result<Value> {
        let address = self.address.parse().map_err(io::Error::other)?;
        let mut poll = Poll::new()?;
        let mut callers = Vec::with_capacity(self.connections);
        for index in 0..self.connections {
            let mut stream = TcpStream::connect(address)?;
            poll.registry().register(&mut stream, Token(index), Interest::READABLE | Interest::WRITABLE)?;
            stream.set_nodelay(true)?;
            callers.push(Caller::new(stream));
        }
        let start = clock::now();
        let until = start + (self.seconds * 1e9) as u64;
        for caller in &mut callers {
            for _ in 0..self.calls {
                caller.call(&self);
            }
        }
        let mut tally = Tally::default();
        let mut events = Events::with_capacity(256);
        let mut scratch = vec![0; 64 * 1024];
        while callers.iter().any(|caller| !caller.under_way.is_empty())
            && clock::now() < until + 2_000_000_000
        {
            poll.poll(&mut events, Some(Duration::from_millis(100)))?;
            for event in &events {
                let caller = &mut callers[event.token().0];
                if event.is_readable() {
                    let ended = caller.read(&mut scratch, &mut tally)?;
                    if clock::now() < until {
                        (0..ended).for_each(|_| caller.call(&self));
                    }
                }
                caller.write()?;
            }
        }
        Ok(json!({
            "event": "grpc",
            "results": tally.results,
            "failed": tally.failed,
            "seconds": (clock::now() - start) as f64 / 1e9,
        }))
    }

    /// Headers of a call. Those of the first are put into the table of the connection, and the others refer to them, as
    /// clients do that are made with a library.
    fn headers(&self, first: bool) -> Vec<u8> {
        const POST: u8 = 0x83;
        const HTTP: u8 = 0x86;
        const NEWEST: u8 = 0x80 | 62;
        let mut block = vec![POST, HTTP];
        let key = format!("apikey {}", self.key);
        let headers = [
            (":path", METHOD),
            (":authority", &*self.address),
            ("content-type", "application/grpc"),
            ("te", "trailers"),
            ("authorization", &*key),
        ];
        for (number, (name, value)) in (0..).zip(headers) {
            if first {
                http2::header(&mut block, 0x40, name, value);
            } else {
                block.push(NEWEST + 4 - number);
            }
        }
        block
    }
}

/// One connection.
struct Caller {
    stream: TcpStream,
    input: Vec<u8>,
    /// Frames, of which some bytes are sent.
    output: Vec<u8>,
    sent: usize,
    next: u32,
    /// Calls whose end has not come, and whether the result has.
    under_way: Vec<(u32, bool)>,
}

impl Caller {
    fn new(stream: TcpStream) -> Self {
        let mut output = http2::PREFACE.to_vec();
        http2::write(&mut output, SETTINGS, 0, 0, &[]);
        http2::write(&mut output, WINDOW_UPDATE, 0, 0, &WINDOW.to_be_bytes());
        Self { stream, input: Vec::new(), output, sent: 0, next: 1, under_way: Vec::new() }
    }

    fn call(&mut self, job: &Job) {
        let headers = job.headers(self.next == 1);
        http2::write(&mut self.output, HEADERS, END_HEADERS, self.next, &headers);
        http2::write(&mut self.output, DATA, END, self.next, &job.message);
        self.under_way.push((self.next, false));
        self.next += 2;
    }

    /// Reads what has come. Returns the number of calls that have ended.
    fn read(&mut self, scratch: &mut [u8], tally: &mut Tally) -> io::Result<usize> {
        loop {
            match self.stream.read(scratch) {
                Ok(0) => return Err(io::Error::other("the server closed the connection")),
                Ok(n) => self.input.extend_from_slice(&scratch[..n]),
                Err(e) if e.kind() == ErrorKind::WouldBlock || e.kind() == ErrorKind::NotConnected => break,
                Err(e) => return Err(e),
            }
        }
        let (mut used, before) = (0, self.under_way.len());
        while let Some(frame) = http2::read(&self.input[used..]) {
            used += frame.length;
            let ends = frame.flags & END != 0;
            match frame.kind {
                SETTINGS if frame.flags & ACK == 0 => http2::write(&mut self.output, SETTINGS, ACK, 0, &[]),
                PING if frame.flags & ACK == 0 => http2::write(&mut self.output, PING, ACK, 0, frame.payload),
                GOAWAY => return Err(io::Error::other("the server ends the connection")),
                DATA if frame.payload.get(HEAD) == Some(&RESULT) => {
                    let call = self.under_way.iter_mut().find(|call| call.0 == frame.stream);
                    if let Some(call) = call {
                        call.1 = true;
                    }
                }
                _ => {}
            }
            let is_last = frame.kind == RESET || matches!(frame.kind, DATA | HEADERS) && ends;
            let call = self.under_way.iter().position(|call| is_last && call.0 == frame.stream);
            if let Some(call) = call {
                let (_, good) = self.under_way.swap_remove(call);
                *(if good { &mut tally.results } else { &mut tally.failed }) += 1;
            }
        }
        self.input.drain(..used);
        Ok(before - self.under_way.len())
    }

    fn write(&mut self) -> io::Result<()> {
        while self.sent < self.output.len() {
            match self.stream.write(&self.output[self.sent..]) {
                Ok(n) => self.sent += n,
                Err(e) if e.kind() == ErrorKind::WouldBlock || e.kind() == ErrorKind::NotConnected => {
                    return Ok(());
                }
                Err(e) => return Err(e),
            }
        }
        self.output.clear();
        self.sent = 0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_that_of_the_schema() {
        let message = message("ch", 60);
        let (head, message) = message.split_at(HEAD);
        assert_eq!(head, [0, 0, 0, 0, message.len() as u8]);
        assert_eq!(message[..6], [0x0a, 2, b'c', b'h', 0x12, 60]);
        assert_eq!(message.len(), 6 + 60);
    }

    #[test]
    fn later_calls_refer_to_the_headers_of_the_first() {
        let job = Job {
            address: "a:1".to_owned(),
            key: "k".to_owned(),
            seconds: 0.0,
            connections: 0,
            calls: 0,
            message: Vec::new(),
        };
        let first = job.headers(true);
        assert_eq!(first[..4], [0x83, 0x86, 0x40, 5]);
        assert!(first.ends_with(b"\x0dauthorization\x08apikey k"));
        // The newest entry of the table has the lowest number.
        assert_eq!(job.headers(false), [0x83, 0x86, 0x80 | 66, 0x80 | 65, 0x80 | 64, 0x80 | 63, 0x80 | 62]);
    }
}
