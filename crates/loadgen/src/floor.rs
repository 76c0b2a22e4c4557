//! The bare floor: what nobody can go below who sends these bytes to these sockets.
//!
//! A plain loop without any bookkeeping. It takes one subscriber connection after the other on the first of
//! its two ports, until `{"op":"sockets","count":N}` many are there; then a publisher on the second port,
//! which sends `u32` length and frame, and writes each frame to every socket. At the publisher's end it
//! prints how many sends that were.

use crate::control::{Error, commands, emit, number};
use serde_json::json;
use socket2::{Domain, Protocol, Socket, Type};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

/// Serves until the input ends.
pub(crate) fn run() -> Result<(), Error> {
    let subscribers = listen()?;
    let publisher = TcpListener::bind("127.0.0.1:0")?;
    emit(&json!({
        "event": "ports",
        "subscribers": subscribers.local_addr()?.to_string(),
        "publisher": publisher.local_addr()?.to_string(),
    }));
    let input = commands(|| ());
    let Ok(first) = input.recv() else { return Ok(()) };
    let mut sockets = Vec::new();
    for _ in 0..number(&first?, "count", 1) {
        let (socket, _) = subscribers.accept()?;
        socket.set_nodelay(true)?;
        sockets.push(socket);
    }
    emit(&json!({"event": "ready"}));
    std::thread::spawn(move || {
        // Nothing else is ever said to a floor: the end of its input is the end of it.
        while input.recv().is_ok() {}
        std::process::exit(0);
    });
    loop {
        let (stream, _) = publisher.accept()?;
        let sends = serve(stream, &sockets)?;
        emit(&json!({"event": "floor", "sends": sends}));
    }
}

/// The subscribers' port, with a long queue. They say nothing after connecting: were the queue to overflow,
/// the kernel could forget a connection that its peer takes for made.
pub(crate) fn listen() -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())?;
    socket.listen(4096)?;
    Ok(socket.into())
}

fn serve(mut publisher: TcpStream, sockets: &[TcpStream]) -> io::Result<u64> {
    publisher.set_nodelay(true)?;
    let (mut length, mut bytes, mut sends) = ([0; 4], Vec::new(), 0);
    loop {
        match publisher.read_exact(&mut length) {
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(sends),
            other => other?,
        }
        bytes.resize(u32::from_be_bytes(length) as usize, 0);
        publisher.read_exact(&mut bytes)?;
        for mut socket in sockets {
            socket.write_all(&bytes)?;
            sends += 1;
        }
    }
}
