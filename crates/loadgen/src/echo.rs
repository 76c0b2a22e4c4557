//! A WebSocket server that sends back what it is sent, for conformance suites: frames, fragments and compression are
//! those of the product, limits are not.

use crate::control::Error;
use spinward_wire::ws::{
    CloseError, Compression, Deflater, Event, Inflater, Limits, NO_STATUS, Opcode, Reader, append_close,
    append_frame, extensions, handshake, request,
};
use spinward_wire::{Form, Protocol};
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};

/// More than any case of such a suite.
const LIMITS: Limits = Limits { message: 64 << 20, decompressed: 64 << 20 };

/// Serves connections at any path, each by a thread. The address is on standard output.
pub(crate) fn run() -> Result<(), Error> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?);
    for stream in listener.incoming() {
        let stream = stream?;
        std::thread::spawn(move || {
            if let Err(error) = serve(stream) {
                eprintln!("spinward-loadgen: {error}");
            }
        });
    }
    Ok(())
}

fn serve(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut bytes = Vec::new();
    let (window, rest) = loop {
        let seen = bytes.len();
        if read(&mut stream, &mut bytes)? == 0 {
            return Ok(());
        }
        match request::read(&bytes, seen) {
            request::Opening::Partial => {}
            request::Opening::Upgrade(head) => {
                break (answer(&mut stream, &head)?, bytes.split_off(head.len));
            }
            request::Opening::Request(_) | request::Opening::Other => {
                return Err(io::Error::other("no handshake"));
            }
        }
    };
    let mut echo = Echo { window, deflater: Deflater::new(LEVEL, LEVEL), inflater: Inflater::default() };
    let mut reader = if window.is_some() { Reader::new().with_deflate() } else { Reader::new() };
    bytes = rest;
    loop {
        let (mut at, mut out, mut ended) = (0, Vec::new(), false);
        while at < bytes.len() && !ended {
            let (used, found) = reader.read(&LIMITS, &mut bytes[at..]);
            at += used;
            let found = found.and_then(|event| echo.answer(event, &mut out));
            ended = found.unwrap_or_else(|error| {
                append_close(error.code, error.reason, &mut out);
                true
            });
        }
        stream.write_all(&out)?;
        bytes.clear();
        if ended {
            stream.shutdown(std::net::Shutdown::Write)?;
            // What still comes is dropped: closing with bytes unread would reset the connection.
            while read(&mut stream, &mut bytes)? > 0 {
                bytes.clear();
            }
            return Ok(());
        }
        if read(&mut stream, &mut bytes)? == 0 {
            return Ok(());
        }
    }
}

const LEVEL: Compression = Compression { level: 1, min_size: 0 };

struct Echo {
    window: Option<spinward_wire::ws::Window>,
    deflater: Deflater,
    inflater: Inflater,
}

impl Echo {
    /// Appends the answer to an event. Returns true at the end.
    fn answer(&mut self, event: Option<Event<'_>>, out: &mut Vec<u8>) -> Result<bool, CloseError> {
        match event {
            None | Some(Event::Pong) => {}
            Some(Event::Text(payload)) => self.send(Protocol::Json, &payload, out),
            Some(Event::Binary(payload)) => self.send(Protocol::Protobuf, &payload, out),
            Some(Event::Compressed(message)) => {
                let inflated = self.inflater.inflate(&LIMITS, &message)?;
                let kind = if message.is_text() { Protocol::Json } else { Protocol::Protobuf };
                self.send(kind, &inflated, out);
                self.inflater.recycle(inflated);
            }
            Some(Event::Ping(payload)) => append_frame(Opcode::Pong, &payload, out),
            Some(Event::Close(code)) => {
                append_close(code.unwrap_or(NO_STATUS), "", out);
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Appends a frame: text is JSON's, binary is Protobuf's.
    fn send(&mut self, kind: Protocol, payload: &[u8], out: &mut Vec<u8>) {
        let form = match self.window {
            Some(window) => Form::deflate(kind, window),
            None => Form::websocket(kind),
        };
        out.extend_from_slice(&form.frame_with(payload, &mut self.deflater));
    }
}

fn answer(stream: &mut TcpStream, head: &request::Head<'_>) -> io::Result<Option<spinward_wire::ws::Window>> {
    let header = |name: &str| {
        let lines = head.headers.iter().filter(|(header, _)| header.eq_ignore_ascii_case(name));
        lines.filter_map(|(_, value)| std::str::from_utf8(value).ok()).collect::<Vec<_>>().join(",")
    };
    let agreed = extensions::negotiate(&header("sec-websocket-extensions"));
    let accept = handshake::accept_key(&header("sec-websocket-key"));
    let response = request::response(&accept, None, agreed.map(extensions::Agreed::response));
    stream.write_all(response.as_bytes())?;
    Ok(agreed.map(|agreed| agreed.window))
}

fn read(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> io::Result<usize> {
    let start = bytes.len();
    bytes.resize(start + (64 << 10), 0);
    let count = stream.read(&mut bytes[start..]);
    bytes.truncate(start + count.as_ref().map_or(0, |count| *count));
    count
}
