//! The first request of a connection: the outcome does not depend on how the bytes are split, bytes are limited,
//! a head is made of the bytes that came, and its query holds no bare bytes.
//!
//! Input: one byte of chunk size, then the stream.
#![no_main]

use libfuzzer_sys::fuzz_target;
use spinward_wire::ws::request::{Head, MAX_HEAD, Opening, read};

fuzz_target!(|data: &[u8]| {
    let [chunk, stream @ ..] = data else { return };
    let whole = read(stream, 0);
    let (at, pieces) = in_pieces(stream, usize::from(*chunk) + 1);
    match (&whole, &pieces) {
        (Opening::Upgrade(whole), Opening::Upgrade(pieces))
        | (Opening::Request(whole), Opening::Request(pieces)) => {
            assert_eq!(whole, pieces);
            assert!(at >= whole.len && whole.len <= MAX_HEAD && whole.len <= stream.len());
            check(whole, &stream[..whole.len]);
            // What follows the head does not change it.
            let alone = read(&stream[..whole.len], 0);
            assert!(matches!(&alone, Opening::Upgrade(head) | Opening::Request(head) if head == whole));
            assert_eq!(read(&stream[..whole.len - 1], 0), Opening::Partial);
        }
        (whole, pieces) => assert_eq!(whole, pieces),
    }
    if matches!(whole, Opening::Partial) {
        assert!(stream.len() < MAX_HEAD);
    }
});

/// Reads as a connection does. Answers how many bytes it took to decide.
fn in_pieces(stream: &[u8], chunk: usize) -> (usize, Opening<'_>) {
    let (mut seen, mut len) = (0, 0);
    loop {
        len = (len + chunk).min(stream.len());
        // A fault: the end of a head that lies across two pieces is missed.
        #[cfg(planted_fault)]
        let searched = seen + 3;
        #[cfg(not(planted_fault))]
        let searched = seen;
        match read(&stream[..len], searched) {
            Opening::Partial if len < stream.len() => seen = len,
            opening => return (len, opening),
        }
    }
}

fn check(head: &Head<'_>, bytes: &[u8]) {
    let method: &[u8] = if head.post { b"POST /" } else { b"GET /" };
    assert!(bytes.starts_with(method) && head.target.starts_with('/'));
    for (name, value) in &head.headers {
        assert!(bytes.windows(name.len()).any(|window| window == name.as_bytes()));
        assert!(!value.contains(&b'\n') && !value.contains(&b'\r') && !value.contains(&0));
    }
    if let Some((_, query)) = head.target.split_once('?') {
        assert!(query.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"<>#".contains(&byte)));
    }
}
