//! Calls of the HTTP API: request bytes, answers, and a closed loop over keep-alive connections.
//!
//! Fields of the command `http`: `address`, `key`, `seconds`, `connections`, `batch` (publications in one
//! request; 1 calls `publish`), `size`, `channel`, `channels`.

use crate::control::{Error, emit, flag, float, number, text};
use crate::{clock, payload};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use serde_json::{Value, json};
use std::io::{self, ErrorKind, Read, Write};
use std::time::Duration;

/// Appends a POST to the method of that name.
pub(crate) fn request(out: &mut Vec<u8>, host: &str, method: &str, key: &str, body: &[u8]) {
    out.extend_from_slice(
        format!(
            "POST /api/{method} HTTP/1.1\r\nHost: {host}\r\nX-API-Key: {key}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n",
            body.len()
        )
        .as_bytes(),
    );
    out.extend_from_slice(body);
}

/// Appends a POST request of a client.
pub(crate) fn post(out: &mut Vec<u8>, path: &str, host: &str, body: &[u8]) {
    let length = body.len();
    out.extend_from_slice(
        format!("POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\n\r\n").as_bytes(),
    );
    out.extend_from_slice(body);
}

/// The answer at the start of `bytes`: its length, and how many results it holds (0 when it is an error).
/// `None` when it is not whole.
pub(crate) fn answer(bytes: &[u8]) -> io::Result<Option<(usize, u64)>> {
    let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n") else { return Ok(None) };
    let head = std::str::from_utf8(&bytes[..end]).map_err(io::Error::other)?;
    let length = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse::<usize>().ok())
        .ok_or_else(|| io::Error::other("an answer without Content-Length"))?;
    let total = end + 4 + length;
    let Some(body) = bytes.get(end + 4..total) else { return Ok(None) };
    let failed = !head.starts_with("HTTP/1.1 200") || memchr::memmem::find(body, b"\"error\"").is_some();
    let results = if body.starts_with(b"{\"replies\"") {
        memchr::memmem::find_iter(body, b"\"publish\"").count() as u64
    } else {
        1
    };
    Ok(Some((total, if failed { 0 } else { results })))
}

/// Starts the closed loop on its own thread; it answers `http` at the end.
pub(crate) fn start(command: &Value) -> Result<(), Error> {
    let job = Job {
        address: text(command, "address", "").to_owned(),
        seconds: float(command, "seconds", 3.0),
        connections: usize::try_from(number(command, "connections", 32))?,
        request: Vec::new(),
    };
    let (batch, channel) = (number(command, "batch", 1), text(command, "channel", "bench"));
    let size = usize::try_from(number(command, "size", 128))?;
    let (channels, key) = (number(command, "channels", 1).max(1), text(command, "key", ""));
    let one = |n: u64| {
        let mut text = format!("{{\"channel\":\"{channel}{}\",\"data\":", n % channels).into_bytes();
        payload::write(&mut text, 0, 0, size);
        text.push(b'}');
        text
    };
    let mut job = job;
    if batch > 1 {
        let mut body =
            if flag(command, "parallel") { b"{\"parallel\":true,".to_vec() } else { b"{".to_vec() };
        body.extend_from_slice(b"\"commands\":[");
        for n in 0..batch {
            body.extend_from_slice(if n == 0 { b"{\"publish\":" } else { b",{\"publish\":" });
            body.extend_from_slice(&one(n));
            body.push(b'}');
        }
        body.extend_from_slice(b"]}");
        request(&mut job.request, &job.address, "batch", key, &body);
    } else {
        request(&mut job.request, &job.address, "publish", key, &one(0));
    }
    std::thread::spawn(move || match job.run() {
        Ok(report) => emit(&report),
        Err(error) => emit(&json!({"event": "error", "message": format!("http: {error}")})),
    });
    Ok(())
}

struct Job {
    address: String,
    seconds: f64,
    connections: usize,
    request: Vec<u8>,
}

/// One keep-alive connection with one request under way.
struct Caller {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// Bytes of the request that are sent.
    sent: usize,
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
            callers.push(Caller { stream, buffer: Vec::new(), sent: 0 });
        }
        let start = clock::now();
        let until = start + (self.seconds * 1e9) as u64;
        let (mut requests, mut results, mut failed) = (0_u64, 0_u64, 0_u64);
        let mut events = Events::with_capacity(256);
        let mut scratch = vec![0; 64 * 1024];
        let mut active = callers.len();
        while active > 0 && clock::now() < until + 2_000_000_000 {
            poll.poll(&mut events, Some(Duration::from_millis(100)))?;
            for event in &events {
                let caller = &mut callers[event.token().0];
                if event.is_readable() {
                    while let Some((length, good)) = caller.read(&mut scratch)? {
                        caller.buffer.drain(..length);
                        requests += 1;
                        results += good;
                        failed += u64::from(good == 0);
                        if clock::now() < until {
                            caller.sent = 0;
                        } else {
                            active -= 1;
                        }
                    }
                }
                caller.write(&self.request)?;
            }
        }
        Ok(json!({
            "event": "http",
            "requests": requests,
            "results": results,
            "failed": failed,
            "seconds": (clock::now() - start) as f64 / 1e9,
        }))
    }
}

impl Caller {
    fn read(&mut self, scratch: &mut [u8]) -> io::Result<Option<(usize, u64)>> {
        loop {
            match self.stream.read(scratch) {
                Ok(0) => return Err(io::Error::other("the server closed the connection")),
                Ok(n) => self.buffer.extend_from_slice(&scratch[..n]),
                Err(e) if e.kind() == ErrorKind::WouldBlock || e.kind() == ErrorKind::NotConnected => break,
                Err(e) => return Err(e),
            }
        }
        answer(&self.buffer)
    }

    fn write(&mut self, request: &[u8]) -> io::Result<()> {
        while self.sent < request.len() {
            match self.stream.write(&request[self.sent..]) {
                Ok(n) => self.sent += n,
                Err(e) if e.kind() == ErrorKind::WouldBlock || e.kind() == ErrorKind::NotConnected => break,
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_counted_whole() {
        let one = b"HTTP/1.1 200 OK\r\ncontent-length: 13\r\n\r\n{\"result\":{}}";
        assert_eq!(answer(one).unwrap(), Some((one.len(), 1)));
        assert_eq!(answer(&one[..one.len() - 1]).unwrap(), None);
        let batch =
            b"HTTP/1.1 200 OK\r\nContent-Length: 43\r\n\r\n{\"replies\":[{\"publish\":{}},{\"publish\":{}}]}";
        assert_eq!(answer(batch).unwrap(), Some((batch.len(), 2)));
        let bad = b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n{\"error\":{}}";
        assert_eq!(answer(bad).unwrap(), Some((bad.len(), 0)));
    }
}
