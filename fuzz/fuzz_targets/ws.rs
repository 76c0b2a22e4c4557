//! WebSocket frames: the events do not depend on how the bytes are split, memory keeps to the limits, and
//! what was read can be written and read again.
//!
//! Input: one byte of role and compression, one of message limit, one of chunk size, then the stream.
#![no_main]

use libfuzzer_sys::fuzz_target;
use spinward_wire::ws::{Event, Limits, Opcode, Reader, append_close, append_frame, append_masked_frame};

/// Header and control payload that may be kept beside the message.
const BESIDE: usize = 139;

#[derive(Debug, PartialEq)]
enum Seen {
    Text(Vec<u8>),
    Binary(Vec<u8>),
    Compressed(usize),
    Ping(Vec<u8>),
    Pong,
    Close(Option<u16>),
    Error(u16),
}

fuzz_target!(|data: &[u8]| {
    let [role, message, chunk, stream @ ..] = data else {
        return;
    };
    let (client, deflate) = (role & 1 != 0, role & 2 != 0);
    let limits = Limits::of(u32::from(*message) * 8);
    let whole = read(stream, (client, deflate), &limits, stream.len());
    let chunked = read(stream, (client, deflate), &limits, usize::from(*chunk) + 1);
    let bytewise = read(stream, (client, deflate), &limits, 1);
    assert_eq!(whole, chunked, "chunks of {}", usize::from(*chunk) + 1);
    assert_eq!(whole, bytewise, "byte by byte");

    let ends = whole.iter().position(|seen| matches!(seen, Seen::Close(_) | Seen::Error(_)));
    assert!(ends.is_none_or(|at| at + 1 == whole.len()), "something follows the end");
    for seen in &whole {
        match seen {
            Seen::Text(text) => {
                assert!(text.len() <= limits.message as usize);
                assert!(std::str::from_utf8(text).is_ok());
            }
            Seen::Binary(bytes) => assert!(bytes.len() <= limits.message as usize),
            Seen::Compressed(len) => assert!(deflate && *len <= limits.message as usize),
            Seen::Ping(bytes) => assert!(bytes.len() <= 125),
            Seen::Close(Some(code)) => assert!((1000..5000).contains(code)),
            Seen::Error(code) => assert!([1002, 1007, 1009].contains(code)),
            Seen::Close(None) | Seen::Pong => {}
        }
    }
    again(whole, client, &limits);
});

fn read(stream: &[u8], (client, deflate): (bool, bool), limits: &Limits, chunk: usize) -> Vec<Seen> {
    let mut reader = if client { Reader::client() } else { Reader::new() };
    if deflate {
        reader = reader.with_deflate();
    }
    let mut scratch = stream.to_vec();
    let mut seen = Vec::new();
    for part in scratch.chunks_mut(chunk.max(1)) {
        let mut rest = part;
        while !rest.is_empty() {
            let len = rest.len();
            let (consumed, result) = reader.read(limits, rest);
            assert!(consumed > 0 && consumed <= len);
            match result {
                Ok(Some(event)) => seen.push(owned(event, consumed)),
                Ok(None) => assert_eq!(consumed, len),
                Err(error) => seen.push(Seen::Error(error.code)),
            }
            rest = &mut rest[consumed..];
            assert!(reader.spilled() <= limits.message as usize + BESIDE);
            assert!(reader.is_partial() || reader.spilled() == 0);
        }
    }
    seen
}

fn owned(event: Event<'_>, _consumed: usize) -> Seen {
    match event {
        Event::Text(payload) => Seen::Text(payload.into_vec()),
        // A byte lost where a message came in pieces.
        #[cfg(planted_fault)]
        Event::Binary(payload) if payload.len() > 2 && _consumed < payload.len() => {
            Seen::Binary(payload[1..].to_vec())
        }
        Event::Binary(payload) => Seen::Binary(payload.into_vec()),
        Event::Compressed(message) => Seen::Compressed(message.len()),
        Event::Ping(payload) => Seen::Ping(payload.into_vec()),
        Event::Pong => Seen::Pong,
        Event::Close(code) => Seen::Close(code),
    }
}

/// Writes what was seen, one frame each, and reads it back.
fn again(mut seen: Vec<Seen>, client: bool, limits: &Limits) {
    seen.retain(|seen| !matches!(seen, Seen::Error(_) | Seen::Compressed(_)));
    let mut stream = Vec::new();
    let mut frame = |opcode, payload: &[u8]| {
        if client {
            append_frame(opcode, payload, &mut stream);
        } else {
            append_masked_frame(opcode, [1, 2, 3, 4], payload, &mut stream);
        }
    };
    for seen in &seen {
        match seen {
            Seen::Text(text) => frame(Opcode::Text, text),
            Seen::Binary(bytes) => frame(Opcode::Binary, bytes),
            Seen::Ping(bytes) => frame(Opcode::Ping, bytes),
            Seen::Pong => frame(Opcode::Pong, b""),
            Seen::Close(None) => frame(Opcode::Close, b""),
            Seen::Close(Some(code)) => {
                let mut close = Vec::new();
                append_close(*code, "reason", &mut close);
                frame(Opcode::Close, &close[2..]);
            }
            Seen::Error(_) | Seen::Compressed(_) => {}
        }
    }
    let len = stream.len();
    assert_eq!(read(&stream, (client, false), limits, len), seen, "written and read again");
}
