//! The bare floor of a login: what nobody can go below who accepts a socket, answers the handshake, checks the token
//! and answers the first commands.
//!
//! One thread and no bookkeeping. It takes `{"secret":…}` and prints its address. Each connection is read twice (the
//! request, and one frame with connect and a subscribe) and written to twice; then it waits for its end.

use crate::control::{Error, commands, emit, text};
use crate::frame;
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use memchr::memmem::find;
use mio::event::Event;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use serde_json::json;
use spinward_wire::ws::handshake::accept_key;
use std::io::{self, ErrorKind, Read, Write};

const LISTENER: Token = Token(usize::MAX);
const REPLIES: &[u8] =
    b"{\"id\":1,\"connect\":{\"client\":\"00000000-0000-0000-0000-000000000000\",\"version\":\"floor\",\
\"ping\":25,\"pong\":true}}\n{\"id\":2,\"subscribe\":{}}";

/// Serves until the input ends.
pub(crate) fn run() -> Result<(), Error> {
    let input = commands(|| ());
    let Ok(first) = input.recv() else { return Ok(()) };
    let key = hmac::Key::new(hmac::HMAC_SHA256, text(&first?, "secret", "").as_bytes());
    let listener = crate::floor::listen()?;
    listener.set_nonblocking(true)?;
    let mut listener = TcpListener::from_std(listener);
    emit(&json!({"event": "address", "address": listener.local_addr()?.to_string()}));
    std::thread::spawn(move || {
        while input.recv().is_ok() {}
        std::process::exit(0);
    });
    let mut poll = Poll::new()?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let (mut events, mut peers, mut free) = (Events::with_capacity(1024), Vec::new(), Vec::new());
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            if event.token() == LISTENER {
                accept(&listener, &poll, &mut peers, &mut free)?;
            } else if !serve(event, &mut peers, &key) {
                peers[event.token().0] = None;
                free.push(event.token().0);
            }
        }
    }
}

/// A connection, and whether its handshake is done.
type Peer = Option<(TcpStream, bool)>;

fn accept(
    listener: &TcpListener,
    poll: &Poll,
    peers: &mut Vec<Peer>,
    free: &mut Vec<usize>,
) -> io::Result<()> {
    loop {
        let mut stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(e) => return Err(e),
        };
        stream.set_nodelay(true)?;
        let place = free.pop().unwrap_or_else(|| {
            peers.push(None);
            peers.len() - 1
        });
        poll.registry().register(&mut stream, Token(place), Interest::READABLE)?;
        peers[place] = Some((stream, false));
    }
}

/// Reads what a connection sends and answers it. Returns false at its end.
fn serve(event: &Event, peers: &mut [Peer], key: &hmac::Key) -> bool {
    let Some((stream, opened)) = &mut peers[event.token().0] else { return true };
    let mut bytes = [0; 4096];
    loop {
        // Its clients send the request in one piece, and the frame too.
        let count = match stream.read(&mut bytes) {
            Ok(0) => return false,
            Ok(count) => count,
            Err(e) => return e.kind() == ErrorKind::WouldBlock,
        };
        let answer = if *opened { login(&mut bytes[..count], key) } else { handshake(&bytes[..count]) };
        *opened = true;
        if answer.is_none_or(|answer| stream.write_all(&answer).is_err()) {
            return false;
        }
        if count < bytes.len() && !event.is_read_closed() {
            return true;
        }
    }
}

fn handshake(request: &[u8]) -> Option<Vec<u8>> {
    const NAME: &[u8] = b"Sec-WebSocket-Key: ";
    let from = find(request, NAME)? + NAME.len();
    let len = find(&request[from..], b"\r\n")?;
    let accept = accept_key(str::from_utf8(&request[from..from + len]).ok()?);
    Some(
        format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
        )
        .into(),
    )
}

/// Unmasks the frame, checks the signature of its token, and answers both of its commands.
fn login(bytes: &mut [u8], key: &hmac::Key) -> Option<Vec<u8>> {
    const NAME: &[u8] = b"\"token\":\"";
    let head = if bytes.get(1)? & 0x7f == 126 { 4 } else { 2 };
    let mask: [u8; 4] = *bytes.get(head..)?.first_chunk()?;
    let body = &mut bytes[head + 4..];
    body.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
    let from = find(body, NAME)? + NAME.len();
    let token = &body[from..from + find(&body[from..], b"\"")?];
    let dot = token.iter().rposition(|byte| *byte == b'.')?;
    let signature = URL_SAFE_NO_PAD.decode(&token[dot + 1..]).ok()?;
    hmac::verify(key, &token[..dot], &signature).ok()?;
    let mut out = Vec::with_capacity(REPLIES.len() + 4);
    frame::write_as_server(&mut out, frame::TEXT, REPLIES);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{self, Encoding, Signer};

    #[test]
    fn only_a_signed_token_is_answered() {
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"secret");
        let answer = |secret: &str| {
            let mut bytes = Vec::new();
            let connect = protocol::connect(1, Some(Signer::new(secret).token("u1")));
            let subscribe = protocol::subscribe(2, "c".to_owned(), None);
            Encoding::Json.write(&mut bytes, &[connect, subscribe]);
            login(&mut bytes, &key)
        };
        assert!(answer("other").is_none());
        let answer = answer("secret").expect("it is signed");
        let frame = frame::read(&answer).expect("it is a frame").expect("it is whole");
        let mut replies = 0;
        Encoding::Json.messages(frame.body, |_, message| {
            assert!(Encoding::Json.answer(message).error.is_none());
            replies += 1;
        });
        assert_eq!(replies, 2);
    }

    #[test]
    fn a_handshake_is_answered_as_in_the_rfc() {
        let request = protocol::upgrade(protocol::WEBSOCKET, "h", Encoding::Json, false);
        let answer = String::from_utf8(handshake(&request).expect("it has a key")).expect("it is text");
        // RFC 6455 §1.3.
        assert!(answer.contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{answer}");
    }
}
