//! Lines and lengths in a byte stream: the messages do not depend on how the bytes are split, memory keeps to the limit,
//! and what was read can be written and read again.
//!
//! Input: one byte of encoding, one of message limit, one of chunk size, then the stream.
#![no_main]

use libfuzzer_sys::fuzz_target;
use spinward_wire::Protocol;
use spinward_wire::framing::DelimitedReader;
use spinward_wire::ws::Limits;

/// The length of a message, which may be kept beside it.
const BESIDE: usize = 10;

type Seen = Vec<Result<Vec<u8>, &'static str>>;

fuzz_target!(|data: &[u8]| {
    let [encoding, message, chunk, stream @ ..] = data else {
        return;
    };
    let protocol = if encoding & 1 == 0 { Protocol::Json } else { Protocol::Protobuf };
    let limits = Limits::of(u32::from(*message) * 8);
    let whole = read(protocol, &limits, stream, stream.len());
    let chunked = read(protocol, &limits, stream, usize::from(*chunk) + 1);
    assert_eq!(whole, chunked, "chunks of {}", usize::from(*chunk) + 1);
    assert_eq!(whole, read(protocol, &limits, stream, 1), "byte by byte");

    let ends = whole.iter().position(Result::is_err);
    assert!(ends.is_none_or(|at| at + 1 == whole.len()), "something follows an error");
    let messages: Vec<Vec<u8>> = whole.into_iter().flatten().collect();
    let mut again = Vec::new();
    for message in &messages {
        again.extend_from_slice(message);
        match protocol {
            Protocol::Json => {
                assert!(message.len() <= limits.message as usize && !message.contains(&b'\n'));
                again.push(b'\n');
            }
            Protocol::Protobuf => assert!(message.len() <= limits.message as usize + BESIDE),
        }
    }
    let len = again.len();
    let again: Vec<Vec<u8>> = read(protocol, &limits, &again, len).into_iter().flatten().collect();
    assert_eq!(again, messages, "written and read again");
});

fn read(protocol: Protocol, limits: &Limits, stream: &[u8], chunk: usize) -> Seen {
    let mut reader = DelimitedReader::new();
    let mut scratch = stream.to_vec();
    let mut seen = Vec::new();
    for part in scratch.chunks_mut(chunk.max(1)) {
        let mut rest = part;
        while !rest.is_empty() {
            let len = rest.len();
            let (consumed, found) = reader.read(protocol, limits, rest);
            assert!(consumed > 0 && consumed <= len);
            match found {
                Ok(Some(message)) => seen.push(Ok(owned(message.to_vec(), consumed))),
                Ok(None) => assert_eq!(consumed, len),
                Err(cause) => seen.push(Err(cause)),
            }
            rest = &mut rest[consumed..];
            assert!(reader.spilled() <= limits.message as usize + BESIDE);
        }
    }
    seen
}

fn owned(message: Vec<u8>, _consumed: usize) -> Vec<u8> {
    // A byte lost where a message came in pieces.
    #[cfg(planted_fault)]
    if message.len() > 2 && _consumed < message.len() {
        return message[1..].to_vec();
    }
    message
}
